//! How a client gets into the cluster: AWS's `SourceAccessConfigurations`, read and checked.
//!
//! AWS keeps secrets in Secrets Manager and names them by ARN. Here a secret is the same JSON, but
//! it lies in an environment variable (`env:NAME`) or in a file (`file:/path`). As a convenience, a
//! file for `SERVER_ROOT_CA_CERTIFICATE` may also be the PEM itself.

mod fields;
mod read;
#[cfg(test)]
mod tests;

pub(super) use read::read;

use super::secret::Secret;

/// How to authenticate, with everything that takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authentication {
    /// Not at all.
    None,
    /// SASL with a name and a password.
    Password {
        /// How the password is proved.
        mechanism: PasswordMechanism,
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A client certificate (mutual TLS).
    ClientCertificate {
        /// PEM, the client's first, the root's last.
        certificate: String,
        /// PEM, PKCS#8.
        private_key: Secret,
        /// If the key is encrypted.
        private_key_password: Option<Secret>,
    },
    /// SASL with a token that is fetched from an identity provider.
    OAuthBearer(OAuthBearer),
}

/// How a password is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordMechanism {
    /// `BASIC_AUTH`: sent as it is, under TLS.
    Plain,
    /// `SASL_SCRAM_256_AUTH`.
    ScramSha256,
    /// `SASL_SCRAM_512_AUTH`.
    ScramSha512,
}

impl PasswordMechanism {
    /// Kafka's name, as `sasl.mechanisms` wants it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// `OAUTHBEARER_AUTH` with its companions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthBearer {
    /// `oauthTokenEndpointUrl`, HTTPS.
    pub token_endpoint_url: String,
    /// `oauthClientId`.
    pub client_id: String,
    /// What proves who asks.
    pub grant: OAuthGrant,
    /// `oauthTokenExpirationSeconds`: how long to ask the token to live.
    pub token_expiration_seconds: Option<u32>,
    /// `oauthIdpCaCertificate`, PEM: the CA of the token endpoint.
    pub idp_ca_certificate: Option<String>,
    /// `OAUTHBEARER_SCOPE`.
    pub scope: Option<String>,
    /// `OAUTHBEARER_AUDIENCE`.
    pub audience: Option<String>,
    /// `OAUTHBEARER_LOGICAL_CLUSTER`, the SASL extension `logicalCluster`.
    pub logical_cluster: Option<String>,
    /// `OAUTHBEARER_IDENTITY_POOL`, the SASL extension `identityPoolId`.
    pub identity_pool: Option<String>,
}

/// Which OAuth grant fetches the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OAuthGrant {
    /// Client credentials: `oauthClientSecret`.
    ClientSecret(Secret),
    /// JWT bearer: `oauthClientEmail` and `oauthPrivateKey`.
    JwtBearer {
        /// The issuer.
        client_email: String,
        /// PEM; signs the assertion.
        private_key: Secret,
    },
}

/// The way into the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAccess {
    /// How to authenticate.
    pub authentication: Authentication,
    /// PEM of the private CA that signed the brokers' certificates; `None` for the public CAs.
    pub root_ca: Option<String>,
}
