//! Death on purpose, for tests: `SNUG_FAULT=POINT` or `POINT@N` kills the process as `kill -9` does
//! when it passes that point for the first or Nth time. CONTRIBUTING lists the points.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable.
pub const VARIABLE: &str = "SNUG_FAULT";

/// Every point, in the order in which writing a snapshot passes them.
pub const POINTS: &[&str] = &[
    "snapshot:created",
    "snapshot:half-written",
    "snapshot:written",
    "snapshot:synced",
    "snapshot:moved-away",
    "snapshot:renamed",
    "snapshot:done",
    "epoch:logged",
    "epoch:best-saved",
];

/// Dies here, where the environment says so.
pub fn reached(point: &'static str) {
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    debug_assert!(POINTS.contains(&point), "{point} is not listed");
    let wanted = WANTED.get_or_init(|| parse(&std::env::var(VARIABLE).ok()?));
    if let Some((name, nth)) = wanted
        && name == point
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    {
        die();
    }
}

fn parse(text: &str) -> Option<(String, u64)> {
    match text.split_once('@') {
        Some((name, nth)) => Some((name.to_owned(), nth.parse().ok()?)),
        None => Some((text.to_owned(), 1)),
    }
}

/// No destructor, no flush, no handler runs.
#[cfg(unix)]
fn die() {
    use rustix::process::{Signal, getpid, kill_process};
    // Where the system refuses, the test sees that nothing died.
    let _refused = kill_process(getpid(), Signal::KILL);
}

#[cfg(not(unix))]
fn die() {
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_can_be_counted() {
        assert_eq!(parse("a:b"), Some(("a:b".to_owned(), 1)));
        assert_eq!(parse("a:b@3"), Some(("a:b".to_owned(), 3)));
        assert_eq!(parse("a:b@x"), None);
    }
}
