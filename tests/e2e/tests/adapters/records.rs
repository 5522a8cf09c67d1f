use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use e2e::proxy::Failure;
use e2e::shared_stack::{aside, local};
use mono_sync::aws::store::{AccountStore, StoreError};
use mono_sync::domain::account::{Fact, RefreshPolicy, RefreshRule, Step};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::money::MinorUnits;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::webhook::event::{self, Interpretation};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{fail, proxy, unique};

pub(crate) const POLICY: RefreshPolicy = RefreshPolicy {
    interval: Some(Duration::from_hours(24)),
    rule: RefreshRule::Interval,
    cooldown: Duration::from_mins(5),
    unlinked_retention: None,
};

/// A store on the table that all tests share. Each test has its own accounts.
pub(crate) fn store() -> AccountStore {
    static TABLE: std::sync::OnceLock<()> = std::sync::OnceLock::new();
    TABLE.get_or_init(|| aside(create_table("records")));
    AccountStore::new(client(), "records", POLICY)
}

pub(crate) fn client() -> Client {
    Client::new(&local().sdk())
}

pub(crate) async fn create_table(name: &str) {
    let key = AttributeDefinition::builder()
        .attribute_name("account_id")
        .attribute_type(ScalarAttributeType::S);
    let schema = KeySchemaElement::builder().attribute_name("account_id").key_type(KeyType::Hash);
    client()
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(key.build().unwrap())
        .key_schema(schema.build().unwrap())
        .send()
        .await
        .unwrap();
}

pub(crate) fn account_id() -> AccountId {
    unique("account").parse().unwrap()
}

/// An update with this balance, at this minute.
pub(crate) fn update(account_id: &AccountId, minute: u32, balance: i64) -> Fact {
    let body = json!({
        "event": "mono.events.account_updated",
        "timestamp": format!("2026-01-27T21:{minute:02}:00.000Z"),
        "data": {
            "account": { "_id": account_id.as_str(), "name": "Ada Example", "balance": balance },
            "meta": { "data_status": "AVAILABLE" },
        },
    });
    let received_at = Timestamp::parse_rfc3339("2026-01-27T22:00:00Z").unwrap();
    match event::read(&body.to_string(), received_at).unwrap().interpretation {
        Interpretation::Fact(_, fact) => *fact,
        Interpretation::Nothing(_) => unreachable!("an update with a balance is a fact"),
    }
}

fn changed(steps: &[Step]) -> Vec<bool> {
    steps.iter().map(Step::changed).collect()
}

pub(crate) async fn balance(store: &AccountStore, id: &AccountId) -> Option<i64> {
    let stored = store.get(id).await.unwrap()?;
    let policy = store.policy();
    stored.account.view(Timestamp::now(), policy).balance.map(|MinorUnits(amount)| amount)
}

#[tokio::test]
async fn first_fact_creates_the_record_and_later_ones_change_it() {
    let (store, id) = (store(), account_id());
    assert_eq!(store.get(&id).await.unwrap(), None);
    let steps = store.apply(&id, None, &[&update(&id, 1, 100)]).await.unwrap();
    assert_eq!(changed(&steps), [true]);
    let seen = store.get(&id).await.unwrap();
    store.apply(&id, seen, &[&update(&id, 2, 200)]).await.unwrap();
    assert_eq!(balance(&store, &id).await, Some(200));
}

#[tokio::test]
async fn facts_without_effect_cause_no_write() {
    let (store, id) = (store(), account_id());
    store.apply(&id, None, &[&update(&id, 5, 500)]).await.unwrap();
    let writes = proxy().count("PutItem", id.as_str());
    let seen = store.get(&id).await.unwrap();
    let steps = store.apply(&id, seen, &[&update(&id, 5, 500)]).await.unwrap();
    assert_eq!(changed(&steps), [false]);
    assert_eq!(proxy().count("PutItem", id.as_str()), writes);
}

#[tokio::test]
async fn each_fact_of_a_batch_has_its_own_effect_and_the_batch_is_one_write() {
    let (store, id) = (store(), account_id());
    let facts = [&update(&id, 2, 200), &update(&id, 2, 200), &update(&id, 3, 300)];
    let steps = store.apply(&id, None, &facts).await.unwrap();
    assert_eq!(changed(&steps), [true, false, true]);
    assert_eq!(proxy().count("PutItem", id.as_str()), 1);
}

#[tokio::test]
async fn write_conflict_is_read_consistently_and_folded_again() {
    let (store, id) = (store(), account_id());
    store.apply(&id, None, &[&update(&id, 1, 100)]).await.unwrap();
    let stale = store.get(&id).await.unwrap();
    store.apply(&id, stale.clone(), &[&update(&id, 9, 900)]).await.unwrap();

    let steps = store.apply(&id, stale, &[&update(&id, 5, 500)]).await.unwrap();
    assert_eq!(changed(&steps), [false], "the newest record has a newer balance");
    assert_eq!(balance(&store, &id).await, Some(900));
    let reads = proxy().calls(id.as_str());
    let reads = reads.iter().filter(|call| call.operation == "GetItem");
    let consistent = reads.filter(|call| call.body.contains("\"ConsistentRead\":true"));
    assert_eq!(consistent.count(), 1);
}

#[tokio::test]
async fn record_created_concurrently_is_not_overwritten() {
    let (store, id) = (store(), account_id());
    store.apply(&id, None, &[&update(&id, 9, 900)]).await.unwrap();
    store.apply(&id, None, &[&update(&id, 5, 500)]).await.unwrap();
    assert_eq!(balance(&store, &id).await, Some(900));
}

#[tokio::test]
async fn ten_concurrent_writers_of_one_record_lose_no_fact() {
    let (store, id) = (store(), account_id());
    let mut writers = JoinSet::new();
    for minute in 0..10_u32 {
        let (store, id) = (store.clone(), id.clone());
        writers.spawn(async move {
            let fact = update(&id, minute, minute.into());
            // A contended write is an error too. SQS would deliver the message again.
            while store.apply(&id, None, &[&fact]).await.is_err() {}
        });
    }
    writers.join_all().await;
    let stored = store.get(&id).await.unwrap().unwrap();
    assert_eq!(balance(&store, &id).await, Some(9));
    let first_seen = stored.account.registers.first_seen.unwrap();
    assert_eq!(first_seen.to_string(), "2026-01-27T21:00:00.000Z", "every fact was applied");
}

#[tokio::test]
async fn throttled_and_failing_requests_are_retried() {
    let (store, id) = (store(), account_id());
    let twice = [Failure::Throttle, Failure::ServerError];
    fail("PutItem", id.as_str(), &twice);
    store.apply(&id, None, &[&update(&id, 1, 100)]).await.unwrap();
    fail("GetItem", id.as_str(), &twice);
    assert_eq!(balance(&store, &id).await, Some(100));
    assert_eq!(proxy().pending_faults(id.as_str()), 0);
}

#[tokio::test]
async fn failing_table_is_unavailable_and_the_fact_can_be_applied_later() {
    let (store, id) = (store(), account_id());
    fail("PutItem", id.as_str(), &[Failure::ServerError; 3]);
    let failed = store.apply(&id, None, &[&update(&id, 1, 100)]).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))));
    store.apply(&id, None, &[&update(&id, 1, 100)]).await.unwrap();
    assert_eq!(balance(&store, &id).await, Some(100));
}

#[tokio::test]
async fn write_is_applied_once_if_its_answer_was_lost() {
    let (store, id) = (store(), account_id());
    fail("PutItem", id.as_str(), &[Failure::AnswerLost]);
    let steps = store.apply(&id, None, &[&update(&id, 1, 100)]).await.unwrap();
    assert_eq!(changed(&steps), [true]);
    assert_eq!(balance(&store, &id).await, Some(100));
    let writes = proxy().count("PutItem", id.as_str());
    assert_eq!(writes, 2, "the lost write, and the SDK's retry, which finds its own version");
}

#[tokio::test]
async fn all_records_of_a_batch_are_read_in_one_request() {
    let (store, tag) = (store(), unique("batch"));
    let ids: BTreeSet<AccountId> =
        (0..100).map(|n| format!("{tag}-{n}").parse().unwrap()).collect();
    let some = ids.iter().next().unwrap();
    store.apply(some, None, &[&update(some, 1, 100)]).await.unwrap();
    let records = store.get_all(ids.clone()).await;
    assert_eq!(records.len(), 100);
    let found = records.values().filter(|record| matches!(record, Ok(Some(_))));
    assert_eq!(found.count(), 1);
    assert_eq!(proxy().count("BatchGetItem", &format!("{tag}-0\"")), 1);
}

#[tokio::test]
async fn more_than_a_hundred_records_are_read_in_several_requests() {
    let (store, tag) = (store(), unique("batch"));
    let ids = (0..250).map(|n| format!("{tag}-{n}").parse().unwrap()).collect();
    assert!(store.get_all(ids).await.values().all(|record| matches!(record, Ok(None))));
    assert_eq!(proxy().count("BatchGetItem", &tag), 3);
}

#[tokio::test]
async fn unprocessed_keys_are_requested_again() {
    let (store, id) = (store(), account_id());
    store.apply(&id, None, &[&update(&id, 1, 100)]).await.unwrap();
    fail(
        "BatchGetItem",
        id.as_str(),
        &[Failure::Unprocessed, Failure::Throttle, Failure::Unprocessed],
    );
    let records = store.get_all(BTreeSet::from([id.clone()])).await;
    assert!(matches!(records[&id], Ok(Some(_))));
}

#[tokio::test]
async fn keys_that_stay_unprocessed_are_an_error() {
    let (store, id) = (store(), account_id());
    fail("BatchGetItem", id.as_str(), &[Failure::Unprocessed; 6]);
    let records = store.get_all(BTreeSet::from([id.clone()])).await;
    assert!(matches!(records[&id], Err(StoreError::Unprocessed)));
}

#[tokio::test]
async fn throttled_key_does_not_block_other_keys() {
    let (store, tag) = (store(), unique("throttled"));
    let ids = ["a", "b"].map(|end| format!("{tag}-{end}").parse::<AccountId>().unwrap());
    for id in &ids {
        store.apply(id, None, &[&update(id, 1, 100)]).await.unwrap();
    }
    fail("BatchGetItem", &tag, &[Failure::FirstUnprocessed]);
    fail("BatchGetItem", &tag, &[Failure::Throttle; 3]);
    let records = store.get_all(BTreeSet::from(ids.clone())).await;
    assert!(matches!(records[&ids[0]], Err(StoreError::Unavailable(_))));
    assert!(matches!(records[&ids[1]], Ok(Some(_))));
}

#[tokio::test]
async fn corrupt_item_is_refused_and_does_not_block_other_items() {
    let (store, good, bad) = (store(), account_id(), account_id());
    store.apply(&good, None, &[&update(&good, 1, 100)]).await.unwrap();
    let key = AttributeValue::S(bad.to_string());
    client().put_item().table_name("records").item("account_id", key).send().await.unwrap();
    let records = store.get_all(BTreeSet::from([good.clone(), bad.clone()])).await;
    assert!(matches!(records[&good], Ok(Some(_))));
    assert!(matches!(records[&bad], Err(StoreError::Corrupt(_))));
    let refused = store.apply(&bad, None, &[&update(&bad, 1, 100)]).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "no write replaces a corrupt item");
}
