//! Ctrl-C: the first ends the load and keeps what was measured, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The shell's code for a process ended by SIGINT.
const KILLED_BY_INTERRUPT: i32 = 130;

/// Listens for Ctrl-C from now on. The flag is set by the first. Where the system offers no
/// signals, it is never set.
#[must_use]
pub fn listen() -> Arc<AtomicBool> {
    let pressed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&pressed);
    let listening = std::thread::Builder::new().name("harness-signal".into()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if flag.swap(true, Ordering::Relaxed) {
                    std::process::exit(KILLED_BY_INTERRUPT);
                }
            }
        });
    });
    if let Err(error) = listening {
        tracing::warn!(%error, "Ctrl-C will end the run without a result");
    }
    pressed
}
