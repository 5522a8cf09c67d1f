//! The history of an account in the API, and its consistency after a crash.

use e2e::proxy::Failure;
use e2e::samples;
use e2e::shared_stack::{local, stack};
use mono_sync::domain::timestamp::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::manual_sync::Answer;
use super::{
    account_id, account_when, account_with_status, balance_update, eventually, fail, post,
};

/// A batch of webhook messages that were received just now.
fn batch(bodies: &[impl AsRef<str>]) -> Value {
    samples::batch_received_at(bodies, &Timestamp::now().to_string())
}

async fn history(id: &str, query: &str) -> Answer {
    let request = stack().request(Method::GET, &format!("/accounts/{id}/events{query}"));
    Answer::of(request.header("authorization", "signed").send().await.unwrap()).await
}

pub(super) async fn events(id: &str) -> Vec<Value> {
    let answer = history(id, "?limit=100").await;
    answer.body["events"].as_array().cloned().unwrap_or_default()
}

async fn wait_for_events(id: &str, count: usize) -> Vec<Value> {
    eventually("the history is written", async || events(id).await.len() == count).await;
    events(id).await
}

/// The kind, the effect and the new status of each event.
fn summaries(events: &[Value]) -> Vec<[&str; 3]> {
    let fields = ["kind", "effect", "status_after"];
    events
        .iter()
        .map(|event| fields.map(|field| event[field].as_str().unwrap_or_default()))
        .collect()
}

fn reauth_required(id: &str, second: u32) -> Value {
    json!({
        "event": "mono.events.account_updated", "event_id": format!("{id}-reauth"),
        "timestamp": format!("2026-01-27T21:00:{second:02}.000Z"),
        "data": { "account": { "_id": id, "bvn": "22212345678", "accountNumber": "9988776655" },
            "meta": { "data_status": "AVAILABLE", "sync_status": "REAUTHORISATION_REQUIRED" } },
    })
}

#[tokio::test]
async fn history_lists_events_newest_first_with_their_effect() {
    let id = account_id();
    let income = json!({ "event": "mono.events.account_income", "data": { "account": id } });
    for (body, count) in [
        (balance_update(&id, 30, 1), 1),
        (reauth_required(&id, 40), 2),
        (balance_update(&id, 20, 2), 3),
        (income, 4),
    ] {
        post(&body).await;
        wait_for_events(&id, count).await;
    }
    let events = events(&id).await;
    let expected = [
        ["account_income", "ignored", "reauthorisation_required"],
        ["account_updated", "no_change", "reauthorisation_required"],
        ["account_updated", "applied", "reauthorisation_required"],
        ["account_updated", "applied", "healthy"],
    ];
    assert_eq!(summaries(&events), expected);
    assert_eq!(events[3]["status_before"], Value::Null, "the account was unknown before");
    assert_eq!(events[2]["status_before"], "healthy");
    assert_eq!(events[2]["event_id"], format!("{id}-reauth"));
    assert_eq!(events[2]["occurred_at"], "2026-01-27T21:00:40.000Z");
    assert!(events[2]["received_at"].as_str() > events[2]["occurred_at"].as_str());
    let text = json!(events).to_string();
    assert!(!text.contains("22212345678") && !text.contains("9988776655"));
}

#[tokio::test]
async fn duplicate_event_is_logged_as_no_change_and_writes_nothing() {
    let id = account_id();
    post(&balance_update(&id, 30, 1)).await;
    wait_for_events(&id, 1).await;
    let written = local().proxy.count("BatchWriteItem", &id);
    for _ in 0..3 {
        post(&balance_update(&id, 30, 1)).await;
    }
    eventually("the repeats are logged", async || {
        let lines = stack().log("processor").await.unwrap();
        let lines = lines.iter().filter(|line| line.contains(&id) && line.contains("request_id"));
        lines.map(|line| line.matches("no_change\"}").count()).sum::<usize>() >= 3
    })
    .await;
    assert_eq!(events(&id).await.len(), 1);
    assert_eq!(local().proxy.count("BatchWriteItem", &id), written);
}

#[tokio::test]
async fn batch_writes_the_history_of_all_accounts_in_one_request() {
    let ids: Vec<_> = (0..10).map(|_| account_id()).collect();
    let bodies: Vec<_> = ids.iter().map(|id| balance_update(id, 1, 1).to_string()).collect();
    stack().invoke("ProcessorFunction", &batch(&bodies)).await.unwrap();
    let writes = local().proxy.calls(&ids[0]);
    let writes: Vec<_> = writes.iter().filter(|call| call.operation == "BatchWriteItem").collect();
    assert_eq!(writes.len(), 1);
    assert!(ids.iter().all(|id| writes[0].body.contains(id)));
}

#[tokio::test]
async fn duplicate_event_in_a_batch_has_one_entry() {
    let id = account_id();
    let body = balance_update(&id, 1, 1).to_string();
    let ignored = json!({ "event": "mono.events.account_income", "data": { "account": id } });
    let ignored = ignored.to_string();
    let batch = batch(&[&body, &body, &ignored, &ignored]);
    let response = stack().invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(response, json!({ "batchItemFailures": [] }));
    assert_eq!(events(&id).await.len(), 1, "an ignored event of an unknown account has no entry");
    let response = stack().invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(response, json!({ "batchItemFailures": [] }));
    assert_eq!(events(&id).await.len(), 2);
}

#[tokio::test]
async fn record_is_not_written_while_the_history_cannot_be_written() {
    let id = account_id();
    let batch = batch(&[balance_update(&id, 1, 1).to_string()]);
    fail("BatchWriteItem", &id, &[Failure::AccessDenied]);
    let response = stack().invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(response["batchItemFailures"].as_array().map(Vec::len), Some(1), "{response}");
    assert_eq!(local().proxy.count("PutItem", &id), 0);
    // SQS delivers the message again.
    stack().invoke("ProcessorFunction", &batch).await.unwrap();
    account_with_status(&id, "healthy").await;
    assert_eq!(summaries(&events(&id).await), [["account_updated", "applied", "healthy"]]);
}

#[tokio::test]
async fn failure_between_history_and_record_leaves_one_entry_after_the_redelivery() {
    let id = account_id();
    let batch = batch(&[balance_update(&id, 1, 1).to_string()]);
    // The history is written. Then the write of the record fails, or its answer is lost.
    for failures in [&[Failure::AccessDenied][..], &[Failure::AnswerLost, Failure::AccessDenied]] {
        fail("PutItem", &id, failures);
        let response = stack().invoke("ProcessorFunction", &batch).await.unwrap();
        assert_eq!(response["batchItemFailures"].as_array().map(Vec::len), Some(1), "{response}");
    }
    let response = stack().invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(response, json!({ "batchItemFailures": [] }));
    account_with_status(&id, "healthy").await;
    assert_eq!(summaries(&events(&id).await), [["account_updated", "applied", "healthy"]]);
}

#[tokio::test]
async fn function_killed_between_history_and_record_leaves_one_entry_after_the_redelivery() {
    let id = account_id();
    fail("PutItem", &id, &[Failure::Crash]);
    assert_eq!(post(&balance_update(&id, 1, 1)).await.status(), 200);
    account_with_status(&id, "healthy").await;
    assert_eq!(local().proxy.pending_faults(&id), 0, "the function was killed");
    assert!(local().proxy.count("BatchWriteItem", &id) >= 2, "SQS delivered the event again");
    assert_eq!(summaries(&events(&id).await), [["account_updated", "applied", "healthy"]]);
}

#[tokio::test]
async fn history_is_corrected_after_a_conflict() {
    let id = account_id();
    stack()
        .invoke("ProcessorFunction", &batch(&[balance_update(&id, 1, 1).to_string()]))
        .await
        .unwrap();
    // Two concurrent invocations process an older and a newer event. The invocation that writes last has a conflict.
    let older = json!({
        "event": "mono.events.account_updated", "event_id": format!("{id}-older"),
        "timestamp": "2026-01-27T21:00:20.000Z",
        "data": { "account": { "_id": id, "name": "Ada Example", "balance": 20 },
            "meta": { "data_status": "AVAILABLE" } },
    });
    let newer = json!({
        "event": "mono.events.account_updated", "event_id": format!("{id}-newer"),
        "timestamp": "2026-01-27T21:00:30.000Z",
        "data": { "account": { "_id": id, "name": "Ada Example", "balance": 30 },
            "meta": { "data_status": "AVAILABLE" } },
    });
    // The write of the older event hangs until the newer event is written.
    fail("PutItem", &id, &[Failure::Hang]);
    let older = batch(&[older.to_string()]);
    let slow = stack().invoke("ProcessorFunction", &older);
    let fast = async {
        eventually("the write of the older event hangs", async || {
            local().proxy.pending_faults(&id) == 0
        })
        .await;
        stack().invoke("ProcessorFunction", &batch(&[newer.to_string()])).await
    };
    let (slow, fast) = tokio::join!(slow, fast);
    for response in [slow, fast] {
        assert_eq!(response.unwrap(), json!({ "batchItemFailures": [] }));
    }
    let entries = events(&id).await;
    let effect = |which: &str| {
        let event_id = format!("{id}-{which}");
        let matching = entries.iter().filter(|event| event["event_id"] == *event_id);
        matching.map(|event| event["effect"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(effect("newer"), ["applied"]);
    assert_eq!(effect("older"), ["no_change"], "the entry is corrected after the conflict");
    account_when(&id, |account| account["balance"] == 30).await;
}

#[tokio::test]
async fn redelivery_after_a_newer_event_keeps_the_applied_entry() {
    let id = account_id();
    let old = batch(&[balance_update(&id, 1, 1).to_string()]);
    stack().invoke("ProcessorFunction", &old).await.unwrap();
    let new = batch(&[balance_update(&id, 2, 2).to_string()]);
    stack().invoke("ProcessorFunction", &new).await.unwrap();
    stack().invoke("ProcessorFunction", &old).await.unwrap();
    let mut effects: Vec<_> =
        events(&id).await.iter().map(|event| event["effect"].clone()).collect();
    effects.sort_by_key(ToString::to_string);
    assert_eq!(effects, ["applied", "applied", "no_change"]);
}

#[tokio::test]
async fn unprocessed_entries_are_written_again() {
    let id = account_id();
    fail("BatchWriteItem", &id, &[Failure::Unprocessed, Failure::Throttle, Failure::Unprocessed]);
    post(&balance_update(&id, 1, 1)).await;
    wait_for_events(&id, 1).await;
    account_with_status(&id, "healthy").await;
}

#[tokio::test]
async fn history_is_paged() {
    let id = account_id();
    let bodies: Vec<_> = (1..=7)
        .map(|n| json!({ "event": "mono.events.reauthorisation_required", "event_id": format!("{id}-{n}"),
            "timestamp": format!("2026-01-27T21:00:0{n}.000Z"), "data": { "account": { "_id": id } } })
            .to_string())
        .collect();
    stack().invoke("ProcessorFunction", &batch(&bodies)).await.unwrap();
    let whole = events(&id).await;
    assert_eq!(whole.len(), 7);
    let (mut parts, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = history(&id, &format!("?limit=3{cursor}")).await.expect_ok();
        parts.extend(answer.body["events"].as_array().unwrap().clone());
        match answer.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(parts, whole);
}

#[tokio::test]
async fn invalid_history_request_is_refused() {
    let id = account_id();
    post(&balance_update(&id, 1, 1)).await;
    account_with_status(&id, "healthy").await;
    for (query, part) in [
        ("?limit=0", "`limit`"),
        ("?limit=101", "`limit`"),
        ("?cursor=what", "`cursor`"),
        ("?cursor=001769547640000.77dfb8e2.odd", "`cursor`"),
    ] {
        let answer = history(&id, query).await.expect(400, "REQUEST_INVALID");
        assert!(answer.body["detail"].as_str().unwrap().starts_with(part), "{query}");
    }
    let aged = history(&id, "?cursor=001769547640000.77dfb8e2.applied").await.expect_ok();
    assert_eq!(
        aged.body,
        json!({ "events": [], "next_cursor": null }),
        "no entry is older than the cursor"
    );
    history(&account_id(), "").await.expect(404, "ACCOUNT_NOT_FOUND");
    history("a%20b", "").await.expect(400, "REQUEST_INVALID");
    fail("Query", &id, &[Failure::AccessDenied]);
    history(&id, "").await.expect(503, "STORE_UNAVAILABLE");
}

#[tokio::test]
async fn history_omits_entries_older_than_the_retention() {
    let id = account_id();
    let body = balance_update(&id, 1, 1).to_string();
    stack().invoke("ProcessorFunction", &samples::batch(&[body])).await.unwrap();
    account_with_status(&id, "healthy").await;
    assert!(events(&id).await.is_empty(), "the event was received months ago");
}

#[tokio::test]
async fn history_request_costs_one_read_and_one_query() {
    let id = account_id();
    post(&balance_update(&id, 1, 1)).await;
    wait_for_events(&id, 1).await;
    let reads = local().proxy.count("GetItem", &id);
    let queries = local().proxy.count("Query", &id);
    events(&id).await;
    assert_eq!(local().proxy.count("GetItem", &id), reads + 1);
    assert_eq!(local().proxy.count("Query", &id), queries + 1);
}
