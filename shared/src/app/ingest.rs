//! Applies the webhooks of a batch. It reads each event alone and all records together, and computes the changes. Then
//! it writes the histories, requests the imports and the verifications, and writes the records. At the same time, it
//! forwards events.
//!
//! Histories and requests precede the records. After a crash in between, the batch is delivered again and writes the
//! same entries. A request that is no longer due ends at once.

mod account_batch;
mod markers;
mod summary;

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::resume_unwind;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use tracing::error;

pub use summary::Summary;

use crate::aws::queues::{
    self, AccountQueue, DeadLetterQueue, ForwardQueue, ImportQueue, SendError,
};
use crate::aws::store::{AccountStore, EventStore, StoreError, Stored};
use crate::domain::account::Step;
use crate::domain::account_id::AccountId;
use crate::domain::webhook::event::{Event, Interpretation};
use crate::domain::webhook::forwarding;
use crate::lambda::invocation::Invocation;
use crate::lambda::sqs_batch::{Batch, MissingMessageId, Verdict, Work};
use account_batch::{AccountBatch, facts};

/// Applies webhooks to account records.
pub struct Ingest {
    pub accounts: AccountStore,
    /// `None` if no histories are kept.
    pub events: Option<EventStore>,
    pub imports: ImportQueue,
    pub refreshes: AccountQueue,
    pub dead_letters: DeadLetterQueue,
    pub forwards: ForwardQueue,
}

/// Why the events of an account must be delivered again.
#[derive(Clone, Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("request for the account could not be enqueued: {0}")]
    Request(#[from] SendError),
}

type Batches = HashMap<AccountId, Result<AccountBatch, Failure>>;
type Records = HashMap<AccountId, Result<Option<Stored>, StoreError>>;

impl Ingest {
    /// Processes a batch. Returns the messages that SQS must deliver again, and a summary for the log.
    ///
    /// # Errors
    ///
    /// [`MissingMessageId`]: no event was processed, and the whole batch is delivered again.
    pub async fn ingest(
        &self,
        event: SqsEvent,
        invocation: Invocation,
    ) -> Result<(SqsBatchResponse, Summary), MissingMessageId> {
        let log = RefCell::new(Summary::default());
        let (forwarded, deadline) = (RefCell::default(), invocation.deadline);
        let mut batch =
            Batch::sort(event, invocation, |message| self.read(message, &log, &forwarded))?;
        let forwarded = forwarded.into_inner();
        let ids = batch.account_ids();
        let apply = async {
            if let Some(mut records) = batch.prepare(self.accounts.get_all(ids)).await {
                self.apply_markers(&mut batch, &mut records, &log).await;
                self.apply_all(&mut batch, &records, &log).await;
            }
        };
        // The records do not wait for the copies. An event that could not be copied is delivered again.
        let (not_forwarded, ()) =
            tokio::join!(self.forwards.send(&forwarded, deadline), Box::pin(apply));
        log.borrow_mut().forwarded = forwarded.len() - not_forwarded.len();
        batch.deliver_again(not_forwarded);
        batch.dead_letter_rejected(&self.dead_letters).await;
        Ok((batch.into_response(), log.into_inner()))
    }

    fn read(
        &self,
        message: &SqsMessage,
        log: &RefCell<Summary>,
        forwarded: &RefCell<Vec<SqsMessage>>,
    ) -> Verdict<Event> {
        let Some(received_at) = queues::received_at(message) else {
            let reason = "the message does not say when the webhook was received".to_owned();
            return Verdict::Reject { event_id: None, reason };
        };
        let Some(text) = queues::webhook_text(message) else {
            let reason = "the message body is not valid base64 of UTF-8 text".to_owned();
            return Verdict::Reject { event_id: None, reason };
        };
        let event = forwarding::read(&text, received_at);
        if self.forwards.takes(&event) {
            forwarded.borrow_mut().push(message.clone());
        }
        match event.unwrap_or_else(|panic| resume_unwind(panic)) {
            Ok(event) => {
                let is_kept = matches!(event.interpretation, Interpretation::Fact(..))
                    || self.events.is_some();
                if let Some(account_id) = event.account_id().cloned().filter(|_| is_kept) {
                    return Verdict::Work(account_id, event);
                }
                log.borrow_mut().ignored(&event, false);
                Verdict::Done
            }
            Err(unprocessable) => Verdict::Reject {
                event_id: unprocessable.event_id().map(str::to_owned),
                reason: unprocessable.to_string(),
            },
        }
    }

    async fn apply_all(&self, batch: &mut Batch<Event>, records: &Records, log: &RefCell<Summary>) {
        let account_batch = |id: &AccountId, work: &[Work<Event>]| {
            let record = records.get(id).cloned().unwrap_or(Ok(None))?;
            Ok(AccountBatch::new(id, record, work))
        };
        let batches = batch.preview(|id, work| (id.clone(), account_batch(id, work)));
        let write_ahead = Box::pin(self.write_ahead(batches.into_iter().collect()));
        let Some(batches) = batch.prepare(write_ahead).await else {
            return;
        };
        batch
            .work(async |id, work| {
                let is_known = matches!(records.get(id), Some(Ok(Some(_))));
                log.borrow_mut().ignored_of(work, is_known);
                let applied = match batches.get(id) {
                    Some(Ok(batch)) if batch.is_of(work) => self.apply(id, batch, work).await,
                    Some(Err(failure)) => Err(failure.clone()),
                    // An event panicked, so each event of the account is processed alone.
                    _ => {
                        let alone = [(id.clone(), account_batch(id, work))];
                        let mut alone = self.write_ahead(alone.into()).await;
                        match alone.remove(id) {
                            Some(Ok(batch)) => self.apply(id, &batch, work).await,
                            Some(Err(failure)) => Err(failure),
                            None => Ok(Vec::new()),
                        }
                    }
                };
                match applied {
                    Ok(steps) => log.borrow_mut().applied(work, &steps),
                    Err(Failure::Store(StoreError::Erased)) => {}
                    // Another delivery would not make an unprocessable event processable.
                    Err(_) if facts(work).is_empty() => {}
                    Err(failure) => return Err(failure),
                }
                Ok(())
            })
            .await;
    }

    /// Writes the histories and sends the requests of all accounts together. A failure replaces the batch of its
    /// account.
    async fn write_ahead(&self, mut batches: Batches) -> Batches {
        let previews = || batches.iter().filter_map(|(id, batch)| Some((id, batch.as_ref().ok()?)));
        let entries = previews()
            .flat_map(|(id, batch)| batch.entries.iter().map(|entry| (id.clone(), entry.clone())));
        let entries: Vec<_> = entries.collect();
        let imports: Vec<_> = previews().filter_map(|(_, batch)| batch.import.clone()).collect();
        let write = async {
            match &self.events {
                Some(events) => events.write(entries).await,
                None => HashMap::new(),
            }
        };
        let verifications: Vec<_> =
            previews().filter_map(|(_, batch)| batch.verification.clone()).collect();
        let (unwritten, unsent, unasked) = tokio::join!(
            write,
            self.imports.send(&imports, ImportQueue::DELAY),
            self.refreshes.send(&verifications)
        );
        batches.extend(unwritten.into_iter().map(|(id, error)| (id, Err(error.into()))));
        let unsent = unsent.into_iter().chain(unasked);
        batches.extend(unsent.map(|(id, error)| (id, Err(error.into()))));
        batches
    }

    async fn apply(
        &self,
        id: &AccountId,
        batch: &AccountBatch,
        work: &[Work<Event>],
    ) -> Result<Vec<Step>, Failure> {
        let (record, steps) = (batch.record.clone(), batch.steps.clone());
        let steps = self.accounts.apply_steps(id, record, steps, &facts(work)).await?;
        if steps != batch.steps {
            self.correct_history(id, batch, work, &steps).await;
            let verification = account_batch::verification(id, &steps);
            let mut unsent = self.refreshes.send(verification.as_slice()).await;
            if let Some(error) = unsent.remove(id) {
                error!(account_id = %id, %error, "verification could not be enqueued after a conflict");
            }
        }
        Ok(steps)
    }

    /// Replaces the entries that a concurrent write made stale.
    async fn correct_history(
        &self,
        id: &AccountId,
        batch: &AccountBatch,
        work: &[Work<Event>],
        steps: &[Step],
    ) {
        let Some(events) = &self.events else {
            return;
        };
        let entries = batch.entries_of(work, steps);
        if let Err(error) = events.correct(id, &batch.stale(&entries), &entries).await {
            error!(account_id = %id, %error, "history could not be corrected after a conflict");
        }
    }
}
