//! Ids and times. Every id follows from the seed, and no two events share a millisecond.

use fastrand::Rng;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};

use crate::event::Stamp;

/// Generates unique ids and times.
pub(crate) struct IdGenerator {
    rng: Rng,
    latest: OffsetDateTime,
}

impl IdGenerator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), latest: OffsetDateTime::UNIX_EPOCH }
    }

    /// 24 hex digits, like Mono's ids of accounts, customers and jobs.
    pub(crate) fn object_id(&mut self) -> String {
        format!("{:024x}", self.rng.u128(..) >> 32)
    }

    /// Mono's reference for its support desk.
    pub(crate) fn data_request_id(&mut self) -> String {
        self.alphanumeric(12).to_uppercase()
    }

    pub(crate) fn token(&mut self) -> String {
        self.alphanumeric(20)
    }

    pub(crate) fn stamp(&mut self) -> Stamp {
        Stamp { event_id: self.alphanumeric(42), at: self.now() }
    }

    /// The present in whole milliseconds, but always later than the previous result. Events are ordered by
    /// their timestamps, so two events that a test sends one after the other keep their order.
    pub(crate) fn now(&mut self) -> OffsetDateTime {
        let now = OffsetDateTime::now_utc();
        let now = now - Duration::nanoseconds(i64::from(now.nanosecond() % 1_000_000));
        self.latest = now.max(self.latest + Duration::MILLISECOND);
        self.latest
    }

    fn alphanumeric(&mut self, length: usize) -> String {
        std::iter::repeat_with(|| self.rng.alphanumeric()).take(length).collect()
    }
}

/// A time in Mono's format: `2026-01-27T21:00:38.856Z`.
pub(crate) fn iso(at: OffsetDateTime) -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.format(format).expect("a UTC time has every component")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn ids_are_24_hex_digits_and_follow_from_the_seed() {
        let id = IdGenerator::new(7).object_id();
        assert_eq!(id.len(), 24);
        assert!(id.chars().all(|digit| digit.is_ascii_hexdigit()));
        assert_eq!(id, IdGenerator::new(7).object_id());
        assert_ne!(id, IdGenerator::new(8).object_id());
    }

    #[test]
    fn times_are_whole_milliseconds_and_only_ever_grow() {
        let mut id_generator = IdGenerator::new(1);
        let times: Vec<_> = (0..100).map(|_| id_generator.now()).collect();
        assert!(times.is_sorted_by(|earlier, later| earlier < later));
        assert!(times.iter().all(|at| at.nanosecond() % 1_000_000 == 0));
    }

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        let at = datetime!(2026-01-05 09:00:07.004 UTC);
        assert_eq!(iso(at), "2026-01-05T09:00:07.004Z");
    }
}
