//! Which function, and where: settings to a URL.

use http::Uri;
use http::uri::{Authority, Scheme};

use super::InvokeError;

/// The longest `FunctionName`, in characters. AWS: 1 to 256.
const FUNCTION_CHARS_MAX: usize = 256;

/// Where a function is invoked: the URL of its `Invoke` operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    uri: Uri,
    endpoint: String,
    host: String,
}

impl Target {
    /// The URL for `function` (a name, a partial or a full ARN, with or without a version or
    /// alias) at `endpoint`, or at AWS's endpoint of `region`. `qualifier` is a version or an
    /// alias given separately.
    ///
    /// # Errors
    /// If the endpoint is no address, the function's name is none, or neither endpoint nor region
    /// is known (a full ARN names its region).
    pub fn new(
        endpoint: Option<&str>,
        region: Option<&str>,
        function: &str,
        qualifier: Option<&str>,
    ) -> Result<Self, InvokeError> {
        check_function(function)?;
        let endpoint = match endpoint {
            Some(endpoint) => endpoint.to_owned(),
            None => region
                .or_else(|| region_of_arn(function))
                .map(aws_endpoint)
                .ok_or_else(|| InvokeError::NoRegion { function: function.to_owned() })?,
        };
        let (scheme, authority, base) = split(&endpoint)?;
        let mut path = format!("{base}/2015-03-31/functions/{}/invocations", percent_encoded(function));
        if let Some(qualifier) = qualifier {
            path.push_str("?Qualifier=");
            path.push_str(&percent_encoded(qualifier));
        }
        let host = host_header(&scheme, &authority);
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        let uri = uri.map_err(|error| bad_endpoint(&endpoint, error.to_string()))?;
        Ok(Self { uri, endpoint, host })
    }

    /// The URL that is posted to.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The endpoint, for messages.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The `Host` header: the authority without a port that goes without saying.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the URL asks for TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// Whether this is AWS itself, which takes signed requests only.
    #[must_use]
    pub fn is_aws(&self) -> bool {
        let host = self.uri.host().unwrap_or_default();
        [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|suffix| host.ends_with(suffix))
    }
}

/// The region that a full ARN names.
pub(super) fn region_of_arn(function: &str) -> Option<&str> {
    let mut parts = function.split(':');
    let is_lambda = parts.next() == Some("arn") && parts.next().is_some() && parts.next() == Some("lambda");
    parts.next().filter(|region| is_lambda && !region.is_empty())
}

fn aws_endpoint(region: &str) -> String {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://lambda.{region}.{suffix}")
}

fn check_function(function: &str) -> Result<(), InvokeError> {
    let bad = |reason| Err(InvokeError::Function { function: function.to_owned(), reason });
    match function.chars().count() {
        0 => bad("it is empty"),
        1..=FUNCTION_CHARS_MAX => Ok(()),
        _ => bad("it is too long"),
    }
}

fn split(endpoint: &str) -> Result<(Scheme, Authority, String), InvokeError> {
    let uri: Uri = endpoint.parse().map_err(|error| bad_endpoint(endpoint, format!("{error}")))?;
    let parts = uri.into_parts();
    let scheme = match parts.scheme {
        Some(scheme) if scheme == Scheme::HTTP || scheme == Scheme::HTTPS => scheme,
        Some(scheme) => {
            return Err(bad_endpoint(endpoint, format!("the scheme {scheme} is not http or https")));
        }
        None => return Err(bad_endpoint(endpoint, "it has no scheme".to_owned())),
    };
    let authority = parts.authority.ok_or_else(|| bad_endpoint(endpoint, "it has no host".to_owned()))?;
    if authority.as_str().contains('@') {
        return Err(bad_endpoint(endpoint, "it must not hold a user name".to_owned()));
    }
    let path = parts.path_and_query;
    if path.as_ref().is_some_and(|path| path.query().is_some()) {
        return Err(bad_endpoint(endpoint, "it must not have a query".to_owned()));
    }
    let base = path.map_or_else(String::new, |path| path.path().trim_end_matches('/').to_owned());
    Ok((scheme, authority, base))
}

fn bad_endpoint(endpoint: &str, reason: String) -> InvokeError {
    InvokeError::Endpoint { endpoint: endpoint.to_owned(), reason }
}

fn host_header(scheme: &Scheme, authority: &Authority) -> String {
    let default_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    match authority.port_u16() {
        Some(port) if port != default_port => format!("{}:{port}", authority.host()),
        _ => authority.host().to_owned(),
    }
}

/// RFC 3986's unreserved characters stay, every other byte is `%XX`: what AWS's SDKs do to a
/// label in a path and to a query value.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(endpoint: Option<&str>, function: &str, qualifier: Option<&str>) -> String {
        Target::new(endpoint, Some("eu-west-1"), function, qualifier).expect("valid").uri().to_string()
    }

    #[test]
    fn a_function_is_posted_to_at_its_regions_endpoint() {
        assert_eq!(
            url(None, "f", None),
            "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions/f/invocations"
        );
    }

    #[test]
    fn an_endpoint_keeps_its_path() {
        assert_eq!(
            url(Some("http://localhost:9001/base/"), "f", Some("$LATEST")),
            "http://localhost:9001/base/2015-03-31/functions/f/invocations?Qualifier=%24LATEST"
        );
    }

    #[test]
    fn names_are_percent_encoded() {
        assert_eq!(
            url(Some("http://h"), "arn:aws:lambda:eu-west-1:123456789012:function:f:live", None),
            "http://h/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Af%3Alive/invocations"
        );
        assert_eq!(
            url(Some("http://h"), "a/b ü?", None),
            "http://h/2015-03-31/functions/a%2Fb%20%C3%BC%3F/invocations"
        );
    }

    #[test]
    fn a_full_arn_names_its_region() {
        let arn = "arn:aws-cn:lambda:cn-north-1:123456789012:function:f";
        let target = Target::new(None, None, arn, None).expect("valid");
        assert_eq!(target.endpoint(), "https://lambda.cn-north-1.amazonaws.com.cn");
        assert!(target.is_aws() && target.is_tls());
        assert!(matches!(
            Target::new(None, None, "123456789012:function:f", None),
            Err(InvokeError::NoRegion { .. })
        ));
    }

    #[test]
    fn the_host_leaves_out_a_default_port() {
        let host = |endpoint| Target::new(Some(endpoint), None, "f", None).expect("valid").host().to_owned();
        assert_eq!(host("http://h:80"), "h");
        assert_eq!(host("http://h:443"), "h:443");
        assert_eq!(host("https://h:443"), "h");
        assert_eq!(host("https://[::1]:8443"), "[::1]:8443");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        for (endpoint, reason) in [
            ("localhost:9001", "no scheme"),
            ("ftp://h", "scheme ftp"),
            ("http://h/?a=b", "query"),
            ("http://me@h/", "user name"),
            ("http://", ""),
            ("", ""),
        ] {
            let error = Target::new(Some(endpoint), None, "f", None).expect_err(endpoint).to_string();
            assert!(error.contains(reason) && error.contains("give http://"), "{error}");
        }
        assert!(Target::new(Some("http://h"), None, "", None).is_err());
        assert!(Target::new(Some("http://h"), None, &"f".repeat(257), None).is_err());
    }
}
