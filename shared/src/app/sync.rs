//! One sync of one account, from the lease to the record.
//!
//! The lease and the cooldown are written before the call, so that Mono is asked at most once,
//! whoever else asks and whatever breaks. What a sync came to goes through the same door as a
//! webhook. If it cannot be recorded, the lease ends by itself, and Mono's webhook tells the rest.

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

/// Syncs accounts.
pub struct Syncer {
    /// The records.
    pub accounts: AccountStore,
    /// Who refreshes them.
    pub mono: Mono,
    /// Where the import of what they bring is asked for.
    pub imports: ImportQueue,
}

/// Who asks for a sync, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOptions {
    pub caller: Caller,
    /// What to refresh. `None`: what suits the account.
    pub data: Option<SyncData>,
    /// v1: whether a statement with fewer transactions than Mono already holds is accepted.
    pub allow_incomplete_statement: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Synced {
    /// Mono was asked, if there was budget for it.
    Done {
        /// What it came to.
        outcome: SyncOutcome,
        /// The account afterwards; `None` if nothing is known of it.
        account: Option<Box<Account>>,
    },
    /// Mono was not asked to sync.
    Refused(Box<Account>, SyncRefusal),
    /// There is no such account for the caller.
    NotVisible,
    /// Whether the account is still linked could not be told.
    Unchecked(CallError),
}

/// The sync, or the record of it, was not possible.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The record cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key to ask Mono with.
    #[error(transparent)]
    Key(#[from] SecretUnavailable),
    /// An import cannot be asked for.
    #[error(transparent)]
    Queue(#[from] SendError),
    /// AWS did not answer in time.
    #[error("AWS did not answer in time")]
    Late,
    /// The sync was made, and its outcome is not recorded.
    #[error("the outcome `{outcome}` is not recorded: {source}")]
    Unrecorded {
        /// Its word.
        outcome: &'static str,
        /// Why it is not recorded.
        source: Box<SyncError>,
    },
}

/// What is left of the time of an invocation to record the outcome in: enough for a second try.
pub(super) const RECORDING_TIME: Duration = Duration::from_secs(4);
/// How much of it may pass before that: the outcome has been paid for, and comes first.
const ASKING_TIME: Duration = Duration::from_secs(1);
/// Without as much time for Mono nothing is begun: it would be paid for, and not waited for.
const LEAST_TIME_FOR_MONO: Duration = Duration::from_secs(10);
/// How long it may take to find out whether an account is still linked.
const CHECK_TIME: Duration = Duration::from_secs(5);
/// How long a lease outlives the invocation that took it.
pub(super) const LEASE_MARGIN: Duration = Duration::from_mins(1);

impl Syncer {
    /// Syncs an account that somebody asks for, known or not, unless something stands in the way.
    ///
    /// # Errors
    ///
    /// [`SyncError`]. Mono was asked to sync only if it is [`SyncError::Unrecorded`].
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
                // An unreadable answer is no reason to sync an account that was unlinked.
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

    /// Calls Mono under a lease, and records the outcome. Returns it with the account afterwards; `None` if nothing of
    /// the account is kept.
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
            Err(_) => Some(SendError::late()),
        };
        if let Some(error) = error {
            error!(account_id = %account.id, %error, "an import is due and not asked for");
        }
    }

    /// Asks Mono whether the account is still linked, by a plain read (details, if Mono shows the account), and records
    /// the answer. An inconclusive answer is recorded too, so that the next check waits. If Mono could not be asked, only
    /// a planned check waits: a person may try again.
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

/// After this time no sync is begun: it would be paid for, and not waited for.
pub(super) fn begin_by(invocation: &Invocation) -> Instant {
    invocation.deadline - RECORDING_TIME - LEAST_TIME_FOR_MONO
}

pub(super) async fn in_time<T, E: Into<SyncError>>(
    by: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, SyncError> {
    timeout_at(by, work).await.map_err(|_| SyncError::Late)?.map_err(Into::into)
}
