//! Lambda's Invoke API over HTTP/1.1: to AWS, or to a local runtime that serves the same path.
//!
//! `POST {endpoint}/2015-03-31/functions/{function}/invocations` with `RequestResponse`; the
//! connection is kept for the next payload. Outcomes are read in `answer`.

use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::answer::{self, chain};
use super::body::{PayloadBody, Unsent};
use super::connect::{Connector, CutIfUnsent, connector};
use super::target::Target;
use super::{InvokeError, Invoker};
use crate::batch::{Frames, Payload};
use crate::deliver::Outcome;

const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
const USER_AGENT: &str = concat!("pelton/", env!("CARGO_PKG_VERSION"));

/// After this long an idle connection is closed by us. Below the idle limits of the servers one
/// meets (60 s and more), so that a payload rarely meets a connection the server is just closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// How to reach a function, and how long to wait.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LambdaSettings {
    /// Where the Invoke API is served, such as `http://localhost:9001`. Default: AWS's endpoint of
    /// the region.
    pub endpoint: Option<String>,
    /// The region, for AWS's endpoint and for signing. Default: as the function's ARN says, else
    /// as the environment says.
    pub region: Option<String>,
    /// The function: a name, a partial or a full ARN, with or without `:version` or `:alias`. AWS:
    /// `FunctionName`.
    pub function: String,
    /// A version or an alias, if not part of `function`. AWS: `Qualifier`.
    pub qualifier: Option<String>,
    /// How long connecting (name, TCP, TLS) may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How long one attempt may take in all, connecting included. Default 15 min, Lambda's
    /// longest; a little more than the function's own timeout is best, since the function is not
    /// stopped by this.
    pub function_timeout: Duration,
    /// How many idle connections are kept for later payloads. Default 64; as many as there are
    /// pollers is right.
    pub idle_connections_max: usize,
    /// Whether what the function returns is wanted ([`Outcome::Success`]'s `response`). Default no:
    /// it is then read and dropped.
    pub keep_response: bool,
}

impl LambdaSettings {
    /// The defaults, for this function.
    #[must_use]
    pub fn new(function: impl Into<String>) -> Self {
        Self {
            endpoint: None,
            region: None,
            function: function.into(),
            qualifier: None,
            connect_timeout: Duration::from_secs(5),
            function_timeout: Duration::from_mins(15),
            idle_connections_max: 64,
            keep_response: false,
        }
    }

    /// Where these settings lead.
    ///
    /// # Errors
    /// As [`Target::new`].
    pub fn target(&self) -> Result<Target, InvokeError> {
        Target::new(
            self.endpoint.as_deref(),
            self.region.as_deref(),
            &self.function,
            self.qualifier.as_deref(),
        )
    }
}

/// Whether requests are signed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Signing {
    /// Not at all: local runtimes take requests as they are.
    Unsigned,
    /// With SigV4, as AWS asks.
    #[cfg(feature = "aws")]
    SigV4(super::Signer),
}

/// Invokes a function through Lambda's Invoke API.
pub struct LambdaInvoker {
    client: Client<Connector, PayloadBody<Frames>>,
    target: Target,
    host: HeaderValue,
    signing: Signing,
    function_timeout: Duration,
    keep_response: bool,
}

impl LambdaInvoker {
    /// An invoker that signs as told.
    ///
    /// # Errors
    /// If the settings name no valid target, or TLS cannot be set up.
    pub fn new(settings: &LambdaSettings, signing: Signing) -> Result<Self, InvokeError> {
        let target = settings.target()?;
        let connector = connector(&target, settings.connect_timeout)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(settings.idle_connections_max)
            .http1_writev(true)
            .build(connector);
        let host = HeaderValue::from_str(target.host()).map_err(|error| InvokeError::Endpoint {
            endpoint: target.endpoint().to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            client,
            target,
            host,
            signing,
            function_timeout: settings.function_timeout,
            keep_response: settings.keep_response,
        })
    }

    /// An invoker that signs if it should: always towards AWS; towards an endpoint of one's own
    /// only if the environment names credentials and a region (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`
    /// and the like).
    ///
    /// # Errors
    /// As [`new`](Self::new), and if AWS is to be invoked and no credentials or no region are
    /// found.
    #[cfg(feature = "aws")]
    pub async fn open(mut settings: LambdaSettings) -> Result<Self, InvokeError> {
        let signing = super::sign::from_surroundings(&mut settings).await?;
        Self::new(&settings, signing)
    }

    /// Where the payloads go.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether requests are signed.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        !matches!(self.signing, Signing::Unsigned)
    }

    /// `sending` is set once there is a request, and knows whether all of it was sent.
    async fn attempt(&self, payload: Payload, sending: &OnceLock<Unsent>) -> Outcome {
        let mut request = match self.request(payload).await {
            Ok(request) => request,
            Err(reason) => return Outcome::Unreachable { reason },
        };
        let _ = sending.set(request.body().unsent());
        // Whichever way this attempt ends (the future may be dropped too), nothing is sent after.
        let _over =
            CutIfUnsent { unsent: request.body().unsent(), connection: capture_connection(&mut request) };
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                let what = if error.is_connect() { "cannot connect to" } else { "no answer from" };
                let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), chain);
                return Outcome::Unreachable {
                    reason: format!("{what} {}: {cause}", self.target.endpoint()),
                };
            }
        };
        let (head, body) = response.into_parts();
        let answer = answer::read(head.status, &head.headers, body, self.keep_response).await;
        let outcome = answer::outcome(head.status, &head.headers, answer);
        self.learn(&outcome).await;
        outcome
    }

    async fn request(&self, payload: Payload) -> Result<Request<PayloadBody<Frames>>, String> {
        let mut request = Request::new(PayloadBody::new(payload.frames(), payload.len()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = Uri::clone(self.target.uri());
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(INVOCATION_TYPE, HeaderValue::from_static("RequestResponse"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        match &self.signing {
            Signing::Unsigned => (),
            #[cfg(feature = "aws")]
            Signing::SigV4(signer) => signer.sign(&mut request, payload.frames()).await?,
        }
        Ok(request)
    }

    /// Credentials that were refused as outdated are fetched anew before the next attempt.
    #[cfg_attr(
        not(feature = "aws"),
        expect(clippy::unused_async, reason = "async where requests are signed")
    )]
    async fn learn(&self, outcome: &Outcome) {
        match &self.signing {
            Signing::Unsigned => (),
            #[cfg(feature = "aws")]
            Signing::SigV4(signer) => {
                if let Outcome::Refused { code: Some(code), .. } = outcome
                    && matches!(code.as_str(), "ExpiredTokenException" | "UnrecognizedClientException")
                {
                    signer.forget().await;
                }
            }
        }
        #[cfg(not(feature = "aws"))]
        let _ = outcome;
    }
}

impl Invoker for LambdaInvoker {
    async fn invoke(&self, payload: Payload) -> Outcome {
        let after = self.function_timeout;
        let sending = OnceLock::new();
        let mut attempt = pin!(self.attempt(payload, &sending));
        tokio::select! {
            outcome = &mut attempt => outcome,
            // What was not even sent has not reached the function, and uses up no attempt.
            () = tokio::time::sleep(after) => match sending.get() {
                Some(unsent) if !Unsent::any(unsent) => Outcome::TimedOut { after },
                _ => Outcome::Unreachable {
                    reason: format!("{} has not taken the request within {after:?}", self.target.endpoint()),
                },
            },
        }
    }
}
