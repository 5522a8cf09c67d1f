//! Random values from the operating system.

use std::time::Duration;

/// Unpredictable bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The call cannot fail on a system that has started a process.
    getrandom::getrandom(&mut bytes).expect("the system has randomness");
    bytes
}

/// A random time between half of `longest` and `longest`, so that concurrent workers do not retry at the same time.
pub fn jittered(longest: Duration) -> Duration {
    longest / 2 + longest / 2 * u32::from(bytes::<1>()[0]) / 255
}
