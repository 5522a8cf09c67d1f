//! The SQS queues: sending messages and delaying their redelivery.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message::builders::SendMessageFluentBuilder;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};

use crate::aws::sdk::AwsError;
use crate::domain::account_id::AccountId;
use crate::domain::import::ImportJob;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::body::WebhookBody;

/// The message attribute with the time at which Mono's webhook was received. A redrive resets SQS's own timestamps.
pub const RECEIVED_AT: &str = "received_at";
/// The message attribute with the reason why a message was dead-lettered.
pub const REASON: &str = "reason";

#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    #[error("SQS call failed: {0}")]
    Unavailable(#[source] AwsError),
    /// SQS rejected one message of a batch.
    #[error("SQS rejected the message: {code}")]
    Refused { code: String },
    #[error("SQS did not answer in time")]
    Late,
}

impl SendError {
    fn unavailable(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(AwsError::new(error))
    }
}

/// The queue of verified webhooks.
pub struct WebhookQueue {
    client: Client,
    url: String,
}

impl WebhookQueue {
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Enqueues an accepted webhook body, with its time of receipt. Returns SQS's message id.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the message is probably not enqueued. If only the response was lost, it is.
    pub async fn send(
        &self,
        body: &WebhookBody<'_>,
        received_at: Timestamp,
    ) -> Result<String, SendError> {
        let message = self.client.send_message().queue_url(&self.url).message_body(body.as_str());
        send(message.message_attributes(RECEIVED_AT, text(received_at.to_string())?)).await
    }
}

/// A queue of jobs, one per account. SQS delivers a failed job again.
#[derive(Clone)]
pub struct AccountQueue {
    client: Client,
    url: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub account_id: AccountId,
    pub body: String,
    /// The delay before the first delivery, at most 15 minutes.
    pub delay: Duration,
}

/// The maximum number of messages in one `SendMessageBatch` request.
const MAX_MESSAGES: usize = 10;

impl AccountQueue {
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Enqueues jobs, ten per request. Returns the accounts whose job could not be enqueued, with the error.
    pub async fn send(&self, jobs: &[Message]) -> HashMap<AccountId, SendError> {
        let mut failed = HashMap::new();
        for jobs in jobs.chunks(MAX_MESSAGES) {
            match self.send_chunk(jobs).await {
                Ok(rejected) => failed.extend(rejected),
                Err(error) => {
                    failed.extend(jobs.iter().map(|job| (job.account_id.clone(), error.clone())));
                }
            }
        }
        failed
    }

    async fn send_chunk(&self, jobs: &[Message]) -> Result<Vec<(AccountId, SendError)>, SendError> {
        let entry = |(number, job): (usize, &Message)| {
            let delay = i32::try_from(job.delay.as_secs()).unwrap_or(i32::MAX);
            let entry = SendMessageBatchRequestEntry::builder().id(number.to_string());
            entry.message_body(&job.body).delay_seconds(delay).build()
        };
        let entries: Result<Vec<_>, _> = jobs.iter().enumerate().map(entry).collect();
        let entries = entries.map_err(SendError::unavailable)?;
        let batch = self.client.send_message_batch().queue_url(&self.url);
        let answer = batch.set_entries(Some(entries)).send().await;
        let answer = answer.map_err(SendError::unavailable)?;
        let failed = answer.failed.into_iter().filter_map(|entry| {
            let job = jobs.get(entry.id.parse::<usize>().ok()?)?;
            Some((job.account_id.clone(), SendError::Refused { code: entry.code }))
        });
        Ok(failed.collect())
    }

    /// Overrides the visibility timeout of one message, so that SQS delivers it again after `wait`.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the queue's own visibility timeout stays in effect.
    pub async fn postpone(&self, receipt_handle: &str, wait: Duration) -> Result<(), SendError> {
        let change = self.client.change_message_visibility().queue_url(&self.url);
        let seconds = i32::try_from(wait.as_secs()).unwrap_or(i32::MAX);
        let change = change.receipt_handle(receipt_handle).visibility_timeout(seconds);
        change.send().await.map(drop).map_err(SendError::unavailable)
    }
}

#[derive(Clone)]
pub struct ImportQueue(pub AccountQueue);

impl ImportQueue {
    /// The delay of a job. In this time the account record is written, and other pulls of the same minute arrive.
    pub const DELAY: Duration = Duration::from_secs(2);

    /// Enqueues imports, ten per request, with a delay of at most 15 minutes. Returns the accounts whose import could
    /// not be enqueued, with the error.
    pub async fn send(&self, jobs: &[ImportJob], delay: Duration) -> HashMap<AccountId, SendError> {
        let job = |job: &ImportJob| Message {
            account_id: job.account_id.clone(),
            body: job.to_body(),
            delay,
        };
        self.0.send(&jobs.iter().map(job).collect::<Vec<_>>()).await
    }
}

/// The dead-letter queue for messages that can never be applied.
pub struct DeadLetterQueue {
    client: Client,
    url: String,
}

impl DeadLetterQueue {
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Copies a message, unchanged, to the dead-letter queue, and adds the reason.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the message must stay in its own queue.
    pub async fn put(&self, message: &SqsMessage, reason: &str) -> Result<(), SendError> {
        let body = message.body.as_deref().unwrap_or_default();
        let mut letter = self.client.send_message().queue_url(&self.url).message_body(body);
        if let Some(received_at) = received_at_attribute(message) {
            letter = letter.message_attributes(RECEIVED_AT, text(received_at)?);
        }
        send(letter.message_attributes(REASON, text(reason)?)).await.map(drop)
    }
}

/// The time at which the webhook in a message was received. Uses the message's [`RECEIVED_AT`] attribute, or else the
/// time at which SQS accepted the message. `None` if the message has neither.
pub fn received_at(message: &SqsMessage) -> Option<Timestamp> {
    let sent = || message.attributes.get("SentTimestamp")?.parse().ok().map(Timestamp::from_millis);
    received_at_attribute(message).and_then(Timestamp::parse_rfc3339).or_else(sent)
}

fn received_at_attribute(message: &SqsMessage) -> Option<&str> {
    message.message_attributes.get(RECEIVED_AT)?.string_value.as_deref()
}

async fn send(message: SendMessageFluentBuilder) -> Result<String, SendError> {
    match message.send().await {
        Ok(sent) => Ok(sent.message_id.unwrap_or_default()),
        Err(error) => Err(SendError::unavailable(error)),
    }
}

fn text(value: impl Into<String>) -> Result<MessageAttributeValue, SendError> {
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
        .map_err(SendError::unavailable)
}
