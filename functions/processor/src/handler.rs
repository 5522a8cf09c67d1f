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
use mono_sync::history::{Entry, Position};
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

/// What the events of one account will do, by the record as it was read.
struct Foreseen {
    steps: Vec<Step>,
    entries: Vec<Entry>,
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
            let foreseen = batch.foresee(|id, work| (id.clone(), foresee(id, seen.get(id), work)));
            let foreseen: HashMap<_, _> = foreseen.into_iter().collect();
            if let Some(unwritten) = batch.prepare(self.write(&foreseen)).await {
                batch
                    .work(async |id, work| {
                        let written = match unwritten.get(id) {
                            Some(error) => Err(error.clone()),
                            None => Ok(foreseen.get(id)),
                        };
                        let done = self.apply(id, seen.get(id), work, written, &log).await;
                        // Nothing is lost with an event that says nothing.
                        if facts(work).is_empty() { Ok(()) } else { done }
                    })
                    .await;
            }
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
                log.borrow_mut().ignored(&event, false);
                Verdict::Done
            }
            Err(inapplicable) => Verdict::Reject {
                event_id: inapplicable.event_id().map(str::to_owned),
                reason: inapplicable.to_string(),
            },
        }
    }

    /// Writes histories, and answers with the accounts of which some of it was not written.
    async fn write(
        &self,
        foreseen: &HashMap<AccountId, Foreseen>,
    ) -> HashMap<AccountId, StoreError> {
        let Some(events) = &self.events else {
            return HashMap::new();
        };
        let entries = foreseen.iter().flat_map(|(id, foreseen)| {
            foreseen.entries.iter().map(|entry| (id.clone(), entry.clone()))
        });
        events.write(entries).await
    }

    /// Folds the events of one account into its record. `written` is what its history tells of them
    /// already.
    async fn apply(
        &self,
        id: &AccountId,
        seen: Option<&Seen>,
        work: &[Work<Event>],
        written: Result<Option<&Foreseen>, StoreError>,
        log: &RefCell<Summary>,
    ) -> Result<(), StoreError> {
        let known = matches!(seen, Some(Ok(Some(_))));
        for event in work.iter().map(|work| &work.content).filter(|event| event.order().is_none()) {
            log.borrow_mut().ignored(event, known);
        }
        let written = written?;
        let stored = seen.cloned().unwrap_or(Ok(None))?;
        let mut alone = None;
        if written.is_none() {
            // What all of them were to do together could not be foreseen: one panicked.
            let foreseen = foresee(id, seen, work);
            self.correct(id, &[], &foreseen.entries).await?;
            alone = Some(foreseen);
        }
        let steps = self.accounts.apply(id, stored.clone(), &facts(work)).await?;
        let known = stored.as_ref().map(|stored| &stored.account);
        if let Some(foreseen) = written.or(alone.as_ref()).filter(|told| told.steps != steps) {
            // Another was faster: what this one had foreseen may not have come true.
            let entries = told(known, work, &steps);
            let corrected = self.correct(id, &untrue(foreseen, &entries), &entries).await;
            if let Err(error) = corrected {
                error!(account_id = %id, %error, "the history does not tell of a conflict");
            }
        }
        let facts = work.iter().map(|work| &work.content).filter(|event| event.order().is_some());
        for (event, step) in facts.zip(&steps) {
            log.borrow_mut().folded(event, step.changed());
        }
        Ok(())
    }

    async fn correct(
        &self,
        id: &AccountId,
        untrue: &[Position],
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        match &self.events {
            Some(events) => events.correct(id, untrue, entries).await,
            None => Ok(()),
        }
    }
}

/// Of a record that could not be read, nothing is foreseen: its events are given back.
fn foresee(id: &AccountId, seen: Option<&Seen>, work: &[Work<Event>]) -> Foreseen {
    let known = match seen {
        Some(Ok(Some(stored))) => Some(&stored.account),
        Some(Ok(None)) | None => None,
        Some(Err(_)) => return Foreseen { steps: Vec::new(), entries: Vec::new() },
    };
    let blank = Account::new(id.clone());
    let steps = known.unwrap_or(&blank).fold(&facts(work));
    let entries = told(known, work, &steps);
    Foreseen { steps, entries }
}

/// What the history tells of events that were folded in these steps. Of an account that is not
/// known it tells nothing that was ignored.
fn told(known: Option<&Account>, work: &[Work<Event>], steps: &[Step]) -> Vec<Entry> {
    let mut steps = steps.iter();
    let entry = |event: &Event| match &event.meaning {
        Meaning::Fact(..) => Entry::of_step(event, steps.next()?),
        Meaning::Nothing(_) => Some(Entry::of_ignored(event, known?)),
    };
    work.iter().map(|work| &work.content).filter_map(entry).collect()
}

/// The entries that say of an event that it was applied, where another now says that it was not. An
/// event that a register recognises has none: then it may have been this very delivery, worked
/// through by another at the same time.
fn untrue(foreseen: &Foreseen, entries: &[Entry]) -> Vec<Position> {
    let contradicted = |position: &Position| {
        let of_same = |entry: &&Entry| entry.position.is_of_same_delivery(*position);
        entries.iter().find(of_same).is_some_and(|entry| entry.position != *position)
    };
    foreseen.entries.iter().map(|entry| entry.position).filter(contradicted).collect()
}

fn facts(work: &[Work<Event>]) -> Vec<&Fact> {
    let events = work.iter().map(|work| &work.content);
    let facts = events.filter_map(|event| match &event.meaning {
        Meaning::Fact(_, fact) => Some(&**fact),
        Meaning::Nothing(_) => None,
    });
    facts.collect()
}
