//! Failures between the functions and AWS.

use e2e::proxy::Failure;
use e2e::samples;
use e2e::shared_stack::{local, stack};
use sandbox::{Attempt, Dialect, Kind, Link};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use super::{
    account_id, account_when, account_with_status, balance_update, eventually, fail, mono, post,
};

#[tokio::test]
async fn webhook_that_cannot_be_enqueued_is_503_and_mono_retries_it() {
    let mono = mono(Dialect::V2).await;
    let id = mono.link(Link::default());
    account_with_status(&id, "healthy").await;
    mono.settled().await;
    // Two deliveries fail. The SDK tries each of them three times.
    fail("SendMessage", &id, &[Failure::ServerError; 6]);
    mono.send(&mono.event(Kind::AccountReauthorized, &id).unwrap());
    let deliveries = mono.settled().await;
    let attempts = &deliveries.last().unwrap().attempts;
    assert!(
        matches!(attempts[..], [Attempt::Status(503), Attempt::Status(503), Attempt::Status(200)]),
        "{attempts:?}"
    );
    account_with_status(&id, "reauthorisation_pending").await;
}

#[tokio::test]
async fn webhook_that_cannot_be_enqueued_has_the_code_queue_unavailable() {
    let id = account_id();
    fail("SendMessage", &id, &[Failure::AccessDenied]);
    let answer = post(&balance_update(&id, 1, 1)).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "QUEUE_UNAVAILABLE");
}

#[tokio::test]
async fn hanging_queue_is_503_before_the_function_times_out() {
    let id = account_id();
    fail("SendMessage", &id, &[Failure::Hang; 3]);
    let answer = post(&balance_update(&id, 1, 1)).await;
    assert_eq!(answer.status(), 503, "not the timeout of the platform");
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "QUEUE_UNAVAILABLE");
}

#[tokio::test]
async fn event_whose_write_fails_is_delivered_again_and_applied() {
    let id = account_id();
    fail("PutItem", &id, &[Failure::ServerError; 3]);
    assert_eq!(post(&balance_update(&id, 1, 100)).await.status(), 200);
    account_when(&id, |account| account["balance"] == 100).await;
    assert_eq!(local().proxy.pending_faults(&id), 0);
}

#[tokio::test]
async fn write_with_a_lost_answer_is_idempotent() {
    let id = account_id();
    // The write succeeds, but its answer is lost. The message fails and is delivered again.
    let failures = [Failure::AnswerLost, Failure::ServerError, Failure::ServerError];
    fail("PutItem", &id, &failures);
    assert_eq!(post(&balance_update(&id, 1, 100)).await.status(), 200);
    eventually("the message is delivered again", async || {
        local().proxy.count("BatchGetItem", &id) >= 2
    })
    .await;
    let account = account_when(&id, |account| account["balance"] == 100).await;
    assert_eq!(account["status"], "healthy");
    // The first delivery may still be running: the SDK gives up after seven seconds.
    sleep(Duration::from_secs(8)).await;
    let writes = local().proxy.count("PutItem", &id);
    let marker = account_id();
    post(&balance_update(&marker, 1, 1)).await;
    account_with_status(&marker, "healthy").await;
    let more = local().proxy.count("PutItem", &id) - writes;
    assert_eq!(more, 0, "the redelivery is a duplicate and writes nothing");
}

#[tokio::test]
async fn redelivered_batch_is_not_written_again() {
    let id = account_id();
    let batch = samples::batch(&[balance_update(&id, 1, 100).to_string()]);
    for _ in 0..2 {
        let response = stack().invoke("ProcessorFunction", &batch).await.unwrap();
        assert_eq!(response, json!({ "batchItemFailures": [] }));
    }
    assert_eq!(local().proxy.count("PutItem", &id), 1);
}

#[tokio::test]
async fn hanging_dead_letter_queue_does_not_block_other_events() {
    let (id, tag) = (account_id(), account_id());
    fail("SendMessage", &tag, &[Failure::Hang; 3]);
    let bodies = [format!("not json {tag}"), balance_update(&id, 1, 1).to_string()];
    let response = stack().invoke("ProcessorFunction", &samples::batch(&bodies)).await.unwrap();
    let failures = response["batchItemFailures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "the message that could not be dead-lettered: {response}");
    assert_eq!(failures[0]["itemIdentifier"], "00000000-0000-4000-8000-000000000000");
    account_when(&id, |account| account["balance"] == 1).await;
}

#[tokio::test]
async fn unreadable_table_is_503() {
    let id = account_id();
    fail("GetItem", &id, &[Failure::AccessDenied]);
    let (status, problem) = stack().account(&id).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("STORE_UNAVAILABLE")));
}
