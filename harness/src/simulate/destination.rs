//! A destination in name only: the engine asks its world to give records up, and the simulated
//! world does so itself.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use pelton::destination::{Destination, DestinationError, Failure};

/// What stands in the settings of mappings that have a destination.
pub(super) static NEVER_CALLED: LazyLock<Arc<dyn Destination>> = LazyLock::new(|| Arc::new(NeverCalled));

struct NeverCalled;

impl Destination for NeverCalled {
    fn deliver<'a>(
        &'a self,
        _: &'a Failure,
    ) -> Pin<Box<dyn Future<Output = Result<(), DestinationError>> + Send + 'a>> {
        Box::pin(ready(Err(DestinationError::new("simulated", "called past the simulated world"))))
    }

    fn name(&self) -> &str {
        "simulated"
    }
}
