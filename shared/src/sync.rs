//! One sync of one account, from the lease to the record.
//!
//! The lease and the cooldown are written before the call, so that Mono is asked at most once,
//! whoever else asks and whatever breaks. What a sync came to goes through the same door as a
//! webhook. If it cannot be recorded, the lease ends by itself, and Mono's webhook tells the rest.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::account::{
    Account, Fact, LinkCheck, SyncAttempt, SyncData, SyncOutcome, SyncRefusal, Trouble,
};
use crate::account_id::AccountId;
use crate::invocation::Invocation;
use crate::mono::{Mono, Session, SyncRequest};
use crate::store::{AccountStore, StoreError, Stored};
use crate::stored_secret::Unreadable;
use crate::timestamp::Timestamp;

/// Syncs accounts.
pub struct Syncer {
    /// The records.
    pub accounts: AccountStore,
    /// Who refreshes them.
    pub mono: Mono,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncWish {
    /// What to refresh, if not what suits the account.
    pub data: Option<SyncData>,
    /// Whether fewer transactions than Mono already holds will do.
    pub allow_incomplete_statement: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Synced {
    /// Mono was asked.
    Done {
        /// What it came to.
        outcome: SyncOutcome,
        /// The account afterwards; `None` if nothing is known of it.
        account: Option<Box<Account>>,
    },
    /// Mono was not asked to sync.
    Refused(Box<Account>, SyncRefusal),
    /// Whether the account is still linked could not be told.
    Unchecked(Trouble),
}

/// The sync, or the record of it, was not possible.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The record cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key to ask Mono with.
    #[error(transparent)]
    Key(#[from] Unreadable),
    /// AWS did not answer in time.
    #[error("AWS did not answer in time")]
    Late,
    /// The sync was made, and its outcome is not recorded.
    #[error("the outcome `{0}` is not recorded: {1}")]
    Unrecorded(&'static str, Box<SyncError>),
}

/// What is left of the time of an invocation to record the outcome in.
const RECORDING_TIME: Duration = Duration::from_secs(3);
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
        wish: SyncWish,
        invocation: &Invocation,
    ) -> Result<Synced, SyncError> {
        let by = invocation.deadline;
        let mono = in_time(by, self.mono.sign_in(Timestamp::now())).await?;
        let mut begun = in_time(by, self.begin(id, invocation)).await?;
        if let Err((_, SyncRefusal::Unlinked { in_doubt: true })) = begun {
            match self.check(id, &mono, invocation).await? {
                Ok(()) => begun = in_time(by, self.begin(id, invocation)).await?,
                Err(trouble) => return Ok(Synced::Unchecked(trouble)),
            }
        }
        match begun {
            Ok((started_at, leased)) => self.call(&mono, leased, started_at, wish, by).await,
            Err((account, refusal)) => Ok(Synced::Refused(account, refusal)),
        }
    }

    async fn begin(
        &self,
        id: &AccountId,
        invocation: &Invocation,
    ) -> Result<Result<(Timestamp, Stored), (Box<Account>, SyncRefusal)>, StoreError> {
        let started_at = Timestamp::now();
        let lease_until = invocation.ends_at + LEASE_MARGIN;
        let begun = self.accounts.begin_sync(id, started_at, lease_until).await?;
        Ok(begun.map(|leased| (started_at, leased)))
    }

    /// The one call that is paid for, and the record of it.
    async fn call(
        &self,
        mono: &Session<'_>,
        leased: Stored,
        started_at: Timestamp,
        wish: SyncWish,
        by: Instant,
    ) -> Result<Synced, SyncError> {
        let request = SyncRequest {
            data: wish.data.unwrap_or_else(|| leased.account.data_to_sync()),
            allow_incomplete_statement: wish.allow_incomplete_statement,
        };
        let id = leased.account.id.clone();
        let outcome = mono.sync(&id, request, by - RECORDING_TIME).await;
        let attempt = SyncAttempt { started_at, ended_at: Timestamp::now(), outcome };
        let ended = in_time(by, self.accounts.end_sync(leased, &attempt)).await;
        let SyncAttempt { outcome, .. } = attempt;
        match ended {
            Ok(account) => Ok(Synced::Done { outcome, account: account.map(Box::new) }),
            Err(error) => Err(SyncError::Unrecorded(outcome.as_str(), Box::new(error))),
        }
    }

    /// Settles whether the account is still linked, by a plain read of it at Mono.
    async fn check(
        &self,
        id: &AccountId,
        mono: &Session<'_>,
        invocation: &Invocation,
    ) -> Result<Result<(), Trouble>, SyncError> {
        let at = Timestamp::now();
        let linked = match mono.knows(id, invocation.deadline - RECORDING_TIME).await {
            Ok(linked) => linked,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let fact = Fact::LinkCheck(LinkCheck { at, linked });
        let seen = in_time(invocation.deadline, self.accounts.get(id)).await?;
        in_time(invocation.deadline, self.accounts.apply(id, seen, &[&fact])).await?;
        Ok(Ok(()))
    }
}

async fn in_time<T, E: Into<SyncError>>(
    by: Instant,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, SyncError> {
    timeout_at(by, work).await.map_err(|_| SyncError::Late)?.map_err(Into::into)
}
