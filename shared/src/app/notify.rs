//! Publishes what the writes to account records changed.
//!
//! A record of the stream that cannot be delivered blocks the later records of its shard. So a record that can never be
//! published goes to the dead-letter queue. Lambda delivers the others again. The stream keeps a record for 24 hours,
//! so a record that could not be published for 23 hours goes to the dead-letter queue too. The body of a dead letter
//! is a valid event for the notifier.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tracing::{error, warn};

use crate::aws::event_bus::{EventBus, PublishError};
use crate::aws::queues::DeadLetterQueue;
use crate::aws::stream::{self, StreamEvent, StreamFailure, StreamResponse, UnreadableRecord};
use crate::domain::notification::{Notification, Write};
use crate::domain::timestamp::Timestamp;
use crate::lambda::invocation::Invocation;

/// Publishes notifications.
pub struct Notifier {
    pub bus: EventBus,
    pub dead_letters: DeadLetterQueue,
}

/// One log line for each invocation.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    records: usize,
    /// The published notifications by type.
    published: BTreeMap<&'static str, usize>,
    dead_lettered: usize,
    delivered_again: usize,
}

impl Summary {
    /// Whether nothing worth a log line happened.
    pub fn is_empty(&self) -> bool {
        self.published.is_empty() && self.dead_lettered == 0 && self.delivered_again == 0
    }
}

/// The age at which a record goes to the dead-letter queue. The stream deletes it an hour later.
const LONGEST_RETRY: Duration = Duration::from_hours(23);

/// Why a record is not published.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Unreadable(#[from] UnreadableRecord),
    #[error("processing panicked")]
    Panicked,
    #[error(transparent)]
    Publish(PublishError),
}

impl Failure {
    fn is_final(&self) -> bool {
        match self {
            Self::Unreadable(_) | Self::Panicked => true,
            Self::Publish(error) => error.is_final(),
        }
    }
}

impl Notifier {
    /// Publishes the notifications of a batch. Returns the first record that Lambda must deliver again, if any, and a
    /// summary for the log. Lambda also delivers all later records again.
    pub async fn notify(
        &self,
        event: &StreamEvent,
        invocation: &Invocation,
    ) -> (StreamResponse, Summary) {
        let mut summary = Summary { records: event.records.len(), ..Summary::default() };
        let read: Vec<_> = event.records.iter().map(notifications).collect();
        let all: Vec<Notification> = read.iter().flatten().flatten().cloned().collect();
        let mut results = self.bus.publish(&all, invocation.deadline).await.into_iter();
        let mut response = StreamResponse::default();
        for (record, read) in event.records.iter().zip(read) {
            let outcome = read.and_then(|notifications| {
                let mut outcome = Ok(());
                for Notification { name, .. } in notifications {
                    match results.next().unwrap_or(Err(PublishError::Late)) {
                        Ok(()) => *summary.published.entry(name).or_default() += 1,
                        Err(error) => outcome = outcome.and(Err(Failure::Publish(error))),
                    }
                }
                outcome
            });
            let Err(failure) = outcome else {
                continue;
            };
            if let Some(again) = self.settle(record, &failure, invocation).await {
                summary.delivered_again += 1;
                response.batch_item_failures.push(again);
                // Lambda delivers all later records again too.
                break;
            }
            summary.dead_lettered += 1;
        }
        (response, summary)
    }

    /// Moves a record to the dead-letter queue, or returns it to Lambda.
    async fn settle(
        &self,
        record: &Value,
        failure: &Failure,
        invocation: &Invocation,
    ) -> Option<StreamFailure> {
        let request_id = &invocation.request_id;
        let place = stream::place(record);
        let sequence_number = place.as_ref().map(|place| place.sequence_number.as_str());
        let age = place.as_ref().map(|place| Timestamp::now().since(place.at));
        if !failure.is_final() && age.is_some_and(|age| age < LONGEST_RETRY) {
            warn!(request_id, sequence_number, %failure, "record delivered again: not published");
            return place.map(|place| StreamFailure { item_identifier: place.sequence_number });
        }
        let letter = StreamEvent { records: vec![record.clone()] };
        let letter = serde_json::to_string(&letter).unwrap_or_default();
        // SQS accepts these two characters only if they are escaped.
        let letter = letter.replace('\u{fffe}', r"\ufffe").replace('\u{ffff}', r"\uffff");
        match self.dead_letters.put_text(&letter, &failure.to_string()).await {
            Ok(()) => {
                error!(request_id, sequence_number, %failure, "record moved to the dead-letter queue");
                None
            }
            Err(error) => {
                error!(request_id, sequence_number, %failure, %error, "record could not be moved to the dead-letter queue");
                // Without a place, Lambda delivers the whole batch again.
                let item_identifier = place.map(|place| place.sequence_number).unwrap_or_default();
                Some(StreamFailure { item_identifier })
            }
        }
    }
}

fn notifications(record: &Value) -> Result<Vec<Notification>, Failure> {
    let read = || Ok(stream::write(record)?.as_ref().map(Write::notifications).unwrap_or_default());
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Failure::Panicked))
}
