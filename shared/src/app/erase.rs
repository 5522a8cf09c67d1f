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
use crate::aws::queues::Message;
use crate::aws::store::{StoreError, Stored};
use crate::domain::account::{CallError, Erasure};
use crate::domain::account_id::AccountId;
use crate::domain::refresh_job::RefreshJob;
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
    /// The account is not to be erased, or it is erased already.
    NotDue,
}

/// The longest time for a call to Mono.
const MONO_TIME: Duration = Duration::from_secs(20);
/// The time reserved for the request of the next message.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// A new link is verified this long after the request, because the record must be deleted first. It is longer than
/// [`RECORDING_TIME`].
const AFTER_THE_END: Duration = Duration::from_secs(10);
/// The longest delay of a message in SQS.
const LONGEST_DELAY: Duration = Duration::from_mins(15);

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
        let begun = accounts.begin_erasure(seen, now, |account| {
            account.erasure_due(policy).is_some_and(|due| due <= now)
        });
        let Some(erasing) = begun.await? else {
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
        if erasing.account.erasure.is_some_and(|erasure| erasure.is_relinked) {
            // The message is sent first, so that a crash cannot lose it.
            self.send(RefreshJob::verification(id.clone()), AFTER_THE_END).await?;
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
        let unlinked = |erasure| Erasure { is_unlinked: true, ..erasure };
        let noted = self.syncer.accounts.note_erasure(erasing, unlinked).await?;
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
        // A fraction of a second must not end the wait too early.
        self.send(RefreshJob::erasure(id.clone()), wait + Duration::from_secs(1)).await
    }

    /// Verifies a new link of an erased account later, because Mono cannot be read now. No record shows that the read
    /// is due, so no plan requests it.
    pub(super) async fn verify_later(&self, id: &AccountId) -> Result<(), SyncError> {
        self.send(RefreshJob::verification(id.clone()), LONGEST_DELAY).await
    }

    async fn send(&self, job: RefreshJob, wait: Duration) -> Result<(), SyncError> {
        let delay = wait.min(LONGEST_DELAY);
        let message = Message { account_id: job.account_id.clone(), body: job.to_body(), delay };
        match self.queue.send(&[message]).await.into_values().next() {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }
}
