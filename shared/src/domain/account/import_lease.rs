//! When transactions are to be imported, and by whom.
//!
//! One import of an account runs at a time, or two would overwrite each other's rows with what they
//! had read before: so an import takes a lease. Who comes meanwhile is told whether that one sees to
//! it as well.

use super::refresh_schedule::LONGEST_BACKOFF;
use super::{Account, Fact, Import, OrderKey, SettledStatus, ShortHash, Status};
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::timestamp::Timestamp;

/// What the table holds of an account's transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImportState {
    /// The date of the newest row.
    pub through: Option<Timestamp>,
    /// Days that have to be looked at again, at most [`MOST_GAPS`], in order and none twice.
    pub gaps: Vec<Gap>,
    /// What saves the next import a page.
    pub notes: ImportNotes,
}

/// What an import has found out of Mono's answers, so that the next one asks for nothing in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImportNotes {
    /// The number of rows at Mono, from the newest sync whose answer had it.
    pub total: Option<u32>,
    /// The day on which the whole history window was last compared, or could not be.
    pub looked_back_on: Option<BusinessDay>,
    /// Whether Mono has answered with a page when it was asked for all rows.
    pub is_paged: bool,
    /// How many more rows Mono's total had than its answer, when the whole window was last compared.
    pub unexplained: i32,
    /// Mono's job that brought the rows.
    pub job: Option<ShortHash>,
}

/// Days of which the table may not hold what Mono has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The first of them.
    pub first: BusinessDay,
    /// The last of them.
    pub last: BusinessDay,
    /// Since when.
    pub since: Timestamp,
    /// When they were last looked at.
    pub tried: Timestamp,
    /// Why.
    pub reason: GapReason,
}

/// Why some days have to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapReason {
    /// Mono's answer was not whole, had unreadable rows, or was not known to be all there is.
    NotWhole,
    /// The answer lacked more than half of the rows. They go if a later import says so again.
    MostRowsGone,
    /// Mono could not be brought to answer for them.
    NotServed,
}

/// How many gaps are told apart. More than that are joined.
pub const MOST_GAPS: usize = 6;

impl Gap {
    /// The days.
    pub fn days(&self) -> Days {
        self.first..=self.last
    }

    /// Whether they are to be looked at again: by the next import at first, and then by exponential
    /// back-off up to a week.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.tried + self.tried.since(self.since).min(LONGEST_BACKOFF)
    }
}

/// The right to import an account's transactions, held for a limited time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportLease {
    /// The message that asked for the import. As long as the import is not done, it will come again.
    pub holder: [u8; 8],
    /// The place of the newest pull that it sees to.
    pub pull: OrderKey,
    /// When the lease ends by itself.
    pub until: Timestamp,
}

/// How an import ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportEnd {
    /// Its rows are in the table.
    Done(Import),
    /// It is to be asked for again.
    Deferred {
        /// After this time.
        until: Timestamp,
        /// What is done of it, in the place just before its pull: so it stays due.
        part: Option<Import>,
    },
    /// Its message comes again, or what it was for is gone.
    GivenUp,
}

/// Why an import is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportRefusal {
    /// There is no such account.
    Unknown,
    /// What was asked for is in the table already.
    UpToDate,
    /// Another import is under way that sees to it.
    Covered,
    /// Another import is under way that may have begun too early for it.
    Busy,
}

impl Account {
    /// The pull whose transactions are to be imported, if there is one that is newer than the last
    /// import. One that brought nothing new counts if nothing was ever imported, since Mono may hold a
    /// history from before, and if some days are to be looked at again.
    pub fn import_due(&self) -> Option<OrderKey> {
        let registers = &self.registers;
        let new = registers.transactions.as_ref().map(|new| new.order);
        let covered = registers.synced_transactions.newest().map(|covered| covered.order);
        let looks_again = registers.imported.as_ref().is_none_or(|imported| {
            let gaps = &imported.value.gaps;
            covered.is_some_and(|covered| gaps.iter().any(|gap| gap.is_due(covered.at)))
        });
        let pulled = new.max(covered.filter(|_| looks_again));
        pulled.filter(|pulled| Some(*pulled) > self.imported() && !self.is_of_imported_job(*pulled))
    }

    /// Mono's job that made this pull, if it is the newest of all.
    pub fn job_of_pull(&self, pull: OrderKey) -> Option<ShortHash> {
        let newest = self.registers.pull.as_ref().filter(|newest| newest.order == pull)?;
        newest.value.job_id.as_deref().map(ShortHash::of)
    }

    /// Whether an earlier import has stored the rows of this pull, and no gap is due. A sync's answer and its webhook tell
    /// of the same job, so one import does for both. The record knows the job of the newest pull only. An older pull
    /// counts as the same job if it follows the imported one within a job's lifetime.
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

    /// The account under this lease. `carried_on_from` is the holder whose work is carried on.
    pub fn begin_import(
        &self,
        lease: ImportLease,
        carried_on_from: Option<[u8; 8]>,
        now: Timestamp,
    ) -> Result<Self, ImportRefusal> {
        if self.is_unknown() {
            return Err(ImportRefusal::Unknown);
        }
        if self.import == Some(lease) {
            // Taken already: the answer to the write was lost.
            return Ok(self.clone());
        }
        let is_imported =
            self.imported() >= Some(lease.pull) || self.is_of_imported_job(lease.pull);
        if is_imported && carried_on_from.is_none() {
            return Err(ImportRefusal::UpToDate);
        }
        let held = self.import.filter(|held| now < held.until);
        if let Some(held) = held.filter(|held| Some(held.holder) != carried_on_from) {
            // The holder's own message, delivered again, must not count on itself.
            let seen_to = held.holder != lease.holder && held.pull >= lease.pull;
            return Err(if seen_to { ImportRefusal::Covered } else { ImportRefusal::Busy });
        }
        Ok(Self { import: Some(lease), import_deferred_until: None, ..self.clone() })
    }

    /// The account after an import has ended: what it has done is applied, or it is deferred, and the
    /// lease is released, unless it is another's by now. `None` if the record is gone meanwhile: it
    /// is not to be made again.
    pub fn end_import(&self, holder: [u8; 8], end: &ImportEnd) -> Option<Self> {
        if self.is_unknown() {
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
        ended.import = ended.import.filter(|lease| lease.holder != holder);
        Some(ended)
    }

    /// Whether nothing is known of the account and nothing is under way.
    pub fn is_unknown(&self) -> bool {
        *self == Self::new(self.id.clone())
    }

    /// Whether Mono now serves all the transactions that it has ever had of the account: the last
    /// sync was confirmed, it brought transactions, and nothing is under way. Else what is missing
    /// in its answer may merely be missing at present.
    pub fn has_whole_statement(&self, now: Timestamp) -> bool {
        let registers = &self.registers;
        let fresh = matches!(self.status_since(now).status, Status::Healthy | Status::Partial);
        let told = match registers.availability.as_ref().map(|held| &held.value) {
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
        // What an incomplete statement left out is back when a complete one is told by its own answer: a
        // webhook may be of the incomplete one.
        let incomplete = registers.incomplete.as_ref().map(|incomplete| incomplete.order);
        let complete_again = registers.attempt.as_ref().is_some_and(|attempt| {
            Some(attempt.order) > incomplete && attempt.value.outcome == "successful"
        });
        fresh && told && (incomplete.is_none() || complete_again)
    }

    fn imported(&self) -> Option<OrderKey> {
        self.registers.imported.as_ref().map(|held| held.order)
    }
}
