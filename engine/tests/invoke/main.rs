//! Invokers from outside: the Lambda API against servers that behave and servers that do not, and
//! the stand-ins.

#![cfg(feature = "runtime")]

mod answers;
mod hostile;
mod payloads;
mod server;
#[cfg(feature = "aws")]
mod signing;
mod stub;

use payloads::{batch, pool};
use pelton::deliver::Outcome;
use pelton::invoke::{Invoker as _, LambdaInvoker, LambdaSettings, Signing};
use server::{Act, Server, answer};

fn settings(server: &Server) -> LambdaSettings {
    let mut settings = LambdaSettings::new("my-function");
    settings.endpoint = Some(server.endpoint());
    settings
}

fn invoker(settings: &LambdaSettings) -> LambdaInvoker {
    LambdaInvoker::new(settings, Signing::Unsigned).expect("valid settings")
}

/// What one act makes of a small payload.
async fn outcome_of(act: Act) -> Outcome {
    let server = Server::start([act]);
    invoker(&settings(&server)).invoke(batch(&mut pool(), 2, 100).whole()).await
}

async fn outcome_of_answer(status: &str, headers: &[(&str, &str)], body: &str) -> Outcome {
    outcome_of(Act::Answer(answer(status, headers, body))).await
}
