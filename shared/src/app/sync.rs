//! One sync of one account, from the lease to the record.
//!
//! One conditional write takes the lease and sets the cooldown before the call. So there is at most one paid call at a
//! time and per cooldown, whatever crashes. The outcome is a fact like a webhook, and is applied by the same code. If it
//! cannot be recorded, the lease expires, and Mono's webhook brings the outcome.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tracing::error;

use crate::aws::queues::{ImportQueue, SendError};
use crate::aws::secrets::SecretUnavailable;
use crate::aws::store::{AccountStore, LeaseResult, Leased, StoreError};
use crate::domain::account::{
    Account, CallError, Fact, Lease, LinkCheck, LinkState, OrderKey, SyncAttempt, SyncData,
    SyncOutcome, SyncRefusal,
};
use crate::domain::account_id::AccountId;
use crate::domain::caller::Caller;
use crate::domain::import::ImportJob;
use crate::domain::spending::CallReason;
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::SyncedPage;
use crate::lambda::invocation::Invocation;
use crate::mono::{Mono, Session, SyncRequest};

/// What a sync needs.
pub struct Syncer {
    pub accounts: AccountStore,
    pub mono: Mono,
    pub imports: ImportQueue,
}

/// The caller of a sync, and what to sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOptions {
    pub caller: Caller,
    /// What to sync. `None`: as the account needs.
    pub data: Option<SyncData>,
    /// v1: whether a statement with fewer transactions than Mono already holds is accepted.
    pub allow_incomplete_statement: bool,
}

/// The result of a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Synced {
    /// A sync, or why none could be paid.
    Done {
        outcome: SyncOutcome,
        /// The account afterwards. `None`: there is no record.
        account: Option<Box<Account>>,
    },
    /// No sync was begun.
    Refused(Box<Account>, SyncRefusal),
    /// The caller may not see this account, or it does not exist.
    NotVisible,
    /// The check of the link was inconclusive.
    Unchecked(CallError),
}

/// Why a sync was not made, or not recorded.
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
    /// The sync was made, and its outcome is not recorded.
    #[error("outcome `{outcome}` could not be recorded: {source}")]
    Unrecorded { outcome: &'static str, source: Box<SyncError> },
}

/// Time reserved to record the outcome: enough for a second try.
pub(super) const RECORDING_TIME: Duration = Duration::from_secs(4);
/// How much of it the import request may take. The outcome has been paid for, and comes first.
const ASKING_TIME: Duration = Duration::from_secs(1);
/// With less time for Mono, no sync begins: it would be paid for, and its answer lost.
const LEAST_TIME_FOR_MONO: Duration = Duration::from_secs(10);
/// How long a check of the link may take.
const CHECK_TIME: Duration = Duration::from_secs(5);
/// How long a lease outlives the invocation that took it.
pub(super) const LEASE_MARGIN: Duration = Duration::from_mins(1);

impl Syncer {
    /// Syncs an account on demand, also one without a record.
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
        let mut begun = self.begin(id, options, invocation).await?;
        if let Err((account, SyncRefusal::Unlinked { to_check: Some(ending) })) = begun {
            let checked = self.check_link(id, ending, &mono, begin_by, CallReason::Manual).await?;
            match checked {
                // An inconclusive check is no reason to sync an unlinked account.
                Ok(_) | Err(CallError::Unusable(_) | CallError::Refused(_)) => {}
                Err(error) => return Ok(Synced::Unchecked(error.without_name_of(&account))),
            }
            begun = self.begin(id, options, invocation).await?;
        }
        let leased = match begun {
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
        // During the call, another owner may have linked the account.
        if account.as_ref().is_some_and(|account| !options.caller.may_see(account)) {
            return Ok(Synced::NotVisible);
        }
        Ok(Synced::Done { outcome, account: account.map(Box::new) })
    }

    async fn begin(
        &self,
        id: &AccountId,
        options: &SyncOptions,
        invocation: &Invocation,
    ) -> Result<LeaseResult<Lease, SyncRefusal>, SyncError> {
        let lease_until = invocation.ends_at + LEASE_MARGIN;
        let begun = self.accounts.begin_sync(id, &options.caller, Timestamp::now(), lease_until);
        in_time(begin_by(invocation), begun).await
    }

    /// Calls Mono under a lease, and records the outcome. Returns it with the account afterwards, or `None` if the record
    /// is deleted.
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

    /// Requests the import that a fact makes due. It comes before the record, so a crash between the two cannot lose it.
    /// If it fails, the next pull requests the import again, so the outcome is recorded all the same.
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
        let asked = timeout(ASKING_TIME, self.imports.send(&[job], ImportQueue::DELAY)).await;
        let error = match asked {
            Ok(failed) => failed.into_values().next(),
            Err(_) => Some(SendError::Late),
        };
        if let Some(error) = error {
            error!(account_id = %account.id, %error, "import request could not be enqueued");
        }
    }

    /// Asks Mono whether the account is still linked, by a plain read (details, if Mono shows the account), and records
    /// the answer. An inconclusive answer is recorded too, so that the next check waits. If the call fails, only a
    /// planned check waits: a person may try again.
    pub(super) async fn check_link(
        &self,
        id: &AccountId,
        ending: OrderKey,
        mono: &Session<'_>,
        by: Instant,
        reason: CallReason,
    ) -> Result<Result<LinkState, CallError>, SyncError> {
        let at = Timestamp::now();
        let is_planned = reason == CallReason::LinkCheck;
        let answered = mono.link_state(id, reason, by.min(Instant::now() + CHECK_TIME)).await;
        let is_answered =
            matches!(answered, Ok(_) | Err(CallError::Unusable(_) | CallError::Refused(_)));
        let is_asked =
            !matches!(answered, Err(CallError::BudgetExhausted { .. } | CallError::Unmetered));
        if !is_asked || (!is_answered && !is_planned) {
            return Ok(answered);
        }
        let found = *answered.as_ref().unwrap_or(&LinkState::Unknown);
        let fact = Fact::LinkCheck(LinkCheck { at, ending, found });
        let by = by + ASKING_TIME;
        let seen = in_time(by, self.accounts.get(id)).await?;
        in_time(by, self.accounts.apply(id, seen, &[&fact])).await?;
        Ok(answered)
    }
}

/// After this time no sync begins: it would be paid for, and its answer lost.
pub(super) fn begin_by(invocation: &Invocation) -> Instant {
    invocation.deadline - RECORDING_TIME - LEAST_TIME_FOR_MONO
}

pub(super) async fn in_time<T, E: Into<SyncError>>(
    by: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, SyncError> {
    timeout_at(by, work).await.map_err(|_| SyncError::Late)?.map_err(Into::into)
}
