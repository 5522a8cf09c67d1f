//! One sync of one account, from the lease to the record.
//!
//! The lease and the cooldown are written before the call, so that Mono is asked at most once,
//! whoever else asks and whatever breaks. What a sync came to goes through the same door as a
//! webhook. If it cannot be recorded, the lease ends by itself, and Mono's webhook tells the rest.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tracing::error;

use crate::account::{
    Account, Answer, CallError, Fact, Lease, LinkCheck, LinkState, OrderKey, RefreshAction,
    SyncAttempt, SyncData, SyncOutcome, SyncRefusal,
};
use crate::account_id::AccountId;
use crate::caller::Caller;
use crate::import::ImportJob;
use crate::invocation::Invocation;
use crate::mono::{Mono, Session, SyncRequest};
use crate::queue::{ImportQueue, SendError};
use crate::spending::CallReason;
use crate::store::{AccountStore, LeaseResult, StoreError, Stored};
use crate::stored_secret::SecretUnavailable;
use crate::timestamp::Timestamp;
use crate::transaction::SyncedPage;

/// Syncs accounts.
pub struct Syncer {
    /// The records.
    pub accounts: AccountStore,
    /// Who refreshes them.
    pub mono: Mono,
    /// Where the import of what they bring is asked for.
    pub imports: ImportQueue,
}

/// What is asked for, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncOptions {
    /// Who asks.
    pub caller: Caller,
    /// What to refresh, if not what suits the account.
    pub data: Option<SyncData>,
    /// Whether fewer transactions than Mono already holds will do.
    pub allow_incomplete_statement: bool,
    /// When the automatic refresh has planned it; `None` if somebody asks. What was planned is only
    /// done if it is still wanted.
    pub planned_at: Option<Timestamp>,
}

impl SyncOptions {
    /// That of the automatic refresh.
    fn planned(planned_at: Timestamp) -> Self {
        Self {
            caller: Caller::Trusted,
            data: None,
            allow_incomplete_statement: false,
            planned_at: Some(planned_at),
        }
    }
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

/// What came of a refresh that was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// Mono was asked to sync, if there was budget for it.
    Synced(SyncOutcome),
    /// Mono was asked for a job. What the sync it is of came to; `None` if it is not over, or Mono
    /// does not say.
    Followed(Option<SyncOutcome>),
    /// Mono was asked whether the account is still linked.
    Checked,
    /// Mono was asked for a job or a link, and could not be. It is left to the next plan.
    Unanswered(CallError),
    /// An import that was deferred is queued again.
    ImportAskedFor,
    /// It is not wanted any more.
    Unwanted,
}

impl Refreshed {
    /// Why Mono taught nothing, if it was asked in vain.
    pub const fn trouble(&self) -> Option<&CallError> {
        match self {
            Self::Synced(SyncOutcome::NoResult(call_error)) | Self::Unanswered(call_error) => {
                Some(call_error)
            }
            _ => None,
        }
    }

    /// Whether Mono has answered what it charges for.
    pub const fn is_answered(&self) -> bool {
        match self {
            Self::Synced(outcome) => !matches!(outcome, SyncOutcome::NoResult(_)),
            Self::Checked => true,
            Self::Followed(_) | Self::Unanswered(_) | Self::ImportAskedFor | Self::Unwanted => {
                false
            }
        }
    }
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
const RECORDING_TIME: Duration = Duration::from_secs(4);
/// How much of it may pass before that: the outcome has been paid for, and comes first.
const ASKING_TIME: Duration = Duration::from_secs(1);
/// Without as much time for Mono nothing is begun: it would be paid for, and not waited for.
const LEAST_TIME_FOR_MONO: Duration = Duration::from_secs(10);
/// How long a question about a job may take, which nobody waits for.
const FOLLOW_TIME: Duration = Duration::from_secs(20);
/// How long it may take to find out whether an account is still linked.
const CHECK_TIME: Duration = Duration::from_secs(5);
/// How long a lease outlives the invocation that took it.
const LEASE_MARGIN: Duration = Duration::from_mins(1);

impl Syncer {
    /// Syncs an account, known or not, unless something stands in the way.
    ///
    /// # Errors
    ///
    /// [`SyncError`]. Mono was asked only if it is [`SyncError::Unrecorded`].
    pub async fn sync(
        &self,
        id: &AccountId,
        options: &SyncOptions,
        invocation: &Invocation,
    ) -> Result<Synced, SyncError> {
        let mono_by = invocation.deadline - RECORDING_TIME;
        let begin_by = mono_by - LEAST_TIME_FOR_MONO;
        let mono = in_time(begin_by, self.mono.session(Timestamp::now())).await?;
        let mut begun = in_time(begin_by, self.begin(id, options, invocation)).await?;
        if let LeaseResult::Refused(account, SyncRefusal::Unlinked { to_check: Some(ending) }) =
            begun
        {
            match self.check(id, ending, &mono, begin_by, options.planned_at.is_some()).await? {
                // What cannot be read is no reason to sync an account that was unlinked.
                Ok(_) | Err(CallError::Unusable(_) | CallError::Refused(_)) => {}
                Err(call_error) => {
                    return Ok(Synced::Unchecked(call_error.without_name_of(&account)));
                }
            }
            begun = in_time(begin_by, self.begin(id, options, invocation)).await?;
        }
        let (leased, lease) = match begun {
            LeaseResult::Leased(leased, lease) => (*leased, lease),
            LeaseResult::Refused(account, refusal) => return Ok(Synced::Refused(account, refusal)),
            LeaseResult::NotVisible => return Ok(Synced::NotVisible),
        };
        let reason = match options.planned_at {
            Some(_) => leased.account.reason_to_refresh(),
            None => CallReason::Manual,
        };
        let data = options.data.unwrap_or_else(|| leased.account.data_to_sync(lease.started_at));
        let (outcome, page) = call(&mono, &leased, data, options, reason, mono_by).await;
        self.end(leased, lease, (data, outcome, page), options, invocation.deadline).await
    }

    /// Does what the automatic refresh has planned for an account, if it is still wanted: syncs it,
    /// or asks how a job has ended or whether the account is still linked.
    ///
    /// # Errors
    ///
    /// [`SyncError`]. Mono was asked to sync only if it is [`SyncError::Unrecorded`].
    pub async fn refresh(
        &self,
        id: &AccountId,
        planned_at: Timestamp,
        invocation: &Invocation,
    ) -> Result<Refreshed, SyncError> {
        let account = match self.sync(id, &SyncOptions::planned(planned_at), invocation).await? {
            Synced::Done { outcome, .. } => return Ok(Refreshed::Synced(outcome)),
            Synced::Unchecked(call_error) => return Ok(Refreshed::Unanswered(call_error)),
            Synced::NotVisible => return Ok(Refreshed::Unwanted),
            Synced::Refused(account, _) => account,
        };
        let by = invocation.deadline - RECORDING_TIME;
        let now = Timestamp::now();
        match account.still_wanted(planned_at, now, self.accounts.policy()) {
            Some(RefreshAction::Job { id: job_id }) => {
                let mono = in_time(by, self.mono.session(now)).await?;
                let at = account.followed_since().unwrap_or(planned_at);
                self.follow(id, job_id, at, &mono, by).await
            }
            Some(RefreshAction::Link { ending }) => {
                let mono = in_time(by, self.mono.session(now)).await?;
                Ok(match self.check(id, ending, &mono, by, true).await? {
                    Ok(_) => Refreshed::Checked,
                    Err(call_error) => Refreshed::Unanswered(call_error),
                })
            }
            Some(RefreshAction::Import(pull)) => {
                let job = ImportJob::new(id.clone(), pull);
                let failed = self.imports.send(&[job], ImportQueue::DELAY).await;
                failed
                    .into_values()
                    .next()
                    .map_or(Ok(Refreshed::ImportAskedFor), |error| Err(SyncError::Queue(error)))
            }
            Some(RefreshAction::Sync(_)) | None => {
                // What stood in the way may come to nothing, so the next plan has to see to the account;
                // but not after a sync that died.
                if account.refresh_queued_at.is_some() && !account.is_attempted_since(planned_at) {
                    in_time(by, self.accounts.unmark_queued(id, planned_at)).await?;
                }
                Ok(Refreshed::Unwanted)
            }
        }
    }

    /// Asks Mono how a job has ended, and applies what that says of the account.
    async fn follow(
        &self,
        id: &AccountId,
        job_id: String,
        at: Timestamp,
        mono: &Session<'_>,
        by: Instant,
    ) -> Result<Refreshed, SyncError> {
        let by_then = by.min(Instant::now() + FOLLOW_TIME);
        let report = match mono.job(id, &job_id, CallReason::Scheduled, by_then).await {
            Ok(report) => report,
            Err(call_error) => return Ok(Refreshed::Unanswered(call_error)),
        };
        let outcome = report.and_then(|report| report.outcome(job_id));
        if let Some(outcome) = &outcome {
            let fact = Fact::Answer(Answer { at, outcome: outcome.clone() });
            if let Some(seen) = in_time(by, self.accounts.get(id)).await? {
                self.ask_for_import(&seen.account, &fact, None).await;
                let by = by + RECORDING_TIME;
                in_time(by, self.accounts.apply(id, Some(seen), &[&fact])).await?;
            }
        }
        Ok(Refreshed::Followed(outcome))
    }

    async fn begin(
        &self,
        id: &AccountId,
        options: &SyncOptions,
        invocation: &Invocation,
    ) -> Result<LeaseResult, StoreError> {
        let lease_until = invocation.ends_at + LEASE_MARGIN;
        let now = Timestamp::now();
        self.accounts.begin_sync(id, &options.caller, options.planned_at, now, lease_until).await
    }

    async fn end(
        &self,
        leased: Stored,
        lease: Lease,
        (data, outcome, page): (SyncData, SyncOutcome, Option<SyncedPage>),
        options: &SyncOptions,
        by: Instant,
    ) -> Result<Synced, SyncError> {
        let ended_at = Timestamp::now();
        let attempt = SyncAttempt {
            started_at: lease.started_at,
            ended_at,
            data,
            incomplete_allowed: options.allow_incomplete_statement,
            outcome,
        };
        self.ask_for_import(&leased.account, &Fact::Attempt(attempt.clone()), page).await;
        let ended = in_time(by, self.accounts.end_sync(leased, lease, &attempt)).await;
        let SyncAttempt { outcome, .. } = attempt;
        match ended {
            // Linked anew by another owner during the call.
            Ok(Some(account)) if !options.caller.may_see(&account) => Ok(Synced::NotVisible),
            Ok(account) => Ok(Synced::Done { outcome, account: account.map(Box::new) }),
            Err(error) => {
                Err(SyncError::Unrecorded { outcome: outcome.as_str(), source: Box::new(error) })
            }
        }
    }

    /// Comes before the record, so that a crash between the two cannot lose it. Where it fails, the
    /// record says what is due, and the next pull asks again; so the outcome is recorded all the same.
    async fn ask_for_import(&self, account: &Account, fact: &Fact, page: Option<SyncedPage>) {
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

    /// Asks Mono whether the account is still linked, by a plain read of it, and records what that came to:
    /// an answer that says nothing too, so that the next check waits. Where Mono could not be asked, only a
    /// planned check waits: a person may try again.
    async fn check(
        &self,
        id: &AccountId,
        ending: OrderKey,
        mono: &Session<'_>,
        by: Instant,
        is_planned: bool,
    ) -> Result<Result<LinkState, CallError>, SyncError> {
        let at = Timestamp::now();
        let reason = if is_planned { CallReason::LinkCheck } else { CallReason::Manual };
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

/// The call that brings fresh data.
async fn call(
    mono: &Session<'_>,
    leased: &Stored,
    data: SyncData,
    options: &SyncOptions,
    reason: CallReason,
    by: Instant,
) -> (SyncOutcome, Option<SyncedPage>) {
    let allow_incomplete_statement = options.allow_incomplete_statement;
    let request = SyncRequest { data, allow_incomplete_statement };
    let (outcome, page) = mono.sync(&leased.account.id, request, reason, by).await;
    (outcome.without_name_of(&leased.account), page)
}

async fn in_time<T, E: Into<SyncError>>(
    by: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, SyncError> {
    timeout_at(by, work).await.map_err(|_| SyncError::Late)?.map_err(Into::into)
}
