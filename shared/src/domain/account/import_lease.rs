//! When an import of transactions is due, and which message runs it.
//!
//! Only one import of an account runs at a time. Two concurrent imports would overwrite each other's rows with stale
//! data. So an import takes a lease. A second import is refused, and the refusal states whether the running import
//! covers its pull.

use std::ops::AddAssign;

use super::refresh_schedule::LONGEST_BACKOFF;
use super::{Account, Fact, Import, Link, OrderKey, SettledStatus, ShortHash, Status};
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::timestamp::Timestamp;

/// The state of an account's transactions in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImportState {
    /// The date of the newest row.
    pub through: Option<Timestamp>,
    /// Days that have to be imported again. At most [`MOST_GAPS`], sorted and without duplicates.
    pub gaps: Vec<Gap>,
    /// Notes that reduce the number of requests of the next import.
    pub notes: ImportNotes,
}

/// Information from Mono's answers to an import. It saves the next import unnecessary requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImportNotes {
    /// The number of rows at Mono, from the newest sync whose answer contained this number.
    pub total: Option<u32>,
    /// The day of the last attempt to compare the whole history window, even if the attempt failed.
    pub looked_back_on: Option<BusinessDay>,
    /// Whether Mono answered with a page when all rows were requested.
    pub is_paged: bool,
    /// Mono's total minus the number of rows in its answer, when the whole window was last compared.
    pub unexplained: i32,
    /// The hash of Mono's job that brought the rows.
    pub job: Option<ShortHash>,
}

/// Days for which the table may lack rows that Mono has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    pub first: BusinessDay,
    /// The last day (inclusive).
    pub last: BusinessDay,
    /// When the gap was found.
    pub since: Timestamp,
    /// When an import last tried these days.
    pub tried: Timestamp,
    pub reason: GapReason,
}

/// Why days have to be imported again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapReason {
    /// Mono's answer was incomplete, had unreadable rows, or was possibly not the whole statement.
    NotWhole,
    /// The answer lacked more than half of the stored rows. If a later import confirms this, the rows are deleted.
    MostRowsGone,
    /// Mono did not return rows for these days.
    NotServed,
}

/// Counts of written rows, modulo 2³². So the difference of two counts is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    pub added: u32,
    pub modified: u32,
    pub removed: u32,
    /// Imports that failed or crashed while they wrote, so that the other counts may lack their rows. An import with a
    /// failed write can count twice: at its end, and when the next import begins.
    pub interrupted: u32,
}

impl RowCounts {
    /// The count of an import whose written rows are not known.
    pub const INTERRUPTED: Self = Self { added: 0, modified: 0, removed: 0, interrupted: 1 };

    /// The rows that were written since the earlier counts.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            added: self.added.wrapping_sub(earlier.added),
            modified: self.modified.wrapping_sub(earlier.modified),
            removed: self.removed.wrapping_sub(earlier.removed),
            interrupted: self.interrupted.wrapping_sub(earlier.interrupted),
        }
    }
}

impl AddAssign for RowCounts {
    fn add_assign(&mut self, more: Self) {
        self.added = self.added.wrapping_add(more.added);
        self.modified = self.modified.wrapping_add(more.modified);
        self.removed = self.removed.wrapping_add(more.removed);
        self.interrupted = self.interrupted.wrapping_add(more.interrupted);
    }
}

/// The maximum number of gaps. If there are more, gaps are merged.
pub const MOST_GAPS: usize = 6;

impl Gap {
    pub fn days(&self) -> Days {
        self.first..=self.last
    }

    /// Whether the days are due for another import. The first retry is the next import. Later retries follow with
    /// exponential back-off up to one week.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.tried + self.tried.since(self.since).min(LONGEST_BACKOFF)
    }
}

/// The right to import an account's transactions, held for a limited time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportLease {
    /// The message that requested the import. It is delivered again until the import is done. [`ENDED`] after the end of
    /// the import.
    pub holder: [u8; 8],
    /// The order key of the newest pull that the import covers.
    pub pull: OrderKey,
    /// When the lease expires.
    pub until: Timestamp,
}

/// The holder of a lease whose import has ended, while its last writes may still arrive.
const ENDED: [u8; 8] = [0; 8];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportEnd {
    /// The rows are in the table.
    Done(Import),
    /// The import is to be requested again.
    Deferred {
        /// The earliest time of the next request.
        until: Timestamp,
        /// The completed part. Its order key is just before the pull, so that the import stays due.
        part: Option<Import>,
    },
    /// The message is delivered again, or the account is gone.
    GivenUp,
}

/// Why an import does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportRefusal {
    /// There is no such account.
    Unknown,
    /// The account was erased, or its erasure has begun.
    Erased,
    /// The requested rows are already in the table.
    UpToDate,
    /// A running import covers the request.
    Covered,
    /// A running import may have started too early to cover the request.
    Busy,
}

impl Account {
    /// The pull whose transactions are to be imported, if the pull is newer than the last import. A pull without new
    /// transactions counts in two cases. Either there was no import yet, and Mono may hold an older history. Or a gap
    /// is due.
    pub fn import_due(&self) -> Option<OrderKey> {
        let registers = &self.registers;
        let new = registers.transactions.as_ref().map(|new| new.order);
        let covered = registers.synced_transactions.newest().map(|covered| covered.order);
        let retries_without_new_data = registers.imported.as_ref().is_none_or(|imported| {
            let gaps = &imported.value.gaps;
            covered.is_some_and(|covered| gaps.iter().any(|gap| gap.is_due(covered.at)))
        });
        let pulled = new.max(covered.filter(|_| retries_without_new_data));
        pulled.filter(|pulled| Some(*pulled) > self.imported() && !self.is_of_imported_job(*pulled))
    }

    /// The hash of Mono's job that made this pull. `None` unless this is the newest pull and its job is known.
    pub fn job_of_pull(&self, pull: OrderKey) -> Option<ShortHash> {
        let newest = self.registers.pull.as_ref().filter(|newest| newest.order == pull)?;
        newest.value.job_id.as_deref().map(ShortHash::of)
    }

    /// Whether an earlier import has stored the rows of this pull, and no gap is due. The answer of a sync and its
    /// webhook report the same job, so one import covers both. The record knows the job of the newest pull only. An
    /// older pull counts as the same job if it follows the imported one within a job's lifetime.
    fn is_of_imported_job(&self, pull: OrderKey) -> bool {
        let Some(imported) = &self.registers.imported else {
            return false;
        };
        let Some(job) = imported.value.notes.job else {
            return false;
        };
        let newest = self.registers.pull.as_ref().map(|newest| newest.order);
        let is_same = if newest > Some(pull) {
            pull > imported.order && pull.at.since(imported.order.at) < Self::JOB_LIFETIME
        } else {
            self.job_of_pull(pull) == Some(job)
        };
        is_same && !imported.value.gaps.iter().any(|gap| gap.is_due(pull.at))
    }

    /// Whether the message of this holder continues the import that the record shows as running. `continued_from` is
    /// the number of the lease that the message was sent to take over. A redelivery after the end of the import
    /// continues nothing.
    pub fn is_continued_by(&self, holder: [u8; 8], continued_from: Option<u32>) -> bool {
        let is_own = |held: ImportLease| held.holder == holder;
        let is_taken_over = continued_from == Some(self.import_number);
        continued_from.is_some() && self.import.is_some_and(|held| is_own(held) || is_taken_over)
    }

    /// Takes the import lease. `continued_from` is the number of the lease that this message takes over.
    pub fn begin_import(
        &self,
        lease: ImportLease,
        continued_from: Option<u32>,
        now: Timestamp,
    ) -> Result<Self, ImportRefusal> {
        if self.erasure.is_some() {
            return Err(ImportRefusal::Erased);
        }
        if self.is_unknown() {
            return Err(ImportRefusal::Unknown);
        }
        if self.import == Some(lease) {
            // The lease is already taken: the answer to the write was lost.
            return Ok(self.clone());
        }
        let is_imported =
            self.imported() >= Some(lease.pull) || self.is_of_imported_job(lease.pull);
        let is_denied = !self.registers.is_proven && self.denied_at().is_some();
        if (is_imported || is_denied) && !self.is_continued_by(lease.holder, continued_from) {
            return Err(ImportRefusal::UpToDate);
        }
        let not_taken_over = self.import.filter(|_| continued_from != Some(self.import_number));
        if let Some(held) = not_taken_over.filter(|held| now < held.until) {
            // A redelivery of the holder's own message must not count as covered by the holder's lease.
            let is_covered =
                ![lease.holder, ENDED].contains(&held.holder) && held.pull >= lease.pull;
            return Err(if is_covered { ImportRefusal::Covered } else { ImportRefusal::Busy });
        }
        let mut begun = Self {
            import: Some(lease),
            import_number: self.next_import_number(now),
            import_deferred_until: None,
            ..self.clone()
        };
        // The previous holder crashed, and may have written rows that no count has. Or one of its writes failed, and
        // the rows became visible only after the notification of its end.
        if not_taken_over.is_some() {
            begun.written_rows += RowCounts::INTERRUPTED;
        }
        Ok(begun)
    }

    /// Seconds since 1970 (UTC), or more. So a record that was deleted and created again continues to count up.
    fn next_import_number(&self, now: Timestamp) -> u32 {
        let seconds = u32::try_from(now.millis() / 1000).unwrap_or(u32::MAX);
        seconds.max(self.import_number.saturating_add(1))
    }

    /// Ends an import: applies the completed work or defers the import, counts the written rows, and releases the lease
    /// if `holder` still holds it. `None` if the record was deleted in the meantime: the import must not create the
    /// record again. `settled_at`: a write has failed and may arrive until this time, so no import starts before.
    pub fn end_import(
        &self,
        holder: [u8; 8],
        end: &ImportEnd,
        written: RowCounts,
        settled_at: Option<Timestamp>,
    ) -> Option<Self> {
        if self.is_unknown() || self.erasure.is_some() {
            return None;
        }
        let mut ended = match end {
            ImportEnd::Done(done) => self.apply(&Fact::Import(done.clone())),
            ImportEnd::Deferred { until, part } => {
                let with_part = part.as_ref().map(|part| self.apply(&Fact::Import(part.clone())));
                let ended = with_part.unwrap_or_else(|| self.clone());
                Self { import_deferred_until: Some(*until), ..ended }
            }
            ImportEnd::GivenUp => self.clone(),
        };
        if let Some(lease) = ended.import.filter(|lease| lease.holder == holder) {
            ended.import = settled_at.map(|settled_at| ImportLease {
                holder: ENDED,
                until: lease.until.min(settled_at),
                ..lease
            });
        }
        ended.written_rows += written;
        Some(ended)
    }

    /// Whether the table holds the whole history window, so that no day has to be imported again.
    pub fn has_complete_history(&self) -> bool {
        let imported = self.registers.imported.as_ref();
        imported.is_some_and(|imported| imported.value.gaps.is_empty())
    }

    /// Whether the record is empty.
    pub fn is_unknown(&self) -> bool {
        *self == Self::new(self.id.clone())
    }

    /// Whether Mono currently serves all the transactions that it ever had of the account. Four conditions must hold:
    /// the last sync was confirmed, it brought transactions, no sync runs, and the link is not in doubt. Otherwise,
    /// rows may be missing in an answer only temporarily.
    pub fn has_whole_statement(&self, now: Timestamp) -> bool {
        let registers = &self.registers;
        let fresh = matches!(self.status_since(now).status, Status::Healthy | Status::Partial)
            && self.link() == Link::Linked;
        let has_transactions = match registers.availability.as_ref().map(|held| &held.value) {
            None => registers.has_transactions,
            Some(held) => {
                let lists = held
                    .retrieved_data
                    .as_ref()
                    .map(|parts| parts.iter().any(|part| part == "transactions"));
                match held.data_status {
                    SettledStatus::Available => lists != Some(false),
                    SettledStatus::Partial => lists == Some(true),
                    _ => false,
                }
            }
        };
        // After an incomplete statement, only the answer of a later complete sync proves that all rows are back. A
        // webhook may belong to the incomplete sync.
        let incomplete = registers.incomplete.as_ref().map(|incomplete| incomplete.order);
        let complete_again = self.successful_attempt() > incomplete;
        fresh && has_transactions && (incomplete.is_none() || complete_again)
    }

    fn imported(&self) -> Option<OrderKey> {
        self.registers.imported.as_ref().map(|held| held.order)
    }
}
