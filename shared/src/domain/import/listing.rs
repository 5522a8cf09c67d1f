//! A listing: the pages that Mono returns for a range of days, and whether they are complete.

use std::collections::HashSet;

use crate::domain::transaction::{Transaction, TransactionPage};

/// The content of the pages so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// The listed rows, newest first, with duplicates.
    pub(crate) rows: Vec<Transaction>,
    /// The ids of the unreadable rows that have one.
    pub(crate) unreadable_ids: HashSet<String>,
    /// The number of unreadable rows.
    pub(crate) unreadable: usize,
    ids: HashSet<String>,
    pages: u32,
    /// The number of listed rows, with duplicates and unreadable rows.
    listed: u64,
    /// The total on the first page.
    total: Option<u64>,
    /// Whether a later page had a different total.
    total_changed: bool,
    /// Whether a page repeated a row of another page. A different row may then be missing from all pages.
    repeated: bool,
    /// The number of pages without a new row and without unreadable rows.
    stale_pages: u32,
    /// The number of pages without a new row, but with unreadable rows.
    unreadable_pages: u32,
}

/// The maximum numbers of [`Listing::stale_pages`] and [`Listing::unreadable_pages`]. Mono may announce an endless
/// number of pages.
const MAX_STALE: u32 = 3;
const MAX_UNREADABLE: u32 = 50;

impl Listing {
    /// Adds the next page. Returns whether to request another page: Mono announces one, or fewer rows than the total
    /// were listed.
    pub(crate) fn add(&mut self, page: TransactionPage) -> bool {
        let listed = page.rows.len() + page.unreadable.len();
        if self.pages == 0 {
            self.total = page.total;
        } else if listed > 0 {
            self.total_changed |= page.total != self.total;
        }
        self.pages += 1;
        self.listed += listed as u64;
        self.unreadable += page.unreadable.len();
        self.repeated |= page.rows.iter().any(|row| self.ids.contains(&row.position.id));
        let known = self.ids.len();
        self.ids.extend(page.rows.iter().map(|row| row.position.id.clone()));
        let is_new = self.ids.len() > known;
        if !is_new {
            let is_unreadable = !page.unreadable.is_empty();
            self.unreadable_pages += u32::from(is_unreadable);
            self.stale_pages += u32::from(!is_unreadable);
        }
        self.rows.extend(page.rows);
        self.unreadable_ids.extend(page.unreadable.into_iter().flatten());
        let may_continue = self.stale_pages < MAX_STALE && self.unreadable_pages < MAX_UNREADABLE;
        let lacks_rows = self.total.is_some_and(|total| self.listed < total);
        listed > 0 && may_continue && (page.has_next || lacks_rows)
    }

    /// Whether the listing is complete: no row changed between two pages, and the number of listed rows equals the
    /// total. Duplicates and unreadable rows count.
    pub(crate) fn is_whole(&self) -> bool {
        !self.total_changed && !self.repeated && self.total == Some(self.listed)
    }

    /// Whether the rows changed between two pages. A second listing may then be complete.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.total_changed || self.repeated
    }

    /// Whether the pages ended with fewer rows than the total, although the rows did not change.
    pub(crate) fn disproves_total(&self) -> bool {
        !self.is_disturbed() && self.total.is_some_and(|total| self.listed < total)
    }

    /// The number of rows according to Mono.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    /// The total minus the number of listed rows.
    pub(crate) fn unexplained(&self) -> i32 {
        let total = self.total.unwrap_or(self.listed);
        i32::try_from(i128::from(total) - i128::from(self.listed)).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn rows(ids: impl IntoIterator<Item = u32>) -> Vec<Transaction> {
        let row = |id| {
            let date = "2026-01-05T00:00:00Z";
            let row = json!({ "id": format!("{id}"), "date": date, "type": "debit", "amount": 1 });
            Transaction::read(&to_raw_value(&row).unwrap()).unwrap()
        };
        ids.into_iter().map(row).collect()
    }

    fn page(
        ids: impl IntoIterator<Item = u32>,
        total: Option<u64>,
        has_next: bool,
    ) -> TransactionPage {
        TransactionPage { rows: rows(ids), unreadable: Vec::new(), total, has_next }
    }

    #[test]
    fn listing_with_as_many_rows_as_the_total_is_whole() {
        let mut listing = Listing::default();
        assert!(listing.add(page(0..100, Some(150), true)));
        assert!(!listing.is_whole());
        assert!(!listing.add(page(100..150, Some(150), false)));
        assert!(listing.is_whole());
    }

    #[test]
    fn row_listed_twice_on_one_page_counts_twice() {
        let mut listing = Listing::default();
        assert!(!listing.add(page([1, 2, 2], Some(3), false)));
        assert!(listing.is_whole());
    }

    #[test]
    fn unreadable_row_counts_and_keeps_its_id() {
        let mut listing = Listing::default();
        let unreadable = vec![Some("pending".to_owned()), None];
        listing.add(TransactionPage { unreadable, ..page([1], Some(3), false) });
        assert!(listing.is_whole());
        assert_eq!((listing.unreadable, listing.unreadable_ids.len()), (2, 1));
    }

    #[test]
    fn page_of_unreadable_rows_does_not_end_the_listing() {
        let mut listing = Listing::default();
        assert!(listing.add(page(0..100, None, true)));
        let unreadable = vec![None; 100];
        assert!(listing.add(TransactionPage { unreadable, ..page([], None, true) }));
        assert!(listing.add(page(200..300, None, true)));
        assert!(!listing.add(page(300..400, None, false)));
        assert_eq!((listing.rows.len(), listing.unreadable), (300, 100));
        assert!(!listing.is_whole(), "the total is unknown");
    }

    #[test]
    fn total_above_the_rows_requests_one_more_page() {
        let mut listing = Listing::default();
        assert!(listing.add(page(0..12, Some(12_000), false)), "rows may be missing");
        assert!(!listing.add(page([], Some(12_000), false)), "an empty page ends the listing");
        assert!(!listing.is_whole() && !listing.is_disturbed());
        assert!(listing.disproves_total());
    }

    #[test]
    fn new_row_between_two_pages_disturbs_the_listing() {
        let mut listing = Listing::default();
        listing.add(page(0..100, Some(150), true));
        listing.add(page(99..150, Some(151), false));
        assert!(listing.is_disturbed() && !listing.is_whole());
    }

    #[test]
    fn row_on_two_pages_disturbs_the_listing() {
        let mut listing = Listing::default();
        listing.add(page(0..100, Some(150), true));
        listing.add(page(99..149, Some(150), false));
        assert!(listing.is_disturbed() && !listing.is_whole());
    }

    #[test]
    fn repeated_page_disturbs_the_listing() {
        let mut listing = Listing::default();
        listing.add(page(0..100, Some(200), true));
        listing.add(page(0..100, Some(200), true));
        assert!(listing.is_disturbed() && !listing.is_whole());
    }

    #[test]
    fn endless_listing_stops_after_three_pages_without_a_new_row() {
        let mut listing = Listing::default();
        let pages = (0..100).take_while(|_| listing.add(page(0..10, None, true))).count();
        assert_eq!(pages, 3);
    }

    #[test]
    fn empty_listing_is_whole() {
        let mut listing = Listing::default();
        assert!(!listing.add(page([], Some(0), false)));
        assert!(listing.is_whole());
    }
}
