//! Sending to SQS.

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

/// The attribute with the time of Mono's call. SQS's own times are renewed by a redrive.
pub const RECEIVED_AT: &str = "received_at";
/// The attribute with the reason why a message was put aside.
pub const REASON: &str = "reason";

/// A message could not be sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    #[error("SQS call failed: {0}")]
    Unavailable(#[source] AwsError),
    /// SQS refused one message of a batch.
    #[error("SQS refused the message: {code}")]
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
    /// The queue at this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Queues a body as it came, with the time it came at. Returns SQS's id of the message.
    ///
    /// # Errors
    ///
    /// [`SendError`]: nothing is queued, as far as known.
    pub async fn send(
        &self,
        body: &WebhookBody<'_>,
        received_at: Timestamp,
    ) -> Result<String, SendError> {
        let message = self.client.send_message().queue_url(&self.url).message_body(body.as_str());
        send(message.message_attributes(RECEIVED_AT, text(received_at.to_string())?)).await
    }
}

/// A queue of jobs, one for each account, which come again when they are given back.
#[derive(Clone)]
pub struct JobQueue {
    client: Client,
    url: String,
}

/// A message of such a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Whom it is about.
    pub account_id: AccountId,
    /// Its body.
    pub body: String,
    /// How long it waits, at most 15 minutes.
    pub delay: Duration,
}

/// The most messages that one `SendMessageBatch` takes.
const MOST_MESSAGES: usize = 10;

impl JobQueue {
    /// The queue at this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Queues jobs, a request for each ten. Answers with the accounts for which that failed, and why.
    pub async fn send(&self, jobs: &[Job]) -> HashMap<AccountId, SendError> {
        let mut failed = HashMap::new();
        for jobs in jobs.chunks(MOST_MESSAGES) {
            match self.send_chunk(jobs).await {
                Ok(left) => failed.extend(left),
                Err(error) => {
                    failed.extend(jobs.iter().map(|job| (job.account_id.clone(), error.clone())));
                }
            }
        }
        failed
    }

    async fn send_chunk(&self, jobs: &[Job]) -> Result<Vec<(AccountId, SendError)>, SendError> {
        let entry = |(number, job): (usize, &Job)| {
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

    /// Has a message that will be given back come again after a time, instead of that of the queue.
    ///
    /// # Errors
    ///
    /// [`SendError`]: it comes after the time of the queue.
    pub async fn postpone(&self, receipt_handle: &str, wait: Duration) -> Result<(), SendError> {
        let change = self.client.change_message_visibility().queue_url(&self.url);
        let seconds = i32::try_from(wait.as_secs()).unwrap_or(i32::MAX);
        let change = change.receipt_handle(receipt_handle).visibility_timeout(seconds);
        change.send().await.map(drop).map_err(SendError::unavailable)
    }
}

/// The queue of imports to be done.
#[derive(Clone)]
pub struct ImportQueue(pub JobQueue);

impl ImportQueue {
    /// How long a job waits: until the record that it is about is written, and for other pulls of
    /// the same minute.
    pub const DELAY: Duration = Duration::from_secs(2);

    /// Asks for imports, each to begin after a delay of at most 15 minutes; a request for each ten.
    /// Answers with the accounts for which that failed, and why.
    pub async fn send(&self, jobs: &[ImportJob], delay: Duration) -> HashMap<AccountId, SendError> {
        let job = |job: &ImportJob| Job {
            account_id: job.account_id.clone(),
            body: job.to_body(),
            delay,
        };
        self.0.send(&jobs.iter().map(job).collect::<Vec<_>>()).await
    }
}

/// The queue of messages that can never be applied.
pub struct DeadLetterQueue {
    client: Client,
    url: String,
}

impl DeadLetterQueue {
    /// The queue at this URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Puts a message aside, whole, with the reason.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the message must not be deleted from its queue.
    pub async fn put(&self, message: &SqsMessage, reason: &str) -> Result<(), SendError> {
        let body = message.body.as_deref().unwrap_or_default();
        let mut letter = self.client.send_message().queue_url(&self.url).message_body(body);
        if let Some(received_at) = received_at_attribute(message) {
            letter = letter.message_attributes(RECEIVED_AT, text(received_at)?);
        }
        send(letter.message_attributes(REASON, text(reason)?)).await.map(drop)
    }
}

/// The receipt of the webhook that a message carries: its attribute, or else the time at which SQS
/// took the message. `None` when it has neither.
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
