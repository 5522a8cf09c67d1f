//! A day in the time zone of the banks.

use std::fmt;
use std::ops::{Add, RangeInclusive, Sub};
use std::time::Duration;

use time::Date;
use time::macros::{date, format_description};

use crate::domain::timestamp::Timestamp;

/// A day in Africa/Lagos, which is one hour ahead of UTC all year. Mono dates most rows with the midnight at which
/// their business day begins. In UTC this is `T23:00:00Z` of the previous day.
///
/// The range is 1970-01-01 to 9999-12-31. Arithmetic saturates at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusinessDay(u32);

/// A range of consecutive days.
pub type Days = RangeInclusive<BusinessDay>;

const DAY: u64 = 24 * 60 * 60 * 1000;
const AHEAD_OF_UTC: u64 = 60 * 60 * 1000;
const FIRST: Date = date!(1970 - 01 - 01);
const LAST: BusinessDay = BusinessDay(2_932_896);

impl BusinessDay {
    /// The day that contains this time.
    pub fn of(at: Timestamp) -> Self {
        let days = (at.millis() + AHEAD_OF_UTC) / DAY;
        Self(u32::try_from(days).map_or(LAST.0, |days| days.min(LAST.0)))
    }

    /// Reads `2026-01-27`. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        let days = u32::try_from((date - FIRST).whole_days()).ok()?;
        Some(Self(days)).filter(|day| day.to_string() == text)
    }

    /// The first millisecond of the day.
    pub fn begins_at(self) -> Timestamp {
        Timestamp::from_millis((u64::from(self.0) * DAY).saturating_sub(AHEAD_OF_UTC))
    }

    /// The last millisecond of the day.
    pub fn ends_at(self) -> Timestamp {
        Timestamp::from_millis((u64::from(self.0) + 1) * DAY - AHEAD_OF_UTC - 1)
    }

    /// The number of days since `other`. 0 if `other` is later.
    pub fn days_after(self, other: Self) -> u32 {
        self.0.saturating_sub(other.0)
    }

    /// The number of days since 1970-01-01.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The day with this [`number`](Self::number).
    pub fn from_number(number: u32) -> Self {
        Self(number.min(LAST.0))
    }

    /// The format of Mono's parameters: `27-01-2026`.
    pub fn for_mono(self) -> String {
        let date = self.date();
        format!("{:02}-{:02}-{:04}", date.day(), u8::from(date.month()), date.year())
    }

    fn date(self) -> Date {
        FIRST + Duration::from_hours(24 * u64::from(self.0))
    }
}

impl Add<u32> for BusinessDay {
    type Output = Self;

    fn add(self, days: u32) -> Self {
        Self(self.0.saturating_add(days).min(LAST.0))
    }
}

impl Sub<u32> for BusinessDay {
    type Output = Self;

    fn sub(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }
}

/// `2026-01-27`.
impl fmt::Display for BusinessDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.date();
        write!(f, "{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn business_day_begins_one_hour_before_the_utc_day() {
        let day = BusinessDay::parse("2026-01-27").unwrap();
        assert_eq!(day.begins_at(), time("2026-01-26T23:00:00Z"));
        assert_eq!(day.ends_at(), time("2026-01-27T22:59:59.999Z"));
        assert_eq!(BusinessDay::of(time("2026-01-26T23:00:00Z")), day);
        assert_eq!(BusinessDay::of(time("2026-01-26T22:59:59.999Z")), day - 1);
        assert_eq!((day + 5).to_string(), "2026-02-01");
        assert_eq!((day.for_mono(), (day + 5).days_after(day)), ("27-01-2026".to_owned(), 5));
    }

    #[test]
    fn text_that_is_not_a_day_is_none() {
        for text in ["", "2026-1-27", "2026-02-30", "27-01-2026", "1969-12-31", "+2026-01-27"] {
            assert_eq!(BusinessDay::parse(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends_of_the_range() {
        assert_eq!(LAST.to_string(), "9999-12-31");
        assert_eq!((LAST + 1, BusinessDay(0) - 1), (LAST, BusinessDay(0)));
        assert_eq!(BusinessDay::of(Timestamp::from_millis(u64::MAX)), LAST);
        assert_eq!(BusinessDay(0).begins_at(), Timestamp::from_millis(0));
    }

    proptest! {
        #[test]
        fn written_day_is_read_back_and_contains_its_bounds(number in 1..LAST.0) {
            let day = BusinessDay(number);
            prop_assert_eq!(BusinessDay::parse(&day.to_string()), Some(day));
            prop_assert_eq!(BusinessDay::of(day.begins_at()), day);
            prop_assert_eq!(BusinessDay::of(day.ends_at()), day);
        }
    }
}
