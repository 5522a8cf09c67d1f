//! The difference between the stored rows and the rows that Mono lists.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::business_day::Days;
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{Position, Transaction};

/// The writes that make the stored rows equal to Mono's. No position is both put and deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// New and changed rows.
    pub(crate) puts: Vec<Transaction>,
    /// The old positions of rows that moved.
    pub(crate) moved: Vec<Position>,
    /// Stored rows of the window that were not fetched. They are gone if Mono's listing is complete.
    pub(crate) gone: Vec<Position>,
}

impl Changes {
    /// Treats a row as moved, and not as gone, if its id is stored at another position too. A reader of the change feed
    /// may have the deleted item, so the other item is written again.
    #[must_use]
    pub(crate) fn stored_elsewhere(mut self, others: &[Transaction]) -> Self {
        let ids: HashSet<_> = others.iter().map(|other| &other.position.id).collect();
        let (moved, gone) = self.gone.into_iter().partition(|position| ids.contains(&position.id));
        self.gone = gone;
        self.moved.extend::<Vec<_>>(moved);
        self.puts.extend_from_slice(others);
        self
    }
}

/// The distance between the sequences of two rows. It leaves room for rows in between.
const STEP: u32 = 1 << 10;

/// Compares the fetched rows of a window with the stored rows.
///
/// `stored` and `fetched` may contain rows shortly before and after the window. A row whose date moved across an end
/// of the window is then recognised by its id, and does not become two rows. `fetched` is in Mono's order, newest row
/// first. This order decides between rows of one date. `unreadable` holds the ids of listed rows that could not be
/// read. These rows are not treated as gone.
///
/// After the changes, the window contains exactly the fetched rows. Rows outside the window change only if they moved
/// into the window or out of it.
pub(crate) fn compare(
    window: &Days,
    stored: &[Transaction],
    fetched: &[Transaction],
    unreadable: &HashSet<String>,
) -> Changes {
    let mut copies: HashMap<&str, Vec<&Transaction>> = HashMap::new();
    for row in stored {
        copies.entry(&row.position.id).or_default().push(row);
    }
    let copies_of = |id: &str| copies.get(id).map(Vec::as_slice).unwrap_or_default();
    // If Mono lists a row twice, the last version in the listing counts.
    let mut listed = HashSet::new();
    let newest_last = fetched.iter().rev();
    let rows: Vec<_> = newest_last.filter(|row| listed.insert(row.position.id.as_str())).collect();
    let mut dates: BTreeMap<Timestamp, Vec<&Transaction>> = BTreeMap::new();
    for row in rows {
        dates.entry(row.position.date).or_default().push(row);
    }
    let mut changes = Changes::default();
    for (date, rows) in dates {
        let held = |row: &&Transaction| {
            let copies = copies_of(&row.position.id).iter().map(|copy| &copy.position);
            copies.filter(|copy| copy.date == date).map(|copy| copy.sequence).min()
        };
        let held: Vec<_> = rows.iter().map(held).collect();
        for ((row, sequence), held) in rows.iter().zip(sequences(&held)).zip(held) {
            let copies = copies_of(&row.position.id);
            let within = window.contains(&row.business_day());
            // A row outside the window that is not in `stored` may be stored at a more distant date. It is skipped.
            if copies.is_empty() && !within {
                continue;
            }
            let sequence = if within { sequence } else { held.unwrap_or(STEP) };
            let position = Position { sequence, ..row.position.clone() };
            let row = Transaction { position, ..(*row).clone() };
            let moved = copies.iter().filter(|copy| copy.position != row.position);
            changes.moved.extend(moved.map(|copy| copy.position.clone()));
            // Of two copies, a reader of the feed may have the other one. So the remaining copy is written again.
            if *copies != [&row] {
                changes.puts.push(row);
            }
        }
    }
    let gone = stored.iter().filter(|row| {
        let id = &row.position.id;
        window.contains(&row.business_day())
            && !listed.contains(id.as_str())
            && !unreadable.contains(id)
    });
    changes.gone.extend(gone.map(|row| row.position.clone()));
    changes
}

/// Ascending sequences for the rows of one date, from the oldest to the newest. Stored sequences stay, so that
/// unchanged rows are not written. If Mono has changed the order of rows, or if there is no room between two rows,
/// all rows get new sequences.
fn sequences(held: &[Option<u32>]) -> Vec<u32> {
    fitted(held).unwrap_or_else(|| (1..).map(|number| number * STEP).take(held.len()).collect())
}

fn fitted(held: &[Option<u32>]) -> Option<Vec<u32>> {
    let mut fitted = Vec::with_capacity(held.len());
    let mut before = 0;
    while fitted.len() < held.len() {
        let rest = &held[fitted.len()..];
        let new = rest.iter().take_while(|held| held.is_none()).count();
        let next = rest.get(new).copied().flatten();
        let room = match next {
            Some(next) => next.checked_sub(before)? / (u32::try_from(new).ok()? + 1),
            None => STEP,
        };
        for _ in 0..new {
            before = u32::checked_add(before, room)?;
            fitted.push(before);
        }
        if let Some(next) = next {
            before = next;
            fitted.push(next);
        }
        if room == 0 {
            return None;
        }
    }
    Some(fitted)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::business_day::BusinessDay;
    use crate::domain::money::MinorUnits;
    use crate::domain::transaction::Direction;

    fn first() -> BusinessDay {
        BusinessDay::parse("2026-01-10").unwrap()
    }

    /// Days 2 to 5. The rows are of days 0 to 7.
    fn window() -> Days {
        first() + 2..=first() + 5
    }

    fn row(id: &str, day: u32, amount: i64) -> Transaction {
        let date = (first() + day).begins_at() + Duration::from_hours(3);
        Transaction {
            position: Position::new(date, STEP, id).unwrap(),
            direction: Direction::Debit,
            amount: MinorUnits(amount),
            balance: None,
            currency: None,
            narration: None,
            category: None,
            unknown: None,
        }
    }

    fn compare(window: &Days, stored: &[Transaction], fetched: &[Transaction]) -> Changes {
        super::compare(window, stored, fetched, &HashSet::new())
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

    /// The rows of the window, without their sequences.
    fn in_window(rows: &[Transaction]) -> Vec<Transaction> {
        let in_window = rows.iter().filter(|row| window().contains(&row.business_day()));
        let mut rows: Vec<_> = in_window.cloned().collect();
        for row in &mut rows {
            row.position.sequence = 0;
        }
        rows.sort_by(|one, other| one.position.cmp(&other.position));
        rows
    }

    fn ids(rows: &[Transaction]) -> Vec<&str> {
        rows.iter().map(|row| row.position.id.as_str()).collect()
    }

    #[test]
    fn rows_of_one_date_are_in_monos_order_and_not_in_order_of_ids() {
        // As on a real statement: the newest row comes first and has the smallest id.
        let listed = [row("a", 2, 1), row("b", 2, 2), row("c", 2, 3)];
        let held = apply(&[], &compare(&window(), &[], &listed));
        assert_eq!(ids(&held), ["c", "b", "a"], "the oldest first");
        let later = [[row("z", 2, 4), row("y", 2, 5)].as_slice(), &listed].concat();
        let changes = compare(&window(), &held, &later);
        assert_eq!(ids(&changes.puts), ["y", "z"], "stored rows keep their positions");
        let held = apply(&held, &changes);
        assert_eq!(ids(&held), ["c", "b", "a", "y", "z"]);
        let between = [row("z", 2, 4), row("x", 2, 6), row("y", 2, 5), row("a", 2, 1)];
        let between = [between.as_slice(), &listed[1..]].concat();
        let changes = compare(&window(), &held, &between);
        assert_eq!((ids(&changes.puts), changes.moved.len()), (vec!["x"], 0));
        assert_eq!(ids(&apply(&held, &changes)), ["c", "b", "a", "y", "x", "z"]);
    }

    #[test]
    fn rows_get_new_sequences_if_mono_changes_their_order() {
        let listed = [row("a", 2, 1), row("b", 2, 2)];
        let held = apply(&[], &compare(&window(), &[], &listed));
        let [a, b] = listed;
        let swapped = [b, a];
        let held = apply(&held, &compare(&window(), &held, &swapped));
        assert_eq!(ids(&held), ["a", "b"]);
        assert_eq!(compare(&window(), &held, &swapped), Changes::default());
    }

    #[test]
    fn rows_get_new_sequences_if_there_is_no_room_between_two_rows() {
        assert_eq!(sequences(&[Some(7), None, Some(8)]), [STEP, 2 * STEP, 3 * STEP]);
        assert_eq!(sequences(&[Some(7), None, Some(9)]), [7, 8, 9]);
        assert_eq!(sequences(&[None, Some(1)]), [STEP, 2 * STEP]);
        assert_eq!(sequences(&[Some(u32::MAX), None]), [STEP, 2 * STEP]);
    }

    #[test]
    fn unreadable_listed_row_is_not_gone() {
        let stored = [row("pending", 2, 1), row("vanished", 3, 2)];
        let unreadable = HashSet::from(["pending".to_owned()]);
        let changes = super::compare(&window(), &stored, &[], &unreadable);
        assert_eq!(changes.gone, [stored[1].position.clone()]);
    }

    #[test]
    fn unchanged_row_is_not_written() {
        let rows = [row("a", 2, 1), row("b", 5, 2)];
        assert_eq!(compare(&window(), &rows, &rows), Changes::default());
    }

    #[test]
    fn new_and_changed_rows_are_put_and_vanished_rows_are_deleted() {
        let stored = [row("a", 2, 1), row("b", 3, 2), row("c", 4, 3)];
        let fetched = [row("a", 2, 1), row("b", 3, 20), row("d", 4, 4)];
        let changes = compare(&window(), &stored, &fetched);
        assert_eq!(changes.puts, [row("b", 3, 20), row("d", 4, 4)]);
        assert_eq!((changes.moved, changes.gone), (vec![], vec![row("c", 4, 3).position]));
    }

    #[test]
    fn row_whose_date_moved_remains_one_row() {
        for (before, after) in [(3, 4), (4, 2), (2, 1), (1, 3), (0, 2), (3, 0)] {
            let stored = [row("a", before, 1)];
            let changes = compare(&window(), &stored, &[row("a", after, 1)]);
            assert_eq!(apply(&stored, &changes), [row("a", after, 1)], "{before} to {after}");
            assert_eq!(changes.gone, [], "a moved row is not gone");
        }
    }

    #[test]
    fn rows_outside_the_window_are_unchanged() {
        let stored = [row("a", 1, 1), row("b", 6, 1)];
        let fetched = [row("c", 0, 1), row("d", 6, 1)];
        assert_eq!(compare(&window(), &stored, &fetched), Changes::default());
    }

    #[test]
    fn last_version_of_a_row_listed_twice_is_stored() {
        let fetched = [row("a", 2, 1), row("a", 3, 2)];
        let changes = compare(&window(), &[], &fetched);
        assert_eq!(in_window(&apply(&[], &changes)), in_window(&[row("a", 3, 2)]));
    }

    #[test]
    fn row_stored_twice_after_a_crash_becomes_one_row() {
        let stored = [row("a", 3, 1), row("a", 4, 1)];
        let changes = compare(&window(), &stored, &[row("a", 4, 1)]);
        assert_eq!(apply(&stored, &changes), [row("a", 4, 1)]);
        assert_eq!(changes.puts, [row("a", 4, 1)], "a reader may have the other copy");
    }

    /// Rows with few ids, days and amounts, so that changes, moves and equal dates are frequent. One row for each id,
    /// in any order.
    fn fetched() -> impl Strategy<Value = Vec<Transaction>> {
        let rows = vec(("[a-f]", 0..8_u32, 0..3_i64), 0..8).prop_map(|rows| {
            let rows =
                rows.into_iter().map(|(id, day, amount)| (id.clone(), row(&id, day, amount)));
            rows.collect::<BTreeMap<_, _>>().into_values().collect::<Vec<_>>()
        });
        rows.prop_shuffle()
    }

    /// Stored rows, also those that a crashed import may have left.
    fn stored() -> impl Strategy<Value = Vec<Transaction>> {
        vec(("[a-f]", 0..8_u32, 0..3_i64, 1..4_u32), 0..12).prop_map(|rows| {
            let rows = rows.into_iter().map(|(id, day, amount, sequence)| {
                let mut row = row(&id, day, amount);
                row.position.sequence = sequence;
                (row.position.clone(), row)
            });
            rows.collect::<BTreeMap<_, _>>().into_values().collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn changes_make_the_stored_window_equal_the_fetched_window(
            stored in stored(),
            fetched in fetched(),
        ) {
            let changes = compare(&window(), &stored, &fetched);
            let after = apply(&stored, &changes);
            prop_assert_eq!(in_window(&after), in_window(&fetched));
        }

        #[test]
        fn changes_keep_monos_order_within_one_date(
            stored in stored(),
            fetched in fetched(),
        ) {
            let after = apply(&stored, &compare(&window(), &stored, &fetched));
            for day in 2..=5 {
                let of_day = |row: &&Transaction| row.business_day() == first() + day;
                let held: Vec<_> = after.iter().filter(of_day).map(|row| &row.position.id).collect();
                let listed = fetched.iter().rev().filter(of_day).map(|row| &row.position.id);
                prop_assert_eq!(held, listed.collect::<Vec<_>>());
            }
        }

        #[test]
        fn second_diff_is_empty(
            stored in stored(),
            fetched in fetched(),
            is_incomplete in any::<bool>(),
        ) {
            let changes = |stored: &[_]| {
                let changes = compare(&window(), stored, &fetched);
                if is_incomplete { Changes { gone: Vec::new(), ..changes } } else { changes }
            };
            let second = changes(&apply(&stored, &changes(&stored)));
            prop_assert_eq!(second, Changes::default());
        }

        #[test]
        fn position_is_written_at_most_once(
            stored in stored(),
            fetched in fetched(),
        ) {
            let changes = compare(&window(), &stored, &fetched);
            let puts = changes.puts.iter().map(|row| &row.position);
            let written: Vec<_> = puts.chain(&changes.moved).chain(&changes.gone).collect();
            prop_assert_eq!(written.iter().collect::<HashSet<_>>().len(), written.len());
        }

        #[test]
        fn row_missing_from_an_incomplete_listing_is_not_lost(
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
