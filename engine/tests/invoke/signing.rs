//! Signatures, verified by the specification's own steps (HMAC included), not by the crates that
//! made them.

use pelton::deliver::Outcome;
use pelton::invoke::{Invoker as _, LambdaInvoker, Signer, Signing};
use sha2::{Digest as _, Sha256};

use crate::payloads::{batch, pool};
use crate::server::{Act, Request, Server, success};
use crate::settings;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 2104.
fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    let mut block = [0; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&sha256(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner: Vec<u8> = block.iter().map(|byte| byte ^ 0x36).chain(text.bytes()).collect();
    let outer: Vec<u8> = block.iter().map(|byte| byte ^ 0x5c).chain(sha256(&inner)).collect();
    sha256(&outer)
}

/// Percent-encodes a path that is percent-encoded already: what every service but S3 asks for.
fn encoded_again(path: &str) -> String {
    path.replace('%', "%25")
}

/// The signature that a request should carry, by the four steps of the SigV4 specification.
fn signature(request: &Request, region: &str, signed_headers: &str) -> String {
    let target = request.line.split(' ').nth(1).expect("a request line");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: String = signed_headers
        .split(';')
        .map(|name| format!("{name}:{}\n", request.header(name).expect("a signed header is sent")))
        .collect();
    let canonical = format!(
        "POST\n{}\n{query}\n{headers}\n{signed_headers}\n{}",
        encoded_again(path),
        hex(&sha256(&request.body))
    );
    let time = request.header("x-amz-date").expect("a date");
    let day = &time[..8];
    let scope = format!("{day}/{region}/lambda/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&sha256(canonical.as_bytes())));
    let mut key = hmac(format!("AWS4{SECRET}").as_bytes(), day);
    for part in [region, "lambda", "aws4_request"] {
        key = hmac(&key, part);
    }
    hex(&hmac(&key, &to_sign))
}

/// The parts of `Authorization`: credential, signed headers, signature.
fn authorization(request: &Request) -> [&str; 3] {
    let value = request.header("authorization").expect("signed");
    let value = value.strip_prefix("AWS4-HMAC-SHA256 ").expect("SigV4");
    let parts: Vec<_> = value.split(", ").map(|part| part.split_once('=').expect("a part").1).collect();
    parts.try_into().expect("three parts")
}

#[test]
fn the_hand_made_hmac_is_right() {
    // RFC 4231, test case 2.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(hex(&hmac(b"Jefe", "what do ya want for nothing?")), expected);
}

#[tokio::test]
async fn a_signature_is_what_the_specification_computes() {
    for (function, qualifier, token, records) in [
        ("f", None, None, 3),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", Some("$LATEST"), Some("a/token=="), 10_000),
    ] {
        let server = Server::start([Act::Answer(success("null"))]);
        let mut settings = settings(&server);
        settings.function = function.to_owned();
        settings.qualifier = qualifier.map(str::to_owned);
        let signer = Signer::fixed("eu-west-1", "AKIDEXAMPLE", SECRET, token);
        let invoker = LambdaInvoker::new(&settings, Signing::SigV4(signer)).expect("valid");
        let outcome = invoker.invoke(batch(&mut pool(), records, 300).whole()).await;
        assert_eq!(outcome.label(), "success");
        let requests = server.requests();
        let request = &requests[0];
        let [credential, signed_headers, signed] = authorization(request);
        let day = &request.header("x-amz-date").unwrap()[..8];
        assert_eq!(credential, format!("AKIDEXAMPLE/{day}/eu-west-1/lambda/aws4_request"));
        assert_eq!(request.header("x-amz-security-token"), token);
        let expected_headers = if token.is_some() {
            "content-type;host;x-amz-date;x-amz-invocation-type;x-amz-security-token"
        } else {
            "content-type;host;x-amz-date;x-amz-invocation-type"
        };
        assert_eq!(signed_headers, expected_headers);
        assert_eq!(signed, signature(request, "eu-west-1", signed_headers));
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    #[derive(Debug)]
    struct Nothing;
    impl aws_credential_types::provider::ProvideCredentials for Nothing {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error =
                aws_credential_types::provider::error::CredentialsError::not_loaded("the role is gone");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
        }
    }
    let server = Server::start([]);
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(Nothing);
    let signing = Signing::SigV4(Signer::new("eu-west-1", provider));
    let invoker = LambdaInvoker::new(&settings(&server), signing).expect("valid");
    let outcome = invoker.invoke(batch(&mut pool(), 2, 100).whole()).await;
    let Outcome::Unreachable { reason } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("no AWS credentials") && reason.contains("the role is gone"), "{reason}");
    assert!(server.requests().is_empty());
}
