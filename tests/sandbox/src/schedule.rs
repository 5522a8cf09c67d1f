//! When Mono tries again.
//!
//! Mono documents the numbers on its direct-debit page only; it is one dispatcher for all events,
//! so they are taken to hold for all.

use std::time::Duration;

const FIRST_WAIT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_hours(4);
const WINDOW: Duration = Duration::from_hours(48);
const MOST_ATTEMPTS: usize = 25;

/// The waits between one attempt and the next, in Mono's own time: doubling from 30 s, none longer
/// than four hours, none that ends more than 48 hours after the first attempt.
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
    fn no_wait_is_longer_than_four_hours() {
        assert!(waits().all(|wait| wait <= LONGEST_WAIT));
        assert_eq!(waits().last(), Some(LONGEST_WAIT));
    }

    #[test]
    fn window_of_48_hours_ends_the_retries_before_the_25_attempts_are_used_up() {
        assert_eq!(waits().count(), 19);
        let elapsed: Duration = waits().sum();
        assert!(elapsed <= WINDOW && elapsed + LONGEST_WAIT > WINDOW);
    }
}
