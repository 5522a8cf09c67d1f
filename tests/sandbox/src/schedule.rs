//! The times of Mono's webhook retries.
//!
//! Mono documents these numbers only on its direct-debit page. The sandbox assumes the same dispatcher
//! for all events.

use std::time::Duration;

const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_hours(4);
const WINDOW: Duration = Duration::from_hours(48);
const MOST_ATTEMPTS: usize = 25;

/// The waits between attempts, in Mono's time: exponential back-off from 30 s to four hours. The last
/// attempt is at most 48 hours after the first one.
pub fn waits() -> impl Iterator<Item = Duration> {
    doubling()
        .scan(Duration::ZERO, |elapsed, wait| {
            *elapsed += wait;
            (*elapsed <= WINDOW).then_some(wait)
        })
        .take(MOST_ATTEMPTS - 1)
}

fn doubling() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(FIRST_WAIT), |wait| Some((*wait * 2).min(LONGEST_WAIT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_retry_comes_after_thirty_seconds_and_each_wait_doubles() {
        let first: Vec<u64> = waits().take(9).map(|wait| wait.as_secs()).collect();
        assert_eq!(first, [30, 60, 120, 240, 480, 960, 1920, 3840, 7680]);
    }

    #[test]
    fn waits_are_at_most_four_hours() {
        assert!(waits().all(|wait| wait <= LONGEST_WAIT));
        assert_eq!(waits().last(), Some(LONGEST_WAIT));
    }

    #[test]
    fn retries_end_after_48_hours_with_fewer_than_25_attempts() {
        assert_eq!(waits().count(), 19);
        let elapsed: Duration = waits().sum();
        assert!(elapsed <= WINDOW && elapsed + LONGEST_WAIT > WINDOW);
    }
}
