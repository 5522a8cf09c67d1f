//! What the function does with a batch: read each event, read all records at once, write down what
//! happens, fold, write.

use std::cell::RefCell;
use std::collections::HashMap;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::account::{Account, Fact, Step};
use mono_sync::account_id::AccountId;
use mono_sync::batch::{Batch, Verdict, Work};
use mono_sync::event::{self, Event, Meaning};
use mono_sync::history::{Effect, Entry};
use mono_sync::invocation::Invocation;
use mono_sync::queue::{self, DeadLetterQueue};
use mono_sync::store::{AccountStore, EventStore, StoreError, Stored};
use mono_sync::telemetry;
use tracing::error;

use crate::summary::Summary;

/// What the function is wired to.
pub(crate) struct Processor {
    pub(crate) accounts: AccountStore,
    /// `None` where no history is kept.
    pub(crate) events: Option<EventStore>,
    pub(crate) dead_letters: DeadLetterQueue,
}

type Seen = Result<Option<Stored>, StoreError>;

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
            let foreseen = batch.foresee(|id, work| entries(id, seen.get(id), work));
            let unwritten = batch.prepare(self.write(foreseen.iter().flatten())).await;
            let unwritten = unwritten.unwrap_or_default();
            batch
                .work(async |id, work| {
                    if let Some(error) = unwritten.get(id) {
                        return Err(error.clone());
                    }
                    let seen = seen.get(id).cloned().unwrap_or(Ok(None))?;
                    self.apply(id, seen, work, &log).await
                })
                .await;
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
                let kept = matches!(event.meaning, Meaning::Fact(..)) || self.events.is_some();
                if let Some(account_id) = event.account_id().cloned().filter(|_| kept) {
                    return Verdict::Work(account_id, event);
                }
                log.borrow_mut().add(&event, Effect::Ignored);
                Verdict::Done
            }
            Err(inapplicable) => Verdict::Reject {
                event_id: inapplicable.event_id().map(str::to_owned),
                reason: inapplicable.to_string(),
            },
        }
    }

    /// Writes entries of histories, and answers with the accounts of which one was not written.
    async fn write(
        &self,
        entries: impl IntoIterator<Item = &(AccountId, Entry)>,
    ) -> HashMap<AccountId, StoreError> {
        match &self.events {
            Some(events) => events.write(entries.into_iter().cloned()).await,
            None => HashMap::new(),
        }
    }

    /// Folds the events of one account into its record.
    async fn apply(
        &self,
        id: &AccountId,
        seen: Option<Stored>,
        work: &[Work<Event>],
        log: &RefCell<Summary>,
    ) -> Result<(), StoreError> {
        let before = seen.as_ref().map(|seen| seen.account.clone());
        let foreseen =
            before.clone().unwrap_or_else(|| Account::new(id.clone())).fold(&facts(work));
        let steps = self.accounts.apply(id, seen, &facts(work)).await?;
        if steps != foreseen {
            // Another was faster, and the history tells of what this one had seen before.
            let entries = told(id, before.as_ref(), work, &steps);
            if let Some(error) = self.write(&entries).await.remove(id) {
                error!(account_id = %id, %error, "the history does not tell of a conflict");
            }
        }
        let mut steps = steps.iter();
        for event in work.iter().map(|work| &work.content) {
            let effect = match &event.meaning {
                Meaning::Fact(..) if steps.next().is_some_and(Step::changed) => Effect::Applied,
                Meaning::Fact(..) => Effect::NoChange,
                Meaning::Nothing(_) => Effect::Ignored,
            };
            log.borrow_mut().add(event, effect);
        }
        Ok(())
    }
}

/// What the history will tell of the events of one account, by the record as it was read.
fn entries(id: &AccountId, seen: Option<&Seen>, work: &[Work<Event>]) -> Vec<(AccountId, Entry)> {
    let seen = match seen {
        Some(Ok(Some(seen))) => Some(&seen.account),
        Some(Ok(None)) | None => None,
        // It is given back.
        Some(Err(_)) => return Vec::new(),
    };
    let blank = Account::new(id.clone());
    let steps = seen.unwrap_or(&blank).fold(&facts(work));
    told(id, seen, work, &steps)
}

/// What the history tells of events that were folded in these steps. Of an account that is not
/// known it tells nothing that was ignored.
fn told(
    id: &AccountId,
    known: Option<&Account>,
    work: &[Work<Event>],
    steps: &[Step],
) -> Vec<(AccountId, Entry)> {
    let mut steps = steps.iter();
    let entry = |event: &Event| match &event.meaning {
        Meaning::Fact(..) => Entry::of_step(event, steps.next()?),
        Meaning::Nothing(_) => Some(Entry::of_ignored(event, known?)),
    };
    let entries = work.iter().map(|work| &work.content).filter_map(entry);
    entries.map(|entry| (id.clone(), entry)).collect()
}

fn facts(work: &[Work<Event>]) -> Vec<&Fact> {
    let events = work.iter().map(|work| &work.content);
    let facts = events.filter_map(|event| match &event.meaning {
        Meaning::Fact(_, fact) => Some(&**fact),
        Meaning::Nothing(_) => None,
    });
    facts.collect()
}
