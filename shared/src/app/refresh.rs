//! One refresh of an account. It verifies or syncs the account, polls a job or queues an import, if that is still due.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};

use crate::app::erase::Erased;
use crate::app::sync::{LEASE_MARGIN, RECORDING_TIME, SyncError, Syncer, begin_by, in_time};
use crate::aws::queues::{AccountQueue, ImportQueue};
use crate::aws::store::{AccountRows, EventStore, RefreshStart, StoreError};
use crate::domain::account::{Answer, CallError, Fact, RefreshAction, SyncOutcome};
use crate::domain::account_id::AccountId;
use crate::domain::circuit_breaker::{Admission, Breaker};
use crate::domain::import::ImportJob;
use crate::domain::refresh_job::RefreshJob;
use crate::domain::spending::CallReason;
use crate::domain::timestamp::Timestamp;
use crate::lambda::invocation::Invocation;
use crate::lambda::sqs_batch::Delivery;
use crate::mono::{Session, SyncRequest};
use crate::random;

pub struct Refresher {
    pub syncer: Syncer,
    pub queue: AccountQueue,
    /// `None` if no histories are kept.
    pub events: Option<EventStore>,
    /// The transactions and the histories, which an erasure deletes.
    pub rows: Vec<AccountRows>,
}

/// The result of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// The outcome of a sync, or the reason why no call could be paid.
    Synced(SyncOutcome),
    /// A poll of a job, with the outcome of its sync. `None`: the job still runs, or Mono's answer is inconclusive.
    Followed(Option<SyncOutcome>),
    /// A plain read that verified the account.
    Verified,
    /// A poll or a plain read failed. The next plan repeats it.
    Unanswered(CallError),
    /// A deferred import is queued again.
    ImportQueued,
    /// The account is up to date or no longer exists.
    UpToDate,
    /// Refreshing is paused. The next plan queues the account again.
    Paused,
    /// An erasure, or a part of one.
    Erased(Erased),
}

impl Refreshed {
    /// The reason why a call to Mono had no result.
    const fn call_error(&self) -> Option<&CallError> {
        match self {
            Self::Synced(SyncOutcome::NoResult(call_error)) | Self::Unanswered(call_error) => {
                Some(call_error)
            }
            _ => None,
        }
    }

    /// Whether Mono answered a call that it charges for.
    pub const fn is_answered(&self) -> bool {
        match self {
            Self::Synced(outcome) => !matches!(outcome, SyncOutcome::NoResult(_)),
            Self::Verified => true,
            Self::Followed(_)
            | Self::Unanswered(_)
            | Self::ImportQueued
            | Self::UpToDate
            | Self::Paused
            | Self::Erased(_) => false,
        }
    }
}

/// Why a refresh has no result.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error(transparent)]
    Sync(#[from] SyncError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("refreshing is paused until {0}")]
    Paused(Timestamp),
}

impl RefreshError {
    /// Whether the message is delivered again. Mono may have charged a sync whose outcome could not be recorded, so
    /// that sync is not repeated. Mono's webhook brings the outcome. Otherwise the account is planned again after an
    /// interval.
    pub const fn is_retried(&self) -> bool {
        !matches!(self, Self::Sync(SyncError::Unrecorded { .. }))
    }
}

/// How long refreshing pauses after a 429 without `Retry-After`.
const PAUSE: Duration = Duration::from_mins(1);
/// The longest pause after a 429, even if `Retry-After` is longer.
const LONGEST_PAUSE: Duration = Duration::from_mins(3);
/// After a pause, the waiting messages are spread over this time.
const SPREAD: Duration = Duration::from_secs(10);
/// After this many deliveries SQS moves a message to the dead-letter queue.
const LAST_TIME: u32 = 5;
/// How long a poll of a job, or a plain read of an account, may take. No user waits for it.
const READ_TIME: Duration = Duration::from_secs(20);

impl Refresher {
    /// Runs one refresh job, unless refreshing is paused.
    ///
    /// # Errors
    ///
    /// [`RefreshError`]: the message must be delivered again.
    pub async fn refresh(
        &self,
        delivery: &Delivery<RefreshJob>,
        invocation: &Invocation,
    ) -> Result<Refreshed, RefreshError> {
        // An erasure does not wait until Mono can be reached again.
        if delivery.job.is_erasure {
            let erased = Box::pin(self.erase(&delivery.job.account_id, invocation)).await?;
            return Ok(Refreshed::Erased(erased));
        }
        let (admission, breaker) = self.admission().await?;
        if let Admission::PausedUntil(until) = admission {
            return self.put_off(delivery, until).await;
        }
        let is_probe = admission == Admission::Probe;
        let refreshed = Box::pin(self.run(&delivery.job, invocation)).await?;
        self.record_result(&refreshed, breaker, is_probe).await;
        Ok(refreshed)
    }

    async fn run(
        &self,
        RefreshJob { account_id: id, planned_at, .. }: &RefreshJob,
        invocation: &Invocation,
    ) -> Result<Refreshed, SyncError> {
        let Syncer { accounts, mono, imports } = &self.syncer;
        let (now, begin_by) = (Timestamp::now(), begin_by(invocation));
        let by = invocation.deadline - RECORDING_TIME;
        let mono = in_time(begin_by, mono.session(now)).await?;
        let lease_until = invocation.ends_at + LEASE_MARGIN;
        let start = accounts.begin_refresh(id, *planned_at, now, lease_until);
        match in_time(begin_by, start).await? {
            RefreshStart::Sync(leased, reason) => {
                let data = leased.stored.account.data_to_sync(now);
                let request = SyncRequest { data, allow_incomplete_statement: false };
                let (outcome, _) =
                    self.syncer.run(*leased, request, reason, &mono, invocation).await?;
                Ok(Refreshed::Synced(outcome))
            }
            RefreshStart::Other(account, RefreshAction::Job { id: job_id }) => {
                let at = account.followed_since().unwrap_or(now);
                Box::pin(self.poll_job(id, job_id, at, &mono, by)).await
            }
            RefreshStart::Other(_, RefreshAction::Verify { ending }) => {
                let by = by.min(Instant::now() + READ_TIME);
                Box::pin(self.verify(id, ending, now, &mono, by)).await
            }
            RefreshStart::Other(_, RefreshAction::Import(pull)) => {
                let job = ImportJob::new(id.clone(), pull);
                let failed = imports.send(&[job], ImportQueue::DELAY).await;
                match failed.into_values().next() {
                    None => Ok(Refreshed::ImportQueued),
                    Some(error) => Err(error.into()),
                }
            }
            RefreshStart::Other(_, RefreshAction::Sync(_)) | RefreshStart::Nothing => {
                Ok(Refreshed::UpToDate)
            }
        }
    }

    /// Polls a job at Mono, and applies its outcome to the account.
    async fn poll_job(
        &self,
        id: &AccountId,
        job_id: String,
        at: Timestamp,
        mono: &Session<'_>,
        by: Instant,
    ) -> Result<Refreshed, SyncError> {
        let poll_by = by.min(Instant::now() + READ_TIME);
        let report = match mono.job(id, &job_id, CallReason::Scheduled, poll_by).await {
            Ok(report) => report,
            Err(error) => return Ok(Refreshed::Unanswered(error)),
        };
        let outcome = report.and_then(|report| report.outcome(job_id));
        if let Some(outcome) = &outcome {
            let accounts = &self.syncer.accounts;
            let fact = Fact::Answer(Answer { at, outcome: outcome.clone() });
            if let Some(seen) = in_time(by, accounts.get(id)).await? {
                self.syncer.request_import(&seen.account, &fact, None).await;
                let by = by + RECORDING_TIME;
                in_time(by, accounts.apply(id, Some(seen), &[&fact])).await?;
            }
        }
        Ok(Refreshed::Followed(outcome))
    }

    /// Reads the circuit breaker. If several workers could probe, compare-and-set admits one of them.
    async fn admission(&self) -> Result<(Admission, Breaker), StoreError> {
        let accounts = &self.syncer.accounts;
        let (now, breaker) = (Timestamp::now(), accounts.breaker().await?);
        let admission = breaker.admit(now);
        let claimed = breaker.claimed(now);
        if admission == Admission::Probe && !accounts.swap_breaker(breaker, claimed).await? {
            return Ok((claimed.admit(now), breaker));
        }
        Ok((admission, breaker))
    }

    /// Delays the message until the end of the pause. At its last delivery, a message would move to the dead-letter
    /// queue. Instead, the account loses its queued mark, and the next plan queues it again.
    async fn put_off(
        &self,
        delivery: &Delivery<RefreshJob>,
        until: Timestamp,
    ) -> Result<Refreshed, RefreshError> {
        let RefreshJob { account_id, planned_at, .. } = &delivery.job;
        if delivery.times >= LAST_TIME {
            if let Some(planned_at) = planned_at {
                self.syncer.accounts.unmark_queued(account_id, *planned_at).await?;
            }
            return Ok(Refreshed::Paused);
        }
        let wait = until.since(Timestamp::now()) + random::jittered(SPREAD);
        if let Err(error) = self.queue.postpone(&delivery.receipt_handle, wait).await {
            warn!(%account_id, %error, "visibility timeout could not be changed");
        }
        Err(RefreshError::Paused(until))
    }

    /// Updates the circuit breaker and the pause from Mono's answer.
    async fn record_result(&self, refreshed: &Refreshed, seen: Breaker, is_probe: bool) {
        let now = Timestamp::now();
        let accounts = &self.syncer.accounts;
        let updated = match refreshed.call_error() {
            Some(CallError::RateLimited { retry_after }) => {
                let until = now + retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE);
                accounts.change_breaker(|breaker| breaker.after_rate_limit(until)).await
            }
            Some(call_error) if call_error.may_affect_all_accounts() => {
                let failed = |breaker: Breaker| {
                    if is_probe {
                        breaker.after_failed_probe(now)
                    } else {
                        breaker.after_failure(now)
                    }
                };
                accounts.change_breaker(failed).await
            }
            _ if refreshed.is_answered() && (is_probe || seen.failures > 0) => {
                accounts.change_breaker(Breaker::after_success).await
            }
            _ if is_probe => accounts.change_breaker(Breaker::unclaimed).await,
            _ => Ok(()),
        };
        if let Err(error) = updated {
            error!(%error, "circuit breaker could not be updated");
        }
    }
}
