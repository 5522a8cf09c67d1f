//! The days of an import, and the number of days per request.

use super::gaps::{overlap, without};
use crate::domain::account::{Account, Gap, GapReason};
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::timestamp::Timestamp;

/// The number of days before the last import that are compared again. Banks backdate, change and remove rows.
const OVERLAP: u32 = 7;
/// The number of days that are fetched before the compared days, for rows whose date changed.
const MARGIN: u32 = 2;
/// The number of days that are fetched after the compared days. Mono does not document the time zone of a day.
const MARGIN_AFTER: u32 = 1;
/// The maximum number of days in one request. Mono does not document a limit.
const MAX_DAYS: u32 = 365;
/// The maximum number of rows of a slice with its margins. The margins are then a small part of a slice, and the
/// memory of a function is enough for ten concurrent imports.
pub(crate) const MOST_ROWS: u64 = 5_000;

/// The days of an import that are not imported yet. The newest days are imported first, because customers look at
/// them. This order also loses no row that moves to an older day during the import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemainingRange {
    /// The remaining days, newest first. No day occurs twice.
    pub ranges: Vec<Days>,
    /// The number of days in the next slice.
    pub slice: u32,
}

/// The work of an import that begins now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The days to import.
    pub(crate) rest: RemainingRange,
    /// The ranges to compare with one unpaged response each. They cover the history window without the days that Mono
    /// does not serve. Empty if this import compares only `rest`.
    pub(crate) look_back: Vec<Days>,
    /// The ranges that `look_back` has in an import that compares the window. Empty before the first import.
    pub(crate) window: Vec<Days>,
    /// The known gaps in the history window.
    pub(crate) gaps: Vec<Gap>,
}

impl Plan {
    /// The range begins [`OVERLAP`] days before the newest stored row. If no row is stored, the range begins at the
    /// start of the history window. The range ends today. Gaps that are due are added. Gaps that Mono does not serve
    /// are removed if they are not due.
    ///
    /// The first import of a day that sends a request to Mono also compares the last [`MAX_DAYS`] days of the window,
    /// because banks deliver rows months late. An import with a due gap before the range does the same.
    pub(crate) fn of(account: &Account, history: u32, now: Timestamp) -> Self {
        let today = BusinessDay::of(now);
        let window = window(history, today);
        let imported = account.registers.imported.as_ref();
        let mut gaps = imported.map(|held| held.value.gaps.clone()).unwrap_or_default();
        gaps.retain(|gap| gap.last >= *window.start());
        let recent = imported.and_then(|held| {
            Some(BusinessDay::of(held.value.through?.min(held.order.at)) - OVERLAP)
        });
        let first = recent.unwrap_or(*window.start()).min(today);
        let is_served = |gap: &&Gap| gap.reason != GapReason::NotServed;
        let due: Vec<_> = gaps.iter().filter(|gap| gap.is_due(now)).collect();
        let mut ranges =
            due.iter().fold(vec![first..=today], |ranges, gap| join(ranges, gap.days(), today));
        for gap in gaps.iter().filter(|gap| !is_served(gap) && !gap.is_due(now)) {
            ranges = ranges.iter().flat_map(|range| without(range, &gap.days())).collect();
        }
        ranges.sort_by(|one, other| other.start().cmp(one.start()));

        let is_new_day = imported.is_some_and(|held| held.value.notes.looked_back_on < Some(today));
        let looks_further = due.iter().any(|gap| is_served(gap) && gap.first < first);
        let all = (*window.start()).max(today - (MAX_DAYS - 1))..=today;
        let mut window: Vec<_> = imported.map(|_| all).into_iter().collect();
        for gap in gaps.iter().filter(|gap| !is_served(gap)) {
            window = window.iter().flat_map(|part| without(part, &gap.days())).collect();
        }
        let look_back = if is_new_day || looks_further { window.clone() } else { Vec::new() };
        // One slice for all days, unless there are too many rows: the first page reports the total.
        Self { rest: RemainingRange { ranges, slice: u32::MAX }, look_back, window, gaps }
    }

    /// The plan without the days before this one. `look_back` and `window` are in the history window, and have none.
    #[must_use]
    pub(crate) fn since(mut self, first: BusinessDay) -> Self {
        self.gaps.retain(|gap| gap.last >= first);
        for gap in &mut self.gaps {
            gap.first = gap.first.max(first);
        }
        let later = |days: &Days| (*days.start()).max(first)..=*days.end();
        let ranges = self.rest.ranges.iter().map(later).filter(|days| !days.is_empty()).collect();
        Self { rest: RemainingRange { ranges, slice: self.rest.slice }, ..self }
    }
}

/// The history window of this many days, up to today.
pub(crate) fn window(history: u32, today: BusinessDay) -> Days {
    today - history.saturating_sub(1)..=today
}

fn length(days: &Days) -> u32 {
    days.end().days_after(*days.start()) + 1
}

/// Adds these days, up to today, to the ranges. Overlapping ranges become one.
fn join(ranges: Vec<Days>, days: Days, today: BusinessDay) -> Vec<Days> {
    let days = *days.start()..=(*days.end()).min(today);
    let (touched, mut apart): (Vec<_>, Vec<_>) =
        ranges.into_iter().partition(|range| overlap(range, &days));
    let first = touched.iter().map(|range| *range.start()).chain([*days.start()]).min();
    let last = touched.iter().map(|range| *range.end()).chain([*days.end()]).max();
    apart.extend(first.zip(last).map(|(first, last)| first..=last).filter(|days| !days.is_empty()));
    apart
}

/// The days to fetch in order to compare these days: with margins, not after today, and at most [`MAX_DAYS`].
pub(crate) fn with_margins(days: &Days, history: u32, today: BusinessDay) -> Days {
    let oldest = *window(history, today).start();
    let before = (*days.start() - MARGIN).max(oldest).min(*days.start());
    let end = (*days.end() + MARGIN_AFTER).min(today).min(*days.start() + (MAX_DAYS - 1));
    let end = end.max(*days.end());
    before.max(end - (MAX_DAYS - 1))..=end
}

impl RemainingRange {
    /// The next slice: the newest remaining days. `None` if no day remains.
    pub fn next(&self) -> Option<Days> {
        let days = self.ranges.first()?;
        // A slice with its margins must fit into one request. A slice with the oldest day of a window has no margin
        // before it.
        let max =
            if length(days) <= MAX_DAYS { MAX_DAYS } else { MAX_DAYS - MARGIN - MARGIN_AFTER };
        let slice = self.slice.clamp(1, max);
        Some((*days.start()).max(*days.end() - (slice - 1))..=*days.end())
    }

    /// The same days in smaller slices, because the next slice with its margins has this many rows. `None` if the
    /// slice is a single day.
    pub fn smaller(&self, rows: u64) -> Option<Self> {
        let length = length(&self.next()?);
        let margins = MARGIN + MARGIN_AFTER;
        let fetched = u64::from(length + margins) * MOST_ROWS / rows.max(1);
        let slice = u32::try_from(fetched).unwrap_or(u32::MAX).saturating_sub(margins);
        let shorter = || slice.clamp(1, length - 1);
        (length > 1).then(|| Self { slice: shorter(), ranges: self.ranges.clone() })
    }

    /// The rest after the next slice, which had this many rows. After few rows, slices become longer.
    pub fn after(&self, rows: u64) -> Self {
        let Some(next) = self.next() else {
            return self.clone();
        };
        let few = rows <= MOST_ROWS / 4;
        let slice = if few { length(&next).saturating_mul(2) } else { length(&next) };
        Self { slice, ..self.but(&next) }
    }

    /// The rest without these days.
    pub fn but(&self, days: &Days) -> Self {
        let ranges = self.ranges.iter().flat_map(|range| without(range, days)).collect();
        Self { ranges, slice: self.slice }
    }
}

/// The days of a range that can be compared with a response for that range alone. The first days are left out,
/// because Mono does not document the time zone of a day.
pub(crate) fn without_margin(days: &Days) -> Days {
    (*days.start() + MARGIN).min(*days.end())..=*days.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::tests::record;
    use crate::domain::account::{
        Fact, Import, ImportNotes, ImportState, OrderKey, Rank, ShortHash, TimeSource,
    };
    use proptest::prelude::*;

    fn day(text: &str) -> BusinessDay {
        BusinessDay::parse(text).unwrap()
    }

    fn time(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn now() -> Timestamp {
        time("2026-06-30T23:30:00Z")
    }

    fn imported(at: &str, through: Option<&str>, gaps: Vec<Gap>) -> Account {
        let at = time(at);
        let (rank, time_source) = (Rank::Updated, TimeSource::Event);
        let pull = OrderKey { at, rank, time_source, event: ShortHash::of("pull") };
        let looked_back_on = Some(BusinessDay::of(at));
        let notes = ImportNotes { looked_back_on, ..ImportNotes::default() };
        let state = ImportState { through: through.map(time), gaps, notes };
        record([Fact::Import(Import { pull, state })])
    }

    fn gap(first: &str, last: &str, tried: &str, reason: GapReason) -> Gap {
        let (first, last) = (day(first), day(last));
        Gap { first, last, since: time("2026-06-01T00:00:00Z"), tried: time(tried), reason }
    }

    fn ranges(account: &Account) -> Vec<Days> {
        Plan::of(account, 365, now()).rest.ranges
    }

    #[test]
    fn first_import_covers_the_history_window_up_to_today() {
        let plan = Plan::of(&record([]), 365, now());
        let window = day("2025-07-02")..=day("2026-07-01");
        assert_eq!(plan.rest.ranges, vec![window.clone()], "in Lagos it is already July");
        assert_eq!((length(&window), plan.rest.next()), (365, Some(window)));
        assert_eq!(plan.look_back, []);
    }

    #[test]
    fn next_import_begins_seven_days_before_the_newest_row() {
        let days = |through| ranges(&imported("2026-06-30T23:10:00Z", through, Vec::new()));
        let last = day("2026-07-01");
        assert_eq!(days(Some("2026-06-20T12:00:00Z")), [day("2026-06-13")..=last]);
        assert_eq!(
            days(Some("2026-09-01T12:00:00Z")),
            [day("2026-06-24")..=last],
            "a newest row in the future"
        );
        assert_eq!(days(None), [day("2025-07-02")..=last], "no row is stored");
    }

    #[test]
    fn first_import_of_a_day_compares_the_whole_window() {
        let look_back = |at, history| {
            Plan::of(&imported(at, Some("2026-06-20T12:00:00Z"), Vec::new()), history, now())
                .look_back
        };
        let window = vec![day("2025-07-02")..=day("2026-07-01")];
        assert_eq!(look_back("2026-06-30T22:59:00Z", 365), window);
        assert_eq!(
            look_back("2026-06-30T23:01:00Z", 365),
            [],
            "the window was already compared today"
        );
        assert_eq!(look_back("2026-06-30T22:59:00Z", 3_650), window, "at most one year");
    }

    #[test]
    fn due_gap_is_imported_again_and_an_old_due_gap_compares_the_whole_window() {
        let plan = |at, tried| {
            let gap = gap("2026-02-01", "2026-02-03", tried, GapReason::NotWhole);
            let account = imported(at, Some("2026-06-30T12:00:00Z"), vec![gap]);
            Plan::of(&account, 365, now())
        };
        let (recent, gap) =
            (day("2026-06-23")..=day("2026-07-01"), day("2026-02-01")..=day("2026-02-03"));
        let (yesterday, today) = ("2026-06-30T12:00:00Z", "2026-06-30T23:10:00Z");
        let window = [day("2025-07-02")..=day("2026-07-01")];
        for at in [yesterday, today] {
            let due = plan(at, "2026-06-10T00:00:00Z");
            assert_eq!(due.rest.ranges, [recent.clone(), gap.clone()]);
            assert_eq!(due.look_back, window, "one request covers all gaps");
        }
        let not_due = plan(yesterday, "2026-06-28T00:00:00Z");
        assert_eq!((not_due.rest.ranges, not_due.look_back), (vec![recent], window.to_vec()));
        assert_eq!(plan(today, "2026-06-28T00:00:00Z").look_back, []);
    }

    #[test]
    fn unserved_days_are_skipped_until_they_are_due() {
        let plan = |at, tried| {
            let gaps = vec![gap("2026-06-26", "2026-06-26", tried, GapReason::NotServed)];
            Plan::of(&imported(at, Some("2026-06-30T12:00:00Z"), gaps), 365, now())
        };
        let (yesterday, today) = ("2026-06-30T12:00:00Z", "2026-06-30T23:10:00Z");
        let (before, after) =
            (day("2026-06-23")..=day("2026-06-25"), day("2026-06-27")..=day("2026-07-01"));
        let not_due = plan(today, "2026-06-28T00:00:00Z").rest.ranges;
        assert_eq!(not_due, [after.clone(), before]);
        let due = plan(today, "2026-06-10T00:00:00Z").rest.ranges;
        assert_eq!(due, [day("2026-06-23")..=day("2026-07-01")]);
        let parts = [day("2025-07-02")..=day("2026-06-25"), after];
        for tried in ["2026-06-28T00:00:00Z", "2026-06-10T00:00:00Z"] {
            assert_eq!(
                plan(yesterday, tried).look_back,
                parts,
                "the window without the unserved days"
            );
        }
    }

    #[test]
    fn days_before_the_first_kept_day_are_not_planned() {
        let gaps = vec![
            gap("2026-02-01", "2026-02-03", "2026-06-10T00:00:00Z", GapReason::NotWhole),
            gap("2026-06-01", "2026-06-12", "2026-06-10T00:00:00Z", GapReason::NotWhole),
        ];
        let account = imported("2026-06-30T12:00:00Z", Some("2026-03-30T12:00:00Z"), gaps);
        let (first, today) = (day("2026-06-10"), day("2026-07-01"));
        let plan = Plan::of(&account, 22, now()).since(first);
        assert_eq!(plan.rest.ranges, [first..=today], "the newest row is older");
        assert_eq!(
            plan.gaps.iter().map(Gap::days).collect::<Vec<_>>(),
            [first..=day("2026-06-12")]
        );
        assert_eq!((plan.look_back, plan.window), (vec![first..=today], vec![first..=today]));
        let unserved =
            gap("2026-06-01", "2026-06-12", "2026-06-28T00:00:00Z", GapReason::NotServed);
        let account =
            imported("2026-06-30T12:00:00Z", Some("2026-05-30T12:00:00Z"), vec![unserved]);
        let plan = Plan::of(&account, 22, now()).since(first);
        assert_eq!(plan.rest.ranges, [day("2026-06-13")..=today], "an expired range is left out");
    }

    #[test]
    fn window_of_unserved_days_plans_no_import() {
        let gaps =
            vec![gap("2026-07-01", "2026-07-01", "2026-06-28T00:00:00Z", GapReason::NotServed)];
        let account = imported("2026-06-30T23:10:00Z", None, gaps);
        let plan = Plan::of(&account, 1, now());
        assert_eq!((plan.rest.next(), plan.look_back), (None, Vec::new()));
    }

    #[test]
    fn request_ends_today_and_spans_at_most_one_year() {
        let today = day("2026-07-01");
        let requested = |first, last| with_margins(&(day(first)..=day(last)), 365, today);
        assert_eq!(requested("2026-06-23", "2026-07-01"), day("2026-06-21")..=today);
        assert_eq!(requested("2026-06-23", "2026-06-24"), day("2026-06-21")..=day("2026-06-25"));
        assert_eq!(
            requested("2025-07-02", "2026-07-01"),
            day("2025-07-02")..=today,
            "a whole window has no margins"
        );
    }

    #[test]
    fn few_rows_lengthen_the_next_slice_and_too_many_rows_shorten_this_slice() {
        let ranges = vec![day("2026-01-01")..=day("2026-06-30")];
        let rest = RemainingRange { ranges, slice: 64 };
        assert_eq!(rest.next(), Some(day("2026-04-28")..=day("2026-06-30")));
        assert_eq!((rest.after(10).slice, rest.after(MOST_ROWS).slice), (128, 64));
        let halved = rest.smaller(2 * MOST_ROWS).unwrap().next().unwrap();
        assert_eq!(halved.start(), &day("2026-06-01"));
        assert_eq!(rest.smaller(5 * MOST_ROWS).unwrap().slice, 10);
        assert_eq!(rest.smaller(MOST_ROWS + 1).unwrap().slice, 63);
        assert_eq!(rest.smaller(u64::MAX).unwrap().slice, 1);
        let single =
            RemainingRange { ranges: vec![day("2026-01-01")..=day("2026-01-02")], slice: 1 };
        assert_eq!(single.smaller(2 * MOST_ROWS), None);
    }

    proptest! {
        #[test]
        fn slices_cover_every_day_exactly_once(
            length in 1..900_u32,
            second in 0..30_u32,
            slice in 1..1_000_u32,
            rows in proptest::collection::vec(0..9_000_u64, 1..9),
        ) {
            let first = day("2025-01-01");
            let last = first + (length - 1);
            let older = first - 40..=first - 40 + second;
            let ranges = vec![first..=last, older.clone()];
            let (mut rest, mut rows) = (RemainingRange { ranges, slice }, rows.iter().cycle());
            let mut days = Vec::new();
            while rest.next().is_some() {
                let rows = *rows.next().unwrap();
                if let Some(smaller) = rest.smaller(rows).filter(|_| rows > MOST_ROWS) {
                    rest = smaller;
                }
                let next = rest.next().unwrap();
                let requested = with_margins(&next, 3_650, last);
                prop_assert!(requested.end() <= &last && super::length(&requested) <= MAX_DAYS);
                prop_assert!(requested.contains(next.start()) && requested.contains(next.end()));
                let number = next.start().number()..=next.end().number();
                days.extend(number.rev().map(BusinessDay::from_number));
                rest = rest.after(rows);
            }
            let range = |days: Days| (days.start().number()..=days.end().number()).rev();
            let all = range(first..=last).chain(range(older)).map(BusinessDay::from_number);
            prop_assert_eq!(days, all.collect::<Vec<_>>());
        }
    }
}
