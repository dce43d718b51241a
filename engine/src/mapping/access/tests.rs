//! The way into the cluster: what the brokers are told, and what is refused.

use std::collections::BTreeMap;

use super::*;
use crate::mapping::value::Access;
use crate::mapping::{SecurityProtocol, Surroundings, properties};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n";
const LOGIN: &str = r#"{"username":"alice","password":"hunter2","engine":"kafka"}"#;

struct Vault(BTreeMap<String, String>);

impl Surroundings for Vault {
    fn now_ms(&self) -> i64 {
        0
    }
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(&format!("env:{name}")).cloned()
    }
    fn file(&self, path: &str, _: usize) -> Result<String, String> {
        self.0.get(&format!("file:{path}")).cloned().ok_or_else(|| "no such file".to_owned())
    }
}

/// What comes of these entries (`TYPE=URI`) with these secrets (`URI`, text).
fn read(entries: &[&str], secrets: &[(&str, &str)]) -> (SourceAccess, String, Vec<String>) {
    let vault = Vault(secrets.iter().map(|(uri, text)| ((*uri).to_owned(), (*text).to_owned())).collect());
    let entry = |text: &&str| match text.split_once('=') {
        Some((kind, uri)) => Access { kind: kind.to_owned(), uri: Some(uri.to_owned()) },
        None => Access { kind: (*text).to_owned(), uri: None },
    };
    let entries: Vec<Access> = entries.iter().map(entry).collect();
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let access = super::read(&entries, &vault, &mut problems, &mut notes);
    (access, problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), notes)
}

fn properties(access: &SourceAccess, tls: bool, plaintext: bool) -> BTreeMap<String, String> {
    let protocol = SecurityProtocol::of(access, tls, plaintext);
    let list = properties::connection("b:9092", protocol, access);
    list.iter().map(|p| (p.name().to_owned(), p.reveal().to_owned())).collect()
}

#[test]
fn passwords_travel_under_tls_unless_somebody_insists() {
    for (kind, mechanism) in [
        ("BASIC_AUTH", "PLAIN"),
        ("SASL_SCRAM_256_AUTH", "SCRAM-SHA-256"),
        ("SASL_SCRAM_512_AUTH", "SCRAM-SHA-512"),
    ] {
        let (access, problems, _) = read(&[&format!("{kind}=env:S")], &[("env:S", LOGIN)]);
        assert_eq!(problems, "");
        let secure = properties(&access, false, false);
        assert_eq!(secure["security.protocol"], "SASL_SSL");
        assert_eq!(secure["ssl.ca.location"], "probe");
        assert_eq!(secure["sasl.mechanisms"], mechanism);
        assert_eq!(
            (secure["sasl.username"].as_str(), secure["sasl.password"].as_str()),
            ("alice", "hunter2")
        );
        let plain = properties(&access, false, true);
        assert_eq!(plain["security.protocol"], "SASL_PLAINTEXT");
        assert!(!plain.contains_key("ssl.ca.location"));
        assert_eq!(properties(&access, true, true)["security.protocol"], "SASL_SSL");
    }
}

#[test]
fn a_private_ca_goes_with_any_authentication_and_alone_means_tls() {
    let json = serde_json::json!({ "certificate": CERTIFICATE }).to_string();
    for text in [CERTIFICATE, &json] {
        let (access, problems, _) = read(&["SERVER_ROOT_CA_CERTIFICATE=file:/ca"], &[("file:/ca", text)]);
        assert_eq!(problems, "");
        let alone = properties(&access, false, false);
        assert_eq!((alone["security.protocol"].as_str(), alone["ssl.ca.pem"].as_str()), ("SSL", CERTIFICATE));
        assert!(!alone.contains_key("ssl.ca.location"));
    }
    let entries = ["SERVER_ROOT_CA_CERTIFICATE=file:/ca", "SASL_SCRAM_512_AUTH=env:S"];
    let (access, problems, _) = read(&entries, &[("file:/ca", CERTIFICATE), ("env:S", LOGIN)]);
    assert_eq!(problems, "");
    assert_eq!(properties(&access, false, true)["security.protocol"], "SASL_SSL", "a CA asks for TLS");
}

#[test]
fn nothing_given_is_plaintext_and_tls_alone_is_tls() {
    let (access, problems, notes) = read(&[], &[]);
    assert_eq!((problems.as_str(), notes.len()), ("", 0));
    let plain = properties(&access, false, false);
    assert_eq!(plain.len(), 2);
    assert_eq!(plain["security.protocol"], "PLAINTEXT");
    assert_eq!(properties(&access, true, false)["security.protocol"], "SSL");
}

#[test]
fn a_client_certificate_is_mutual_tls() {
    let secret = |value: serde_json::Value| {
        let text = value.to_string();
        let (access, problems, _) = read(&["CLIENT_CERTIFICATE_TLS_AUTH=file:/c"], &[("file:/c", &text)]);
        (properties(&access, false, false), problems)
    };
    let (properties, problems) = secret(serde_json::json!({ "certificate": CERTIFICATE, "privateKey": KEY }));
    assert_eq!(problems, "");
    assert_eq!(properties["security.protocol"], "SSL");
    assert_eq!(
        (properties["ssl.certificate.pem"].as_str(), properties["ssl.key.pem"].as_str()),
        (CERTIFICATE, KEY)
    );
    let encrypted = KEY.replace("PRIVATE", "ENCRYPTED PRIVATE");
    let (_, problems) = secret(serde_json::json!({ "certificate": CERTIFICATE, "privateKey": encrypted }));
    assert!(problems.contains("privateKeyPassword: not given"), "{problems}");
    let with_password =
        serde_json::json!({ "certificate": CERTIFICATE, "privateKey": encrypted, "privateKeyPassword": "p" });
    assert_eq!(secret(with_password).0["ssl.key.password"], "p");
    let (_, problems) = secret(serde_json::json!({ "certificate": "MII", "privateKey": 5 }));
    assert!(problems.contains("certificate: found something else; allowed: PEM"), "{problems}");
    assert!(problems.contains("privateKey: found another kind of value"), "{problems}");
}

#[test]
fn oauth_takes_the_fields_of_exactly_one_grant() {
    let read_oauth = |value: serde_json::Value| {
        let entries =
            ["OAUTHBEARER_AUTH=env:O", "OAUTHBEARER_SCOPE=read write", "OAUTHBEARER_LOGICAL_CLUSTER=lkc-1"];
        let (access, problems, _) = read(&entries, &[("env:O", &value.to_string())]);
        (access, problems)
    };
    let base = serde_json::json!({ "oauthTokenEndpointUrl": "https://idp/token", "oauthClientId": "me" });
    let with = |more: serde_json::Value| {
        let mut all = base.as_object().expect("object").clone();
        all.extend(more.as_object().expect("object").clone());
        serde_json::Value::Object(all)
    };
    let (access, problems) = read_oauth(with(
        serde_json::json!({ "oauthClientSecret": "s3", "oauthTokenExpirationSeconds": "60" }),
    ));
    assert_eq!(problems, "");
    assert_eq!(properties(&access, false, false)["sasl.mechanisms"], "OAUTHBEARER");
    let Authentication::OAuthBearer(oauth) = access.authentication else { panic!("not OAuth") };
    assert_eq!(oauth.grant, OAuthGrant::ClientSecret(Secret::new("s3")));
    assert_eq!((oauth.scope.as_deref(), oauth.token_expiration_seconds), (Some("read write"), Some(60)));
    assert_eq!((oauth.logical_cluster.as_deref(), oauth.audience), (Some("lkc-1"), None));
    assert!(!format!("{:?}", oauth.grant).contains("s3"));

    let (access, problems) =
        read_oauth(with(serde_json::json!({ "oauthClientEmail": "e", "oauthPrivateKey": KEY })));
    assert_eq!(problems, "");
    assert!(matches!(
        access.authentication,
        Authentication::OAuthBearer(OAuthBearer { grant: OAuthGrant::JwtBearer { .. }, .. })
    ));

    let (_, problems) =
        read_oauth(with(serde_json::json!({ "oauthClientSecret": "s", "oauthClientEmail": "e" })));
    assert!(problems.contains("the fields of both grants"), "{problems}");
    let (_, problems) = read_oauth(serde_json::json!({ "oauthTokenEndpointUrl": "http://idp" }));
    for expected in ["https:// URL", "oauthClientId: not given", "the fields of neither grant"] {
        assert!(problems.contains(expected), "{problems}");
    }
}

#[test]
fn every_rule_of_aws_s_list_is_kept() {
    for (entries, expected) in [
        (
            &["SASL_SCRAM_1024_AUTH=env:S"][..],
            "source_access type: found SASL_SCRAM_1024_AUTH; allowed: BASIC_AUTH, ",
        ),
        (&["VIRTUAL_HOST=/"], "it belongs to RabbitMQ"),
        (&["IAM_AUTH"], "does not support IAM authentication yet"),
        (&["IAM_OAUTHBEARER_AUTH", "OAUTHBEARER_AUDIENCE=a"], "does not support IAM authentication yet"),
        (
            &["BASIC_AUTH=env:S", "SASL_SCRAM_256_AUTH=env:S"],
            "found BASIC_AUTH and SASL_SCRAM_256_AUTH; allowed: one way",
        ),
        (&["BASIC_AUTH=env:S", "BASIC_AUTH=env:S"], "found it twice"),
        (&["BASIC_AUTH"], "source_access BASIC_AUTH uri: not given"),
        (
            &["BASIC_AUTH=arn:aws:secretsmanager:us-east-1:123456789012:secret:s"],
            "does not read AWS Secrets Manager",
        ),
        (&["BASIC_AUTH=alice"], "never the secret itself"),
        (&["BASIC_AUTH=env:NOWHERE"], "no environment variable NOWHERE"),
        (&["BASIC_AUTH=file:/nowhere"], "no such file"),
        (
            &["BASIC_AUTH=env:BROKEN"],
            "source_access BASIC_AUTH secret: found something else; allowed: a JSON object",
        ),
        (&["BASIC_AUTH=env:EMPTY"], "secret username: not given"),
        (&["BASIC_AUTH=env:LONG"], "65537 bytes"),
        (&["OAUTHBEARER_SCOPE=s"], "only together with OAUTHBEARER_AUTH"),
        (&["VPC_SUBNET=10.0.0.0/8"], "allowed: subnet:subnet-..."),
    ] {
        let long = "x".repeat(65_537);
        let secrets = [("env:S", LOGIN), ("env:BROKEN", "hunter2"), ("env:EMPTY", "{}"), ("env:LONG", &long)];
        let (_, problems, _) = read(entries, &secrets);
        assert!(problems.contains(expected), "{entries:?}: {problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
    let many = vec!["VPC_SUBNET=subnet:subnet-1"; 24];
    let (_, problems, notes) = read(&many, &[]);
    assert!(problems.contains("24 entries; allowed: at most 23"), "{problems}");
    assert!(notes[0].contains("VPC_SUBNET=subnet:subnet-1 has no effect"));
}
