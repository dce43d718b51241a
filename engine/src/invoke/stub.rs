//! A function inside the process: no HTTP, the harness's law, and a check of what arrives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::Invoker;
use super::law::{self, Fault, Law, LawError};
use super::turnstile::{Passed, Turnstile};
use super::verify::{self, Mismatch};
use crate::batch::Payload;
use crate::deliver::Outcome;

/// What a function returns that has nothing to say.
const RESPONSE: Bytes = Bytes::from_static(b"null");

/// Stands in for a function, following a [`Law`].
#[derive(Debug)]
pub struct Stub {
    turnstile: Turnstile,
    timeout: Option<Duration>,
    verifying: Option<Verifying>,
}

impl Stub {
    /// Answers at once, and always with success: what is left is the engine's own cost.
    #[must_use]
    pub fn null() -> Self {
        Self { turnstile: Turnstile::open(), timeout: None, verifying: None }
    }

    /// Follows `law`. Needs tokio's timer if that takes time.
    ///
    /// # Errors
    /// If the law cannot be followed.
    pub fn new(law: Law) -> Result<Self, LawError> {
        Ok(Self { turnstile: Turnstile::new(law)?, ..Self::null() })
    }

    /// Invocations that would take longer time out after this.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Parses each payload and compares it with the records it was made of; what differs is
    /// counted and answered by a function error. Takes about as long as parsing the payload.
    #[must_use]
    pub fn with_verification(mut self) -> Self {
        self.verifying = Some(Verifying::default());
        self
    }

    /// What was invoked so far.
    #[must_use]
    pub fn passed(&self) -> Passed {
        self.turnstile.passed()
    }

    /// Payloads that differed from their records.
    #[must_use]
    pub fn mismatches(&self) -> u64 {
        self.verifying.as_ref().map_or(0, |verifying| verifying.mismatches.load(Ordering::Relaxed))
    }

    /// What the first of them differed in.
    #[must_use]
    pub fn first_mismatch(&self) -> Option<Mismatch> {
        let verifying = self.verifying.as_ref()?;
        verifying.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, payload: &Payload, fault: Option<Fault>) -> Outcome {
        let runs = fault.is_none_or(Fault::runs);
        if runs
            && let Some(verifying) = &self.verifying
            && let Err(mismatch) = verifying.check(payload)
        {
            return law::function_error("EventMismatch", mismatch.to_string());
        }
        fault.map_or(Outcome::Success { response_bytes: RESPONSE.len(), response: RESPONSE }, Fault::outcome)
    }
}

impl Invoker for Stub {
    async fn invoke(&self, payload: Payload) -> Outcome {
        let pass = self.turnstile.enter();
        let latency = pass.latency(payload.records(), payload.len());
        if let Some(timeout) = self.timeout.filter(|timeout| *timeout < latency) {
            tokio::time::sleep(timeout).await;
            return Outcome::TimedOut { after: timeout };
        }
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        self.answer(&payload, pass.fault)
    }
}

/// Checks payloads and remembers what was wrong.
#[derive(Debug, Default)]
struct Verifying {
    mismatches: AtomicU64,
    first: Mutex<Option<Mismatch>>,
    /// Buffers to flatten payloads into: as many as are checked at once, each as large as a
    /// payload.
    scratch: Mutex<Vec<Vec<u8>>>,
}

impl Verifying {
    fn check(&self, payload: &Payload) -> Result<(), Mismatch> {
        let scratch = |this: &Self| this.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut json = scratch(self).unwrap_or_default();
        json.clear();
        payload.write_to(&mut json);
        let checked = verify::payload(payload, &mut json);
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(json);
        checked.inspect_err(|mismatch| {
            self.mismatches.fetch_add(1, Ordering::Relaxed);
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| mismatch.clone());
        })
    }
}
