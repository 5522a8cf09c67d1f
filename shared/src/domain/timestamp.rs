//! A point in time, to the millisecond, in UTC.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// Milliseconds since 1970-01-01T00:00:00Z, at most the end of the year 9999. Each value can therefore be written as
/// RFC 3339 and stored in six bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    const LATEST: u64 = 253_402_300_799_999;

    /// Clamps to the range of the type.
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > Self::LATEST { Self::LATEST } else { millis })
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The value as six bytes, big-endian.
    pub const fn to_bytes(self) -> [u8; 6] {
        let [_, _, bytes @ ..] = self.0.to_be_bytes();
        bytes
    }

    /// Reads the bytes of [`to_bytes`](Self::to_bytes).
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        let [m0, m1, m2, m3, m4, m5] = bytes;
        Self::from_millis(u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]))
    }

    /// Reads RFC 3339 with any offset. Mono writes `2026-01-27T21:00:38.856Z`. `None` for any other text, and for a
    /// time before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = u64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).ok()?;
        Some(Self::from_millis(millis))
    }

    /// The time since `earlier`. Zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later_by: Duration) -> Self {
        let millis = u64::try_from(later_by.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, earlier_by: Duration) -> Self {
        let millis = u64::try_from(earlier_by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }
}

/// RFC 3339 in UTC with milliseconds, the format that Mono uses.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        );
        let nanos = i128::from(self.0) * 1_000_000;
        let written = OffsetDateTime::from_unix_timestamp_nanos(nanos)
            .ok()
            .and_then(|moment| moment.format(format).ok());
        f.write_str(written.as_deref().ok_or(fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timestamp_in_monos_format_is_read_and_written_unchanged() {
        let text = "2026-01-27T21:00:38.856Z";
        assert_eq!(Timestamp::parse_rfc3339(text).unwrap().to_string(), text);
    }

    #[test]
    fn offset_is_converted_to_utc() {
        let lagos = Timestamp::parse_rfc3339("2026-01-27T22:00:38+01:00").unwrap();
        assert_eq!(lagos.to_string(), "2026-01-27T21:00:38.000Z");
    }

    #[test]
    fn text_that_is_not_a_time_since_1970_is_none() {
        for text in ["", "yesterday", "2026-01-27", "1969-12-31T23:59:59Z", "1706389238"] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends_of_the_range() {
        let last = Timestamp::from_millis(u64::MAX);
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(last + Duration::MAX, last);
        assert_eq!(last - Duration::MAX, Timestamp::from_millis(0));
    }

    proptest! {
        #[test]
        fn written_timestamp_is_read_back_unchanged(millis in 0..=Timestamp::LATEST) {
            let moment = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse_rfc3339(&moment.to_string()), Some(moment));
            prop_assert_eq!(Timestamp::from_bytes(moment.to_bytes()), moment);
        }

        #[test]
        fn arbitrary_text_is_read_without_panic(text in "\\PC*") {
            let _ = Timestamp::parse_rfc3339(&text);
        }
    }
}
