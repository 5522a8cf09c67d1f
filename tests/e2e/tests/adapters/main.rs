//! Tests the adapters against the emulator. A proxy between them can make requests fail.

#![allow(clippy::unwrap_used, reason = "a missing value fails the test")]

mod dead_letters;
mod deliverer;
mod leases;
mod ledger;
mod mono;
mod notifier;
mod records;
mod scans;
mod secrets;

use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::proxy::{Failure, Proxy};
use e2e::shared_stack::local;

/// A name that no other test of this program uses.
fn unique(prefix: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // Of one length, so that no name is contained in another: faults are matched by text.
    format!("{prefix}-{:06}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes the next requests fail that have this operation and contain this text: one request for each
/// failure.
fn fail(operation: &'static str, containing: &str, failures: &[Failure]) {
    local().proxy.fail(operation, containing, failures);
}

fn proxy() -> &'static Proxy {
    &local().proxy
}
