//! The SQS queues: sending messages and delaying their redelivery.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message::builders::SendMessageFluentBuilder;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use aws_smithy_types::base64;
use tokio::time::{Instant, timeout_at};
use tracing::error;

use crate::aws::sdk::AwsError;
use crate::domain::account_id::AccountId;
use crate::domain::import::ImportJob;
use crate::domain::refresh_job::RefreshJob;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::body::WebhookBody;
use crate::domain::webhook::forwarding::{ForwardEvents, ReadEvent};

/// The message attribute with the time at which Mono's webhook was received. A redrive resets SQS's own timestamps.
pub const RECEIVED_AT: &str = "received_at";
/// The message attribute of a body that is encoded, because SQS does not accept its text.
pub const ENCODING: &str = "encoding";
const BASE64: &str = "base64";
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
        let message = self.client.send_message().queue_url(&self.url);
        let message = message.message_attributes(RECEIVED_AT, text(received_at.to_string())?);
        let body = body.as_str();
        send(if is_sendable(body) {
            message.message_body(body)
        } else {
            let encoded = base64::encode(body);
            message.message_body(encoded).message_attributes(ENCODING, text(BASE64)?)
        })
        .await
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

impl Message {
    /// The longest delay of a message in SQS.
    const LONGEST_DELAY: Duration = Duration::from_mins(15);

    /// A request to continue the erasure of an account after this time, or after [`Self::LONGEST_DELAY`].
    pub fn erasure(account_id: AccountId, wait: Duration) -> Self {
        let body = RefreshJob::erasure(account_id.clone()).to_body();
        // SQS counts whole seconds. A fraction must not end the wait too early.
        let wait = if wait.is_zero() { wait } else { wait + Duration::from_secs(1) };
        Self { account_id, body, delay: wait.min(Self::LONGEST_DELAY) }
    }
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

    /// Like [`DeliveryQueue::postpone`].
    ///
    /// # Errors
    ///
    /// [`SendError`]: the queue's own visibility timeout stays in effect.
    pub async fn postpone(&self, receipt_handle: &str, wait: Duration) -> Result<(), SendError> {
        postpone(&self.client, &self.url, receipt_handle, wait).await
    }
}

async fn postpone(
    client: &Client,
    url: &str,
    receipt_handle: &str,
    wait: Duration,
) -> Result<(), SendError> {
    let change = client.change_message_visibility().queue_url(url);
    let seconds = i32::try_from(wait.as_secs()).unwrap_or(i32::MAX);
    let change = change.receipt_handle(receipt_handle).visibility_timeout(seconds);
    change.send().await.map(drop).map_err(SendError::unavailable)
}

/// A queue of messages for a URL of the fintech.
pub struct DeliveryQueue {
    client: Client,
    url: String,
}

impl DeliveryQueue {
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Whether SQS delivered the message from this queue.
    pub fn holds(&self, message: &SqsMessage) -> bool {
        let arn = message.event_source_arn.as_deref().unwrap_or_default();
        arn.rsplit(':').next() == self.url.rsplit('/').next()
    }

    /// Overrides the visibility timeout of one message, so that SQS delivers it again after `wait`.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the queue's own visibility timeout stays in effect.
    pub async fn postpone(&self, message: &SqsMessage, wait: Duration) -> Result<(), SendError> {
        let receipt_handle = message.receipt_handle.as_deref().unwrap_or_default();
        postpone(&self.client, &self.url, receipt_handle, wait).await
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

/// The queue of Mono's events for the fintech's own system.
pub struct ForwardQueue {
    client: Client,
    url: String,
    events: ForwardEvents,
}

/// The maximum size of the bodies of one `SendMessageBatch` request. A larger body is sent alone.
const MAX_BATCH_BYTES: usize = 128 * 1024;

impl ForwardQueue {
    pub fn new(client: Client, url: impl Into<String>, events: ForwardEvents) -> Self {
        Self { client, url: url.into(), events }
    }

    /// Whether the event is forwarded.
    pub fn takes(&self, event: &ReadEvent) -> bool {
        self.events.include(event)
    }

    /// Copies webhooks unchanged to the queue. Returns the ids of the messages that could not be copied in time.
    pub async fn send(&self, messages: &[SqsMessage], deadline: Instant) -> Vec<String> {
        let mut failed = Vec::new();
        for chunk in batches(messages) {
            let sent = timeout_at(deadline, self.send_chunk(chunk)).await;
            let refused = sent.unwrap_or(Err(SendError::Late)).unwrap_or_else(|error| {
                error!(%error, "events could not be forwarded");
                (0..chunk.len()).collect()
            });
            let ids = refused.into_iter().filter_map(|index| chunk.get(index)?.message_id.clone());
            failed.extend(ids);
        }
        failed
    }

    /// Sends one request. Returns the indices of the messages that SQS refused.
    async fn send_chunk(&self, messages: &[SqsMessage]) -> Result<Vec<usize>, SendError> {
        let mut batch = self.client.send_message_batch().queue_url(&self.url);
        for (index, message) in messages.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string());
            let mut entry = entry.message_body(message.body.as_deref().unwrap_or_default());
            for (name, value) in kept_attributes(message) {
                entry = entry.message_attributes(name, text(value)?);
            }
            batch = batch.entries(entry.build().map_err(SendError::unavailable)?);
        }
        let answer = batch.send().await.map_err(SendError::unavailable)?;
        Ok(answer.failed.into_iter().filter_map(|entry| entry.id.parse().ok()).collect())
    }
}

/// Splits messages into groups that fit in one request.
fn batches(messages: &[SqsMessage]) -> impl Iterator<Item = &[SqsMessage]> {
    let length = |message: &SqsMessage| message.body.as_ref().map_or(0, String::len);
    let (mut count, mut bytes) = (0, 0);
    messages.chunk_by(move |message, next| {
        (count, bytes) = (count + 1, bytes + length(message));
        let fits = count < MAX_MESSAGES && bytes + length(next) <= MAX_BATCH_BYTES;
        if !fits {
            (count, bytes) = (0, 0);
        }
        fits
    })
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

    /// Enqueues a text with the reason.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the text must be kept elsewhere.
    pub async fn put_text(&self, body: &str, reason: &str) -> Result<(), SendError> {
        let letter = self.client.send_message().queue_url(&self.url).message_body(body);
        send(letter.message_attributes(REASON, text(reason)?)).await.map(drop)
    }

    /// Copies a message, unchanged, to the dead-letter queue, and adds the reason.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the message must stay in its own queue.
    pub async fn put(&self, message: &SqsMessage, reason: &str) -> Result<(), SendError> {
        let body = message.body.as_deref().unwrap_or_default();
        let mut letter = self.client.send_message().queue_url(&self.url).message_body(body);
        for (name, value) in kept_attributes(message) {
            letter = letter.message_attributes(name, text(value)?);
        }
        send(letter.message_attributes(REASON, text(reason)?)).await.map(drop)
    }
}

/// The time at which the webhook in a message was received. Uses the message's [`RECEIVED_AT`] attribute, or else the
/// time at which SQS accepted the message. `None` if the message has neither.
pub fn received_at(message: &SqsMessage) -> Option<Timestamp> {
    let sent = || message.attributes.get("SentTimestamp")?.parse().ok().map(Timestamp::from_millis);
    attribute(message, RECEIVED_AT).and_then(Timestamp::parse_rfc3339).or_else(sent)
}

/// The webhook body in a message, as it was received. `None`: the message holds no text.
pub fn webhook_text(message: &SqsMessage) -> Option<Cow<'_, str>> {
    let body = message.body.as_deref().unwrap_or_default();
    if attribute(message, ENCODING) != Some(BASE64) {
        return Some(Cow::Borrowed(body));
    }
    String::from_utf8(base64::decode(body).ok()?).ok().map(Cow::Owned)
}

/// The attributes that belong to the body.
fn kept_attributes(message: &SqsMessage) -> impl Iterator<Item = (&'static str, &str)> {
    [RECEIVED_AT, ENCODING].into_iter().filter_map(|name| Some((name, attribute(message, name)?)))
}

fn attribute<'a>(message: &'a SqsMessage, name: &str) -> Option<&'a str> {
    message.message_attributes.get(name)?.string_value.as_deref()
}

/// SQS rejects U+FFFE and U+FFFF. JSON allows them.
fn is_sendable(body: &str) -> bool {
    !body.contains(['\u{fffe}', '\u{ffff}'])
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

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> SqsMessage {
        let mut message = SqsMessage::default();
        message.body = Some("x".repeat(length));
        message
    }

    #[test]
    fn batches_hold_at_most_ten_messages_and_fit_in_one_request() {
        let lengths = |lengths: &[usize]| -> Vec<usize> {
            let messages: Vec<_> = lengths.iter().map(|length| message(*length)).collect();
            batches(&messages).map(<[_]>::len).collect()
        };
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&[1; 25]), [10, 10, 5]);
        assert_eq!(lengths(&[MAX_BATCH_BYTES / 2; 5]), [2, 2, 1]);
        assert_eq!(lengths(&[2 * MAX_BATCH_BYTES, 1, 1]), [1, 2]);
        assert_eq!(lengths(&[1, 2 * MAX_BATCH_BYTES, 1]), [1, 1, 1]);
    }

    #[test]
    fn body_that_sqs_does_not_accept_is_decoded() {
        let text = "{\"a\":\"\u{fffe}\u{ffff}\"}";
        assert!(!is_sendable(text));
        let mut message = message(0);
        message.body = Some(base64::encode(text));
        let mut encoding = aws_lambda_events::sqs::SqsMessageAttribute::default();
        encoding.string_value = Some(BASE64.to_owned());
        message.message_attributes.insert(ENCODING.to_owned(), encoding);
        assert_eq!(webhook_text(&message).as_deref(), Some(text));
        message.body = Some("?".to_owned());
        assert_eq!(webhook_text(&message), None);
    }
}
