//! The state of a running import.

use tokio::time::Instant;

use super::{ImportError, ImportStats, Importer};
use crate::aws::store::Leased;
use crate::domain::account::{Account, Gap, GapReason, ImportLease, ImportNotes};
use crate::domain::account_id::AccountId;
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::change_feed::Revisions;
use crate::domain::import::{ImportJob, gaps};
use crate::domain::timestamp::Timestamp;
use crate::mono::Session;

pub(super) struct Run<'a> {
    pub(super) importer: &'a Importer,
    pub(super) mono: &'a Session<'a>,
    pub(super) leased: Leased<ImportLease>,
    pub(super) stats: ImportStats,
    pub(super) revisions: Revisions,
    /// A write of rows has failed. It may still arrive at the table.
    pub(super) has_failed_write: bool,
    /// Days that later imports must read again.
    pub(super) gaps: Vec<Gap>,
    pub(super) notes: ImportNotes,
    /// The number of all rows that Mono holds, if the answer of the sync had a total.
    pub(super) total_of_sync: Option<u32>,
    pub(super) today: BusinessDay,
    /// The last total that made a slice too large.
    pub(super) same_total: Option<u64>,
    /// Mono's totals do not count the requested days.
    pub(super) total_misleads: bool,
    /// Consecutive days that Mono did not serve.
    pub(super) not_served: u32,
    /// Mono has served at least one slice, to this message or to an earlier message of the chain.
    pub(super) is_served: bool,
    /// Some days cannot be listed. Then no margin is requested around a slice.
    pub(super) has_unserved_days: bool,
    /// Earlier messages of the chain, as in [`ImportJob::follows`].
    pub(super) follows: u32,
    pub(super) deadline: Instant,
}

/// Why an import stops before its end.
pub(super) enum Interruption {
    OutOfTime,
    Gone,
    ReauthorisationRequired,
    Failed(ImportError),
}

impl<E: Into<ImportError>> From<E> for Interruption {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(
        importer: &'a Importer,
        mono: &'a Session<'a>,
        leased: Leased<ImportLease>,
        job: &ImportJob,
        gaps: Vec<Gap>,
        notes: ImportNotes,
        deadline: Instant,
    ) -> Self {
        let revisions = Revisions::of(leased.stored.account.import_number);
        Self {
            importer,
            mono,
            leased,
            stats: ImportStats::default(),
            revisions,
            has_failed_write: false,
            has_unserved_days: gaps.iter().any(|gap| gap.reason == GapReason::NotServed),
            gaps,
            notes,
            total_of_sync: job.page.as_ref().map(|page| page.total),
            today: BusinessDay::of(Timestamp::now()),
            same_total: None,
            total_misleads: false,
            not_served: 0,
            is_served: job.continuation.as_ref().is_some_and(|continuation| continuation.is_served),
            follows: job.follows,
            deadline,
        }
    }

    pub(super) fn account(&self) -> &Account {
        &self.leased.stored.account
    }

    pub(super) fn id(&self) -> &AccountId {
        &self.account().id
    }

    /// The first day whose rows are not expired.
    pub(super) fn first_kept_day(&self) -> BusinessDay {
        self.importer.transactions.retention().first_day(self.today)
    }

    pub(super) fn note(&mut self, days: &Days, reason: Option<GapReason>) {
        gaps::note(&mut self.gaps, days, reason, Timestamp::now());
    }
}
