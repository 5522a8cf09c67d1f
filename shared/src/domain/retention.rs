//! For how long transactions are kept.

use std::num::NonZeroU32;

use crate::domain::business_day::BusinessDay;
use crate::domain::timestamp::Timestamp;

/// For how many days a transaction is kept, by the bank's date. The default keeps transactions for ever.
///
/// The day of the transaction is the first of these days. After the last one, the transaction is expired: no import
/// writes it, no answer shows it, and DynamoDB deletes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention(Option<NonZeroU32>);

impl Retention {
    /// 0: for ever.
    pub const fn of_days(days: u32) -> Self {
        Self(NonZeroU32::new(days))
    }

    pub const fn is_limited(self) -> bool {
        self.0.is_some()
    }

    /// The first day whose transactions are kept.
    pub fn first_day(self, today: BusinessDay) -> BusinessDay {
        self.0.map_or(BusinessDay::from_number(0), |days| today - (days.get() - 1))
    }

    /// Whether a transaction with this date is expired.
    pub fn is_expired(self, date: Timestamp, now: Timestamp) -> bool {
        BusinessDay::of(date) < self.first_day(BusinessDay::of(now))
    }

    /// When a transaction with this date expires. `None`: never.
    pub fn expires_at(self, date: Timestamp) -> Option<Timestamp> {
        self.0.map(|days| (BusinessDay::of(date) + days.get()).begins_at())
    }

    /// A history window of this many days, without the expired days.
    pub fn limit(self, history_days: u32) -> u32 {
        self.0.map_or(history_days, |days| history_days.min(days.get()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    fn time(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn transaction_expires_at_midnight_in_lagos_after_its_last_day() {
        let retention = Retention::of_days(30);
        let date = time("2026-01-26T23:00:00Z");
        let expires_at = time("2026-02-25T23:00:00Z");
        assert_eq!(retention.expires_at(date), Some(expires_at));
        assert!(!retention.is_expired(date, expires_at - Duration::from_millis(1)));
        assert!(retention.is_expired(date, expires_at));
        let today = BusinessDay::parse("2026-02-25").unwrap();
        assert_eq!(retention.first_day(today).to_string(), "2026-01-27");
        assert_eq!((retention.limit(365), retention.limit(7)), (30, 7));
    }

    #[test]
    fn retention_of_one_day_keeps_today() {
        let (retention, today) = (Retention::of_days(1), BusinessDay::parse("2026-02-25").unwrap());
        assert_eq!(retention.first_day(today), today);
    }

    #[test]
    fn retention_of_zero_days_keeps_transactions_for_ever() {
        let retention = Retention::of_days(0);
        assert_eq!((retention, retention.is_limited()), (Retention::default(), false));
        let (first, now) = (Timestamp::from_millis(0), time("2026-02-25T23:00:00Z"));
        assert!(!retention.is_expired(first, now));
        assert_eq!((retention.expires_at(first), retention.limit(3_650)), (None, 3_650));
    }

    proptest! {
        #[test]
        fn transaction_is_expired_from_its_expiry_on(
            days in 1..3_650_u32,
            date in 0..2_000_000_000_000_u64,
            age in 0..400_000_000_000_u64,
        ) {
            let retention = Retention::of_days(days);
            let (date, now) = (Timestamp::from_millis(date), Timestamp::from_millis(date + age));
            let is_due = retention.expires_at(date).is_some_and(|expires_at| expires_at <= now);
            prop_assert_eq!(retention.is_expired(date, now), is_due);
        }
    }
}
