//! One invocation of a function: its request id and its deadline.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::timestamp::Timestamp;

#[derive(Clone, Debug)]
pub struct Invocation {
    /// Lambda's id. Answers carry it as `x-request-id`.
    pub request_id: String,
    /// The time at which work must stop, so that there is time to answer.
    pub deadline: Instant,
    /// The time at which Lambda ends the invocation.
    pub ends_at: Timestamp,
}

/// The time reserved for the answer.
const MARGIN: Duration = Duration::from_secs(1);
/// One year, in milliseconds.
const YEAR: u64 = 365 * 24 * 60 * 60 * 1000;
/// The assumed time of an invocation without a known end.
const UNKNOWN_TIME: Duration = Duration::from_secs(30);

impl Invocation {
    /// An invocation that Lambda ends at `end`, in milliseconds since the epoch. An end in 1970 counts as unknown,
    /// because `cargo lambda watch` sends an unrelated number.
    pub fn new(request_id: String, end: u64) -> Self {
        let now = Timestamp::now();
        let known = Some(Timestamp::from_millis(end)).filter(|_| end >= YEAR);
        let ends_at = known.unwrap_or(now + UNKNOWN_TIME);
        let left = ends_at.since(now).saturating_sub(MARGIN);
        Self { request_id, deadline: Instant::now() + left, ends_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(end: Timestamp) -> Duration {
        Invocation::new(String::new(), end.millis()).deadline - Instant::now()
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_is_a_second_before_the_end() {
        let left = left(Timestamp::now() + Duration::from_secs(30));
        assert!(left > Duration::from_secs(28) && left <= Duration::from_secs(29));
    }

    #[tokio::test(start_paused = true)]
    async fn invocation_past_its_end_has_no_time_left() {
        assert_eq!(left(Timestamp::now() - Duration::from_secs(1)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn end_in_1970_counts_as_unknown() {
        assert_eq!(left(Timestamp::from_millis(600_000)), Duration::from_secs(29));
    }
}
