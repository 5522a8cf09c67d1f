//! Mono's answer for some days, page by page, and what can be concluded from it.

use std::collections::HashSet;

use crate::domain::transaction::{Transaction, TransactionPage};

/// The pages so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// Rows as they were listed, the newest first, those that were listed twice included.
    pub(crate) rows: Vec<Transaction>,
    /// The ids of rows that could not be read, as far as they have one.
    pub(crate) unreadable_ids: HashSet<String>,
    /// How many rows could not be read.
    pub(crate) unreadable: usize,
    ids: HashSet<String>,
    pages: u32,
    /// How many rows were listed, whether they could be read or not.
    listed: u64,
    /// How many there are in all, by the first page.
    total: Option<u64>,
    /// Another page told another total.
    total_moved: bool,
    /// A page brought a row of another page: so a third one may be on none.
    repeated: bool,
    /// Pages without any new row, and pages of unreadable rows alone.
    barren: u32,
    unreadable_pages: u32,
}

/// Mono may not know when to stop.
const MOST_BARREN: u32 = 3;
const MOST_UNREADABLE: u32 = 50;

impl Listing {
    /// Takes in the next page. Whether another has to be asked for: one that Mono announces, or one
    /// with rows that its total counts and no page had.
    pub(crate) fn add(&mut self, page: TransactionPage) -> bool {
        let listed = page.rows.len() + page.unreadable.len();
        if self.pages == 0 {
            self.total = page.total;
        } else if listed > 0 {
            self.total_moved |= page.total != self.total;
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
            self.barren += u32::from(!is_unreadable);
        }
        self.rows.extend(page.rows);
        self.unreadable_ids.extend(page.unreadable.into_iter().flatten());
        let goes_on = self.barren < MOST_BARREN && self.unreadable_pages < MOST_UNREADABLE;
        let lacks_rows = self.total.is_some_and(|total| self.listed < total);
        listed > 0 && goes_on && (page.has_next || lacks_rows)
    }

    /// Whether it is all that Mono has: every page arrived, and as many rows were listed as the total
    /// says, duplicates and unreadable ones included.
    pub(crate) fn is_whole(&self) -> bool {
        !self.total_moved && !self.repeated && self.total == Some(self.listed)
    }

    /// Whether rows came in, or were repeated, between two pages, so that asking once more helps.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.total_moved || self.repeated
    }

    /// Whether the pages ended before there were as many rows as the total says.
    pub(crate) fn disproves_total(&self) -> bool {
        !self.is_disturbed() && self.total.is_some_and(|total| self.listed < total)
    }

    /// How many rows Mono says there are.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    /// How many more rows Mono says there are than it has listed.
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
    fn all_pages_with_as_many_rows_as_the_total_are_whole() {
        let mut listing = Listing::default();
        assert!(listing.add(page(0..100, Some(150), true)));
        assert!(!listing.is_whole());
        assert!(!listing.add(page(100..150, Some(150), false)));
        assert!(listing.is_whole());
    }

    #[test]
    fn row_that_is_listed_twice_counts_in_the_total() {
        let mut listing = Listing::default();
        assert!(!listing.add(page([1, 2, 2], Some(3), false)));
        assert!(listing.is_whole());
    }

    #[test]
    fn unreadable_row_counts_in_the_total_and_is_known_by_its_id() {
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
        assert!(!listing.is_whole(), "there is no total to tell");
    }

    #[test]
    fn total_that_does_not_count_these_days_costs_one_page_more() {
        let mut listing = Listing::default();
        assert!(listing.add(page(0..12, Some(12_000), false)), "some may be missing");
        assert!(!listing.add(page([], Some(12_000), false)), "the pages end here");
        assert!(!listing.is_whole() && !listing.is_disturbed());
        assert!(listing.disproves_total());
    }

    #[test]
    fn rows_that_come_in_between_two_pages_disturb_the_listing() {
        let mut listing = Listing::default();
        listing.add(page(0..100, Some(150), true));
        listing.add(page(99..150, Some(151), false));
        assert!(listing.is_disturbed() && !listing.is_whole());
    }

    #[test]
    fn row_on_two_pages_may_stand_for_one_on_none() {
        let mut listing = Listing::default();
        listing.add(page(0..100, Some(150), true));
        listing.add(page(99..149, Some(150), false));
        assert!(listing.is_disturbed() && !listing.is_whole());
    }

    #[test]
    fn page_that_repeats_another_is_never_a_part_of_the_whole() {
        let mut listing = Listing::default();
        listing.add(page(0..100, Some(200), true));
        listing.add(page(0..100, Some(200), true));
        assert!(listing.is_disturbed() && !listing.is_whole());
    }

    #[test]
    fn listing_that_mono_never_ends_is_ended() {
        let mut listing = Listing::default();
        let pages = (0..100).take_while(|_| listing.add(page(0..10, None, true))).count();
        assert_eq!(pages, 3);
    }

    #[test]
    fn empty_answer_is_whole() {
        let mut listing = Listing::default();
        assert!(!listing.add(page([], Some(0), false)));
        assert!(listing.is_whole());
    }
}
