//! One sync of one account, from the lease to the record.
//!
//! One conditional write takes the lease and sets the cooldown before the call. This allows at most one paid call at
//! a time and one per cooldown, even after a crash. The outcome is a fact like a webhook, and the same code applies
//! it. If the outcome cannot be recorded, the lease expires, and Mono's webhook brings the outcome.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tracing::error;

use crate::aws::queues::{ImportQueue, SendError};
use crate::aws::secrets::SecretUnavailable;
use crate::aws::store::{AccountStore, Leased, StoreError};
use crate::domain::account::{
    Account, Fact, Lease, SyncAttempt, SyncData, SyncOutcome, SyncRefusal,
};
use crate::domain::account_id::AccountId;
use crate::domain::caller::Caller;
use crate::domain::import::ImportJob;
use crate::domain::spending::CallReason;
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::SyncedPage;
use crate::lambda::invocation::Invocation;
use crate::mono::{Mono, Session, SyncRequest};

pub struct Syncer {
    pub accounts: AccountStore,
    pub mono: Mono,
    pub imports: ImportQueue,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOptions {
    pub caller: Caller,
    /// The data to sync. `None`: what the account needs.
    pub data: Option<SyncData>,
    /// v1 only: accept a statement with fewer transactions than Mono already holds.
    pub allow_incomplete_statement: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Synced {
    /// The outcome of the sync, or the reason why no call could be paid.
    Done {
        outcome: SyncOutcome,
        /// The account afterwards. `None`: there is no record.
        account: Option<Box<Account>>,
    },
    /// No sync was started.
    Refused(Box<Account>, SyncRefusal),
    /// The caller may not see this account, or it does not exist.
    NotVisible,
}

/// Why a sync was not made, or why its outcome was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] SecretUnavailable),
    #[error(transparent)]
    Queue(#[from] SendError),
    #[error("AWS did not answer in time")]
    Late,
    /// The sync was made, but its outcome is not recorded.
    #[error("outcome `{outcome}` could not be recorded: {source}")]
    Unrecorded { outcome: &'static str, source: Box<SyncError> },
}

/// Time reserved to record the outcome. It is enough for one retry.
pub(super) const RECORDING_TIME: Duration = Duration::from_secs(4);
/// The part of [`RECORDING_TIME`] that the import request may take. Recording the paid outcome has priority.
const REQUEST_TIME: Duration = Duration::from_secs(1);
/// With less time for Mono, no sync starts. It would be paid for, and its answer would be lost.
const LEAST_TIME_FOR_MONO: Duration = Duration::from_secs(10);
/// The time between the end of the invocation and the end of its lease.
pub(super) const LEASE_MARGIN: Duration = Duration::from_mins(1);

impl Syncer {
    /// Syncs an account on demand. The account needs no record.
    ///
    /// # Errors
    ///
    /// [`SyncError`]. Only [`SyncError::Unrecorded`] means that a sync was made.
    pub async fn sync(
        &self,
        id: &AccountId,
        options: &SyncOptions,
        invocation: &Invocation,
    ) -> Result<Synced, SyncError> {
        let begin_by = begin_by(invocation);
        let mono = in_time(begin_by, self.mono.session(Timestamp::now())).await?;
        let lease_until = invocation.ends_at + LEASE_MARGIN;
        let begun = self.accounts.begin_sync(id, &options.caller, Timestamp::now(), lease_until);
        let leased = match in_time(begin_by, begun).await? {
            Ok(leased) => leased,
            Err((_, SyncRefusal::NotVisible)) => return Ok(Synced::NotVisible),
            Err((account, refusal)) => return Ok(Synced::Refused(account, refusal)),
        };
        let account = &leased.stored.account;
        let request = SyncRequest {
            data: options.data.unwrap_or_else(|| account.data_to_sync(leased.lease.started_at)),
            allow_incomplete_statement: options.allow_incomplete_statement,
        };
        let (outcome, account) =
            self.run(leased, request, CallReason::Manual, &mono, invocation).await?;
        // Another owner may have linked the account during the call.
        if account.as_ref().is_some_and(|account| !options.caller.may_see(account)) {
            return Ok(Synced::NotVisible);
        }
        Ok(Synced::Done { outcome, account: account.map(Box::new) })
    }

    /// Calls Mono under a lease, and records the outcome. Returns the outcome and the account afterwards. The account
    /// is `None` if the record is deleted.
    pub(super) async fn run(
        &self,
        leased: Leased<Lease>,
        request: SyncRequest,
        reason: CallReason,
        mono: &Session<'_>,
        invocation: &Invocation,
    ) -> Result<(SyncOutcome, Option<Account>), SyncError> {
        let account = &leased.stored.account;
        let mono_by = invocation.deadline - RECORDING_TIME;
        let (outcome, page) = mono.sync(&account.id, request, reason, mono_by).await;
        let attempt = SyncAttempt {
            started_at: leased.lease.started_at,
            ended_at: Timestamp::now(),
            data: request.data,
            incomplete_allowed: request.allow_incomplete_statement,
            outcome: outcome.without_name_of(account),
        };
        self.request_import(account, &Fact::Attempt(attempt.clone()), page).await;
        let ended = self.accounts.end_sync(leased, &attempt);
        let ended = in_time(invocation.deadline, ended).await;
        let SyncAttempt { outcome, .. } = attempt;
        match ended {
            Ok(account) => Ok((outcome, account)),
            Err(error) => {
                Err(SyncError::Unrecorded { outcome: outcome.as_str(), source: Box::new(error) })
            }
        }
    }

    /// Requests the import that a fact makes due. The request precedes the write of the record, so a crash between
    /// the two cannot lose the import. A failed request is only logged: the next pull requests the import again.
    pub(super) async fn request_import(
        &self,
        account: &Account,
        fact: &Fact,
        page: Option<SyncedPage>,
    ) {
        let Some(job) = ImportJob::due(&account.apply(fact), [fact]) else {
            return;
        };
        let job = ImportJob { page, ..job };
        let sent = timeout(REQUEST_TIME, self.imports.send(&[job], ImportQueue::DELAY)).await;
        let error = match sent {
            Ok(failed) => failed.into_values().next(),
            Err(_) => Some(SendError::Late),
        };
        if let Some(error) = error {
            error!(account_id = %account.id, %error, "import request could not be enqueued");
        }
    }
}

/// After this time no sync starts. It would be paid for, and its answer would be lost.
pub(super) fn begin_by(invocation: &Invocation) -> Instant {
    invocation.deadline - RECORDING_TIME - LEAST_TIME_FOR_MONO
}

pub(super) async fn in_time<T, E: Into<SyncError>>(
    by: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, SyncError> {
    timeout_at(by, work).await.map_err(|_| SyncError::Late)?.map_err(Into::into)
}
