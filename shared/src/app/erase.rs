//! The erasure of an account: at Mono, its transactions, its history, and at last its record.
//!
//! Each step can be repeated after a crash. The record stays until everything else is gone, and shows that the account
//! is being erased. Then nothing writes to it or about it. A message does a part of the work and requests the next
//! message. If a message is lost, the hourly plan requests another one.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::app::refresh::Refresher;
use crate::app::sync::{RECORDING_TIME, SyncError, in_time};
use crate::aws::queues::{AccountQueue, Message};
use crate::aws::store::{AccountStore, StoreError, Stored};
use crate::domain::account::{Account, CallError, Erasure, Fact, Reading, Verification};
use crate::domain::account_id::AccountId;
use crate::domain::import::ImportJob;
use crate::domain::spending::CallReason;
use crate::domain::timestamp::Timestamp;
use crate::lambda::invocation::Invocation;
use crate::mono::LinkError;

/// The result of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erased {
    /// Everything is gone.
    Done,
    /// Another message continues.
    Continued,
    /// Only the unlinking at Mono is missing. The next plan tries it again.
    NotUnlinked(CallError),
    /// Everything is gone, and the account is linked again.
    LinkedAgain,
    /// Everything is gone. Mono has not confirmed that the account is linked again.
    Unconfirmed,
    /// The account is not to be erased, or it is erased already.
    NotDue,
}

/// Mono's answer about a new link of an erased account.
enum Confirmation {
    Confirmed,
    /// Mono does not know the account, or its answer is inconclusive.
    Denied,
    Unanswered,
}

/// The longest time for a call to Mono.
const MONO_TIME: Duration = Duration::from_secs(20);
/// The time reserved for the request of the next message.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// The timeout of the worker.
const LONGEST_INVOCATION: Duration = Duration::from_secs(75);
/// The first wait for the confirmation of a new link.
const FIRST_WAIT: Duration = Duration::from_mins(1);
/// After this time, the hourly plan confirms a new link.
const SOON: Duration = Duration::from_mins(15);

/// Notes a new link of an erased account, and requests its confirmation. If the request fails, the hourly plan makes it.
///
/// # Errors
///
/// [`StoreError`]: the link must be reported again.
pub(super) async fn note_relink(
    accounts: &AccountStore,
    refreshes: &AccountQueue,
    id: &AccountId,
    record: Option<Stored>,
    erased_at: Timestamp,
    relinked_at: Timestamp,
) -> Result<(), StoreError> {
    let noted = accounts.note_relink(id, record, erased_at, relinked_at).await?;
    if let Some(erasure) = noted {
        let wait = erasure.deletes_from().since(Timestamp::now());
        let failed = refreshes.send(&[Message::erasure(id.clone(), wait)]).await;
        if let Some(error) = failed.into_values().next() {
            error!(account_id = %id, %error, "confirmation of a new link could not be requested");
        }
    }
    Ok(())
}

impl Refresher {
    /// Erases an account, as far as there is time.
    ///
    /// # Errors
    ///
    /// [`SyncError`]: the message must be delivered again.
    pub async fn erase(
        &self,
        id: &AccountId,
        invocation: &Invocation,
    ) -> Result<Erased, SyncError> {
        let accounts = &self.syncer.accounts;
        let Some(seen) = accounts.get_newest(id).await? else {
            return Ok(Erased::NotDue);
        };
        let (now, policy) = (Timestamp::now(), accounts.policy());
        let is_due = |account: &Account| {
            account.erasure.is_none() && account.erasure_due(policy).is_some_and(|due| due <= now)
        };
        let Some(erasing) = accounts.begin_erasure(seen, now, is_due).await? else {
            return Ok(Erased::NotDue);
        };
        let Some(erasure) = erasing.account.erasure else {
            return Ok(Erased::NotDue);
        };
        let unlinked = self.unlink_at_mono(erasing, erasure, invocation).await?;
        let Some((erasing, unanswered)) = unlinked else {
            return Ok(Erased::NotDue);
        };
        let wait = erasure.deletes_from().since(Timestamp::now());
        if !wait.is_zero() {
            self.continue_after(id, wait).await?;
            return Ok(Erased::Continued);
        }
        let by = invocation.deadline - RECORDING_TIME - REQUEST_TIME;
        if !self.delete_all(id, by).await? {
            self.continue_after(id, Duration::ZERO).await?;
            return Ok(Erased::Continued);
        }
        if let Some(error) = unanswered {
            return Ok(Erased::NotUnlinked(error));
        }
        if let Some(until) = erasing.account.erasure.and_then(Erasure::confirms_until) {
            match Box::pin(self.confirm_link(&erasing, invocation)).await? {
                Confirmation::Confirmed => return Ok(Erased::LinkedAgain),
                Confirmation::Denied if Timestamp::now() >= until => {}
                Confirmation::Denied | Confirmation::Unanswered => return Ok(Erased::Unconfirmed),
            }
        }
        let ended = accounts.end_erasure(erasing, Timestamp::now());
        in_time(Instant::now() + RECORDING_TIME, Box::pin(ended)).await?;
        info!(account_id = %id, "account erased");
        Ok(Erased::Done)
    }

    /// Unlinks the account at Mono, unless Mono has already answered. Also returns why Mono has not answered. `None`:
    /// another message has ended the erasure meanwhile.
    async fn unlink_at_mono(
        &self,
        erasing: Stored,
        erasure: Erasure,
        invocation: &Invocation,
    ) -> Result<Option<(Stored, Option<CallError>)>, SyncError> {
        if erasure.is_unlinked {
            return Ok(Some((erasing, None)));
        }
        let id = erasing.account.id.clone();
        let by = (Instant::now() + MONO_TIME).min(invocation.deadline - RECORDING_TIME);
        let mono = match in_time(by, self.syncer.mono.session(Timestamp::now())).await {
            Ok(mono) => mono,
            Err(error) => {
                warn!(account_id = %id, %error, "Mono key could not be read for an unlinking");
                return Ok(Some((erasing, Some(CallError::Unavailable))));
            }
        };
        match mono.unlink(&id, by).await {
            Err(LinkError::Call(error)) => {
                warn!(account_id = %id, error = error.as_str(), "Mono did not answer a request to unlink");
                return Ok(Some((erasing, Some(error))));
            }
            Err(LinkError::Refused(error)) => {
                let (code, mono_code) = ("UNLINK_REFUSED", error.code);
                error!(account_id = %id, code, mono_code, "Mono refused to unlink an erased account");
            }
            Err(LinkError::Unsupported) | Ok(()) => {}
        }
        let noted = self.syncer.accounts.note_unlinked(erasing).await?;
        Ok(noted.map(|noted| (noted, None)))
    }

    /// Deletes the transactions and the history. Returns whether all are gone.
    async fn delete_all(&self, id: &AccountId, by: Instant) -> Result<bool, StoreError> {
        for rows in &self.rows {
            if !rows.erase(id, by).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn continue_after(&self, id: &AccountId, wait: Duration) -> Result<(), SyncError> {
        let message = Message::erasure(id.clone(), wait);
        match self.queue.send(&[message]).await.into_values().next() {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }

    /// Reads the account at Mono, because a new link was reported. If Mono knows the account, it gets a new record, and
    /// its first import is requested. Mono charges the read only then.
    async fn confirm_link(
        &self,
        erasing: &Stored,
        invocation: &Invocation,
    ) -> Result<Confirmation, SyncError> {
        let (id, now) = (&erasing.account.id, Timestamp::now());
        let by = (Instant::now() + MONO_TIME).min(invocation.deadline - RECORDING_TIME);
        let mono = match in_time(by, self.syncer.mono.session(now)).await {
            Ok(mono) => mono,
            Err(error) => {
                warn!(account_id = %id, %error, "Mono key could not be read for a new link");
                return Ok(Confirmation::Unanswered);
            }
        };
        let mut reported = match mono.account(id, CallReason::Verification, by).await {
            Ok(Reading::Linked(reported)) => reported,
            Ok(Reading::Gone) => {
                self.confirm_soon_again(erasing, now).await?;
                return Ok(Confirmation::Denied);
            }
            Ok(Reading::Unknown) => return Ok(Confirmation::Denied),
            Err(error) => {
                warn!(account_id = %id, error = error.as_str(), "Mono did not confirm a new link");
                return Ok(Confirmation::Unanswered);
            }
        };
        let blank = Account::new(id.clone());
        reported.link = self.new_link(&blank, &reported, now).await?;
        let found = Reading::Linked(Box::new(blank.completed(*reported, now)));
        let verification = Fact::Verification(Verification { at: now, ending: None, found });
        let since = erasing.account.erasure.map_or(now, |erasure| erasure.since);
        let facts = [&Fact::Erased(since), &verification];
        let linked = self.syncer.accounts.end_erasure_by_link(erasing.clone(), &facts);
        if let Some(pull) = linked.await?.and_then(|linked| linked.first_import(now)) {
            let job = ImportJob::new(id.clone(), pull);
            // Another worker may still delete rows of the former link.
            let failed = self.syncer.imports.send(&[job], LONGEST_INVOCATION).await;
            if let Some(error) = failed.into_values().next() {
                error!(account_id = %id, %error, "import after a new link could not be requested");
            }
        }
        info!(account_id = %id, "erased account is linked again");
        Ok(Confirmation::Confirmed)
    }

    /// Mono may not serve a new account at once. So the read is repeated with exponential back-off, and after
    /// [`SOON`] by the hourly plan.
    async fn confirm_soon_again(&self, erasing: &Stored, now: Timestamp) -> Result<(), SyncError> {
        let relinked_at = erasing.account.erasure.and_then(|erasure| erasure.relinked_at);
        let waited = relinked_at.map_or(SOON, |at| now.since(at)).max(FIRST_WAIT);
        if waited >= SOON {
            return Ok(());
        }
        self.continue_after(&erasing.account.id, waited).await
    }
}
