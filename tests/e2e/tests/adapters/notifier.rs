use aws_sdk_eventbridge::Client as EventBridge;
use aws_sdk_sqs::Client as Sqs;
use e2e::dynamodb_json;
use e2e::proxy::Failure;
use e2e::shared_stack::local;
use e2e::subscription::Subscription;
use mono_sync::app::notify::Notifier;
use mono_sync::aws::event_bus::EventBus;
use mono_sync::aws::queues::DeadLetterQueue;
use mono_sync::aws::stream::{StreamEvent, StreamFailure};
use mono_sync::domain::account::Account;
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::lambda::invocation::Invocation;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::records::{account_id, update};
use crate::{fail, unique};

struct Case {
    notifier: Notifier,
    subscription: Subscription,
    dead_letters: String,
}

impl Case {
    async fn new() -> Self {
        let (sdk, bus) = (local().sdk(), unique("bus"));
        let events = EventBridge::new(&sdk);
        events.create_event_bus().name(&bus).send().await.unwrap();
        let pattern = json!({ "source": ["mono-sync"] });
        let subscription = Subscription::new(&sdk, &bus, &unique("notified"), &pattern).await;
        let sqs = Sqs::new(&sdk);
        let queue = sqs.create_queue().queue_name(unique("unpublished")).send().await.unwrap();
        let dead_letters = queue.queue_url.unwrap();
        let notifier = Notifier {
            bus: EventBus::new(events, bus),
            dead_letters: DeadLetterQueue::new(sqs, &dead_letters),
        };
        Self { notifier, subscription, dead_letters }
    }

    /// The sequence numbers that Lambda must deliver again.
    async fn notify(&self, records: &[Value]) -> Vec<String> {
        let invocation = Invocation {
            request_id: "request".to_owned(),
            deadline: Instant::now() + Duration::from_secs(20),
            ends_at: Timestamp::now(),
        };
        let event = StreamEvent { records: records.to_vec() };
        let (response, _) = self.notifier.notify(&event, &invocation).await;
        let failures = response.batch_item_failures.into_iter();
        failures.map(|StreamFailure { item_identifier }| item_identifier).collect()
    }

    /// The accounts and the types of the published notifications.
    async fn published(&self) -> Vec<(String, String)> {
        let mut published = Vec::new();
        for event in self.subscription.take().await {
            assert_eq!(event["detail-type"], event["detail"]["type"]);
            let text = |name: &str| event["detail"][name].as_str().unwrap().to_owned();
            published.push((text("account_id"), text("type")));
        }
        published.sort();
        published
    }

    /// The dead letters, with their reasons.
    async fn dead_letters(&self) -> Vec<(StreamEvent, String)> {
        let receive = Sqs::new(&local().sdk()).receive_message().queue_url(&self.dead_letters);
        let receive = receive.message_attribute_names("All").max_number_of_messages(10);
        let messages = receive.send().await.unwrap().messages.unwrap_or_default();
        let letter = |message: &aws_sdk_sqs::types::Message| {
            let reason = &message.message_attributes.as_ref().unwrap()["reason"];
            let event = serde_json::from_str(message.body.as_ref().unwrap()).unwrap();
            (event, reason.string_value.clone().unwrap())
        };
        messages.iter().map(letter).collect()
    }
}

/// The record of a write of this age, which created an account with a balance.
fn created(id: &AccountId, sequence: u32, age: Duration) -> Value {
    let at = Timestamp::now() - age;
    json!({
        "eventID": format!("write-{id}"),
        "eventName": "INSERT",
        "dynamodb": {
            "ApproximateCreationDateTime": at.millis() / 1000,
            "Keys": { "account_id": { "S": id } },
            "SequenceNumber": sequence.to_string(),
            "NewImage": image(id),
        },
    })
}

fn new(id: &AccountId, sequence: u32) -> Value {
    created(id, sequence, Duration::ZERO)
}

/// The item of a record with a balance.
fn image(id: &AccountId) -> Value {
    dynamodb_json::image(&Account::new(id.clone()).apply(&update(id, 1, 500)))
}

fn all_of(ids: &[&AccountId]) -> Vec<(String, String)> {
    let types = ["account.balance_changed", "account.linked", "account.status_changed"];
    let mut all: Vec<_> =
        ids.iter().flat_map(|id| types.map(|name| (id.to_string(), name.to_owned()))).collect();
    all.sort();
    all
}

#[tokio::test]
async fn unreadable_record_is_dead_lettered_and_the_others_are_published() {
    let (case, one, other) = (Case::new().await, account_id(), account_id());
    let corrupt = json!({
        "eventID": "e",
        "dynamodb": {
            "ApproximateCreationDateTime": 1,
            "SequenceNumber": "2",
            "NewImage": { "account_id": { "S": account_id() }, "order": { "S": "corrupt" } },
        },
    });
    let odd = json!({ "odd": true });
    let failed = case.notify(&[new(&one, 1), corrupt.clone(), odd.clone(), new(&other, 4)]).await;
    assert_eq!(failed, [""; 0]);
    assert_eq!(case.published().await, all_of(&[&one, &other]));
    let mut letters = case.dead_letters().await;
    letters.sort_by_key(|(_, reason)| reason.clone());
    let [(first, reason), (second, _)] = &letters[..] else {
        panic!("{letters:?}");
    };
    assert_eq!(first.records, [corrupt]);
    assert_eq!(reason, "stored account record is corrupt at attribute order");
    assert_eq!(second.records, [odd]);
}

#[tokio::test]
async fn entry_refused_as_invalid_is_dead_lettered_and_the_others_are_published() {
    let (case, one, other) = (Case::new().await, account_id(), account_id());
    fail("PutEvents", one.as_str(), &[Failure::FirstEntryInvalid]);
    assert_eq!(case.notify(&[new(&one, 1), new(&other, 2)]).await, [""; 0]);
    assert_eq!(case.published().await.len(), 5, "the refused entry is not published");
    let [(event, reason)] = &case.dead_letters().await[..] else {
        panic!("one dead letter");
    };
    assert_eq!(reason, "EventBridge refused the notification: MalformedDetail");
    assert_eq!(case.notify(&event.records).await, [""; 0]);
    assert_eq!(case.published().await, all_of(&[&one]), "the dead letter is published");
}

#[tokio::test]
async fn throttled_entry_is_delivered_again_and_the_others_are_published() {
    let (case, one, other) = (Case::new().await, account_id(), account_id());
    fail("PutEvents", one.as_str(), &[Failure::FirstEntryThrottled]);
    let records = [new(&one, 1), new(&other, 2)];
    assert_eq!(case.notify(&records).await, ["1"]);
    assert_eq!(case.published().await.len(), 5);
    assert!(case.dead_letters().await.is_empty());
    assert_eq!(case.notify(&records[..1]).await, [""; 0]);
    assert_eq!(case.published().await, all_of(&[&one]));
}

#[tokio::test]
async fn records_are_delivered_again_while_the_bus_is_down_and_dead_lettered_after_23_hours() {
    let (case, one, other) = (Case::new().await, account_id(), account_id());
    fail("PutEvents", one.as_str(), &[Failure::ServerError; 3]);
    let old = created(&other, 1, Duration::from_hours(23));
    assert_eq!(case.notify(&[old.clone(), new(&one, 2)]).await, ["2"]);
    assert_eq!(case.published().await, []);
    let [(event, _)] = &case.dead_letters().await[..] else {
        panic!("one dead letter");
    };
    assert_eq!(event.records, [old]);
}

#[tokio::test]
async fn record_that_cannot_be_dead_lettered_is_delivered_again() {
    let (case, one) = (Case::new().await, account_id());
    let mut corrupt = new(&one, 7);
    corrupt["dynamodb"]["NewImage"]["order"] = json!({ "N": "1" });
    fail("SendMessage", one.as_str(), &[Failure::ServerError; 3]);
    assert_eq!(case.notify(&[corrupt]).await, ["7"]);
}

/// Lambda delivers the later record again too. So each retry would dead-letter it once more.
#[tokio::test]
async fn unreadable_record_after_a_throttled_one_is_not_dead_lettered_yet() {
    let (case, one) = (Case::new().await, account_id());
    let mut corrupt = new(&account_id(), 2);
    corrupt["dynamodb"]["NewImage"]["order"] = json!({ "N": "1" });
    fail("PutEvents", one.as_str(), &[Failure::FirstEntryThrottled]);
    let records = [new(&one, 1), corrupt];
    assert_eq!(case.notify(&records).await, ["1"]);
    assert!(case.dead_letters().await.is_empty());
    assert_eq!(case.notify(&records).await, [""; 0]);
    assert_eq!(case.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn record_with_characters_that_sqs_rejects_is_dead_lettered_whole() {
    let case = Case::new().await;
    let mut corrupt = new(&account_id(), 1);
    corrupt["dynamodb"]["NewImage"]["order"] = json!({ "S": "\u{fffe}é\u{ffff}" });
    assert_eq!(case.notify(std::slice::from_ref(&corrupt)).await, [""; 0]);
    let [(event, _)] = &case.dead_letters().await[..] else {
        panic!("one dead letter");
    };
    assert_eq!(event.records, [corrupt]);
}

#[tokio::test]
async fn second_delivery_publishes_the_same_notifications() {
    let (case, one) = (Case::new().await, account_id());
    let record = new(&one, 1);
    for _ in 0..2 {
        assert_eq!(case.notify(std::slice::from_ref(&record)).await, [""; 0]);
    }
    let events = case.subscription.take().await;
    let mut details: Vec<_> = events.iter().map(|event| event["detail"].to_string()).collect();
    details.sort();
    assert_eq!(details.len(), 6);
    details.dedup();
    assert_eq!(details.len(), 3, "each twice, with equal content");
}

#[tokio::test]
async fn expired_item_is_not_notified() {
    let (case, one) = (Case::new().await, account_id());
    let mut expired = new(&one, 1);
    let image = expired["dynamodb"]["NewImage"].take();
    expired["dynamodb"]["OldImage"] = image;
    expired["eventName"] = json!("REMOVE");
    let mut erased = expired.clone();
    erased["eventID"] = json!("other");
    expired["userIdentity"] = json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" });
    assert_eq!(case.notify(&[expired, erased]).await, [""; 0]);
    assert_eq!(case.published().await, [(one.to_string(), "account.erased".to_owned())]);
}
