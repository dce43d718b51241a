//! Hands a payload to the function and says what came of it.
//!
//! An [`Invoker`] makes **one attempt** and ends in an [`Outcome`]; whether and when to try again
//! is [`crate::deliver`]'s business. [`LambdaInvoker`] speaks Lambda's Invoke API over HTTP, to AWS
//! or to a local runtime; [`Stub`] stands in for a function inside the process.
//!
//! A payload is never copied here: its frames go to the socket as they are, gathered by `writev`
//! (`body`). Over TLS they are copied once, by the encryption; signing reads them once.

use std::future::Future;

use crate::batch::Payload;
use crate::deliver::Outcome;

mod answer;
mod body;
mod connect;
mod lambda;
pub mod law;
#[cfg(feature = "aws")]
mod sign;
mod stub;
mod target;
mod turnstile;
pub mod verify;

pub use lambda::{LambdaInvoker, LambdaSettings, Signing};
#[cfg(feature = "aws")]
pub use sign::Signer;
pub use stub::Stub;
pub use target::Target;
pub use turnstile::{Pass, Passed, Turnstile};

/// Makes one attempt to invoke the function with a payload.
///
/// The future may be dropped at any time; the attempt is then abandoned, whether or not the
/// function ran.
pub trait Invoker: Send + Sync + 'static {
    /// Invokes the function and waits for its answer. Never fails: whatever happens is an
    /// [`Outcome`].
    fn invoke(&self, payload: Payload) -> impl Future<Output = Outcome> + Send;
}

/// The largest response that Lambda lets a function return. What is longer is a function error, as
/// it is on AWS.
pub const RESPONSE_BYTES_MAX: usize = 6_291_556;

/// Why an invoker cannot be made. All of these are mistakes in settings or surroundings, found
/// before anything is invoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The endpoint is not an address.
    #[error(
        "endpoint {endpoint:?}: {reason}; give http://host:port or https://host, with a path if there is one"
    )]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The function's name cannot be one.
    #[error(
        "function {function:?}: {reason}; give a name, a partial ARN or a full ARN of 1 to 256 characters"
    )]
    Function {
        /// As configured.
        function: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// AWS's endpoint depends on the region, and none is known.
    #[error(
        "no region is known for function {function:?}; give the function's full ARN, set AWS_REGION, or set \
         an endpoint"
    )]
    NoRegion {
        /// As configured.
        function: String,
    },
    /// AWS takes signed requests only, and there is nothing to sign with.
    #[error(
        "no AWS credentials for {endpoint}: {reason}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
         AWS_PROFILE, or run with a role"
    )]
    Credentials {
        /// Where the requests would go.
        endpoint: String,
        /// What the credential chain said.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS towards {endpoint}: {reason}")]
    Tls {
        /// Where the requests would go.
        endpoint: String,
        /// What is missing.
        reason: String,
    },
}
