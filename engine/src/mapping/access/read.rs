//! Reads the entries of `source_access` and the secrets they name, keeping AWS's rules.

use serde_json::Value;

use super::fields::Fields;
use super::{Authentication, OAuthBearer, PasswordMechanism, SourceAccess};
use crate::mapping::limits::{SECRET_BYTES_MAX, SOURCE_ACCESS_MAX, SOURCE_ACCESS_URI_CHARS_MAX};
use crate::mapping::problem::Problem;
use crate::mapping::secret::{Secret, Surroundings};
use crate::mapping::value::Access;

/// AWS's types. The order is AWS's.
const TYPES: [&str; 15] = [
    "BASIC_AUTH",
    "VPC_SUBNET",
    "VPC_SECURITY_GROUP",
    "SASL_SCRAM_512_AUTH",
    "SASL_SCRAM_256_AUTH",
    "VIRTUAL_HOST",
    "CLIENT_CERTIFICATE_TLS_AUTH",
    "SERVER_ROOT_CA_CERTIFICATE",
    "OAUTHBEARER_AUTH",
    "OAUTHBEARER_SCOPE",
    "OAUTHBEARER_AUDIENCE",
    "OAUTHBEARER_LOGICAL_CLUSTER",
    "OAUTHBEARER_IDENTITY_POOL",
    "IAM_AUTH",
    "IAM_OAUTHBEARER_AUTH",
];

/// Those of which a mapping may have only one in all.
const AUTHENTICATIONS: [&str; 7] = [
    "BASIC_AUTH",
    "SASL_SCRAM_512_AUTH",
    "SASL_SCRAM_256_AUTH",
    "CLIENT_CERTIFICATE_TLS_AUTH",
    "OAUTHBEARER_AUTH",
    "IAM_AUTH",
    "IAM_OAUTHBEARER_AUTH",
];

/// Those whose URI is the value itself.
const LITERALS: [&str; 4] =
    ["OAUTHBEARER_SCOPE", "OAUTHBEARER_AUDIENCE", "OAUTHBEARER_LOGICAL_CLUSTER", "OAUTHBEARER_IDENTITY_POOL"];

/// Reads the entries and the secrets they name. What is wrong goes to `problems`, what has no
/// effect to `notes`; the result is to be used only if there are no problems.
pub(in crate::mapping) fn read(
    entries: &[Access],
    surroundings: &dyn Surroundings,
    problems: &mut Vec<Problem>,
    notes: &mut Vec<String>,
) -> SourceAccess {
    let mut reader = Reader { entries, surroundings, problems, notes };
    reader.check_entries();
    reader.check_companions();
    let root_ca = reader.root_ca();
    SourceAccess { authentication: reader.authentication().unwrap_or(Authentication::None), root_ca }
}

struct Reader<'a> {
    entries: &'a [Access],
    surroundings: &'a dyn Surroundings,
    problems: &'a mut Vec<Problem>,
    notes: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn uri_of(&self, kind: &str) -> Option<String> {
        self.entries.iter().find(|entry| entry.kind == kind).and_then(|entry| entry.uri.clone())
    }

    fn has(&self, kind: &str) -> bool {
        self.entries.iter().any(|entry| entry.kind == kind)
    }

    fn wrong(&mut self, field: &str, found: &str, allowed: &str, remedy: &str) {
        let path =
            if field.is_empty() { "source_access".to_owned() } else { format!("source_access {field}") };
        self.problems.push(Problem::wrong(path, found, allowed, remedy));
    }

    fn check_entries(&mut self) {
        if self.entries.len() > SOURCE_ACCESS_MAX {
            let found = format!("{} entries", self.entries.len());
            self.wrong("", &found, &format!("at most {SOURCE_ACCESS_MAX}"), "remove some");
        }
        for (index, entry) in self.entries.iter().enumerate() {
            let kind = entry.kind.as_str();
            let may_repeat = kind.starts_with("VPC_");
            if !may_repeat && self.entries[..index].iter().any(|earlier| earlier.kind == kind) {
                self.wrong(kind, "it twice", "each type once", "remove one of them");
            }
            self.check_kind(kind, entry.uri.as_deref());
        }
        let given: Vec<&str> = AUTHENTICATIONS.into_iter().filter(|kind| self.has(kind)).collect();
        if given.len() > 1 {
            let remedy = "keep the one that the brokers' listener expects";
            self.wrong("", &given.join(" and "), "one way to authenticate", remedy);
        }
    }

    fn check_kind(&mut self, kind: &str, uri: Option<&str>) {
        match (kind, uri) {
            (kind, _) if !TYPES.contains(&kind) => {
                let allowed =
                    TYPES.iter().filter(|kind| **kind != "VIRTUAL_HOST").copied().collect::<Vec<_>>();
                self.wrong("type", kind, &allowed.join(", "), "use one of these types");
            }
            ("VIRTUAL_HOST", _) => {
                self.wrong("type", kind, "types for Kafka", "remove it: it belongs to RabbitMQ");
            }
            ("IAM_AUTH" | "IAM_OAUTHBEARER_AUTH", _) => {
                let remedy = "Pelton does not support IAM authentication yet: use SASL/SCRAM or mutual TLS";
                self.wrong("type", kind, "types that this version supports", remedy);
            }
            (kind, None | Some("")) => {
                let remedy = "write env:NAME, file:/path, or the value itself where the type takes one";
                self.problems.push(Problem::missing(format!("source_access {kind} uri"), "a uri", remedy));
            }
            ("VPC_SUBNET" | "VPC_SECURITY_GROUP", Some(uri)) => {
                let prefix = if kind == "VPC_SUBNET" { "subnet:subnet-" } else { "security_group:sg-" };
                if uri.starts_with(prefix) {
                    self.notes.push(format!(
                        "{kind}={uri} has no effect: Pelton uses the network of its own machine"
                    ));
                } else {
                    self.wrong(&format!("{kind} uri"), uri, &format!("{prefix}..."), "correct or remove it");
                }
            }
            (kind, Some(uri)) => self.check_uri(kind, uri),
        }
    }

    fn check_uri(&mut self, kind: &str, uri: &str) {
        let field = format!("{kind} uri");
        let count = uri.chars().count();
        if count > SOURCE_ACCESS_URI_CHARS_MAX {
            let found = format!("{count} characters");
            self.wrong(
                &field,
                &found,
                &format!("at most {SOURCE_ACCESS_URI_CHARS_MAX}"),
                "use a shorter path",
            );
        } else if !LITERALS.contains(&kind) && uri.starts_with("arn:") {
            let remedy =
                "Pelton does not read AWS Secrets Manager: put the secret's JSON into a variable or file";
            self.wrong(&field, uri, "env:NAME or file:/path", remedy);
        } else if !LITERALS.contains(&kind) && !uri.starts_with("env:") && !uri.starts_with("file:") {
            self.wrong(
                &field,
                uri,
                "env:NAME or file:/path",
                "say where the secret lies, never the secret itself",
            );
        }
    }

    fn check_companions(&mut self) {
        for kind in LITERALS {
            if self.has(kind) && !self.has("OAUTHBEARER_AUTH") && !self.has("IAM_OAUTHBEARER_AUTH") {
                self.wrong(
                    "type",
                    kind,
                    "only together with OAUTHBEARER_AUTH",
                    "add OAUTHBEARER_AUTH or remove it",
                );
            }
        }
    }

    /// The text of the secret of `kind`; complains and answers `None` if there is none.
    fn secret_text(&mut self, kind: &str) -> Option<String> {
        let uri = self.uri_of(kind)?;
        let text = if let Some(name) = uri.strip_prefix("env:") {
            self.surroundings.variable(name).ok_or_else(|| format!("no environment variable {name}"))
        } else {
            // A wrong scheme was complained about already.
            self.surroundings.file(uri.strip_prefix("file:")?, SECRET_BYTES_MAX)
        };
        let field = format!("{kind} {uri}");
        let readable = "a secret of at most 65536 bytes that this process may read";
        match text {
            Ok(text) if text.len() <= SECRET_BYTES_MAX => Some(text),
            Ok(text) => {
                self.wrong(&field, &format!("{} bytes", text.len()), readable, "is it the right secret?");
                None
            }
            Err(reason) => {
                self.wrong(&field, &reason, readable, "create it or correct the uri");
                None
            }
        }
    }

    /// The secret of `kind` as the JSON object that AWS keeps.
    fn secret(&mut self, kind: &str) -> Option<Fields> {
        let text = self.secret_text(kind)?;
        // Messages of the JSON reader are left out: they may repeat parts of the secret.
        match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(object)) => Some(Fields { kind: kind.to_owned(), object }),
            _ => {
                let remedy = "write it as AWS Secrets Manager keeps it, such as \
                              {\"username\":\"..\",\"password\":\"..\"}";
                self.wrong(&format!("{kind} secret"), "something else", "a JSON object", remedy);
                None
            }
        }
    }

    fn root_ca(&mut self) -> Option<String> {
        const KIND: &str = "SERVER_ROOT_CA_CERTIFICATE";
        let uri = self.uri_of(KIND)?;
        let text = self.secret_text(KIND)?;
        if text.trim_start().starts_with("-----BEGIN CERTIFICATE-----") && !uri.is_empty() {
            return Some(text);
        }
        let mut fields = self.secret(KIND)?;
        fields.pem("certificate", "CERTIFICATE", self.problems)
    }

    fn authentication(&mut self) -> Option<Authentication> {
        let kind = AUTHENTICATIONS.into_iter().find(|kind| self.has(kind))?;
        let mechanism = match kind {
            "BASIC_AUTH" => PasswordMechanism::Plain,
            "SASL_SCRAM_256_AUTH" => PasswordMechanism::ScramSha256,
            "SASL_SCRAM_512_AUTH" => PasswordMechanism::ScramSha512,
            "CLIENT_CERTIFICATE_TLS_AUTH" => return self.client_certificate(),
            "OAUTHBEARER_AUTH" => return self.oauth_bearer().map(Authentication::OAuthBearer),
            _ => return None,
        };
        let mut fields = self.secret(kind)?;
        let username = fields.required("username", self.problems);
        let password = fields.required("password", self.problems);
        Some(Authentication::Password { mechanism, username: username?, password: Secret::new(password?) })
    }

    fn client_certificate(&mut self) -> Option<Authentication> {
        let mut fields = self.secret("CLIENT_CERTIFICATE_TLS_AUTH")?;
        let certificate = fields.pem("certificate", "CERTIFICATE", self.problems);
        let private_key = fields.pem("privateKey", "PRIVATE KEY", self.problems);
        let private_key_password = fields.optional("privateKeyPassword", self.problems).map(Secret::new);
        let encrypted = private_key.as_ref().is_some_and(|key| key.contains("BEGIN ENCRYPTED PRIVATE KEY"));
        if encrypted && private_key_password.is_none() {
            let remedy = "add the password, or store the key without one";
            let field = "source_access CLIENT_CERTIFICATE_TLS_AUTH secret privateKeyPassword";
            self.problems.push(Problem::missing(field, "the password of the encrypted privateKey", remedy));
        }
        let private_key = Secret::new(private_key?);
        Some(Authentication::ClientCertificate {
            certificate: certificate?,
            private_key,
            private_key_password,
        })
    }

    fn oauth_bearer(&mut self) -> Option<OAuthBearer> {
        let mut fields = self.secret("OAUTHBEARER_AUTH")?;
        let token_endpoint_url = fields.required("oauthTokenEndpointUrl", self.problems);
        if let Some(url) = &token_endpoint_url
            && !url.starts_with("https://")
        {
            self.wrong("OAUTHBEARER_AUTH secret oauthTokenEndpointUrl", url, "an https:// URL", "correct it");
        }
        let client_id = fields.required("oauthClientId", self.problems);
        let grant = fields.grant(self.problems);
        let token_expiration_seconds = fields.seconds("oauthTokenExpirationSeconds", self.problems);
        let idp_ca_certificate = match fields.object.contains_key("oauthIdpCaCertificate") {
            true => fields.pem("oauthIdpCaCertificate", "CERTIFICATE", self.problems),
            false => None,
        };
        Some(OAuthBearer {
            token_endpoint_url: token_endpoint_url?,
            client_id: client_id?,
            grant: grant?,
            token_expiration_seconds,
            idp_ca_certificate,
            scope: self.uri_of("OAUTHBEARER_SCOPE"),
            audience: self.uri_of("OAUTHBEARER_AUDIENCE"),
            logical_cluster: self.uri_of("OAUTHBEARER_LOGICAL_CLUSTER"),
            identity_pool: self.uri_of("OAUTHBEARER_IDENTITY_POOL"),
        })
    }
}
