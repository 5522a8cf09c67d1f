//! A slice: the days for which one comparison of Mono's rows with the stored rows is made.

use std::collections::HashSet;
use std::time::Duration;

use tracing::{error, warn};

use super::fetch::Fetch;
use super::state::{Interruption, Run};
use super::{ImportError, MOST_OF_A_DAY, ROOM};
use crate::aws::store::StoreError;
use crate::domain::account::{GapReason, RowCounts};
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::change_feed::{StoredRows, Writes};
use crate::domain::import::diff::{Changes, compare};
use crate::domain::import::listing::Listing;
use crate::domain::import::range::{MOST_ROWS, window, with_margins, without_margin};
use crate::domain::import::{RemainingRange, sync_page};
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{SyncedPage, Transaction, TransactionPage};
use crate::mono::Part;

/// Time reserved at the end to write the record or to queue a message.
const RECORDING_TIME: Duration = Duration::from_secs(5);
/// The most stored rows of a slice of several days. Mono may count fewer rows for the same days.
const MOST_STORED: usize = 15_000;

pub(super) enum Slice {
    Done {
        rows: u64,
    },
    /// The slice would have this many rows.
    TooLarge {
        rows: u64,
    },
    /// Mono's totals do not count the requested days, so they do not limit the days of a slice.
    TotalMisleads,
}

impl Run<'_> {
    /// Writes the rows in the answer of the sync, if they include all new rows. Then the import needs no listing.
    /// Returns whether that is so. Only rows that have moved to another date are deleted.
    pub(super) async fn is_done_by(
        &mut self,
        page: &SyncedPage,
        rest: &RemainingRange,
    ) -> Result<bool, Interruption> {
        let before = sync_page::total_before(self.account(), Timestamp::now());
        self.notes.total = Some(page.total);
        let Ok(listed) = TransactionPage::of_rows(&page.rows) else {
            return Ok(false);
        };
        let mut listed = self.importer.kept(listed);
        let (Some(before), [days]) = (before, &rest.ranges[..]) else {
            return Ok(false);
        };
        let importer = self.importer;
        let window = window(importer.history_days, self.today);
        listed.rows.retain(|row| window.contains(&row.business_day()));
        let span = sync_page::span(&listed.rows, days);
        let _room = importer.room(1, self.deadline).await?;
        let Some(stored) = importer.transactions.of_days(self.id(), &span, MOST_STORED).await?
        else {
            return Ok(false);
        };
        let totals = (before, page.total);
        if !listed.unreadable.is_empty()
            || !sync_page::shows_all_new_rows(&listed.rows, totals, days, &stored.rows)
        {
            return Ok(false);
        }
        let changes = compare(&span, &stored.rows, &listed.rows, &HashSet::new());
        self.write(&stored, Changes { gone: Vec::new(), ..changes }).await?;
        self.stats.rows += listed.rows.len();
        Ok(true)
    }

    /// Compares a part of the history window with one unpaged answer. Returns whether the part was compared. If not,
    /// the caller imports the usual days.
    pub(super) async fn look_back(&mut self, window: &Days) -> Result<bool, Interruption> {
        if self.notes.is_paged {
            return Ok(false);
        }
        let importer = self.importer;
        let _room = importer.room(1, self.deadline).await?;
        let most = usize::try_from(MOST_ROWS).unwrap_or(usize::MAX);
        let Some(stored) = importer.transactions.of_days(self.id(), window, most).await? else {
            return Ok(false);
        };
        let page = match self.part(window, Part::All).await {
            Ok(page) => page,
            // Mono may still serve the usual days.
            Err(Interruption::Failed(error)) if error.may_affect_only_some_days() => {
                return Ok(false);
            }
            Err(interruption) => return Err(interruption),
        };
        self.is_served = true;
        if page.has_next {
            self.notes.is_paged = true;
            return Ok(false);
        }
        let mut listing = Listing::default();
        listing.add(page);
        self.note_total(window, &listing);
        let unexplained = listing.unexplained();
        let is_known = unexplained != 0 && unexplained == self.notes.unexplained;
        self.notes.unexplained = unexplained;
        self.settle(&without_margin(window), stored, listing, is_known).await?;
        Ok(true)
    }

    /// Imports these days. The stored rows are read before Mono's rows, so a row that Mono lacks cannot be newer than
    /// Mono's answer.
    pub(super) async fn slice(&mut self, days: &Days) -> Result<Slice, Interruption> {
        match self.slice_in(days, 1).await? {
            // A single day cannot be divided, so it gets the memory of all slices.
            Slice::TooLarge { .. } if days.start() == days.end() => self.slice_in(days, ROOM).await,
            slice => Ok(slice),
        }
    }

    async fn slice_in(&mut self, days: &Days, room: usize) -> Result<Slice, Interruption> {
        let importer = self.importer;
        let _room = importer.room(room, self.deadline).await?;
        let is_single_day = days.start() == days.end();
        let reach = if self.has_unserved_days || is_single_day {
            days.clone()
        } else {
            with_margins(days, importer.history_days, self.today)
        };
        let most = if room > 1 { MOST_OF_A_DAY } else { MOST_STORED };
        let Some(stored) = importer.transactions.of_days(self.id(), &reach, most).await? else {
            return too_large(room, 2 * MOST_ROWS);
        };
        let listing = match self.fetch(&reach, days, room).await? {
            Fetch::Listing(listing) => listing,
            Fetch::TooMany { rows } => return too_large(room, rows),
            Fetch::TotalMisleads => return Ok(Slice::TotalMisleads),
        };
        let rows = listing.rows.len() as u64;
        self.settle(days, stored, listing, false).await?;
        Ok(Slice::Done { rows })
    }

    /// Writes the differences of these days, and notes whether the days must be read again. `is_known`: this answer
    /// lacks as many rows as the last answer, so another read would not help.
    async fn settle(
        &mut self,
        days: &Days,
        mut stored: StoredRows,
        mut listing: Listing,
        is_known: bool,
    ) -> Result<(), Interruption> {
        let (rows, first) = (listing.rows.len(), self.first_kept_day());
        // An expired row is neither new nor gone. A row that Mono has moved to an expired day is gone.
        let is_kept = |row: &Transaction| row.business_day() >= first;
        listing.rows.retain(is_kept);
        stored.rows.retain(is_kept);
        let Changes { puts, moved, gone } =
            compare(days, &stored.rows, &listing.rows, &listing.unreadable_ids);
        let is_whole = listing.is_whole() && self.has_whole_statement();
        let is_incomplete = (!is_whole && !is_known) || listing.unreadable > 0;
        let mut reason = is_incomplete.then_some(GapReason::NotWhole);
        let of_days = stored.rows.iter().filter(|row| days.contains(&row.business_day())).count();
        let mut removed = if is_whole { gone } else { Vec::new() };
        if removed.len() * 2 > of_days {
            let missing = removed.len();
            removed.retain(|row| self.was_missing_before(BusinessDay::of(row.date)));
            if removed.len() < missing {
                let kept = missing - removed.len();
                self.stats.kept += kept;
                warn!(account_id = %self.id(), kept, "most rows are missing in Mono's answer and are kept");
                reason = Some(GapReason::MostRowsGone);
            }
        }
        if !removed.is_empty() && !self.is_confirmed().await? {
            reason = Some(GapReason::NotWhole);
            removed.clear();
        }
        if listing.unreadable > 0 {
            self.stats.unreadable += listing.unreadable;
            let (code, unreadable) = ("TRANSACTIONS_UNREADABLE", listing.unreadable);
            error!(account_id = %self.id(), code, unreadable, "unreadable rows in Mono's answer");
        }
        let mut changes = Changes { puts, moved, gone: removed };
        if !changes.gone.is_empty() {
            let transactions = &self.importer.transactions;
            let others = transactions.elsewhere(self.id(), &changes.gone, first).await?;
            changes = stored.found_elsewhere(changes, others);
        }
        self.write(&stored, changes).await?;
        self.note(days, reason);
        self.stats.rows += rows;
        self.stats.slices += 1;
        self.stats.not_whole += usize::from(!is_whole);
        Ok(())
    }

    /// Notes the total of a listing of the whole history window. If Mono holds older rows too, the total of the next
    /// sync is not comparable, and the import after that sync needs a listing.
    pub(super) fn note_total(&mut self, days: &Days, listing: &Listing) {
        let window = window(self.importer.history_days, self.today);
        if self.total_of_sync.is_none() && days.start() <= window.start() {
            self.notes.total = listing.total().and_then(|total| total.try_into().ok());
        }
    }

    fn has_whole_statement(&self) -> bool {
        self.account().has_whole_statement(Timestamp::now())
    }

    /// Whether an earlier import found most rows of this day missing.
    fn was_missing_before(&self, day: BusinessDay) -> bool {
        let imported = self.account().registers.imported.as_ref();
        let mut gaps = imported.into_iter().flat_map(|imported| &imported.value.gaps);
        gaps.any(|gap| gap.reason == GapReason::MostRowsGone && gap.days().contains(&day))
    }

    /// Writes and counts the changes of the stored rows.
    async fn write(&mut self, stored: &StoredRows, changes: Changes) -> Result<(), StoreError> {
        let Writes { puts, deletes, counts } =
            stored.writes(changes, &mut self.revisions, Timestamp::now());
        let deadline = self.deadline - RECORDING_TIME;
        let written = self.importer.transactions.write(self.id(), &puts, &deletes, deadline).await;
        if let Err(error) = written {
            self.has_failed_write = true;
            self.stats.written += RowCounts::INTERRUPTED;
            return Err(error);
        }
        self.stats.written += counts;
        self.stats.put += puts.len();
        self.stats.deleted += deletes.len();
        Ok(())
    }

    /// Whether the statement is still complete after the listing.
    async fn is_confirmed(&self) -> Result<bool, StoreError> {
        let newest = self.importer.accounts.get_newest(self.id()).await?;
        let now = Timestamp::now();
        Ok(newest.is_some_and(|newest| newest.account.has_whole_statement(now)))
    }
}

fn too_large(room: usize, rows: u64) -> Result<Slice, Interruption> {
    if room > 1 { Err(ImportError::TooManyRows.into()) } else { Ok(Slice::TooLarge { rows }) }
}
