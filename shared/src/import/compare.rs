//! What has to be written so that the stored rows become those that Mono has.

use std::collections::{HashMap, HashSet};

use crate::business_day::Days;
use crate::transaction::{Position, Transaction};

/// What is to be written. No row is both put and deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Rows that are new, or not as they were.
    pub(super) puts: Vec<Transaction>,
    /// Where rows have moved away from.
    pub(super) moved: Vec<Position>,
    /// Rows of the window that were not fetched: gone, if nothing was missing in Mono's answer.
    pub(super) gone: Vec<Position>,
}

/// Compares the rows of a window with what is stored of it. Both `stored` and `fetched` reach a
/// little further than the window, at least at its old end, so that a row whose date moved across
/// that end is recognised, by its id, and not taken for two.
///
/// Afterwards the window holds exactly the rows that were fetched for it. Rows beyond the window are
/// touched only where they are the other half of a move.
pub(super) fn compare(window: &Days, stored: &[Transaction], fetched: &[Transaction]) -> Changes {
    let mut copies: HashMap<&str, Vec<&Transaction>> = HashMap::new();
    for row in stored {
        copies.entry(&row.position.id).or_default().push(row);
    }
    // Should Mono tell a row twice, the last word counts.
    let told: HashMap<&str, &Transaction> =
        fetched.iter().map(|row| (row.position.id.as_str(), row)).collect();
    let mut changes = Changes::default();
    let mut done = HashSet::new();
    for id in fetched.iter().map(|row| row.position.id.as_str()) {
        let (Some(row), true) = (told.get(id), done.insert(id)) else {
            continue;
        };
        let copies = copies.get(id).map(Vec::as_slice).unwrap_or_default();
        // Of a row beyond the window that is not stored near by, it cannot be told whether it is
        // stored further away.
        if copies.is_empty() && !window.contains(&row.business_day()) {
            continue;
        }
        if !copies.contains(row) {
            changes.puts.push((*row).clone());
        }
        let moved = copies.iter().filter(|copy| copy.position != row.position);
        changes.moved.extend(moved.map(|copy| copy.position.clone()));
    }
    let gone = stored.iter().filter(|row| {
        window.contains(&row.business_day()) && !told.contains_key(row.position.id.as_str())
    });
    changes.gone.extend(gone.map(|row| row.position.clone()));
    changes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::business_day::BusinessDay;
    use crate::money::MinorUnits;
    use crate::transaction::Direction;

    fn first() -> BusinessDay {
        BusinessDay::parse("2026-01-10").unwrap()
    }

    /// Days 2 to 5 of the seven that rows are of.
    fn window() -> Days {
        first() + 2..=first() + 5
    }

    fn row(id: &str, day: u32, amount: i64) -> Transaction {
        let date = (first() + day).begins_at() + Duration::from_hours(3);
        Transaction {
            position: Position::new(date, id).unwrap(),
            direction: Direction::Debit,
            amount: MinorUnits(amount),
            balance: None,
            currency: None,
            narration: None,
            category: None,
            unknown: None,
        }
    }

    fn apply(stored: &[Transaction], changes: &Changes) -> Vec<Transaction> {
        let mut table: BTreeMap<_, _> =
            stored.iter().map(|row| (row.position.clone(), row.clone())).collect();
        for row in &changes.puts {
            table.insert(row.position.clone(), row.clone());
        }
        for position in changes.moved.iter().chain(&changes.gone) {
            table.remove(position);
        }
        table.into_values().collect()
    }

    fn in_window(rows: &[Transaction]) -> Vec<Transaction> {
        rows.iter().filter(|row| window().contains(&row.business_day())).cloned().collect()
    }

    #[test]
    fn what_is_as_it_was_is_not_written() {
        let rows = [row("a", 2, 1), row("b", 5, 2)];
        assert_eq!(compare(&window(), &rows, &rows), Changes::default());
    }

    #[test]
    fn new_and_changed_rows_are_put_and_vanished_ones_deleted() {
        let stored = [row("a", 2, 1), row("b", 3, 2), row("c", 4, 3)];
        let fetched = [row("a", 2, 1), row("b", 3, 20), row("d", 4, 4)];
        let changes = compare(&window(), &stored, &fetched);
        assert_eq!(changes.puts, [row("b", 3, 20), row("d", 4, 4)]);
        assert_eq!((changes.moved, changes.gone), (vec![], vec![row("c", 4, 3).position]));
    }

    #[test]
    fn a_row_whose_date_moved_is_one_row_afterwards() {
        for (before, after) in [(3, 4), (4, 2), (2, 1), (1, 3), (0, 2), (3, 0)] {
            let stored = [row("a", before, 1)];
            let changes = compare(&window(), &stored, &[row("a", after, 1)]);
            assert_eq!(apply(&stored, &changes), [row("a", after, 1)], "{before} to {after}");
            assert_eq!(changes.gone, [], "it is no less there for having moved");
        }
    }

    #[test]
    fn rows_beyond_the_window_are_left_alone() {
        let stored = [row("a", 1, 1), row("b", 6, 1)];
        let fetched = [row("c", 0, 1), row("d", 6, 1)];
        assert_eq!(compare(&window(), &stored, &fetched), Changes::default());
    }

    #[test]
    fn of_a_row_that_is_told_twice_the_last_word_counts() {
        let fetched = [row("a", 2, 1), row("a", 3, 2)];
        let changes = compare(&window(), &[], &fetched);
        assert_eq!(apply(&[], &changes), [row("a", 3, 2)]);
    }

    #[test]
    fn a_row_that_a_crash_has_left_in_two_places_is_one_afterwards() {
        let stored = [row("a", 3, 1), row("a", 4, 1)];
        let changes = compare(&window(), &stored, &[row("a", 4, 1)]);
        assert_eq!(apply(&stored, &changes), [row("a", 4, 1)]);
        assert!(changes.puts.is_empty());
    }

    /// Few ids, days and amounts, so that changes and moves are the rule. One row for each id.
    fn fetched() -> impl Strategy<Value = Vec<Transaction>> {
        vec(("[a-f]", 0..8_u32, 0..3_i64), 0..8).prop_map(|rows| {
            let rows =
                rows.into_iter().map(|(id, day, amount)| (id.clone(), row(&id, day, amount)));
            rows.collect::<BTreeMap<_, _>>().into_values().collect()
        })
    }

    /// Whatever an earlier import, or a crash of it, may have left.
    fn stored() -> impl Strategy<Value = Vec<Transaction>> {
        vec(("[a-f]", 0..8_u32, 0..3_i64), 0..12).prop_map(|rows| {
            let rows = rows.into_iter().map(|(id, day, amount)| {
                let row = row(&id, day, amount);
                (row.position.clone(), row)
            });
            rows.collect::<BTreeMap<_, _>>().into_values().collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn afterwards_the_stored_window_equals_the_fetched_one(
            stored in stored(),
            fetched in fetched(),
        ) {
            let changes = compare(&window(), &stored, &fetched);
            let sorted = |mut rows: Vec<Transaction>| {
                rows.sort_by(|one, other| one.position.cmp(&other.position));
                rows
            };
            let after = apply(&stored, &changes);
            prop_assert_eq!(sorted(in_window(&after)), sorted(in_window(&fetched)));
        }

        #[test]
        fn applied_twice_it_writes_nothing(
            stored in stored(),
            fetched in fetched(),
            nothing_gone in any::<bool>(),
        ) {
            let changes = |stored: &[_]| {
                let changes = compare(&window(), stored, &fetched);
                if nothing_gone { Changes { gone: Vec::new(), ..changes } } else { changes }
            };
            let again = changes(&apply(&stored, &changes(&stored)));
            prop_assert_eq!(again, Changes::default());
        }

        #[test]
        fn nothing_is_put_and_deleted_or_written_twice(
            stored in stored(),
            fetched in fetched(),
        ) {
            let changes = compare(&window(), &stored, &fetched);
            let puts = changes.puts.iter().map(|row| &row.position);
            let written: Vec<_> = puts.chain(&changes.moved).chain(&changes.gone).collect();
            prop_assert_eq!(written.iter().collect::<HashSet<_>>().len(), written.len());
        }

        #[test]
        fn no_row_is_lost_that_may_only_be_missing_at_present(
            stored in stored(),
            fetched in fetched(),
        ) {
            let changes = compare(&window(), &stored, &fetched);
            let after = apply(&stored, &Changes { gone: Vec::new(), ..changes });
            let ids: HashSet<_> = after.iter().map(|row| &row.position.id).collect();
            prop_assert!(stored.iter().all(|row| ids.contains(&row.position.id)));
        }
    }
}
