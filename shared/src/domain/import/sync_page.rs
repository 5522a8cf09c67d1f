//! The page of transactions in the response to a sync. It has no extra cost, and can replace a listing.

use std::collections::HashSet;

use crate::domain::account::Account;
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::Transaction;

/// The maximum number of days without a listing, as long as the pages of syncs show every new row.
pub(crate) const MOST_DAYS_WITHOUT_LISTING: u32 = 7;

/// Mono's total when the table last matched it. `None` if the total is unknown, if the last listing of the whole
/// window is a week old, or if a gap is due.
pub(crate) fn total_before(account: &Account, now: Timestamp) -> Option<u32> {
    let state = &account.registers.imported.as_ref()?.value;
    let looked_back_on = state.notes.looked_back_on?;
    let is_recent = BusinessDay::of(now).days_after(looked_back_on) < MOST_DAYS_WITHOUT_LISTING;
    let is_doubtful = state.gaps.iter().any(|gap| gap.is_due(now));
    state.notes.total.filter(|_| is_recent && !is_doubtful)
}

/// `days`, extended back to the oldest row of the page.
pub(crate) fn span(page: &[Transaction], days: &Days) -> Days {
    let oldest = page.iter().map(Transaction::business_day).min();
    (*days.start()).min(oldest.unwrap_or(*days.start()))..=*days.end()
}

/// Whether the page shows every new row. All three conditions must hold:
///
/// - The page has at least one new row. Otherwise it may be from Mono's cache.
/// - Mono's total grew by the number of new rows.
/// - Every row stored for `days` is on the page.
///
/// `stored` are the stored rows of the page's [`span`]. The order of the page does not matter.
pub(crate) fn shows_all_new_rows(
    page: &[Transaction],
    totals: (u32, u32),
    days: &Days,
    stored: &[Transaction],
) -> bool {
    fn ids(rows: &[Transaction]) -> HashSet<&str> {
        rows.iter().map(|row| row.position.id.as_str()).collect()
    }
    let (before, now) = totals;
    let (listed, held) = (ids(page), ids(stored));
    let new = listed.difference(&held).count() as u64;
    let mut recent = stored.iter().filter(|row| days.contains(&row.business_day()));
    new > 0
        && u64::from(now) == u64::from(before) + new
        && recent.all(|row| listed.contains(row.position.id.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn rows(days: impl IntoIterator<Item = u32>) -> Vec<Transaction> {
        let row = |day: u32| {
            let date = format!("2026-01-{day:02}T12:00:00Z");
            let row = json!({ "id": day.to_string(), "date": date, "type": "debit", "amount": 1 });
            Transaction::read(&to_raw_value(&row).unwrap()).unwrap()
        };
        days.into_iter().map(row).collect()
    }

    fn days(first: u32, last: u32) -> Days {
        let day = |day| BusinessDay::parse(&format!("2026-01-{day:02}")).unwrap();
        day(first)..=day(last)
    }

    #[test]
    fn page_shows_all_new_rows_if_the_total_grew_by_its_new_rows() {
        let shows = |before, now| {
            shows_all_new_rows(&rows(5..=12), (before, now), &days(6, 12), &rows(5..=10))
        };
        assert!(shows(278, 280), "two rows are new");
        assert!(!shows(278, 281), "a new row is not on the page");
        assert!(!shows(278, 279), "a row has vanished");
    }

    #[test]
    fn page_without_a_new_row_does_not_show_all_news() {
        assert!(!shows_all_new_rows(&rows(5..=10), (278, 278), &days(6, 12), &rows(5..=10)));
    }

    #[test]
    fn page_that_lacks_a_recent_stored_row_does_not_show_all_news() {
        let page = rows(8..=12);
        assert!(!shows_all_new_rows(&page, (278, 279), &days(6, 12), &rows(6..=11)));
        assert!(shows_all_new_rows(&page, (278, 279), &days(8, 12), &rows(6..=11)));
    }

    #[test]
    fn page_shows_all_new_rows_in_any_order() {
        let mut page = rows(5..=12);
        page.reverse();
        page.swap(1, 5);
        assert!(shows_all_new_rows(&page, (278, 280), &days(6, 12), &rows(5..=10)));
        assert_eq!(span(&page, &days(6, 12)), days(5, 12));
    }
}
