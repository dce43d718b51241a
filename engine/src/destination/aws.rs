//! SQS, SNS and S3, through AWS's own crates.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_s3::primitives::ByteStream;
use tokio::sync::OnceCell;

use super::report::Reporter;
use super::{Delivering, Destination, DestinationError, Failure};

/// The crates' own tries: few, because the engine goes on for ever.
const ATTEMPTS_MAX: u32 = 2;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// One try. A payload of 6 MB at 2 Mbit/s takes half of it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(50);

/// What all three need: credentials and endpoints by AWS's own chain (`AWS_ENDPOINT_URL`,
/// `AWS_ENDPOINT_URL_SQS` and so on included).
///
/// # Errors
/// If there are no credentials: each try would fail.
pub(super) async fn sdk_config(region: Option<&str>, name: &str) -> Result<SdkConfig, DestinationError> {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let config = loader.load().await;
    let remedy = Some("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or run with a role");
    let none = |reason: &str| DestinationError::new(name, reason).with_remedy(remedy);
    let Some(provider) = config.credentials_provider() else { return Err(none("no AWS credentials")) };
    match provider.provide_credentials().await {
        Ok(_) => {}
        Err(error) => return Err(none(&format!("no AWS credentials: {}", DisplayErrorContext(&error)))),
    }
    if config.region().is_none() {
        let remedy = Some("set `region`, or AWS_REGION");
        return Err(DestinationError::new(name, "its region is not known").with_remedy(remedy));
    }
    Ok(config)
}

/// What the service says, and what to do about it.
fn refused<E>(name: &str, error: &E) -> DestinationError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let code = error.code().unwrap_or_default();
    let remedy = match code {
        "AWS.SimpleQueueService.NonExistentQueue" | "QueueDoesNotExist" | "NotFound" | "NoSuchBucket" => {
            Some("create it, or correct destination_config")
        }
        "AccessDenied" | "AccessDeniedException" | "AuthorizationError" | "InvalidClientTokenId" => {
            Some("grant sqs:SendMessage, sns:Publish, or s3:PutObject and s3:ListBucket")
        }
        _ => None,
    };
    DestinationError::new(name, &DisplayErrorContext(error).to_string()).with_remedy(remedy)
}

/// An SQS queue.
#[derive(Debug)]
pub struct Queue {
    name: String,
    client: aws_sdk_sqs::Client,
    account: String,
    queue: String,
    /// Asked for once: it is not in the ARN.
    url: OnceCell<String>,
    reporter: Reporter,
}

impl Queue {
    /// The queue of `account` called `queue`; `name` is what errors call it.
    #[must_use]
    pub fn new(config: &SdkConfig, name: &str, account: &str, queue: &str, reporter: Reporter) -> Self {
        Self {
            name: name.to_owned(),
            client: aws_sdk_sqs::Client::new(config),
            account: account.to_owned(),
            queue: queue.to_owned(),
            url: OnceCell::new(),
            reporter,
        }
    }

    async fn url(&self) -> Result<&String, DestinationError> {
        self.url
            .get_or_try_init(|| async {
                let asked = self
                    .client
                    .get_queue_url()
                    .queue_name(&self.queue)
                    .queue_owner_aws_account_id(&self.account)
                    .send()
                    .await
                    .map_err(|error| refused(&self.name, &error))?;
                asked.queue_url.ok_or_else(|| DestinationError::new(&self.name, "the queue has no URL"))
            })
            .await
    }
}

impl Destination for Queue {
    fn deliver<'a>(&'a self, failure: &'a Failure) -> Delivering<'a> {
        Box::pin(async move {
            let url = self.url().await?;
            for message in self.reporter.messages(failure) {
                let text = String::from_utf8(message).expect("JSON is text");
                let sent = self.client.send_message().queue_url(url).message_body(text).send().await;
                sent.map_err(|error| refused(&self.name, &error))?;
            }
            Ok(())
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// An SNS topic.
#[derive(Debug)]
pub struct Notices {
    arn: String,
    client: aws_sdk_sns::Client,
    reporter: Reporter,
}

impl Notices {
    /// The topic with this ARN.
    #[must_use]
    pub fn new(config: &SdkConfig, arn: &str, reporter: Reporter) -> Self {
        Self { arn: arn.to_owned(), client: aws_sdk_sns::Client::new(config), reporter }
    }
}

impl Destination for Notices {
    fn deliver<'a>(&'a self, failure: &'a Failure) -> Delivering<'a> {
        Box::pin(async move {
            for message in self.reporter.messages(failure) {
                let text = String::from_utf8(message).expect("JSON is text");
                let sent = self.client.publish().topic_arn(&self.arn).message(text).send().await;
                sent.map_err(|error| refused(&self.arn, &error))?;
            }
            Ok(())
        })
    }

    fn name(&self) -> &str {
        &self.arn
    }
}

/// An S3 bucket.
#[derive(Debug)]
pub struct Bucket {
    arn: String,
    bucket: String,
    client: aws_sdk_s3::Client,
    reporter: Reporter,
}

impl Bucket {
    /// The bucket of this name. `path_style` for endpoints that do not serve a bucket as a host.
    #[must_use]
    pub fn new(config: &SdkConfig, arn: &str, bucket: &str, path_style: bool, reporter: Reporter) -> Self {
        let config = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(path_style)
            // Over TLS a checksum of our own says nothing new, and not every S3 takes it as a trailer.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build();
        Self {
            arn: arn.to_owned(),
            bucket: bucket.to_owned(),
            client: aws_sdk_s3::Client::from_conf(config),
            reporter,
        }
    }
}

impl Destination for Bucket {
    fn deliver<'a>(&'a self, failure: &'a Failure) -> Delivering<'a> {
        Box::pin(async move {
            let body = self.reporter.object(failure);
            let put = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(self.reporter.object_key(failure))
                .content_type("application/json")
                .body(ByteStream::from(body));
            put.send().await.map_err(|error| refused(&self.arn, &error))?;
            Ok(())
        })
    }

    fn name(&self) -> &str {
        &self.arn
    }
}
