//! Which days are imported, and how many of them at once.

use crate::account::Account;
use crate::business_day::{BusinessDay, Days};
use crate::timestamp::Timestamp;

/// Days before the last import that are looked at again: banks date rows back, change them, and take
/// them away.
const OVERLAP: u32 = 7;
/// Days that are fetched beyond the old end of those that are compared, for rows whose date moved.
const MARGIN: u32 = 2;
/// And beyond the new end, since nothing says by which clock Mono ends a day.
const MARGIN_AFTER: u32 = 1;
/// Rows of a slice with its margins: enough for these to be a small part, and few enough for the
/// memory of a function that imports ten accounts at once.
pub(super) const MOST_ROWS: u64 = 5_000;

/// What is fetched in order to compare these days.
pub(super) fn with_margins(days: &Days) -> Days {
    *days.start() - MARGIN..=*days.end() + MARGIN_AFTER
}

/// What is left of an import: days, of which the newest are imported first, since these are what a
/// customer looks at, and a row that moves to an older day meanwhile is not lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The days left.
    pub days: Days,
    /// How many of them make the next slice.
    pub slice: u32,
}

impl Rest {
    /// All days of an import that begins now: from some days before the last one, or from where that
    /// was not known to have got all; or, if nothing is held yet, as far back as the first import is
    /// to go; up to tomorrow, lest a row is missed that Mono counts by another clock.
    #[must_use]
    pub fn of(account: &Account, history: u32, now: Timestamp) -> Self {
        let today = BusinessDay::of(now);
        let held = account.registers.imported.as_ref();
        let imported = held.and_then(|held| {
            let last = BusinessDay::of(held.value.through?.min(held.order.at)) - OVERLAP;
            let again = held.value.again_from.map(BusinessDay::of);
            Some(again.map_or(last, |again| again.min(last)))
        });
        let first = imported.unwrap_or(today - history);
        // All at once, if they are few enough: Mono says on the first page how many there are.
        Self::new(first.min(today)..=today + 1, u32::MAX)
    }

    /// These days, at most so many at once.
    #[must_use]
    pub fn new(days: Days, slice: u32) -> Self {
        let length = days.end().days_after(*days.start()) + 1;
        Self { slice: slice.clamp(1, length), days }
    }

    /// The newest days of it, which are to be imported next.
    #[must_use]
    pub fn next(&self) -> Days {
        let last = *self.days.end();
        (*self.days.start()).max(last - (self.slice - 1))..=last
    }

    /// The same days in slices short enough, where the next one would have this many rows with its
    /// margins; `None` if that is a single day already.
    #[must_use]
    pub fn smaller(&self, rows: u64) -> Option<Self> {
        let next = self.next();
        let length = next.end().days_after(*next.start()) + 1;
        let margins = MARGIN + MARGIN_AFTER;
        let fetched = u64::from(length + margins) * MOST_ROWS / rows.max(1);
        let slice = u32::try_from(fetched).unwrap_or(u32::MAX).saturating_sub(margins);
        let shorter = || slice.clamp(1, length - 1);
        (length > 1).then(|| Self { slice: shorter(), days: self.days.clone() })
    }

    /// What is left after the next slice, which had this many rows. `None` if that is nothing.
    #[must_use]
    pub fn after(&self, rows: u64) -> Option<Self> {
        let next = self.next();
        let slice = if rows <= MOST_ROWS / 4 { self.slice * 2 } else { self.slice };
        let left = *self.days.start()..=*next.start() - 1;
        (*next.start() > *self.days.start()).then(|| Self::new(left, slice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::record;
    use crate::account::{Fact, Import};
    use proptest::prelude::*;

    fn day(text: &str) -> BusinessDay {
        BusinessDay::parse(text).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-06-30T23:30:00Z").unwrap()
    }

    fn imported(at: &str, through: Option<&str>) -> Account {
        let pull = crate::account::OrderKey {
            at: Timestamp::parse_rfc3339(at).unwrap(),
            rank: crate::account::Rank::Updated,
            evidence: crate::account::Evidence::Strong,
            event: crate::account::ShortHash::of("pull"),
        };
        let through = through.map(|through| Timestamp::parse_rfc3339(through).unwrap());
        record([Fact::Import(Import { pull, through, again_from: None })])
    }

    #[test]
    fn the_first_import_goes_back_as_far_as_it_is_told() {
        let rest = Rest::of(&record([]), 365, now());
        assert_eq!(rest.days, day("2025-07-01")..=day("2026-07-02"), "it is July in Lagos");
    }

    #[test]
    fn the_next_one_goes_back_a_week_behind_the_newest_row() {
        let days = |through| Rest::of(&imported("2026-06-29T12:00:00Z", through), 365, now()).days;
        let last = day("2026-07-02");
        assert_eq!(days(Some("2026-06-20T12:00:00Z")), day("2026-06-13")..=last);
        assert_eq!(days(Some("2026-09-01T12:00:00Z")), day("2026-06-22")..=last, "of the future");
        assert_eq!(days(None), day("2025-07-01")..=last, "there was none yet");
    }

    #[test]
    fn few_rows_make_the_next_slice_longer_and_too_many_this_one_shorter() {
        let rest = Rest::new(day("2026-01-01")..=day("2026-06-30"), 64);
        assert_eq!(rest.next(), day("2026-04-28")..=day("2026-06-30"));
        let after = |rows| rest.after(rows).unwrap();
        assert_eq!((after(10).slice, after(MOST_ROWS).slice), (117, 64), "117 are left");
        assert_eq!(rest.smaller(2 * MOST_ROWS).unwrap().next().start(), &day("2026-06-01"));
        assert_eq!(rest.smaller(5 * MOST_ROWS).unwrap().slice, 10);
        assert_eq!(rest.smaller(MOST_ROWS + 1).unwrap().slice, 63);
        assert_eq!(rest.smaller(1000 * MOST_ROWS).unwrap().slice, 1);
        let single = Rest::new(day("2026-01-01")..=day("2026-01-02"), 1);
        assert_eq!(single.smaller(2 * MOST_ROWS), None);
    }

    proptest! {
        #[test]
        fn slices_are_whole_days_that_make_up_all_days_and_none_twice(
            length in 1..900_u32,
            slice in 1..100_u32,
            rows in proptest::collection::vec(0..9_000_u64, 1..9),
        ) {
            let first = day("2025-01-01");
            let last = first + (length - 1);
            let (mut rest, mut due, mut rows) =
                (Some(Rest::new(first..=last, slice)), last, rows.iter().cycle());
            while let Some(slices) = rest {
                let rows = *rows.next().unwrap();
                let slices = match slices.smaller(rows) {
                    Some(smaller) if rows > MOST_ROWS => smaller,
                    _ => slices,
                };
                let next = slices.next();
                prop_assert_eq!(*next.end(), due);
                prop_assert!(next.start() <= next.end() && *next.start() >= first);
                due = *next.start() - 1;
                rest = slices.after(rows);
            }
            prop_assert_eq!(due, first - 1);
        }
    }
}
