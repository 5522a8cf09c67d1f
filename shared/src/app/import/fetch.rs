//! Fetches the rows of a slice from Mono, in one answer or in pages.

use tokio::time::Instant;

use super::state::{Interruption, Run};
use super::{ImportError, MOST_OF_A_DAY, WRITING_TIME};
use crate::domain::business_day::Days;
use crate::domain::import::listing::Listing;
use crate::domain::import::range::MOST_ROWS;
use crate::domain::transaction::TransactionPage;
use crate::mono::{Part, TransactionsError};

/// The most pages of a slice of several days.
const MOST_PAGES: u64 = 30;
/// How often a slice is fetched while new rows shift its pages.
const TRIES: u32 = 3;

pub(super) enum Fetch {
    Listing(Listing),
    TooMany { rows: u64 },
    TotalMisleads,
}

impl Run<'_> {
    /// Fetches all rows of these days, if they fit in memory. If a new row shifts the pages, they are fetched again.
    pub(super) async fn fetch(
        &mut self,
        reach: &Days,
        days: &Days,
        room: usize,
    ) -> Result<Fetch, Interruption> {
        let mut tries = 1;
        loop {
            match self.fetch_once(reach, days, room).await? {
                Fetch::Listing(listing) if listing.is_disturbed() && tries < TRIES => tries += 1,
                fetched => return Ok(fetched),
            }
        }
    }

    /// Requests all rows in one answer. If Mono pages the answer or the answer is too large, requests pages of one
    /// size from the first page on. The total of the first page then shows the number of rows.
    async fn fetch_once(
        &mut self,
        reach: &Days,
        days: &Days,
        room: usize,
    ) -> Result<Fetch, Interruption> {
        if !self.notes.is_paged {
            match self.part(reach, Part::All).await {
                Ok(page) if !page.has_next => {
                    let mut listing = Listing::default();
                    listing.add(page);
                    self.note_total(reach, &listing);
                    return Ok(Fetch::Listing(listing));
                }
                Ok(_) => self.notes.is_paged = true,
                Err(Interruption::Failed(ImportError::TooLarge)) => {}
                Err(interruption) => return Err(interruption),
            }
        }
        self.fetch_pages(reach, days, room).await
    }

    async fn fetch_pages(
        &mut self,
        reach: &Days,
        days: &Days,
        room: usize,
    ) -> Result<Fetch, Interruption> {
        let is_single_day = days.start() == days.end();
        let most = if room > 1 { MOST_OF_A_DAY as u64 } else { MOST_ROWS };
        let mut listing = Listing::default();
        for number in 1.. {
            let page = match self.part(reach, Part::Page(number)).await {
                Err(Interruption::Failed(ImportError::TooLarge)) => {
                    return Ok(Fetch::TooMany { rows: 2 * most });
                }
                page => page?,
            };
            // The daily budget must cover all pages of a slice. A part of the pages would be paid for nothing.
            let of_pages = MOST_PAGES * page.rows.len().max(1) as u64;
            let is_divided = self.notes.is_paged && !is_single_day;
            let limit = if is_divided { most.min(of_pages) } else { most };
            let total = page.total.filter(|total| page.has_next && *total > limit);
            let is_last = !listing.add(page);
            if let Some(total) = total.filter(|_| number == 1 && !self.total_misleads) {
                let is_same = self.same_total.replace(total) == Some(total);
                // A total of the requested days shrinks with their number. The pages of a single day verify the
                // total.
                if !is_single_day || room == 1 {
                    // Scaled to the usual limit.
                    let rows = total.saturating_mul(MOST_ROWS) / limit.min(MOST_ROWS);
                    return Ok(Fetch::TooMany { rows: if is_same { u64::MAX } else { rows } });
                }
            }
            if listing.rows.len() as u64 > most {
                return Ok(Fetch::TooMany { rows: 2 * most });
            }
            if is_last {
                break;
            }
        }
        if is_single_day && !self.total_misleads && listing.disproves_total() {
            self.total_misleads = self.same_total.is_some() && self.same_total == listing.total();
            if self.total_misleads {
                return Ok(Fetch::TotalMisleads);
            }
        }
        Ok(Fetch::Listing(listing))
    }

    pub(super) async fn part(
        &mut self,
        days: &Days,
        part: Part,
    ) -> Result<TransactionPage, Interruption> {
        let by = self.deadline - WRITING_TIME;
        self.stats.pages += 1;
        let page = self.mono.transactions(self.id(), days, part, by).await;
        page.map(|page| self.importer.kept(page)).map_err(|error| match error {
            TransactionsError::ReauthorisationRequired => Interruption::ReauthorisationRequired,
            // An account that Mono has known may still exist. With a wrong key, Mono can give the same answer.
            TransactionsError::NotFound
                if self.account().registers.is_proven && !self.account().is_unlinked() =>
            {
                Interruption::Failed(ImportError::NotFound)
            }
            TransactionsError::NotFound => Interruption::Gone,
            TransactionsError::TooLarge => Interruption::Failed(ImportError::TooLarge),
            TransactionsError::Call(_) if Instant::now() >= by => Interruption::OutOfTime,
            TransactionsError::Call(call_error) => {
                Interruption::Failed(ImportError::Mono(call_error))
            }
        })
    }
}
