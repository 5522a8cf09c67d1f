use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::Message;
use e2e::proxy::Failure;
use e2e::shared_stack::local;
use mono_sync::aws::queues::{self, DeadLetterQueue, ForwardQueue, WebhookQueue};
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::webhook::body::WebhookBody;
use mono_sync::domain::webhook::forwarding::ForwardEvents;
use mono_sync::domain::webhook::secret::{UnverifiedBody, WebhookSecrets};
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::sqs_batch::{Batch, Verdict};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::{fail, unique};

fn client() -> Client {
    Client::new(&local().sdk())
}

async fn queue() -> String {
    let queue = client().create_queue().queue_name(unique("queue")).send().await.unwrap();
    queue.queue_url.unwrap()
}

async fn messages(url: &str) -> Vec<Message> {
    let request = client().receive_message().queue_url(url).max_number_of_messages(10);
    let received = request.message_attribute_names("All").send().await.unwrap();
    received.messages.unwrap_or_default()
}

fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes.as_ref()?.get(name)?.string_value()
}

/// A verified body. Only verification creates one.
fn body(text: &str) -> WebhookBody<'_> {
    let now = Timestamp::now();
    let secrets = WebhookSecrets::new(Some("sec_0123456789ab"));
    let verified =
        secrets.verify([&b"sec_0123456789ab"[..]], UnverifiedBody::new(text.as_bytes()), now);
    WebhookBody::accept(&verified.unwrap(), ForwardEvents::None).unwrap()
}

/// A batch with one unprocessable message.
fn rejected(body: &str, received_at: &str) -> Batch<()> {
    let event: Value = json!({ "Records": [{
        "messageId": "m1",
        "body": body,
        "messageAttributes": { "received_at": { "stringValue": received_at, "dataType": "String" } },
    }]});
    let deadline = Instant::now() + Duration::from_secs(20);
    let invocation =
        Invocation { request_id: "request".to_owned(), deadline, ends_at: Timestamp::now() };
    let read = |_: &_| Verdict::Reject { event_id: None, reason: "names no account".to_owned() };
    Batch::sort(serde_json::from_value(event).unwrap(), invocation, read).unwrap()
}

fn batch_item_failures(batch: Batch<()>) -> Vec<String> {
    let failures = batch.into_response().batch_item_failures;
    failures.into_iter().map(|failure| failure.item_identifier).collect()
}

#[tokio::test]
async fn accepted_webhook_is_enqueued_with_its_receipt_time() {
    let url = queue().await;
    let received_at = Timestamp::parse_rfc3339("2026-01-27T21:00:38.856Z").unwrap();
    let text = "{ \"event\":\"x\",\n\t\"odd\" : \"\\u0000 é 😀\" }";
    let message_id =
        WebhookQueue::new(client(), &url).send(&body(text), received_at).await.unwrap();
    let queued = messages(&url).await;
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].message_id(), Some(message_id.as_str()));
    assert_eq!(queued[0].body(), Some(text));
    assert_eq!(attribute(&queued[0], "received_at"), Some("2026-01-27T21:00:38.856Z"));
}

#[tokio::test]
async fn body_of_256_kib_with_characters_invalid_in_sqs_is_read_back_unchanged() {
    let url = queue().await;
    let text = format!("{{\"a\":\"\u{ffff}{}\"}}", "x".repeat(256 * 1024 - 11));
    assert_eq!(text.len(), 256 * 1024);
    WebhookQueue::new(client(), &url).send(&body(&text), Timestamp::now()).await.unwrap();
    let queued = messages(&url).await;
    let read = received(&queued[0]);
    assert!(queues::webhook_text(&read).as_deref() == Some(text.as_str()));
}

#[tokio::test]
async fn forwarded_webhook_keeps_its_body_and_attributes() {
    let (from, to) = (queue().await, queue().await);
    let received_at = Timestamp::parse_rfc3339("2026-01-27T21:00:38.856Z").unwrap();
    let texts = ["{ \"a\":1 }".to_owned(), "{\"b\":\"\u{fffe}\"}".to_owned()];
    for text in &texts {
        WebhookQueue::new(client(), &from).send(&body(text), received_at).await.unwrap();
    }
    let sent: Vec<_> = messages(&from).await.iter().map(received).collect();
    let forward = ForwardQueue::new(client(), &to, ForwardEvents::All);
    assert_eq!(forward.send(&sent, soon()).await, [""; 0]);
    let mut forwarded = Vec::new();
    for message in messages(&to).await.iter().map(received) {
        assert_eq!(queues::received_at(&message), Some(received_at));
        forwarded.push(queues::webhook_text(&message).unwrap().into_owned());
    }
    forwarded.sort();
    assert_eq!(forwarded, texts);
}

#[tokio::test]
async fn webhook_that_cannot_be_forwarded_is_returned_by_its_id() {
    let (from, to, tag) = (queue().await, queue().await, unique("forward"));
    let text = json!({ "tag": tag }).to_string();
    WebhookQueue::new(client(), &from).send(&body(&text), Timestamp::now()).await.unwrap();
    let sent: Vec<_> = messages(&from).await.iter().map(received).collect();
    fail("SendMessageBatch", &tag, &[Failure::ServerError; 3]);
    let forward = ForwardQueue::new(client(), &to, ForwardEvents::All);
    let failed = [sent[0].message_id.clone().unwrap()];
    assert_eq!(forward.send(&sent, soon()).await, failed);
    assert_eq!(forward.send(&sent, Instant::now()).await, failed, "no time is left");
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// The message as Lambda delivers it to a function.
fn received(message: &Message) -> SqsMessage {
    let attributes = message.message_attributes.iter().flatten().map(|(name, value)| {
        let value = json!({ "stringValue": value.string_value, "dataType": value.data_type });
        (name.clone(), value)
    });
    let event = json!({
        "messageId": message.message_id,
        "body": message.body,
        "messageAttributes": attributes.collect::<serde_json::Map<_, _>>(),
    });
    serde_json::from_value(event).unwrap()
}

#[tokio::test]
async fn throttled_send_is_retried_and_a_send_that_keeps_failing_is_an_error() {
    let url = queue().await;
    let (tag, other) = (unique("throttled"), unique("failing"));
    fail("SendMessage", &tag, &[Failure::Throttle, Failure::ServerError]);
    fail("SendMessage", &other, &[Failure::ServerError; 3]);
    let queue = WebhookQueue::new(client(), &url);
    let sent = queue.send(&body(&json!({ "tag": tag }).to_string()), Timestamp::now()).await;
    assert!(sent.is_ok());
    let failed = queue.send(&body(&json!({ "tag": other }).to_string()), Timestamp::now()).await;
    assert!(failed.is_err());
    assert_eq!(messages(&url).await.len(), 1);
}

#[tokio::test]
async fn unprocessable_message_is_moved_whole_with_its_reason_and_receipt_time() {
    let url = queue().await;
    let text = "{\"event\":\"mono.events.reauthorisation_required\",\"data\":{}}";
    let mut batch = rejected(text, "2026-01-27T21:00:38.856Z");
    batch.dead_letter_rejected(&DeadLetterQueue::new(client(), &url)).await;
    assert_eq!(batch_item_failures(batch), [""; 0], "the message leaves its own queue");
    let letters = messages(&url).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].body(), Some(text));
    assert_eq!(attribute(&letters[0], "reason"), Some("names no account"));
    assert_eq!(attribute(&letters[0], "received_at"), Some("2026-01-27T21:00:38.856Z"));
}

#[tokio::test]
async fn message_that_cannot_be_moved_is_a_batch_item_failure() {
    let (url, tag) = (queue().await, unique("stuck"));
    fail("SendMessage", &tag, &[Failure::ServerError; 3]);
    let mut batch = rejected(&tag, "2026-01-27T21:00:38.856Z");
    batch.dead_letter_rejected(&DeadLetterQueue::new(client(), &url)).await;
    assert_eq!(batch_item_failures(batch), ["m1"]);
    assert!(messages(&url).await.is_empty());
}
