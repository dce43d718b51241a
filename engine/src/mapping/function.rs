//! The function's name and where it is invoked.

use std::fmt;

use super::limits::{FUNCTION_CHARS, FUNCTION_NAME_CHARS_MAX};

/// A function as AWS names it: `name`, `account:function:name` or a full ARN, each with an
/// optional version or alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    unqualified: String,
    name: String,
    qualifier: Option<String>,
    region: Option<String>,
}

impl Function {
    /// Reads AWS's `FunctionName`; `None` if it is none.
    ///
    /// AWS: `(arn:(aws[a-zA-Z-]*)?:lambda:)?((region):)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)`
    /// and `(:(\$LATEST|[a-zA-Z0-9-_]+))?`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !FUNCTION_CHARS.contains(&text.chars().count()) {
            return None;
        }
        let parts: Vec<&str> = text.split(':').collect();
        let (region, name, qualifier) = match parts.as_slice() {
            [name] => (None, name, None),
            ["arn", partition, "lambda", region, account, "function", name, rest @ ..]
                if partition.starts_with("aws") && is_region(region) && is_account(account) =>
            {
                (Some(*region), name, one_or_none(rest)?)
            }
            [account, "function", name, rest @ ..] if is_account(account) => (None, name, one_or_none(rest)?),
            ["function", name, rest @ ..] => (None, name, one_or_none(rest)?),
            [name, qualifier] => (None, name, Some(*qualifier)),
            _ => return None,
        };
        let named = is_name(name) && name.len() <= FUNCTION_NAME_CHARS_MAX;
        if !named || !qualifier.is_none_or(is_qualifier) {
            return None;
        }
        let tail = qualifier.map_or(0, |qualifier| qualifier.len() + 1);
        Some(Self {
            unqualified: text[..text.len() - tail].to_owned(),
            name: (*name).to_owned(),
            qualifier: qualifier.map(str::to_owned),
            region: region.map(str::to_owned),
        })
    }

    /// The bare name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands in the path of an Invoke request: the name or ARN without the qualifier. Of
    /// letters, digits and `- _ :`.
    #[must_use]
    pub fn unqualified(&self) -> &str {
        &self.unqualified
    }

    /// The version or alias, which travels as `?Qualifier=`. May be `$LATEST`.
    #[must_use]
    pub fn qualifier(&self) -> Option<&str> {
        self.qualifier.as_deref()
    }

    /// The region, where a full ARN names it.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unqualified)?;
        self.qualifier.as_ref().map_or(Ok(()), |qualifier| write!(f, ":{qualifier}"))
    }
}

#[expect(clippy::option_option, reason = "no element and too many elements are different")]
fn one_or_none<'a>(rest: &[&'a str]) -> Option<Option<&'a str>> {
    match rest {
        [] => Some(None),
        [one] => Some(Some(one)),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_qualifier(qualifier: &str) -> bool {
    ["$LATEST", "$LATEST.PUBLISHED"].contains(&qualifier) || (is_name(qualifier) && qualifier.len() <= 128)
}

pub(super) fn is_account(account: &str) -> bool {
    account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())
}

/// Whether this looks like a region: `eu-central-1`. Local runtimes use other names, so only what
/// cannot stand in a host name is refused.
pub(super) fn is_region(region: &str) -> bool {
    (1..=32).contains(&region.len())
        && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !region.starts_with('-')
        && !region.ends_with('-')
}

/// Where the Lambda Invoke API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    tls: bool,
}

impl Endpoint {
    /// Reads an `http` or `https` URL without query, fragment or user; `None` if it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (tls, rest) = match text.split_once("://")? {
            (scheme, rest) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            (scheme, rest) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return None,
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let path = path.trim_end_matches('/');
        let path_is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~%".contains(&b));
        if !is_authority(authority) || !path_is_plain {
            return None;
        }
        let scheme = if tls { "https" } else { "http" };
        Some(Self { url: format!("{scheme}://{authority}{path}"), tls })
    }

    /// Lambda's own endpoint in `region`.
    pub(super) fn aws(region: &str) -> Self {
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        Self { url: format!("https://lambda.{region}.amazonaws.com{suffix}"), tls: true }
    }

    /// The URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Whether this is `host` or `host:port`.
fn is_authority(authority: &str) -> bool {
    let bracketed = authority.ends_with(']');
    match authority.rsplit_once(':') {
        Some(_) if !bracketed => is_host_and_port(authority),
        _ => is_host(authority),
    }
}

/// Whether this is `host:port`, the port in 1 to 65535.
pub(super) fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        is_host(host) && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// A DNS name (with `_`, which container networks use), an IPv4 address or an IPv6 address in
/// brackets.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label = |label: &str| {
        let ends = label.starts_with('-') || label.ends_with('-');
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (1..=63).contains(&label.len()) && plain && !ends
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_aws_s_ways_to_name_a_function_are_read() {
        let full = "arn:aws:lambda:us-west-2:123456789012:function:my-function";
        for (text, unqualified, qualifier, region) in [
            ("my-function", "my-function", None, None),
            ("my-function:v1", "my-function", Some("v1"), None),
            ("123456789012:function:my-function", "123456789012:function:my-function", None, None),
            ("123456789012:function:my-function:7", "123456789012:function:my-function", Some("7"), None),
            ("function:my-function", "function:my-function", None, None),
            (full, full, None, Some("us-west-2")),
            (&format!("{full}:$LATEST"), full, Some("$LATEST"), Some("us-west-2")),
            (&format!("{full}:$LATEST.PUBLISHED"), full, Some("$LATEST.PUBLISHED"), Some("us-west-2")),
        ] {
            let function = Function::parse(text).expect(text);
            assert_eq!(function.name(), "my-function");
            assert_eq!(
                (function.unqualified(), function.qualifier(), function.region()),
                (unqualified, qualifier, region)
            );
            assert_eq!(function.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_function_is_refused() {
        let long = "f".repeat(65);
        for text in
            ["", "a b", "a:b:c", "f:", ":f", "f/../g", "arn:aws:s3:::b", "f?x=1", "f:$latest", "é", &long]
        {
            assert_eq!(Function::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_an_http_url_that_can_be_extended() {
        for (text, url, tls) in [
            ("http://localhost:9001", "http://localhost:9001", false),
            (
                "HTTPS://vpce-1.lambda.eu-central-1.vpce.amazonaws.com/",
                "https://vpce-1.lambda.eu-central-1.vpce.amazonaws.com",
                true,
            ),
            ("http://[::1]:80/base/path//", "http://[::1]:80/base/path", false),
            ("http://kafka_stub", "http://kafka_stub", false),
        ] {
            let endpoint = Endpoint::parse(text).expect(text);
            assert_eq!((endpoint.url(), endpoint.is_tls()), (url, tls));
        }
        for text in [
            "",
            "localhost:9001",
            "ftp://h",
            "http://",
            "http://h:0",
            "http://h:99999",
            "http://u@h",
            "http://h?q",
            "http://h/a b",
            "http://-h",
        ] {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
        assert_eq!(Endpoint::aws("cn-north-1").url(), "https://lambda.cn-north-1.amazonaws.com.cn");
    }
}
