//! What the function does with a batch: read each event, read all records at once, write down what
//! will happen, fold, write.

use std::cell::RefCell;
use std::collections::HashMap;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::account_id::AccountId;
use mono_sync::batch::{Batch, Verdict, Work};
use mono_sync::event::{self, Event, Interpretation};
use mono_sync::invocation::Invocation;
use mono_sync::queue::{self, DeadLetterQueue, ImportQueue, SendError};
use mono_sync::store::{AccountStore, StoreError};
use mono_sync::telemetry;

use crate::history::{History, Preview, Seen, facts, preview};
use crate::summary::Summary;

/// What the function is wired to.
pub(crate) struct Processor {
    pub(crate) accounts: AccountStore,
    pub(crate) history: History,
    pub(crate) imports: ImportQueue,
    pub(crate) dead_letters: DeadLetterQueue,
}

/// Why events are given back.
#[derive(Clone, Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The import that they make due could not be asked for.
    #[error(transparent)]
    Queue(#[from] SendError),
}

impl Processor {
    /// Works through a batch. What could not be done is given back by its message id.
    pub(crate) async fn work(
        &self,
        event: LambdaEvent<SqsEvent>,
    ) -> Result<SqsBatchResponse, Error> {
        let (event, context) = event.into_parts();
        let log = RefCell::new(Summary::default());
        let invocation = Invocation::new(context.request_id.clone(), context.deadline);
        let mut batch = Batch::sort(event, invocation, |message| self.read(message, &log))?;
        if let Some(seen) = batch.prepare(self.accounts.get_all(batch.account_ids())).await {
            self.fold(&mut batch, &seen, &log).await;
        }
        batch.put_rejected_aside(&self.dead_letters).await;
        telemetry::summary(&context.request_id, &log.into_inner());
        Ok(batch.into_response())
    }

    fn read(&self, message: &SqsMessage, log: &RefCell<Summary>) -> Verdict<Event> {
        let Some(received_at) = queue::received_at(message) else {
            let reason = "the message does not say when the webhook was received".to_owned();
            return Verdict::Reject { event_id: None, reason };
        };
        match event::read(message.body.as_deref().unwrap_or_default(), received_at) {
            Ok(event) => {
                let entries = matches!(event.interpretation, Interpretation::Fact(..))
                    || self.history.is_kept();
                if let Some(account_id) = event.account_id().cloned().filter(|_| entries) {
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

    /// Writes down what will happen to all accounts and asks for the imports that will be due, and
    /// then folds each one's events. What was asked for and then not folded is asked for again.
    async fn fold(
        &self,
        batch: &mut Batch<Event>,
        seen: &HashMap<AccountId, Seen>,
        log: &RefCell<Summary>,
    ) {
        let preview = batch.preview(|id, work| (id.clone(), preview(id, seen.get(id), work)));
        let preview: HashMap<_, _> = preview.into_iter().collect();
        let Some(unprepared) = batch.prepare(Box::pin(self.prepare(&preview))).await else {
            return;
        };
        batch
            .work(async |id, work| {
                log.borrow_mut().ignored_of(work, matches!(seen.get(id), Some(Ok(Some(_)))));
                let prepared = match unprepared.get(id) {
                    Some(failure) => Err(failure.clone()),
                    None => Ok(preview.get(id)),
                };
                let folded = self.apply(id, seen.get(id), work, prepared, log).await;
                // Nothing is lost with events that say nothing.
                if facts(work).is_empty() { Ok(()) } else { folded }
            })
            .await;
    }

    /// Answers with the accounts for which some of it was not done, and why.
    async fn prepare(&self, preview: &HashMap<AccountId, Preview>) -> HashMap<AccountId, Failure> {
        let imports = preview.values().filter_map(|preview| preview.import.clone());
        let imports: Vec<_> = imports.collect();
        let (unwritten, unasked) = tokio::join!(
            self.history.write(preview),
            self.imports.send(&imports, ImportQueue::DELAY)
        );
        let unwritten = unwritten.into_iter().map(|(id, error)| (id, error.into()));
        unwritten.chain(unasked.into_iter().map(|(id, error)| (id, error.into()))).collect()
    }

    /// Folds the events of one account into its record. `prepared` is what its history tells of them
    /// by now; nothing, where one of them panicked, and each is worked through alone.
    async fn apply(
        &self,
        id: &AccountId,
        seen: Option<&Seen>,
        work: &[Work<Event>],
        prepared: Result<Option<&Preview>, Failure>,
        log: &RefCell<Summary>,
    ) -> Result<(), Failure> {
        let alone;
        let preview = if let Some(preview) = prepared? {
            preview
        } else {
            alone = HashMap::from([(id.clone(), preview(id, seen, work))]);
            self.prepare(&alone).await.remove(id).map_or(Ok(()), Err)?;
            &alone[id]
        };
        let seen = seen.cloned().unwrap_or(Ok(None))?;
        let steps = self.accounts.apply(id, seen.clone(), &facts(work)).await?;
        self.history.correct_conflict(id, seen.as_ref(), work, preview, &steps).await;
        log.borrow_mut().folded(work, &steps);
        Ok(())
    }
}
