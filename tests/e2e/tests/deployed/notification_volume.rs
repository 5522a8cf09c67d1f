//! Many webhooks with duplicates, in any order, while the notifier is killed: no transition of a status is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::QueueAttributeName::{
    ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible,
};
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use e2e::proxy::Failure;
use e2e::samples::{LOCAL_KEY, LOCAL_SECRET};
use e2e::shared_stack::{aside, local};
use e2e::stack::Stack;
use e2e::subscription::Subscription;
use futures_util::StreamExt;
use futures_util::stream;
use mono_sync::aws::stream as accounts_stream;
use mono_sync::domain::account::{Account, Status};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::notifications::distinct;
use super::{account_id, fail};

/// 2,000 webhooks for 200 accounts. `NOTIFICATION_WEBHOOKS=20000` is ten times as many.
fn webhooks() -> usize {
    std::env::var("NOTIFICATION_WEBHOOKS").map_or(2000, |number| number.parse().unwrap())
}

/// Ten webhooks for one account, one of them twice, in an order that differs from account to account.
fn events(id: &str, number: usize) -> Vec<String> {
    let account = json!({ "_id": id });
    let update = |status: &str| json!({ "account": account, "meta": { "data_status": status } });
    let kinds = [
        (
            "mono.events.account_connected",
            json!({ "id": id, "customer": "c", "meta": { "ref": id } }),
        ),
        ("mono.events.account_updated", update("AVAILABLE")),
        ("mono.events.reauthorisation_required", json!({ "account": account })),
        ("mono.events.account_reauthorized", json!({ "account": account })),
        ("mono.events.account_updated", update("PARTIAL")),
        ("mono.events.sync_failed", json!({ "account": account })),
        ("mono.events.account_updated", update("AVAILABLE")),
        ("mono.events.account_updated", update("UNAVAILABLE")),
        ("mono.events.reauthorisation_required", json!({ "account": account })),
    ];
    let mut events: Vec<_> = kinds
        .iter()
        .enumerate()
        .map(|(minute, (event, data))| {
            json!({
                "event": event,
                "event_id": format!("{id}-{minute}"),
                "timestamp": format!("2026-01-27T21:{minute:02}:00.000Z"),
                "data": data,
            })
            .to_string()
        })
        .collect();
    events.push(events[number % 9].clone());
    for index in (1..events.len()).rev() {
        events.swap(index, (number * 7 + index * 5) % (index + 1));
    }
    events
}

#[tokio::test]
async fn every_transition_of_a_status_is_notified_while_the_notifier_is_killed() {
    let parameters = [("MonoSecretKey", LOCAL_KEY), ("MonoWebhookSecret", LOCAL_SECRET)];
    let emulator = &local().emulator;
    let stack = aside(async move { Stack::deploy(emulator, "volume", &parameters).await });
    let stack = stack.unwrap();
    let bus = stack.output("EventBusName");
    let pattern = json!({ "source": ["mono-sync"] });
    let subscription = Subscription::new(&stack.sdk(), bus, "volume-consumer", &pattern).await;
    let ids: Vec<_> = (0..webhooks() / 10).map(|_| account_id()).collect();
    for (number, id) in ids.iter().enumerate().filter(|(number, _)| number % 10 == 0) {
        let failure = if number % 20 == 0 { Failure::Crash } else { Failure::CrashAfter };
        fail("PutEvents", id, &[failure]);
    }
    // The webhooks of all accounts are mixed.
    let by_account: Vec<_> =
        ids.iter().enumerate().map(|(number, id)| events(id, number)).collect();
    let mixed: Vec<_> = (0..10)
        .flat_map(|round| by_account.iter().map(move |events| events[round].clone()))
        .collect();
    assert_eq!(mixed.len(), webhooks());
    send(&stack, &mixed).await;

    let mut published = Vec::new();
    let end = Instant::now() + Duration::from_mins(if webhooks() > 2000 { 40 } else { 5 });
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_secs(15) {
        assert!(Instant::now() < end, "{} notifications so far", published.len());
        let events = subscription.take().await;
        if !events.is_empty() || waiting(&stack).await > 0 {
            quiet_since = Instant::now();
        }
        published.extend(events);
        sleep(Duration::from_millis(500)).await;
    }
    let pending = ids.iter().map(|id| local().proxy.pending_faults(id)).sum::<usize>();
    assert_eq!(pending, 0, "the notifier was killed as often as planned");

    let expected = transitions(&changes(&stack).await);
    let mut notified = BTreeMap::new();
    let distinct = distinct(&published);
    let of_status = |notification: &&Value| notification["type"] == "account.status_changed";
    for notification in distinct.iter().filter(of_status) {
        let text = |name: &str| notification[name].as_str().unwrap().to_owned();
        *notified.entry((text("account_id"), text("from"), text("to"))).or_insert(0) += 1;
    }
    assert_eq!(notified, expected);
    let linked: BTreeSet<_> = distinct
        .iter()
        .filter(|notification| notification["type"] == "account.linked")
        .map(|notification| notification["account_id"].as_str().unwrap())
        .collect();
    assert_eq!(linked.len(), ids.len());
    println!(
        "{} webhooks, {} writes, {} transitions, {} notifications, {} second deliveries",
        webhooks(),
        changes(&stack).await.len(),
        expected.values().sum::<usize>(),
        distinct.len(),
        published.len() - distinct.len(),
    );
}

/// Puts webhooks into the queue, as the webhook function does.
async fn send(stack: &Stack, bodies: &[String]) {
    let sqs = Sqs::new(&stack.sdk());
    let received_at = MessageAttributeValue::builder()
        .data_type("String")
        .string_value("2026-01-27T22:00:00.000Z")
        .build()
        .unwrap();
    stream::iter(bodies.chunks(10))
        .for_each_concurrent(4, async |chunk| {
            let mut batch = sqs.send_message_batch().queue_url(stack.output("WebhookQueueUrl"));
            for (index, body) in chunk.iter().enumerate() {
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(body)
                    .message_attributes("received_at", received_at.clone());
                batch = batch.entries(entry.build().unwrap());
            }
            assert!(batch.send().await.unwrap().failed.is_empty());
        })
        .await;
}

/// The webhooks that are queued or in work.
async fn waiting(stack: &Stack) -> u32 {
    let names = [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible];
    let read = Sqs::new(&stack.sdk()).get_queue_attributes();
    let read = read.queue_url(stack.output("WebhookQueueUrl"));
    let read = read.set_attribute_names(Some(names.to_vec())).send().await.unwrap();
    let attributes = read.attributes.unwrap();
    names.iter().map(|name| attributes[name].parse::<u32>().unwrap()).sum()
}

/// Each write to an account record, as the stream of the table holds it: the record before and after.
async fn changes(stack: &Stack) -> Vec<(Option<Account>, Option<Account>)> {
    let records = stack.stream_of("AccountsTable").await.unwrap();
    let read = |record| accounts_stream::write(record).unwrap();
    let writes = records.iter().filter_map(read);
    writes.map(|write| (write.before, write.after)).collect()
}

/// The transitions that the versions of the records went through.
fn transitions(
    changes: &[(Option<Account>, Option<Account>)],
) -> BTreeMap<(String, String, String), usize> {
    let mut transitions = BTreeMap::new();
    for (before, after) in changes {
        let status = |account: &Account| account.status_without_sync().status;
        let from = before.as_ref().map_or(Status::Pending, status);
        let after = after.as_ref().unwrap();
        if status(after) != from {
            let transition =
                (after.id.to_string(), from.as_str().to_owned(), status(after).as_str().to_owned());
            *transitions.entry(transition).or_insert(0) += 1;
        }
    }
    transitions
}
