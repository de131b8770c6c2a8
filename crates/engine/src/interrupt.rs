//! Ctrl-C and SIGTERM: the first signal asks the loop to stop at the next step, the second exits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Signals within this time count as one. A terminal sends Ctrl-C to a run and to the process that started it, which
/// passes it on.
pub const ONE_PRESS: Duration = Duration::from_millis(500);

/// Whether a stop was requested.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    signals: Arc<AtomicU8>,
}

impl Interrupt {
    /// Listens from now on. If no handler can be set, it never fires.
    pub fn listen() -> Self {
        Self::listen_and(|| ())
    }

    /// As [`Self::listen`]; `leave` is called before the second signal ends the process.
    pub fn listen_and(leave: fn()) -> Self {
        let interrupt = Self::default();
        let signals = Arc::clone(&interrupt.signals);
        let mut pressed_at: Option<Instant> = None;
        let set = ctrlc::set_handler(move || {
            if pressed_at.is_some_and(|it| it.elapsed() < ONE_PRESS) {
                return;
            }
            pressed_at = Some(Instant::now());
            if signals.fetch_add(1, Ordering::SeqCst) > 0 {
                leave();
                torch_ext::library::exit_now(130);
            }
        });
        drop(set);
        interrupt
    }

    /// Whether to stop at the next step.
    pub fn requested(&self) -> bool {
        self.signals.load(Ordering::SeqCst) > 0
    }

    /// Requests a stop like a signal.
    pub fn request(&self) {
        self.signals.fetch_add(1, Ordering::SeqCst);
    }
}
