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
use crate::mono::{LinkError, Session};

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

/// A new link of an account that is being erased, or that was erased.
pub(super) struct Relink<'a> {
    pub(super) id: &'a AccountId,
    pub(super) erased_at: Timestamp,
}

impl Relink<'_> {
    /// Notes the new link. If the erasure does not run any more, its end is requested. If the request fails, the hourly
    /// plan makes it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the link must be reported again.
    pub(super) async fn note(
        &self,
        accounts: &AccountStore,
        refreshes: &AccountQueue,
        record: Option<Stored>,
        note: impl Fn(&Erasure) -> Option<Erasure>,
    ) -> Result<(), StoreError> {
        let noted = accounts.note_relink(self.id, record, self.erased_at, note).await?;
        // A running erasure has its own message, and a second one would read the account at Mono twice.
        if noted.is_some_and(|erasure| erasure.deletes_from() <= Timestamp::now()) {
            let message = Message::erasure(self.id.clone(), Duration::ZERO);
            let failed = refreshes.send(&[message]).await;
            if let Some(error) = failed.into_values().next() {
                error!(account_id = %self.id, %error, "end of an erasure could not be requested");
            }
        }
        Ok(())
    }
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
        let Some(erasure) = erasing.account.erasure.clone() else {
            return Ok(Erased::NotDue);
        };
        let unlinked = self.unlink_at_mono(erasing, erasure.is_unlinked, invocation).await?;
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
        let by_link = Box::pin(self.end_by_new_link(&erasing, invocation)).await?;
        if let Some(ended) = by_link {
            return Ok(ended);
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
        is_unlinked: bool,
        invocation: &Invocation,
    ) -> Result<Option<(Stored, Option<CallError>)>, SyncError> {
        if is_unlinked {
            return Ok(Some((erasing, None)));
        }
        let id = erasing.account.id.clone();
        let Some((mono, by)) = self.session(&id, invocation).await else {
            return Ok(Some((erasing, Some(CallError::Unavailable))));
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

    /// A session for Mono's API, and the deadline of its call. `None`: the key could not be read in time.
    async fn session(
        &self,
        id: &AccountId,
        invocation: &Invocation,
    ) -> Option<(Session<'_>, Instant)> {
        let by = (Instant::now() + MONO_TIME).min(invocation.deadline - RECORDING_TIME);
        match in_time(by, self.syncer.mono.session(Timestamp::now())).await {
            Ok(mono) => Some((mono, by)),
            Err(error) => {
                warn!(account_id = %id, %error, "Mono key could not be read for an erasure");
                None
            }
        }
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

    /// Finds out whether the account is linked again. An exchange has proved it. Otherwise a read at Mono decides, which
    /// Mono charges only if it knows the account.
    async fn new_link_of(
        &self,
        erasing: &Stored,
        erasure: &Erasure,
        invocation: &Invocation,
    ) -> Result<NewLink, SyncError> {
        let (id, now) = (&erasing.account.id, Timestamp::now());
        if let Some(exchange) = &erasure.exchange {
            return Ok(NewLink::Confirmed(Box::new(Fact::Exchange(exchange.clone()))));
        }
        let Some((mono, by)) = self.session(id, invocation).await else {
            return Ok(NewLink::Unanswered);
        };
        let mut reported = match mono.account(id, CallReason::Verification, by).await {
            Ok(Reading::Linked(reported)) => reported,
            Ok(Reading::Gone) => {
                self.confirm_soon_again(id, erasure, now).await?;
                return Ok(NewLink::Denied);
            }
            Ok(Reading::Unknown) => return Ok(NewLink::Unanswered),
            Err(error) => {
                warn!(account_id = %id, error = error.as_str(), "Mono did not confirm a new link");
                return Ok(NewLink::Unanswered);
            }
        };
        let blank = Account::new(id.clone());
        // The token counts at the time of the link, however late Mono answers.
        let linked_at = erasure.relinked_at.unwrap_or(now);
        reported.link = self.new_link(&blank, &reported, linked_at).await?;
        let found = Reading::Linked(Box::new(blank.completed(*reported, now)));
        let verification = Verification { at: now, ending: None, found };
        Ok(NewLink::Confirmed(Box::new(Fact::Verification(verification))))
    }

    /// Ends the erasure by the new link, if one is noted. `None`: there is none, or Mono has not confirmed it in time.
    async fn end_by_new_link(
        &self,
        erasing: &Stored,
        invocation: &Invocation,
    ) -> Result<Option<Erased>, SyncError> {
        let noted = erasing.account.erasure.as_ref();
        let Some(erasure) = noted.filter(|erasure| erasure.relinked_at.is_some()) else {
            return Ok(None);
        };
        let is_denied = match self.new_link_of(erasing, erasure, invocation).await? {
            NewLink::Confirmed(proof) => {
                Box::pin(self.create_again(erasing.clone(), *proof)).await?;
                return Ok(Some(Erased::LinkedAgain));
            }
            NewLink::Denied => true,
            NewLink::Unanswered => false,
        };
        let waits = !erasure.gives_up(is_denied, Timestamp::now());
        Ok(waits.then_some(Erased::Unconfirmed))
    }

    /// Creates the new record, and requests its first import. If the request is lost, the hourly plan makes it.
    async fn create_again(&self, erasing: Stored, proof: Fact) -> Result<(), SyncError> {
        let id = erasing.account.id.clone();
        // Another worker may still delete rows of the former link.
        let import_at = Timestamp::now() + LONGEST_INVOCATION;
        let linked = self.syncer.accounts.end_erasure_by_link(erasing, proof, import_at).await?;
        info!(account_id = %id, "erased account is linked again");
        if let Some(pull) = linked.next_import() {
            let job = ImportJob::new(id.clone(), pull);
            let failed = self.syncer.imports.send(&[job], LONGEST_INVOCATION).await;
            if let Some(error) = failed.into_values().next() {
                warn!(account_id = %id, %error, "import after a new link could not be requested");
            }
        }
        Ok(())
    }

    /// Mono may not serve a new account at once. So the read is repeated with exponential back-off, and after
    /// [`SOON`] by the hourly plan.
    async fn confirm_soon_again(
        &self,
        id: &AccountId,
        erasure: &Erasure,
        now: Timestamp,
    ) -> Result<(), SyncError> {
        let waited = erasure.relinked_at.map_or(SOON, |at| now.since(at)).max(FIRST_WAIT);
        if waited >= SOON {
            return Ok(());
        }
        self.continue_after(id, waited).await
    }
}

/// Whether an erased account is linked again.
enum NewLink {
    /// It is, as this fact proves.
    Confirmed(Box<Fact>),
    /// Mono does not know the account.
    Denied,
    /// Mono's answer is inconclusive, or there is none.
    Unanswered,
}
