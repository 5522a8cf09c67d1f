//! The adapters against the emulator, with a proxy between that can make requests fail.

#![allow(clippy::unwrap_used, reason = "in a test, what is not there fails it")]

mod dead_letters;
mod leases;
mod ledger;
mod mono;
mod records;
mod scans;
mod secrets;

use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::proxy::{Failure, Proxy};
use e2e::shared_stack::local;

/// A name that no other test of this program has.
fn unique(prefix: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes the next requests for this operation and with this text fail, each in its way.
fn fail(operation: &'static str, containing: &str, failures: &[Failure]) {
    local().proxy.fail(operation, containing, failures);
}

fn proxy() -> &'static Proxy {
    &local().proxy
}
