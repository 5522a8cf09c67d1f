//! The system's randomness.

use std::time::Duration;

/// Eight bytes that nobody can foresee.
pub(crate) fn bytes() -> [u8; 8] {
    let mut bytes = [0; 8];
    // It cannot fail on a system that has started a process.
    getrandom::getrandom(&mut bytes).expect("the system has randomness");
    bytes
}

/// Between half of this time and all of it, so that those who wait for the same do not meet again.
pub fn jittered(longest: Duration) -> Duration {
    longest / 2 + longest / 2 * u32::from(bytes()[0]) / 255
}
