//! Batches of SQS messages: each message stands and falls alone.
//!
//! Lambda hands over up to ten messages at once and takes back the ids of those that failed
//! (`ReportBatchItemFailures`); SQS delivers these again, and moves them to the dead-letter queue
//! after five times. A message is only ever given back or done, never dropped: what is not reached
//! before the deadline is given back, and so is what panics.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use crate::queue::DeadLetterQueue;

/// A batch being worked through.
pub struct Batch<K, T> {
    deadline: Instant,
    groups: BTreeMap<K, Vec<Work<T>>>,
    rejected: Vec<(SqsMessage, String)>,
    failed: BTreeSet<String>,
}

/// A message that was read.
pub struct Work<T> {
    message_id: String,
    /// What it says.
    pub content: T,
}

/// What a single message turned out to be.
pub enum Verdict<K, T> {
    /// Work, to be done together with the other work of the same key.
    Work(K, T),
    /// Nothing to do.
    Done,
    /// Can never be done, for this reason: repeating it would not help.
    Reject(String),
}

/// SQS gives every message an id. Without one no failure can be reported, and an empty one would
/// fail the whole batch silently, so the invocation fails instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of the batch has no message id")]
pub struct MissingMessageId;

/// How many groups are worked on at once.
const CONCURRENCY: usize = 10;

impl<K: Ord, T> Batch<K, T> {
    /// Reads each message by itself and groups the work by key, in the order of the messages.
    /// Whatever is not done by `deadline` is given back.
    ///
    /// # Errors
    ///
    /// [`MissingMessageId`]: nothing was done, and the whole batch comes again.
    pub fn sort(
        event: SqsEvent,
        deadline: Instant,
        read: impl Fn(&SqsMessage) -> Verdict<K, T>,
    ) -> Result<Self, MissingMessageId> {
        let mut batch = Self {
            deadline,
            groups: BTreeMap::new(),
            rejected: Vec::new(),
            failed: BTreeSet::new(),
        };
        for message in event.records {
            let id = message.message_id.clone().filter(|id| !id.is_empty());
            let message_id = id.ok_or(MissingMessageId)?;
            match catch_unwind(AssertUnwindSafe(|| read(&message))) {
                Ok(Verdict::Work(key, content)) => {
                    batch.groups.entry(key).or_default().push(Work {
                        message_id,
                        content,
                    });
                }
                Ok(Verdict::Done) => {}
                Ok(Verdict::Reject(reason)) => batch.rejected.push((message, reason)),
                Err(_) => {
                    error!(message_id, "reading the message panicked");
                    batch.failed.insert(message_id);
                }
            }
        }
        Ok(batch)
    }

    /// The keys of the work, each once.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<K>
    where
        K: Clone,
    {
        self.groups.keys().cloned().collect()
    }

    /// Moves what can never be done to the dead-letter queue, whole and with the reason. A message
    /// that cannot be moved is given back.
    pub async fn put_rejected_aside(&mut self, dead_letters: &DeadLetterQueue) {
        for (message, reason) in std::mem::take(&mut self.rejected) {
            let message_id = message.message_id.clone().unwrap_or_default();
            match timeout_at(self.deadline, dead_letters.put_aside(&message, &reason)).await {
                Ok(Ok(())) => warn!(message_id, reason, "put aside: it can never be applied"),
                Ok(Err(error)) => {
                    error!(message_id, reason, %error, "cannot be put aside");
                    self.failed.insert(message_id);
                }
                Err(_) => {
                    self.failed.insert(message_id);
                }
            }
        }
    }

    /// Does the work, key by key, and says which messages are to be delivered again.
    ///
    /// Work of one key is done together, and fails together when it returns an error. When it
    /// panics, each of its messages is tried alone, so that only the one at fault fails.
    pub async fn work<E: std::fmt::Display>(
        self,
        handle: impl AsyncFn(&K, &[Work<T>]) -> Result<(), E>,
    ) -> SqsBatchResponse {
        let Self {
            deadline,
            groups,
            rejected,
            mut failed,
        } = self;
        failed.extend(
            rejected
                .into_iter()
                .filter_map(|(message, _)| message.message_id),
        );
        let handle = &handle;
        let failures = stream::iter(groups)
            .map(|(key, work)| async move { failures(handle, deadline, &key, &work).await })
            .buffer_unordered(CONCURRENCY)
            .collect::<Vec<_>>()
            .await;
        failed.extend(failures.into_iter().flatten());
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = failed.into_iter().map(failure).collect();
        response
    }
}

/// The ids of the messages of one key that are to be delivered again.
async fn failures<K, T, E: std::fmt::Display>(
    handle: &impl AsyncFn(&K, &[Work<T>]) -> Result<(), E>,
    deadline: Instant,
    key: &K,
    work: &[Work<T>],
) -> Vec<String> {
    match attempt(handle, deadline, key, work).await {
        Outcome::Done => Vec::new(),
        Outcome::Panicked if work.len() > 1 => {
            let mut failed = Vec::new();
            for single in work.chunks(1) {
                if attempt(handle, deadline, key, single).await != Outcome::Done {
                    failed.extend(ids(single));
                }
            }
            failed
        }
        Outcome::Panicked | Outcome::Failed => ids(work).collect(),
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    Panicked,
}

async fn attempt<K, T, E: std::fmt::Display>(
    handle: &impl AsyncFn(&K, &[Work<T>]) -> Result<(), E>,
    deadline: Instant,
    key: &K,
    work: &[Work<T>],
) -> Outcome {
    let message_ids = || ids(work).collect::<Vec<_>>().join(" ");
    if Instant::now() >= deadline {
        warn!(message_ids = message_ids(), "given back: the time is up");
        return Outcome::Failed;
    }
    let handled = AssertUnwindSafe(handle(key, work)).catch_unwind();
    match timeout_at(deadline, handled).await {
        Ok(Ok(Ok(()))) => Outcome::Done,
        Ok(Ok(Err(error))) => {
            error!(message_ids = message_ids(), %error, "given back: it failed");
            Outcome::Failed
        }
        Ok(Err(_)) => {
            error!(message_ids = message_ids(), "the work panicked");
            Outcome::Panicked
        }
        Err(_) => {
            warn!(message_ids = message_ids(), "given back: the time is up");
            Outcome::Failed
        }
    }
}

fn ids<T>(work: &[Work<T>]) -> impl Iterator<Item = String> {
    work.iter().map(|work| work.message_id.clone())
}

fn failure(message_id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message_id;
    failure
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;

    fn message(id: &str, body: &str) -> SqsMessage {
        let mut message = SqsMessage::default();
        message.message_id = Some(id.to_owned());
        message.body = Some(body.to_owned());
        message
    }

    fn event(messages: &[(&str, &str)]) -> SqsEvent {
        let mut event = SqsEvent::default();
        event.records = messages
            .iter()
            .map(|(id, body)| message(id, body))
            .collect();
        event
    }

    /// A body is `key content`.
    fn read(message: &SqsMessage) -> Verdict<String, String> {
        let body = message.body.as_deref().unwrap();
        match body.split_once(' ') {
            None if body == "panic" => panic!("a message that cannot be read"),
            None if body == "nothing" => Verdict::Done,
            None => Verdict::Reject("no key".to_owned()),
            Some((key, content)) => Verdict::Work(key.to_owned(), content.to_owned()),
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn sort(messages: &[(&str, &str)]) -> Batch<String, String> {
        Batch::sort(event(messages), soon(), read).unwrap()
    }

    fn failed(response: &SqsBatchResponse) -> Vec<&str> {
        response
            .batch_item_failures
            .iter()
            .map(|failure| failure.item_identifier.as_str())
            .collect()
    }

    #[tokio::test]
    async fn work_of_one_key_is_done_together_in_the_order_of_the_messages() {
        let done = RefCell::new(Vec::new());
        let response = sort(&[("1", "a x"), ("2", "b y"), ("3", "a z"), ("4", "nothing")])
            .work(async |key, work| {
                let contents: Vec<_> = work.iter().map(|work| work.content.clone()).collect();
                done.borrow_mut().push((key.clone(), contents));
                Ok::<_, Infallible>(())
            })
            .await;
        assert_eq!(failed(&response), [""; 0]);
        let expected = [("a", vec!["x", "z"]), ("b", vec!["y"])];
        let expected = expected.map(|(key, work)| {
            (
                key.to_owned(),
                work.into_iter().map(str::to_owned).collect(),
            )
        });
        assert_eq!(*done.borrow(), expected);
    }

    #[tokio::test]
    async fn an_error_fails_the_messages_of_its_key_and_no_others() {
        let response = sort(&[("1", "a x"), ("2", "b y"), ("3", "a z")])
            .work(async |key, _| if key == "a" { Err("no luck") } else { Ok(()) })
            .await;
        assert_eq!(failed(&response), ["1", "3"]);
    }

    #[tokio::test]
    async fn a_message_whose_reading_panics_fails_alone() {
        let response = sort(&[("1", "panic"), ("2", "a x")])
            .work(async |_, _| Ok::<_, Infallible>(()))
            .await;
        assert_eq!(failed(&response), ["1"]);
    }

    #[tokio::test]
    async fn a_message_whose_work_panics_fails_alone_even_among_those_of_its_key() {
        let response = sort(&[("1", "a x"), ("2", "a poison"), ("3", "a z"), ("4", "b y")])
            .work(async |_, work| {
                assert!(work.iter().all(|work| work.content != "poison"), "poison");
                Ok::<_, Infallible>(())
            })
            .await;
        assert_eq!(failed(&response), ["2"]);
    }

    #[tokio::test]
    async fn what_was_rejected_and_not_put_aside_is_given_back() {
        let response = sort(&[("1", "nokey"), ("2", "a x")])
            .work(async |_, _| Ok::<_, Infallible>(()))
            .await;
        assert_eq!(failed(&response), ["1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_done_by_the_deadline_is_given_back() {
        let response = sort(&[("1", "quick x"), ("2", "slow y")])
            .work(async |key, _| {
                let needed = if key == "slow" {
                    Duration::from_hours(1)
                } else {
                    Duration::ZERO
                };
                tokio::time::sleep(needed).await;
                Ok::<_, Infallible>(())
            })
            .await;
        assert_eq!(failed(&response), ["2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_deadline_nothing_is_begun() {
        let batch = sort(&[("1", "a x"), ("2", "b y")]);
        tokio::time::advance(Duration::from_mins(2)).await;
        let response = batch
            .work(async |_, _| -> Result<(), Infallible> { unreachable!("begun too late") })
            .await;
        assert_eq!(failed(&response), ["1", "2"]);
    }

    #[test]
    fn a_message_without_an_id_fails_the_invocation() {
        for id in [None, Some(String::new())] {
            let mut event = event(&[("1", "a x")]);
            event.records[0].message_id = id;
            assert_eq!(
                Batch::sort(event, soon(), read).err(),
                Some(MissingMessageId)
            );
        }
    }
}
