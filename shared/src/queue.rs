//! Sending to SQS.

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::operation::send_message::builders::SendMessageFluentBuilder;
use aws_sdk_sqs::types::MessageAttributeValue;

use crate::aws::describe;
use crate::timestamp::Timestamp;
use crate::webhook_body::WebhookBody;

/// The attribute with the time of Mono's call. SQS's own times are renewed by a redrive.
pub const RECEIVED_AT: &str = "received_at";
/// The attribute with the reason why a message was put aside.
pub const REASON: &str = "reason";

/// A message could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("cannot send to the queue: {0}")]
pub struct SendError(String);

impl SendError {
    /// The queue had not answered when the answer was due.
    #[must_use]
    pub fn late() -> Self {
        Self("it did not answer in time".to_owned())
    }
}

/// The queue of verified webhooks.
pub struct WebhookQueue {
    client: Client,
    url: String,
}

impl WebhookQueue {
    /// The queue at this URL.
    #[must_use]
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

/// The queue of messages that can never be applied.
pub struct DeadLetterQueue {
    client: Client,
    url: String,
}

impl DeadLetterQueue {
    /// The queue at this URL.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into() }
    }

    /// Puts a message aside, whole, with the reason.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the message must not be deleted from its queue.
    pub async fn put_aside(&self, message: &SqsMessage, reason: &str) -> Result<(), SendError> {
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
#[must_use]
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
        Err(error) => Err(SendError(describe(&error))),
    }
}

fn text(value: impl Into<String>) -> Result<MessageAttributeValue, SendError> {
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
        .map_err(|error| SendError(error.to_string()))
}
