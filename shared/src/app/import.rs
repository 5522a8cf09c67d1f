//! One import of one account's transactions: from the lease to the record.
//!
//! An import lists a range of days at Mono, compares the rows with the stored rows, and writes the differences. It
//! works in slices of days, so a long history need not fit in memory. When the time is up, another message continues
//! with the remaining range. Each step is idempotent: after any failure the message is delivered again.

mod fetch;
mod run;
mod slice;
mod state;

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tracing::error;

use self::state::{Interruption, Run};
use crate::aws::queues::{ImportQueue, SendError};
use crate::aws::secrets::SecretUnavailable;
use crate::aws::store::{AccountStore, Leased, StoreError, TransactionStore};
use crate::domain::account::{CallError, ImportLease, ImportNotes, ImportRefusal, RowCounts};
use crate::domain::business_day::BusinessDay;
use crate::domain::circuit_breaker::Breaker;
use crate::domain::import::range::Plan;
use crate::domain::import::{Continuation, ImportJob, sync_page};
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::TransactionPage;
use crate::lambda::invocation::Invocation;
use crate::mono::Mono;
use crate::random;

pub struct Importer {
    pub accounts: AccountStore,
    pub transactions: TransactionStore,
    pub mono: Mono,
    /// The queue of the jobs that continue an import.
    pub queue: ImportQueue,
    /// Days in the history window. None of them is expired.
    pub history_days: u32,
    /// Whether fields of rows that this system does not know are stored.
    pub keeps_unknown_fields: bool,
    /// One permit for each slice that fits in memory, [`ROOM`] in total.
    pub room: Semaphore,
}

/// The most time that a slice needs after its rows are fetched.
const WRITING_TIME: Duration = Duration::from_secs(15);
/// The time between the end of the invocation and the end of its lease.
const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// How long a job waits for another import of its account.
const BUSY: Duration = Duration::from_secs(15);
/// The most rows of a single day. No real account has as many. They fit in memory if no other slice is in memory.
const MOST_OF_A_DAY: usize = 50_000;
/// The number of slices that fit in the memory of a function.
pub const ROOM: usize = 4;

/// The result of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// All rows are stored.
    Done(ImportStats),
    /// A part of the rows is stored. A message for the remaining range is queued.
    Continued(ImportStats),
    /// An earlier import has stored the rows of this pull.
    UpToDate,
    /// A running import stores the rows of this pull.
    Covered,
    /// Another import is running. A later message for this job is queued.
    Postponed,
    /// Mono no longer knows the account.
    Gone,
    /// The bank requires re-authorisation. The record has this status.
    ReauthorisationRequired,
    /// A part of the rows is stored. The chain of messages is at its limit, so the remaining range is deferred.
    TooLong(ImportStats),
    /// Today's budget is exhausted, the circuit breaker is open, or Mono refuses the key or the payment. The planner
    /// requests the import again later.
    Deferred(CallError),
}

/// Counts of one import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportStats {
    /// Rows in Mono's answers, including those of the margins.
    pub rows: usize,
    /// The written rows.
    pub written: RowCounts,
    /// Items that were put.
    pub put: usize,
    pub deleted: usize,
    /// Calls to Mono, each for one page.
    pub pages: usize,
    /// Slices that were finished.
    pub slices: usize,
    /// Slices whose answer was not complete, so that no row was deleted.
    pub not_whole: usize,
    /// Days that Mono did not serve.
    pub not_served: usize,
    /// Rows that Mono's answer lacks. They stay until a later import confirms that they are gone.
    pub kept: usize,
    /// Rows in Mono's answers that cannot be stored.
    pub unreadable: usize,
}

/// Why the message must be delivered again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] SecretUnavailable),
    #[error(transparent)]
    Queue(#[from] SendError),
    #[error("call to Mono failed: {}", .0.as_str())]
    Mono(CallError),
    /// The record shows the account as linked, but Mono does not know the account.
    #[error("Mono does not know the account")]
    NotFound,
    /// Another import still holds the lease at the end of this job's chain of messages.
    #[error("another import of the account is still running")]
    Busy,
    /// The job was delivered before the record was written.
    #[error("the account has no record yet")]
    Unknown,
    #[error("import of a single day takes longer than an invocation")]
    Late,
    /// A single day does not fit in memory.
    #[error("a single day has more than {MOST_OF_A_DAY} rows")]
    TooManyRows,
    /// One of Mono's answers does not fit in memory.
    #[error("Mono's answer is too large")]
    TooLarge,
}

/// Identifies the message that holds the lease of an import.
fn holder(message_id: &str) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(message_id.as_bytes()).into();
    digest.first_chunk().copied().unwrap_or_default()
}

impl Importer {
    /// The page without the fields that are not stored.
    fn kept(&self, page: TransactionPage) -> TransactionPage {
        if self.keeps_unknown_fields { page } else { page.without_unknown_fields() }
    }
}

impl Importer {
    /// Runs the job of this message.
    ///
    /// # Errors
    ///
    /// [`ImportError`]: the message must be delivered again.
    pub async fn import(
        &self,
        job: &ImportJob,
        message_id: &str,
        invocation: &Invocation,
    ) -> Result<Imported, ImportError> {
        let now = Timestamp::now();
        let holder = job.holder.unwrap_or_else(|| holder(message_id));
        let mono = self.mono.session(now).await?;
        let lease =
            ImportLease { holder, pull: job.pull, until: invocation.ends_at + LEASE_MARGIN };
        let from = job.continuation.as_ref().map(|continuation| continuation.from);
        let begin = self.accounts.begin_import(&job.account_id, lease, from, now);
        let begun = Box::pin(begin).await?;
        let (leased, continues) = match begun {
            Ok(begun) => begun,
            Err(ImportRefusal::Unknown) => return Err(ImportError::Unknown),
            Err(ImportRefusal::Erased) => return Ok(Imported::UpToDate),
            Err(ImportRefusal::UpToDate) => return Ok(Imported::UpToDate),
            Err(ImportRefusal::Covered) => return Ok(Imported::Covered),
            Err(ImportRefusal::Busy) => {
                let next = ImportJob { holder: Some(holder), ..job.clone() }.next();
                self.enqueue(&next.ok_or(ImportError::Busy)?, BUSY).await?;
                return Ok(Imported::Postponed);
            }
        };
        let (plan, notes) = match &job.continuation {
            Some(Continuation { rest, gaps, notes, .. }) => {
                let (look_back, window) = (Vec::new(), Vec::new());
                (Plan { rest: rest.clone(), look_back, window, gaps: gaps.clone() }, *notes)
            }
            None => {
                let plan = Plan::of(&leased.stored.account, self.history_days, now);
                (plan, ImportNotes::of(&leased, now))
            }
        };
        // Neither an old continuation nor an old gap requests expired days.
        let plan = plan.since(self.transactions.retention().first_day(BusinessDay::of(now)));
        let mut run = Run::new(self, &mono, leased, job, plan.gaps, notes, invocation.deadline);
        if let Some(continuation) = job.continuation.as_ref().filter(|_| continues) {
            run.stats.written = continuation.written;
        }
        let breaker = self.accounts.breaker().await?;
        if breaker.pause.is_some() {
            let until = breaker.paused_until.max(Some(now)).unwrap_or(now);
            Box::pin(run.defer(&plan.rest, until)).await?;
            return Ok(Imported::Deferred(CallError::Unavailable));
        }
        // New rows that the page does not show may have any date in the window.
        let look_back = if job.page.is_some() { plan.window } else { plan.look_back };
        let imported = Box::pin(run.run(plan.rest, look_back, job.page.as_ref())).await;
        self.record_result(&imported, breaker, now).await;
        imported
    }

    async fn record_result(
        &self,
        imported: &Result<Imported, ImportError>,
        seen: Breaker,
        now: Timestamp,
    ) {
        let recorded = match imported {
            Ok(Imported::Deferred(call_error)) | Err(ImportError::Mono(call_error))
                if call_error.may_affect_all_accounts() =>
            {
                self.accounts.change_breaker(|breaker| breaker.after_failure(now)).await
            }
            Ok(Imported::Done(_)) if seen.failures > 0 => {
                self.accounts.change_breaker(Breaker::after_success).await
            }
            _ => Ok(()),
        };
        if let Err(error) = recorded {
            error!(%error, "circuit breaker could not be updated");
        }
    }

    /// Waits until this many slices fit in memory.
    async fn room(
        &self,
        slices: usize,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, Interruption> {
        let permits = u32::try_from(slices).unwrap_or(u32::MAX);
        let room = timeout_at(deadline - WRITING_TIME, self.room.acquire_many(permits)).await;
        room.ok().and_then(Result::ok).ok_or(Interruption::OutOfTime)
    }

    async fn enqueue(&self, job: &ImportJob, delay: Duration) -> Result<(), SendError> {
        let mut failed = self.queue.send(std::slice::from_ref(job), delay).await;
        failed.remove(&job.account_id).map_or(Ok(()), Err)
    }
}

impl ImportNotes {
    /// The notes of earlier imports, and the job of this import's pull. Once a week, the import tests again whether
    /// Mono pages its answers.
    fn of(leased: &Leased<ImportLease>, now: Timestamp) -> Self {
        let account = &leased.stored.account;
        let imported = account.registers.imported.as_ref();
        let notes = imported.map(|imported| imported.value.notes).unwrap_or_default();
        let age = notes.looked_back_on.map(|day| BusinessDay::of(now).days_after(day));
        let is_paged =
            notes.is_paged && age.is_some_and(|age| age < sync_page::MOST_DAYS_WITHOUT_LISTING);
        Self { is_paged, job: account.job_of_pull(leased.lease.pull), ..notes }
    }
}

/// The longest wait after a job's first failure at Mono. Each further failure multiplies the wait by four, so five
/// deliveries take more than one hour.
const FIRST_WAIT: Duration = Duration::from_mins(1);
/// The longest wait after the first failure of a job that was delivered before its record was written.
const FIRST_WAIT_FOR_RECORD: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(64);

impl ImportError {
    /// The visibility timeout before the next delivery: exponential back-off with jitter, added to Mono's
    /// `Retry-After`.
    pub fn back_off(&self, times: u32) -> Duration {
        let (first, retry_after) = match self {
            Self::Unknown => (FIRST_WAIT_FOR_RECORD, None),
            Self::Mono(CallError::RateLimited { retry_after }) => (FIRST_WAIT, *retry_after),
            _ => (FIRST_WAIT, None),
        };
        let longest = first.saturating_mul(4_u32.saturating_pow(times.saturating_sub(1)));
        let wait = random::jittered(longest.min(LONGEST_WAIT));
        retry_after.map_or(wait, |retry_after| retry_after.min(LONGEST_WAIT) + wait)
    }

    /// Whether Mono may still serve other days.
    fn may_affect_only_some_days(&self) -> bool {
        matches!(
            self,
            Self::Mono(CallError::TimedOut | CallError::Unavailable | CallError::Unusable(_))
                | Self::TooManyRows
                | Self::TooLarge
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(error: &ImportError, times: u32) -> u64 {
        error.back_off(times).as_secs()
    }

    #[test]
    fn each_failure_multiplies_the_wait_by_four_up_to_the_longest_wait() {
        let failure = ImportError::Mono(CallError::Unavailable);
        for (times, longest) in [(0, 60), (1, 60), (2, 240), (3, 960), (4, 3840), (99, 3840)] {
            let wait = seconds(&failure, times);
            assert!((longest / 2..=longest).contains(&wait), "{times}: {wait}");
        }
    }

    #[test]
    fn back_off_is_added_to_retry_after() {
        let retry_after = Some(Duration::from_secs(100));
        let limited = ImportError::Mono(CallError::RateLimited { retry_after });
        assert!((130..=160).contains(&seconds(&limited, 1)));
    }

    #[test]
    fn job_without_a_record_is_retried_within_five_seconds() {
        assert!(seconds(&ImportError::Unknown, 1) <= 5);
    }
}
