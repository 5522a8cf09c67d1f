//! Gaps: days that must be compared again.

use crate::domain::account::{Gap, GapReason, MOST_GAPS};
use crate::domain::business_day::Days;
use crate::domain::timestamp::Timestamp;

/// Records the outcome of comparing these days. With a reason, the days become a gap. Without a reason, the days are
/// no longer in a gap. A gap that is recorded again keeps its `since`, because the exponential back-off depends on
/// its age.
pub(crate) fn note(gaps: &mut Vec<Gap>, days: &Days, reason: Option<GapReason>, now: Timestamp) {
    let (touched, rest): (Vec<_>, Vec<_>) =
        gaps.drain(..).partition(|gap| overlap(&gap.days(), days));
    *gaps = rest;
    gaps.extend(touched.iter().flat_map(|gap| {
        without(&gap.days(), days).map(|left| Gap {
            first: *left.start(),
            last: *left.end(),
            ..*gap
        })
    }));
    if let Some(reason) = reason {
        let since = touched.iter().map(|gap| gap.since).min().unwrap_or(now);
        gaps.push(Gap { first: *days.start(), last: *days.end(), since, tried: now, reason });
    }
    gaps.sort();
    while gaps.len() > MOST_GAPS {
        join_nearest(gaps);
    }
}

/// Whether two ranges have a day in common.
pub(crate) fn overlap(one: &Days, other: &Days) -> bool {
    one.start() <= other.end() && other.start() <= one.end()
}

/// `days` without the `taken` days: the part before them and the part after them.
pub(crate) fn without(days: &Days, taken: &Days) -> impl Iterator<Item = Days> + use<> {
    let before = *days.start()..=(*days.end()).min(*taken.start() - 1);
    let after = (*days.start()).max(*taken.end() + 1)..=*days.end();
    let before = Some(before).filter(|left| taken.start() > days.start() && !left.is_empty());
    before.into_iter().chain(Some(after).filter(|left| !left.is_empty()))
}

/// Joins the two nearest gaps. The days between them are then compared again too.
fn join_nearest(gaps: &mut Vec<Gap>) {
    let distance = |pair: usize| gaps[pair + 1].first.days_after(gaps[pair].last);
    let Some(pair) = (0..gaps.len() - 1).min_by_key(|pair| distance(*pair)) else {
        return;
    };
    let next = gaps.remove(pair + 1);
    let gap = &mut gaps[pair];
    gap.last = gap.last.max(next.last);
    gap.since = gap.since.min(next.since);
    gap.tried = gap.tried.max(next.tried);
    // The state of the days between is unknown.
    gap.reason = GapReason::NotWhole;
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::business_day::BusinessDay;

    fn day(number: u32) -> BusinessDay {
        BusinessDay::from_number(20_000 + number)
    }

    fn at(hours: u64) -> Timestamp {
        Timestamp::from_millis(hours * 3_600_000)
    }

    fn noted(notes: &[(u32, u32, Option<GapReason>, u64)]) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for (first, last, reason, hour) in notes {
            note(&mut gaps, &(day(*first)..=day(*last)), *reason, at(*hour));
        }
        gaps
    }

    const NOT_WHOLE: Option<GapReason> = Some(GapReason::NotWhole);

    #[test]
    fn compared_days_are_removed_from_the_gap() {
        let days = |gaps: Vec<Gap>| gaps.iter().map(Gap::days).collect::<Vec<_>>();
        assert_eq!(days(noted(&[(1, 9, NOT_WHOLE, 1), (1, 9, None, 2)])), []);
        let rest = noted(&[(1, 9, NOT_WHOLE, 1), (4, 6, None, 2)]);
        assert_eq!(days(rest), [day(1)..=day(3), day(7)..=day(9)]);
        let untouched = noted(&[(1, 3, NOT_WHOLE, 1), (4, 6, None, 2)]);
        assert_eq!(days(untouched), [day(1)..=day(3)]);
    }

    #[test]
    fn gap_is_due_at_once_and_then_with_exponential_back_off() {
        let gap = noted(&[(1, 1, NOT_WHOLE, 10)])[0];
        assert!(gap.is_due(at(10)), "the next import compares the gap");
        let gap = noted(&[(1, 1, NOT_WHOLE, 10), (1, 1, NOT_WHOLE, 13)])[0];
        assert!(!gap.is_due(at(15)) && gap.is_due(at(16)));
        let gap = noted(&[(1, 1, NOT_WHOLE, 10), (1, 1, NOT_WHOLE, 1_000)])[0];
        assert!(!gap.is_due(at(1_000 + 7 * 24 - 1)) && gap.is_due(at(1_000 + 7 * 24)));
    }

    #[test]
    fn nearest_gaps_are_joined_beyond_the_limit() {
        let days = [0, 10, 20, 30, 33, 40, 50].map(|first| (first, first, NOT_WHOLE, 1));
        let gaps = noted(&days);
        assert_eq!(gaps.len(), MOST_GAPS);
        assert!(gaps.iter().any(|gap| gap.days() == (day(30)..=day(33))));
    }

    proptest! {
        #[test]
        fn every_day_with_a_reason_is_in_exactly_one_gap(
            notes in vec((0..40_u32, 0..6_u32, any::<bool>(), 0..9_u64), 0..20),
        ) {
            let notes = notes.into_iter().map(|(first, length, reason, hour)| {
                (first, first + length, NOT_WHOLE.filter(|_| reason), hour)
            });
            let notes: Vec<_> = notes.collect();
            let gaps = noted(&notes);
            prop_assert!(gaps.len() <= MOST_GAPS);
            prop_assert!(gaps.is_sorted());
            for number in 0..46 {
                let last = notes.iter().rfind(|(first, last, ..)| (*first..=*last).contains(&number));
                let holding = gaps.iter().filter(|gap| gap.days().contains(&day(number))).count();
                prop_assert!(holding <= 1);
                if last.is_some_and(|(_, _, reason, _)| reason.is_some()) {
                    prop_assert_eq!(holding, 1, "day {}", number);
                }
            }
        }
    }
}
