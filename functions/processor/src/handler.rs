//! What the function does with a batch: read each event, read all records at once, fold, write.

use std::cell::RefCell;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::account::Fact;
use mono_sync::account_id::AccountId;
use mono_sync::batch::{Batch, Verdict, Work};
use mono_sync::event::{self, Event, Label, Meaning};
use mono_sync::invocation::Invocation;
use mono_sync::queue::{self, DeadLetterQueue};
use mono_sync::store::{AccountStore, Effect, StoreError};
use mono_sync::telemetry;
use serde::Serialize;

/// What the function is wired to.
pub(crate) struct Processor {
    pub(crate) accounts: AccountStore,
    pub(crate) dead_letters: DeadLetterQueue,
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
        let mut batch = Batch::sort(event, invocation, |message| read(message, &log))?;
        let seen = self.accounts.get_all(batch.account_ids());
        if let Some(seen) = batch.prepare(seen).await {
            batch
                .work(async |account_id, work| {
                    let seen = seen.get(account_id).cloned().unwrap_or(Ok(None))?;
                    let facts: Vec<_> = work.iter().map(|work| &*work.content.1).collect();
                    let effects = self.accounts.apply(account_id, seen, &facts).await?;
                    log.borrow_mut().applied(account_id, work, &effects);
                    Ok::<_, StoreError>(())
                })
                .await;
        }
        batch.put_rejected_aside(&self.dead_letters).await;
        telemetry::summary(&context.request_id, &log.into_inner());
        Ok(batch.into_response())
    }
}

type Content = (Label, Box<Fact>);

fn read(message: &SqsMessage, log: &RefCell<Summary>) -> Verdict<Content> {
    let Some(received_at) = queue::received_at(message) else {
        let reason = "the message does not say when the webhook was received".to_owned();
        return Verdict::Reject { event_id: None, reason };
    };
    match event::read(message.body.as_deref().unwrap_or_default(), received_at) {
        Ok(Event { label, meaning: Meaning::Fact(account_id, fact) }) => {
            Verdict::Work(account_id, (label, fact))
        }
        Ok(Event { label, meaning: Meaning::Nothing }) => {
            log.borrow_mut().ignored(label);
            Verdict::Done
        }
        Err(inapplicable) => Verdict::Reject {
            event_id: inapplicable.event_id().map(str::to_owned),
            reason: inapplicable.to_string(),
        },
    }
}

/// What the batch's events were and did, for the log. The totals are what a metric filter can count.
#[derive(Default, Serialize)]
struct Summary {
    applied: usize,
    no_change: usize,
    ignored: usize,
    unknown_values: usize,
    events: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<AccountId>,
    effect: &'static str,
}

impl Summary {
    fn ignored(&mut self, label: Label) {
        self.ignored += 1;
        self.push(label, None, "ignored");
    }

    fn applied(&mut self, account_id: &AccountId, work: &[Work<Content>], effects: &[Effect]) {
        for (work, effect) in work.iter().zip(effects) {
            let (label, fact) = &work.content;
            self.unknown_values += usize::from(fact.has_unknown_value());
            let effect = match effect {
                Effect::Applied => {
                    self.applied += 1;
                    "applied"
                }
                Effect::NoChange => {
                    self.no_change += 1;
                    "no_change"
                }
            };
            self.push(label.clone(), Some(account_id.clone()), effect);
        }
    }

    fn push(&mut self, label: Label, account_id: Option<AccountId>, effect: &'static str) {
        let Label { kind, event_id } = label;
        self.events.push(Line { event: kind, event_id, account_id, effect });
    }
}
