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
    // Three failing tries for each of two deliveries.
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
async fn answer_to_what_cannot_be_queued_says_so() {
    let id = account_id();
    fail("SendMessage", &id, &[Failure::AccessDenied]);
    let answer = post(&balance_update(&id, 1, 1)).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "QUEUE_UNAVAILABLE");
}

#[tokio::test]
async fn queue_that_hangs_is_503_within_the_functions_time() {
    let id = account_id();
    fail("SendMessage", &id, &[Failure::Hang; 3]);
    let answer = post(&balance_update(&id, 1, 1)).await;
    assert_eq!(answer.status(), 503, "and not the platform's time-out");
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "QUEUE_UNAVAILABLE");
}

#[tokio::test]
async fn event_whose_write_fails_is_delivered_again_and_applied_later() {
    let id = account_id();
    fail("PutItem", &id, &[Failure::ServerError; 3]);
    assert_eq!(post(&balance_update(&id, 1, 100)).await.status(), 200);
    account_when(&id, |account| account["balance"] == 100).await;
    assert_eq!(local().proxy.pending_faults(&id), 0);
}

#[tokio::test]
async fn write_that_the_function_never_learns_of_changes_nothing_when_it_is_repeated() {
    let id = account_id();
    // Written, but the function never learns of it, and gives the message back.
    let failures = [Failure::AnswerLost, Failure::ServerError, Failure::ServerError];
    fail("PutItem", &id, &failures);
    assert_eq!(post(&balance_update(&id, 1, 100)).await.status(), 200);
    eventually("the message is delivered again", async || {
        local().proxy.count("BatchGetItem", &id) >= 2
    })
    .await;
    let account = account_when(&id, |account| account["balance"] == 100).await;
    assert_eq!(account["status"], "healthy");
    // The first delivery may still be at it: the SDK gives up after seven seconds.
    sleep(Duration::from_secs(8)).await;
    let writes = local().proxy.count("PutItem", &id);
    let marker = account_id();
    post(&balance_update(&marker, 1, 1)).await;
    account_with_status(&marker, "healthy").await;
    let more = local().proxy.count("PutItem", &id) - writes;
    assert_eq!(more, 0, "the redelivery finds everything known and writes nothing");
}

#[tokio::test]
async fn batch_that_comes_again_because_it_was_not_deleted_is_not_written_again() {
    let id = account_id();
    let batch = samples::batch(&[balance_update(&id, 1, 100).to_string()]);
    for _ in 0..2 {
        let response = stack().invoke("ProcessorFunction", &batch).await.unwrap();
        assert_eq!(response, json!({ "batchItemFailures": [] }));
    }
    assert_eq!(local().proxy.count("PutItem", &id), 1);
}

#[tokio::test]
async fn dead_letter_queue_that_hangs_keeps_no_neighbour_waiting() {
    let (id, tag) = (account_id(), account_id());
    fail("SendMessage", &tag, &[Failure::Hang; 3]);
    let bodies = [format!("not json {tag}"), balance_update(&id, 1, 1).to_string()];
    let response = stack().invoke("ProcessorFunction", &samples::batch(&bodies)).await.unwrap();
    let failures = response["batchItemFailures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "the one that could not be put aside: {response}");
    assert_eq!(failures[0]["itemIdentifier"], "00000000-0000-4000-8000-000000000000");
    account_when(&id, |account| account["balance"] == 1).await;
}

#[tokio::test]
async fn table_that_cannot_be_read_is_503() {
    let id = account_id();
    fail("GetItem", &id, &[Failure::AccessDenied]);
    let (status, problem) = stack().account(&id).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("STORE_UNAVAILABLE")));
}
