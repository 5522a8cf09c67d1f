//! Costs at AWS: the requests of the functions, counted at the endpoint.

use std::collections::BTreeMap;

use e2e::samples;
use e2e::shared_stack::{local, stack, world};
use sandbox::{Dialect, Link, Pace, Plan, Refresh, Webhooks};

use super::{account_id, account_with_status, balance_update, eventually, post};

/// The number of requests with this text in their body, by operation. The notifier publishes some time after a write,
/// so its requests are not counted.
fn requests(id: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in local().proxy.calls(id).into_iter().filter(|call| call.operation != "PutEvents") {
        *counts.entry(call.operation).or_default() += 1;
    }
    counts
}

fn counted<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.into_iter().map(|(operation, count)| (operation.to_owned(), count)).collect()
}

#[tokio::test]
async fn new_event_costs_one_send_one_read_one_write_and_one_history_write() {
    let id = account_id();
    post(&balance_update(&id, 1, 1)).await;
    eventually("the record is written", async || local().proxy.count("PutItem", &id) > 0).await;
    let expected = [("SendMessage", 1), ("BatchGetItem", 1), ("BatchWriteItem", 1), ("PutItem", 1)];
    let expected = counted(expected);
    assert_eq!(requests(&id), expected);
}

#[tokio::test]
async fn duplicate_event_costs_one_send_and_one_read() {
    let id = account_id();
    post(&balance_update(&id, 1, 1)).await;
    account_with_status(&id, "healthy").await;
    let written = local().proxy.count("PutItem", &id);
    let read = local().proxy.count("BatchGetItem", &id);
    post(&balance_update(&id, 1, 1)).await;
    eventually("the duplicate is read", async || local().proxy.count("BatchGetItem", &id) > read)
        .await;
    let marker = account_id();
    post(&balance_update(&marker, 1, 1)).await;
    account_with_status(&marker, "healthy").await;
    assert_eq!(local().proxy.count("BatchGetItem", &id), read + 1);
    assert_eq!(local().proxy.count("PutItem", &id), written);
}

#[tokio::test]
async fn batch_of_ten_accounts_costs_one_read_and_ten_writes() {
    let ids: Vec<_> = (0..10).map(|_| account_id()).collect();
    let bodies: Vec<_> = ids.iter().map(|id| balance_update(id, 1, 1).to_string()).collect();
    stack().invoke("ProcessorFunction", &samples::batch(&bodies)).await.unwrap();
    let reads = local().proxy.calls(&ids[0]);
    let reads: Vec<_> = reads.iter().filter(|call| call.operation == "BatchGetItem").collect();
    assert_eq!(reads.len(), 1);
    assert!(ids.iter().all(|id| reads[0].body.contains(id)));
    assert!(
        !reads[0].body.contains("\"ConsistentRead\":true"),
        "eventually consistent reads cost half as much"
    );
    assert!(ids.iter().all(|id| local().proxy.count("PutItem", id) == 1));
}

#[tokio::test]
async fn batch_of_ten_events_of_one_account_costs_one_read_one_history_write_and_one_write() {
    let id = account_id();
    let bodies: Vec<_> = (0..10).map(|n| balance_update(&id, n, n.into()).to_string()).collect();
    stack().invoke("ProcessorFunction", &samples::batch(&bodies)).await.unwrap();
    let expected = [("BatchGetItem", 1), ("BatchWriteItem", 1), ("PutItem", 1)];
    assert_eq!(requests(&id), counted(expected));
}

#[tokio::test]
async fn account_request_costs_one_read() {
    let id = account_id();
    stack().account(&id).await.unwrap();
    assert_eq!(requests(&id), counted([("GetItem", 1)]));
}

#[tokio::test]
async fn webhook_uses_the_cached_secret() {
    let secret = stack().resource("WebhookSecret");
    post(&balance_update(&account_id(), 1, 1)).await;
    let reads = local().proxy.count("GetSecretValue", secret);
    for second in 0..20 {
        post(&balance_update(&account_id(), second, 1)).await;
    }
    let more = local().proxy.count("GetSecretValue", secret) - reads;
    // Other tests present wrong secrets, and the emulator may start a second instance.
    assert!(more <= 4, "{more} reads for 20 webhooks");
}

#[tokio::test]
async fn sync_costs_one_read_two_writes_and_one_call_to_mono() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let world = world(dialect);
        let id = world.mono.link(Link { silent: true, ..Link::default() });
        let (outcome, webhooks) = (Refresh::Failed, Webhooks::Lost);
        world.mono.plan(&id, [Plan { outcome, webhooks, ..Plan::default() }]).unwrap();
        assert_eq!(world.stack.sync(&id, "").await.unwrap().status(), 502);
        assert_eq!(requests(&id), counted([("GetItem", 1), ("PutItem", 2)]));
        // The second sync is in the cooldown.
        assert_eq!(world.stack.sync(&id, "").await.unwrap().status(), 429);
        assert_eq!(requests(&id), counted([("GetItem", 2), ("PutItem", 2)]));
        let syncs = world
            .mono
            .calls()
            .into_iter()
            .filter(|call| call.sync && call.account_id.as_deref() == Some(&id));
        assert_eq!(syncs.count(), 1);
    }
}

#[tokio::test]
async fn sync_of_a_syncing_account_costs_one_read_and_no_call_to_mono() {
    let world = world(Dialect::V2);
    let id = world.mono.link(Link { silent: true, ..Link::default() });
    world.mono.plan(&id, [Plan { pace: Pace::NeverEnding, ..Plan::default() }]).unwrap();
    assert_eq!(world.stack.sync(&id, "").await.unwrap().status(), 202);
    assert_eq!(world.stack.sync(&id, "").await.unwrap().status(), 202);
    assert_eq!(requests(&id), counted([("GetItem", 2), ("PutItem", 2)]));
    assert_eq!(calls_to_mono(Dialect::V2, &id), 1);
}

#[tokio::test]
async fn sync_of_an_unknown_account_costs_one_read_one_write_and_one_delete() {
    let id = account_id();
    assert_eq!(stack().sync(&id, "").await.unwrap().status(), 404);
    assert_eq!(requests(&id), counted([("GetItem", 1), ("PutItem", 1), ("DeleteItem", 1)]));
}

fn calls_to_mono(dialect: Dialect, id: &str) -> usize {
    let calls = world(dialect).mono.calls();
    calls.iter().filter(|call| call.account_id.as_deref() == Some(id)).count()
}
