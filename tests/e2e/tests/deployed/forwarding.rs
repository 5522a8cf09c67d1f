//! Mono's own events for another system of the fintech, exactly as they came.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsMessage, SqsMessageAttribute};
use aws_sdk_sqs::Client as Sqs;
use e2e::emulator::{Emulator, lasting_port};
use e2e::proxy::Failure;
use e2e::samples::{self, LOCAL_KEY, LOCAL_SECRET};
use e2e::shared_stack::{aside, local};
use e2e::stack::Stack;
use mono_sync::aws::queues;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::receivers::Foreign;
use super::{account_id, balance_update, eventually, fail};

async fn deploy(emulator: &Emulator, name: &'static str, more: &[(&str, &str)]) -> Stack {
    let given = [("MonoSecretKey", LOCAL_KEY), ("MonoWebhookSecret", LOCAL_SECRET)];
    let parameters = [&given, more].concat();
    let stack = Stack::deploy(emulator, name, &parameters).await.unwrap();
    stack.redeliver_soon().await;
    stack
}

/// Posts a body as Mono does, byte for byte.
async fn post(stack: &Stack, body: &str) {
    let request = stack.request(Method::POST, "/webhooks/mono");
    let request = request.header("mono-webhook-secret", LOCAL_SECRET);
    let request = request.header("content-type", "application/json").body(body.to_owned());
    assert_eq!(request.send().await.unwrap().status(), 200, "{body}");
}

/// The bodies of all samples that the webhook accepts, and some odd ones.
fn bodies() -> Vec<String> {
    let samples = samples::all().into_iter().filter(|(name, _)| name.starts_with("webhook/"));
    let samples =
        samples.filter(|(_, sample)| sample["headers"]["mono-webhook-secret"] == LOCAL_SECRET);
    let bodies = samples.map(|(_, sample)| sample["body"].as_str().unwrap().to_owned());
    let objects = bodies.filter(|body| body.starts_with('{'));
    let odd = [
        "{ \"event\" : \"owo.payment.successful\",\r\n\t\"data\": {\"id\":\"pay_1\"} }\n"
            .to_owned(),
        "{\"event\":\"mono.events.watchlist.match_found\",\"data\":{\"bvn\":\"22212345678\"}}"
            .to_owned(),
        "{\"event\":\"events.mandates.created\",\"data\":{\"note\":\"\u{fffe} é 😀\"}}".to_owned(),
        format!("{{\"event\":\"deep\",\"data\":{}{}}}", "[".repeat(300), "]".repeat(300)),
        "{\"event\":\"mono.events.reauthorisation_required\",\"data\":{}}".to_owned(),
        "{}".to_owned(),
    ];
    objects.chain(odd).collect()
}

/// The kinds that mono-sync applies, if the event names an account.
const APPLIED: [&str; 8] = [
    "mono.events.account_connected",
    "mono.events.account_updated",
    "mono.accounts.account_updated",
    "mono.events.account_reauthorized",
    "mono.events.account_unlinked",
    "mono.events.reauthorisation_required",
    "mono.events.sync_failed",
    "mono.accounts.jobs.update",
];

/// Whether mono-sync applies the event to a record.
fn is_applied(body: &str) -> bool {
    let event: Value = serde_json::from_str(body).unwrap_or_default();
    event["data"] != json!({}) && APPLIED.iter().any(|kind| event["event"] == *kind)
}

fn counts<'a>(bodies: impl IntoIterator<Item = &'a String>) -> BTreeMap<&'a str, usize> {
    bodies.into_iter().fold(BTreeMap::new(), |mut counts, body| {
        *counts.entry(body.as_str()).or_default() += 1;
        counts
    })
}

/// The receiver verifies Mono's webhooks and knows nothing of mono-sync.
#[tokio::test]
async fn unchanged_receiver_of_mono_webhooks_gets_every_event_byte_for_byte() {
    let port = lasting_port().unwrap();
    let url = format!("http://localhost:{port}/mono");
    let emulator = &local().emulator;
    let stack = aside(async move {
        let parameters = [("ForwardEvents", "all"), ("ForwardUrl", url.as_str())];
        deploy(emulator, "forward-all", &parameters).await
    });
    for program in ["mono.py", "mono.js"] {
        let receiver = Foreign::start(program, port, LOCAL_SECRET).await;
        let sent = bodies();
        for body in &sent {
            post(&stack, body).await;
        }
        eventually("all events are forwarded", async || {
            let received: Vec<_> =
                receiver.received().into_iter().map(|request| request.body).collect();
            sent.iter().all(|body| received.contains(body))
        })
        .await;
        for request in receiver.received() {
            assert!(request.accepted, "{program}");
            assert!(sent.contains(&request.body), "{}", request.body);
            assert_eq!(request.headers["mono-webhook-secret"], LOCAL_SECRET);
            assert_eq!(request.headers["content-type"], "application/json");
            assert_eq!(request.headers["content-length"], request.body.len().to_string());
        }
    }
    let updated = samples::account_id();
    let (status, account) = stack.account(&updated).await.unwrap();
    assert_eq!(status, 200, "mono-sync applies the events too: {account}");

    // The receiver is down while events arrive. The back-off of its first attempts is seconds long, so an outage of
    // seconds has several attempts.
    let ids: Vec<_> = (0..30).map(|_| account_id()).collect();
    for id in &ids {
        post(&stack, &balance_update(id, 1, 500).to_string()).await;
    }
    sleep(Duration::from_secs(20)).await;
    let receiver = Foreign::start("mono.js", port, LOCAL_SECRET).await;
    eventually("each event of the outage arrives", async || {
        let received = receiver.received();
        ids.iter().all(|id| received.iter().any(|request| request.body.contains(id)))
    })
    .await;
    for id in &ids {
        let (_, account) = stack.account(id).await.unwrap();
        assert_eq!(account["status"], "healthy", "the outage does not delay mono-sync");
        assert_eq!(local().proxy.count("SendMessage", id), 1, "Mono's request is one message");
    }
}

#[tokio::test]
async fn events_that_mono_sync_does_not_apply_wait_in_the_queue() {
    let stack =
        aside(deploy(&local().emulator, "forward-unhandled", &[("ForwardEvents", "unhandled")]));
    let sent = bodies();
    for body in &sent {
        post(&stack, body).await;
    }
    let expected: Vec<_> = sent.iter().filter(|body| !is_applied(body)).cloned().collect();
    assert!(expected.len() > 12 && expected.len() < sent.len() - 12);
    let mut forwarded = Vec::new();
    let end = tokio::time::Instant::now() + Duration::from_mins(1);
    while forwarded.len() < expected.len() && tokio::time::Instant::now() < end {
        forwarded.extend(take(&stack).await);
        sleep(Duration::from_millis(200)).await;
    }
    sleep(Duration::from_secs(3)).await;
    forwarded.extend(take(&stack).await);
    assert_eq!(counts(&forwarded), counts(&expected), "each once, byte for byte, with its BVN");

    // An event that could not be forwarded is processed again, and none is lost.
    let id = account_id();
    let event =
        json!({ "event": "mono.events.account_income", "data": { "account": id } }).to_string();
    fail("SendMessageBatch", &id, &[Failure::ServerError; 3]);
    post(&stack, &event).await;
    let mut forwarded = Vec::new();
    while forwarded.is_empty() && tokio::time::Instant::now() < end + Duration::from_mins(1) {
        forwarded.extend(take(&stack).await);
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(forwarded, [event]);
}

/// The bodies in the queue of forwarded events, as a consumer of the fintech reads them.
async fn take(stack: &Stack) -> Vec<String> {
    let sqs = Sqs::new(&stack.sdk());
    let url = stack.output("ForwardQueueUrl");
    let receive = sqs.receive_message().queue_url(url).max_number_of_messages(10);
    let received = receive.message_attribute_names("All").send().await.unwrap();
    let mut bodies = Vec::new();
    for message in received.messages.unwrap_or_default() {
        let handle = message.receipt_handle.clone().unwrap();
        sqs.delete_message().queue_url(url).receipt_handle(handle).send().await.unwrap();
        let mut read = SqsMessage::default();
        read.body = message.body.clone();
        for (name, value) in message.message_attributes.into_iter().flatten() {
            let mut attribute = SqsMessageAttribute::default();
            attribute.string_value = value.string_value;
            read.message_attributes.insert(name, attribute);
        }
        bodies.push(queues::webhook_text(&read).unwrap().into_owned());
    }
    bodies
}

#[test]
fn samples_have_events_of_other_products() {
    let unhandled: Vec<_> = bodies().into_iter().filter(|body| !is_applied(body)).collect();
    for product in ["direct_debit.", "mandates.", "disbursement"] {
        let named =
            |body: &&String| body.contains(product) && serde_json::from_str::<Value>(body).is_ok();
        assert!(unhandled.iter().any(|body| named(&body)), "{product}");
    }
}
