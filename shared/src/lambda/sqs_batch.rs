//! Batches of SQS messages. The failure of a message does not affect the messages of other accounts.
//!
//! Lambda receives up to ten messages in a batch and returns the batch item failures (`ReportBatchItemFailures`). SQS
//! delivers these messages again, and moves them to the dead-letter queue after five deliveries. No message is
//! dropped. A message whose processing panics is a failure, and so is a message that is not processed before the
//! deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::future::FutureExt;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use crate::aws::queues::DeadLetterQueue;
use crate::domain::account_id::AccountId;
use crate::lambda::invocation::Invocation;

pub struct Batch<T> {
    invocation: Invocation,
    accounts: BTreeMap<AccountId, Vec<Work<T>>>,
    rejected: Vec<Rejected>,
    failed: BTreeSet<String>,
}

pub struct Work<T> {
    message_id: String,
    /// The parsed content of the message.
    pub content: T,
}

struct Rejected {
    message_id: String,
    message: SqsMessage,
    event_id: Option<String>,
    reason: String,
}

/// What to do with a message after it was read.
pub enum Verdict<T> {
    /// Process the message together with the other messages of the same account.
    Work(AccountId, T),
    /// The message needs no processing.
    Done,
    /// The message can never be processed, so a retry would not help.
    Reject {
        /// Mono's id of the event, if it has one, for the log.
        event_id: Option<String>,
        reason: String,
    },
}

/// A message has no id, although SQS gives every message an id. The failure of such a message cannot be reported, and
/// an empty id would silently fail the whole batch. So the invocation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of the batch has no message id")]
pub struct MissingMessageId;

/// Accounts that are processed concurrently, and messages that are moved concurrently to the dead-letter queue.
const CONCURRENCY: usize = 10;

impl<T> Batch<T> {
    /// Reads each message and groups the work by account, in the order of the messages.
    ///
    /// # Errors
    ///
    /// [`MissingMessageId`]: no message was processed, and the whole batch is delivered again.
    pub fn sort(
        event: SqsEvent,
        invocation: Invocation,
        read: impl Fn(&SqsMessage) -> Verdict<T>,
    ) -> Result<Self, MissingMessageId> {
        let mut batch = Self {
            invocation,
            accounts: BTreeMap::new(),
            rejected: Vec::new(),
            failed: BTreeSet::new(),
        };
        for message in event.records {
            let id = message.message_id.clone().filter(|id| !id.is_empty());
            let message_id = id.ok_or(MissingMessageId)?;
            match catch_unwind(AssertUnwindSafe(|| read(&message))) {
                Ok(Verdict::Work(account_id, content)) => {
                    let work = Work { message_id, content };
                    batch.accounts.entry(account_id).or_default().push(work);
                }
                Ok(Verdict::Done) => {}
                Ok(Verdict::Reject { event_id, reason }) => {
                    batch.rejected.push(Rejected { message_id, message, event_id, reason });
                }
                Err(_) => {
                    let request_id = &batch.invocation.request_id;
                    error!(request_id, message_id, "message delivered again: parsing panicked");
                    batch.failed.insert(message_id);
                }
            }
        }
        Ok(batch)
    }

    /// The accounts that have work.
    pub fn account_ids(&self) -> BTreeSet<AccountId> {
        self.accounts.keys().cloned().collect()
    }

    /// Changes the content of the work of each account before its work.
    pub fn change(&mut self, change: impl Fn(&AccountId, &mut T)) {
        for (id, work) in &mut self.accounts {
            work.iter_mut().for_each(|work| change(id, &mut work.content));
        }
    }

    /// Ends the work of these accounts without processing it. Returns the content.
    pub fn skip(&mut self, ids: impl IntoIterator<Item = AccountId>) -> Vec<T> {
        let skipped = ids.into_iter().filter_map(|id| self.accounts.remove(&id)).flatten();
        skipped.map(|work| work.content).collect()
    }

    /// Marks the work of these accounts as failed, so that SQS delivers its messages again.
    pub fn fail(&mut self, ids: impl IntoIterator<Item = AccountId>) {
        let work = ids.into_iter().filter_map(|id| self.accounts.remove(&id)).flatten();
        self.failed.extend(work.map(|work| work.message_id));
    }

    /// Computes a preview for each account before its work. The result omits an account whose computation panics.
    pub fn preview<R>(&self, look: impl Fn(&AccountId, &[Work<T>]) -> R) -> Vec<R> {
        let look = |(id, work): (&AccountId, &Vec<Work<T>>)| {
            catch_unwind(AssertUnwindSafe(|| look(id, work))).ok()
        };
        self.accounts.iter().filter_map(look).collect()
    }

    /// Runs a preparation that all work needs. If it panics or exceeds the deadline, all messages are delivered
    /// again.
    pub async fn prepare<P>(&mut self, preparation: impl Future<Output = P>) -> Option<P> {
        let preparation = AssertUnwindSafe(preparation).catch_unwind();
        let prepared = timeout_at(self.invocation.deadline, preparation).await;
        let prepared = prepared.ok().and_then(Result::ok);
        if prepared.is_none() {
            error!(
                request_id = self.invocation.request_id,
                "whole batch delivered again: preparation panicked or timed out"
            );
            let work = take(&mut self.accounts).into_values().flatten();
            self.failed.extend(work.map(|work| work.message_id));
        }
        prepared
    }

    /// Marks messages as failed, so that SQS delivers them again. Their events are still applied. A rejected message
    /// among them does not go to the dead-letter queue yet.
    pub fn deliver_again(&mut self, message_ids: Vec<String>) {
        self.failed.extend(message_ids);
        self.rejected.retain(|rejected| !self.failed.contains(&rejected.message_id));
    }

    /// Processes the work of all accounts.
    ///
    /// The messages of one account are processed together, and delivered again together after an error. After a
    /// panic, each message is processed alone, so that only a message that panics fails.
    pub async fn work<E: Display>(
        &mut self,
        handle: impl AsyncFn(&AccountId, &[Work<T>]) -> Result<(), E>,
    ) {
        let accounts = take(&mut self.accounts);
        let (invocation, handle) = (&self.invocation, &handle);
        let failures = stream::iter(accounts)
            .map(async |(id, work)| invocation.failures(handle, &id, &work).await)
            .buffer_unordered(CONCURRENCY)
            .collect::<Vec<_>>()
            .await;
        self.failed.extend(failures.into_iter().flatten());
    }

    /// Moves unprocessable messages unchanged to the dead-letter queue, with the reason. A message that cannot be
    /// moved is delivered again. This runs after the work, so that the work need not wait.
    pub async fn dead_letter_rejected(&mut self, dead_letters: &DeadLetterQueue) {
        let rejected = take(&mut self.rejected);
        let invocation = &self.invocation;
        let failures = stream::iter(rejected)
            .map(async |Rejected { message_id, message, event_id, reason }| {
                let moved = dead_letters.put(&message, &reason);
                let moved = timeout_at(invocation.deadline, moved).await;
                let request_id = &invocation.request_id;
                match moved {
                    Ok(Ok(())) => {
                        warn!(
                            request_id, message_id, event_id, reason, "moved to the dead-letter queue: message is unprocessable"
                        );
                        return None;
                    }
                    Ok(Err(error)) => {
                        error!(request_id, message_id, event_id, reason, %error, "message could not be moved to the dead-letter queue");
                    }
                    Err(_) => error!(request_id, message_id, event_id, reason, "message not moved to the dead-letter queue in time"),
                }
                Some(message_id)
            })
            .buffer_unordered(CONCURRENCY)
            .collect::<Vec<_>>()
            .await;
        self.failed.extend(failures.into_iter().flatten());
    }

    /// The batch item failures: messages that failed, and messages that were not processed.
    pub fn into_response(self) -> SqsBatchResponse {
        let mut failed = self.failed;
        failed.extend(self.accounts.into_values().flatten().map(|work| work.message_id));
        failed.extend(self.rejected.into_iter().map(|rejected| rejected.message_id));
        response(failed)
    }
}

/// A message with a job, as SQS delivered it.
pub struct Delivery<J> {
    pub job: J,
    pub message_id: String,
    pub receipt_handle: String,
    /// The number of deliveries by SQS, including this delivery.
    pub times: u32,
}

impl<J> Batch<Delivery<J>> {
    /// Handles jobs. The jobs of one account run one after the other. If a job fails, all messages of its account are
    /// delivered again. A message that is not a job is delivered again until SQS moves it to the dead-letter queue,
    /// where an operator can inspect it.
    ///
    /// # Errors
    ///
    /// [`MissingMessageId`]: no job was handled, and the whole batch is delivered again.
    pub async fn handle_jobs<U: Display, E: Display>(
        event: SqsEvent,
        invocation: Invocation,
        read: impl Fn(&str) -> Result<(AccountId, J), U>,
        handle: impl AsyncFn(&Delivery<J>) -> Result<(), E>,
    ) -> Result<SqsBatchResponse, MissingMessageId> {
        let request_id = invocation.request_id.clone();
        let delivery = |message: &SqsMessage| {
            let (account_id, job) = read(message.body.as_deref().unwrap_or_default())?;
            let times = message.attributes.get("ApproximateReceiveCount");
            let delivery = Delivery {
                job,
                message_id: message.message_id.clone().unwrap_or_default(),
                receipt_handle: message.receipt_handle.clone().unwrap_or_default(),
                times: times.and_then(|times| times.parse().ok()).unwrap_or(1),
            };
            Ok::<_, U>((account_id, delivery))
        };
        let mut batch = Self::sort(event, invocation, |message| match delivery(message) {
            Ok((account_id, delivery)) => Verdict::Work(account_id, delivery),
            Err(error) => {
                error!(request_id, message_id = message.message_id, %error, "message is not a job");
                Verdict::Reject { event_id: None, reason: error.to_string() }
            }
        })?;
        let handle = async |_: &AccountId, work: &[Work<Delivery<J>>]| {
            for work in work {
                handle(&work.content).await?;
            }
            Ok::<_, E>(())
        };
        batch.work(handle).await;
        Ok(batch.into_response())
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    Panicked,
}

impl Invocation {
    /// The ids of those messages of one account that must be delivered again.
    async fn failures<T, E: Display>(
        &self,
        handle: &impl AsyncFn(&AccountId, &[Work<T>]) -> Result<(), E>,
        account_id: &AccountId,
        work: &[Work<T>],
    ) -> Vec<String> {
        match self.attempt(handle, account_id, work).await {
            Outcome::Done => Vec::new(),
            Outcome::Panicked if work.len() > 1 => {
                let mut failed = Vec::new();
                for single in work.chunks(1) {
                    if self.attempt(handle, account_id, single).await != Outcome::Done {
                        failed.extend(ids(single));
                    }
                }
                failed
            }
            Outcome::Panicked | Outcome::Failed => ids(work).collect(),
        }
    }

    async fn attempt<T, E: Display>(
        &self,
        handle: &impl AsyncFn(&AccountId, &[Work<T>]) -> Result<(), E>,
        account_id: &AccountId,
        work: &[Work<T>],
    ) -> Outcome {
        let request_id = &self.request_id;
        let message_ids = || ids(work).collect::<Vec<_>>().join(" ");
        // Without this check, a future that is ready at its first poll would complete after the deadline.
        let handled = async {
            if Instant::now() >= self.deadline {
                std::future::pending::<()>().await;
            }
            AssertUnwindSafe(handle(account_id, work)).catch_unwind().await
        };
        match timeout_at(self.deadline, handled).await {
            Ok(Ok(Ok(()))) => Outcome::Done,
            Ok(Ok(Err(error))) => {
                let message_ids = message_ids();
                error!(request_id, %account_id, message_ids, %error, "messages delivered again: processing failed");
                Outcome::Failed
            }
            Ok(Err(_)) => {
                error!(request_id, %account_id, message_ids = message_ids(), "message processing panicked");
                Outcome::Panicked
            }
            Err(_) => {
                let message_ids = message_ids();
                warn!(request_id, %account_id, message_ids, "messages delivered again: deadline exceeded");
                Outcome::Failed
            }
        }
    }
}

fn ids<T>(work: &[Work<T>]) -> impl Iterator<Item = String> {
    work.iter().map(|work| work.message_id.clone())
}

/// The response that names the messages to deliver again.
pub fn response(failed: impl IntoIterator<Item = String>) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed.into_iter().map(failure).collect();
    response
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
    use crate::domain::timestamp::Timestamp;

    fn message(id: &str, body: &str) -> SqsMessage {
        let mut message = SqsMessage::default();
        message.message_id = Some(id.to_owned());
        message.body = Some(body.to_owned());
        message
    }

    fn event(messages: &[(&str, &str)]) -> SqsEvent {
        let mut event = SqsEvent::default();
        event.records = messages.iter().map(|(id, body)| message(id, body)).collect();
        event
    }

    /// A body has the form `account content`.
    fn read(message: &SqsMessage) -> Verdict<String> {
        let body = message.body.as_deref().unwrap();
        match body.split_once(' ') {
            None if body == "panic" => panic!("the message cannot be parsed"),
            None if body == "nothing" => Verdict::Done,
            None => Verdict::Reject { event_id: None, reason: "no account".to_owned() },
            Some((id, content)) => Verdict::Work(id.parse().unwrap(), content.to_owned()),
        }
    }

    fn invocation() -> Invocation {
        let deadline = Instant::now() + Duration::from_mins(1);
        Invocation { request_id: "request".to_owned(), deadline, ends_at: Timestamp::now() }
    }

    fn sort(messages: &[(&str, &str)]) -> Batch<String> {
        Batch::sort(event(messages), invocation(), read).unwrap()
    }

    /// The messages that must be delivered again after this work.
    async fn failed<E: Display>(
        mut batch: Batch<String>,
        handle: impl AsyncFn(&AccountId, &[Work<String>]) -> Result<(), E>,
    ) -> Vec<String> {
        batch.work(handle).await;
        let failures = batch.into_response().batch_item_failures;
        failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    #[tokio::test]
    async fn preview_omits_only_the_account_whose_computation_panics() {
        let batch = sort(&[("1", "a x"), ("2", "b panic"), ("3", "c z")]);
        let preview = batch.preview(|id, work| {
            assert!(work.iter().all(|work| work.content != "panic"));
            id.to_string()
        });
        assert_eq!(preview, ["a", "c"]);
    }

    #[tokio::test]
    async fn messages_of_one_account_are_processed_together_in_order() {
        let done = RefCell::new(Vec::new());
        let batch = sort(&[("1", "a x"), ("2", "b y"), ("3", "a z"), ("4", "nothing")]);
        let failed = failed(batch, async |id, work| {
            let contents: Vec<_> = work.iter().map(|work| work.content.clone()).collect();
            done.borrow_mut().push((id.to_string(), contents));
            Ok::<_, Infallible>(())
        })
        .await;
        assert_eq!(failed, [""; 0]);
        let expected = [("a", vec!["x", "z"]), ("b", vec!["y"])];
        let expected = expected
            .map(|(id, work)| (id.to_owned(), work.into_iter().map(str::to_owned).collect()));
        assert_eq!(*done.borrow(), expected);
    }

    #[tokio::test]
    async fn error_fails_only_the_messages_of_its_account() {
        let batch = sort(&[("1", "a x"), ("2", "b y"), ("3", "a z")]);
        let handle = async |id: &AccountId, _: &[_]| {
            if id.as_str() == "a" { Err("failure") } else { Ok(()) }
        };
        assert_eq!(failed(batch, handle).await, ["1", "3"]);
    }

    #[tokio::test]
    async fn message_whose_parsing_panics_fails_alone() {
        let batch = sort(&[("1", "panic"), ("2", "a x")]);
        assert_eq!(failed(batch, async |_, _| Ok::<_, Infallible>(())).await, ["1"]);
    }

    #[tokio::test]
    async fn message_whose_work_panics_fails_without_other_messages_of_its_account() {
        let batch = sort(&[("1", "a x"), ("2", "a poison"), ("3", "a z"), ("4", "b y")]);
        let handle = async |_: &AccountId, work: &[Work<String>]| {
            assert!(work.iter().all(|work| work.content != "poison"), "poison");
            Ok::<_, Infallible>(())
        };
        assert_eq!(failed(batch, handle).await, ["2"]);
    }

    #[tokio::test]
    async fn rejected_message_is_a_batch_item_failure_until_it_is_moved() {
        let batch = sort(&[("1", "noaccount"), ("2", "a x")]);
        assert_eq!(failed(batch, async |_, _| Ok::<_, Infallible>(())).await, ["1"]);
    }

    #[tokio::test]
    async fn unhandled_message_is_a_batch_item_failure() {
        let response = sort(&[("1", "a x"), ("2", "nothing")]).into_response();
        assert_eq!(response.batch_item_failures.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_exceeds_the_deadline_is_a_batch_item_failure() {
        let batch = sort(&[("1", "quick x"), ("2", "slow y")]);
        let handle = async |id: &AccountId, _: &[_]| {
            let needed =
                if id.as_str() == "slow" { Duration::from_hours(1) } else { Duration::ZERO };
            tokio::time::sleep(needed).await;
            Ok::<_, Infallible>(())
        };
        assert_eq!(failed(batch, handle).await, ["2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_does_not_start_after_the_deadline() {
        let batch = sort(&[("1", "a x"), ("2", "b y")]);
        tokio::time::advance(Duration::from_mins(2)).await;
        let handle =
            async |_: &AccountId, _: &[_]| -> Result<(), Infallible> { unreachable!("too late") };
        assert_eq!(failed(batch, handle).await, ["1", "2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn preparation_that_hangs_fails_all_work_by_the_deadline() {
        let mut batch = sort(&[("1", "a x"), ("2", "b y")]);
        assert_eq!(batch.prepare(std::future::pending::<()>()).await, None);
        assert_eq!(batch.into_response().batch_item_failures.len(), 2);
    }

    #[tokio::test]
    async fn preparation_that_panics_fails_all_work() {
        let mut batch = sort(&[("1", "a x"), ("2", "b y")]);
        assert_eq!(batch.prepare(async { panic!("the record cannot be read") }).await, None::<()>);
        assert_eq!(batch.into_response().batch_item_failures.len(), 2);
    }

    #[tokio::test]
    async fn message_without_an_id_fails_the_invocation() {
        for id in [None, Some(String::new())] {
            let mut event = event(&[("1", "a x")]);
            event.records[0].message_id = id;
            assert_eq!(Batch::sort(event, invocation(), read).err(), Some(MissingMessageId));
        }
    }
}
