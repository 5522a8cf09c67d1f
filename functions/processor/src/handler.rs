//! What the function does with a batch: read each event, read all records at once, fold, write.

use std::cell::RefCell;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Context, Error, LambdaEvent};
use mono_sync::account::Fact;
use mono_sync::account_id::AccountId;
use mono_sync::batch::{Batch, Verdict, Work};
use mono_sync::event::{self, Label, Meaning};
use mono_sync::queue::{self, DeadLetterQueue};
use mono_sync::store::{AccountStore, Effect, StoreError};
use mono_sync::telemetry;
use mono_sync::timestamp::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

/// What the function is wired to.
pub(crate) struct Processor {
    pub(crate) accounts: AccountStore,
    pub(crate) dead_letters: DeadLetterQueue,
}

/// What is left of an invocation's time when work stops, to answer in.
const MARGIN: Duration = Duration::from_secs(1);

impl Processor {
    /// Works through a batch. What could not be done is given back by its message id.
    pub(crate) async fn work(
        &self,
        event: LambdaEvent<SqsEvent>,
    ) -> Result<SqsBatchResponse, Error> {
        let (event, context) = event.into_parts();
        let log = EventLog::default();
        let mut batch = Batch::sort(event, deadline(&context), |message| read(message, &log))?;
        batch.put_rejected_aside(&self.dead_letters).await;
        let seen = self.accounts.get_all(&batch.keys()).await;
        let response = batch
            .work(async |account_id, work| {
                let seen = seen.get(account_id).cloned().unwrap_or(Ok(None))?;
                let facts: Vec<_> = work.iter().map(|work| &*work.content.1).collect();
                let effects = self.accounts.apply(account_id, seen, &facts).await?;
                log.applied(account_id, work, &effects);
                Ok::<_, StoreError>(())
            })
            .await;
        telemetry::summary(&context.request_id, &log.0.into_inner());
        Ok(response)
    }
}

type Content = (Label, Box<Fact>);

fn read(message: &SqsMessage, log: &EventLog) -> Verdict<AccountId, Content> {
    let Some(received_at) = queue::received_at(message) else {
        return Verdict::Reject("the message does not say when the webhook was received".into());
    };
    match event::read(message.body.as_deref().unwrap_or_default(), received_at) {
        Ok(event::Event {
            label,
            meaning: Meaning::Fact(account_id, fact),
        }) => Verdict::Work(account_id, (label, fact)),
        Ok(event::Event {
            label,
            meaning: Meaning::Nothing,
        }) => {
            log.ignored(label);
            Verdict::Done
        }
        Err(inapplicable) => Verdict::Reject(inapplicable.to_string()),
    }
}

fn deadline(context: &Context) -> Instant {
    let end = Timestamp::from_millis(context.deadline);
    Instant::now() + end.since(Timestamp::now()).saturating_sub(MARGIN)
}

/// What the batch's events were and did, for the log.
#[derive(Default)]
struct EventLog(RefCell<Vec<Line>>);

#[derive(Serialize)]
struct Line {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<AccountId>,
    effect: LoggedEffect,
}

#[derive(Serialize)]
#[serde(untagged)]
enum LoggedEffect {
    Of(Effect),
    Ignored(&'static str),
}

impl EventLog {
    fn ignored(&self, label: Label) {
        self.push(label, None, LoggedEffect::Ignored("ignored"));
    }

    fn applied(&self, account_id: &AccountId, work: &[Work<Content>], effects: &[Effect]) {
        for (work, effect) in work.iter().zip(effects) {
            let account_id = Some(account_id.clone());
            self.push(
                work.content.0.clone(),
                account_id,
                LoggedEffect::Of(*effect),
            );
        }
    }

    fn push(&self, label: Label, account_id: Option<AccountId>, effect: LoggedEffect) {
        let Label { kind, event_id } = label;
        self.0.borrow_mut().push(Line {
            event: kind,
            event_id,
            account_id,
            effect,
        });
    }
}
