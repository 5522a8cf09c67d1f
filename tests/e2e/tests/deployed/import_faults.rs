//! Imports that something gets in the way of: whatever fails, the rows are as Mono has them in the end.

use std::time::Duration;

use e2e::proxy::Failure;
use e2e::samples;
use e2e::shared_stack::{local, world};
use mono_sync::domain::import::ImportJob;
use mono_sync::domain::timestamp::Timestamp;
use sandbox::{Dialect, Fault, History, Link, PageFault};
use serde_json::json;
use tokio::time::sleep;

use super::manual_sync::Case;
use super::past::pass;
use super::{eventually, fail, item};

fn history(transactions: usize) -> History {
    History { transactions, ..History::default() }
}

/// A year in pages of five rows. The importer stores it in parts of at most 150 rows, in six batches of writes each.
fn paged_history() -> History {
    History {
        transactions: 300,
        days: 365,
        largest_page: 5,
        always_paged: true,
        ..History::default()
    }
}

#[tokio::test]
async fn listing_that_fails_leaves_the_rows_as_they_were_and_is_requested_again_later() {
    for fault in [Fault::Status(500), Fault::RateLimited { retry_after: Some(1) }] {
        let case = Case::imported(Dialect::V2, history(150)).await;
        let mono = &case.world.mono;
        let drafts = (0..150).map(|_| mono.draft_transaction(&case.id).unwrap());
        mono.add_transactions(&case.id, drafts.collect::<Vec<_>>()).unwrap();
        let (rows, written) = (case.rows().await, case.written());
        // Whatever days are asked for.
        mono.plan_pages_always(&case.id, [(1, PageFault::Fault(fault.clone()))]).unwrap();
        let due = case.job();
        let given_back = case.import(&due, 1).await;
        assert_eq!(given_back.as_array().map(Vec::len), Some(1), "{fault:?}: {given_back}");
        assert_eq!((case.rows().await, case.written()), (rows, written), "{fault:?}");
        mono.plan_pages_always(&case.id, []).unwrap();
        assert_eq!(case.import(&due, 1).await, json!([]), "at once: its lease was released");
        assert_eq!(case.rows().await, case.rows_at_mono());
    }
}

#[tokio::test]
async fn job_that_failed_comes_again_by_itself() {
    let world = world(Dialect::V2);
    let id = world.mono.link(Link { silent: true, history: Some(history(30)), ..Link::default() });
    let case = Case { world, id };
    // As often as it is tried within one invocation.
    let limited = Fault::RateLimited { retry_after: None };
    world.mono.plan_free(&case.id, vec![limited; 3]).unwrap();
    world.mono.send(&world.mono.event(sandbox::Kind::AccountUpdated, &case.id).unwrap());
    case.until_as_at_mono().await;
    assert_eq!(case.pages(), 4, "three that were refused, and one");
}

#[tokio::test]
async fn two_imports_of_one_account_at_once_are_one() {
    let case = Case::imported(Dialect::V2, history(80)).await;
    let mono = &case.world.mono;
    let draft = mono.draft_transaction(&case.id).unwrap();
    mono.add_transactions(&case.id, [draft]).unwrap();
    let (job, pages) = (case.job(), case.pages());
    // The first is held up between its lease and its pages.
    fail("Query", &case.id, &[Failure::Hang]);
    let first = async { case.import(&job, 1).await };
    let second = async {
        sleep(Duration::from_millis(1500)).await;
        case.import(&job, 2).await
    };
    let given_back = tokio::join!(first, second);
    assert_eq!(given_back, (json!([]), json!([])));
    assert_eq!(case.pages(), pages + 1, "the second left it to the first");
    assert_eq!(case.rows().await, case.rows_at_mono());
}

#[tokio::test]
async fn later_pull_waits_for_the_running_import() {
    let case = Case::imported(Dialect::V2, history(80)).await;
    let mono = &case.world.mono;
    let early = case.job();
    fail("Query", &case.id, &[Failure::Hang]);
    let first = async { case.import(&early, 1).await };
    let second = async {
        sleep(Duration::from_millis(1500)).await;
        case.import(&case.job(), 2).await
    };
    let given_back = tokio::join!(first, second);
    assert_eq!(given_back, (json!([]), json!([])), "the second is queued anew");
    let draft = mono.draft_transaction(&case.id).unwrap();
    mono.add_transactions(&case.id, [draft]).unwrap();
    case.until_as_at_mono().await;
}

#[tokio::test]
async fn import_of_a_crashed_function_is_completed_after_its_lease_expired() {
    let case = Case::imported(Dialect::V2, history(60)).await;
    let mono = &case.world.mono;
    let drafts: Vec<_> = (0..60).map(|_| mono.draft_transaction(&case.id).unwrap()).collect();
    let gone = mono.transactions(&case.id)[0].id.clone();
    mono.add_transactions(&case.id, drafts).unwrap();
    mono.remove_transaction(&case.id, &gone).unwrap();
    let job = case.job();
    fail("BatchWriteItem", &case.id, &[Failure::Pass, Failure::Crash]);
    // The emulator's answer to a function that is gone is no batch response.
    case.import(&job, 1).await;
    assert_eq!(local().proxy.pending_faults(&case.id), 0);
    let rows = case.rows().await;
    assert_ne!(rows, case.rows_at_mono(), "a part of it is written");
    assert_eq!(case.import(&job, 1).await, json!([]), "its lease holds: it is queued anew");
    assert_eq!(case.rows().await, rows);
    pass(case.world, &case.id, Duration::from_mins(2)).await;
    case.until_as_at_mono().await;
}

/// An account whose first import, by this change of its job, has stored a part of the year and then failed.
async fn half_imported(change: impl FnOnce(ImportJob) -> ImportJob) -> Case {
    let case =
        Case::unseen(Dialect::V2, Link { history: Some(paged_history()), ..Link::default() });
    let mono = &case.world.mono;
    let event = mono.event(sandbox::Kind::AccountUpdated, &case.id).unwrap();
    // The balance alone: no import follows.
    let event = event.with("/data/meta/retrieved_data", json!(["identity", "balance"]));
    mono.send(&event);
    case.when("it is known", |account| account["last_event_at"].is_string()).await;
    let mut failures = vec![Failure::Pass; 7];
    failures.push(Failure::AccessDenied);
    fail("BatchWriteItem", &case.id, &failures);
    let job = change(case.job());
    assert_eq!(case.import(&job, 1).await, json!([]), "what is done is done");
    assert_eq!(local().proxy.pending_faults(&case.id), 0);
    let rows = case.rows().await.len();
    assert!((1..300).contains(&rows), "a part of it is written: {rows}");
    case
}

#[tokio::test]
async fn import_that_fails_half_way_is_continued_by_another_message() {
    let case = half_imported(|job| job).await;
    eventually("it is logged", async || {
        let lines = case.world.stack.log("importer").await.unwrap();
        lines.iter().any(|line| line.contains(&case.id) && line.contains("\"continued\""))
    })
    .await;
    case.until_as_at_mono().await;
}

/// The last message of the longest chain.
fn last(job: ImportJob) -> ImportJob {
    std::iter::successors(Some(job), |job| job.clone().next()).last().unwrap()
}

#[tokio::test]
async fn import_at_the_chain_limit_is_deferred_for_an_hour_and_keeps_its_progress() {
    let before = Timestamp::now();
    let case = half_imported(last).await;
    assert_eq!(case.requests().get("SendMessageBatch"), None, "no message follows");
    let deferred = item(case.world, &case.id).await["import_deferred_until"].clone();
    let until = Timestamp::from_millis(deferred.as_n().unwrap().parse().unwrap());
    assert!(until >= before + Duration::from_hours(1));
    case.import(&case.job(), 2).await;
    case.until_as_at_mono().await;
}

#[tokio::test]
async fn message_at_the_chain_limit_fails_while_another_import_holds_the_lease() {
    let case = Case::imported(Dialect::V2, history(80)).await;
    fail("Query", &case.id, &[Failure::Hang]);
    let early = case.job();
    let first = async { case.import(&early, 1).await };
    let second = async {
        sleep(Duration::from_millis(1500)).await;
        case.import(&last(case.job()), 2).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second.as_array().map(Vec::len)), (json!([]), Some(1)));
}

#[tokio::test]
async fn failures_between_the_importer_and_the_tables_pass_or_give_the_job_back() {
    for (operation, failures, given_back) in [
        ("GetItem", &[Failure::Throttle][..], 0),
        ("GetItem", &[Failure::AccessDenied], 1),
        ("PutItem", &[Failure::Conflict], 0),
        ("PutItem", &[Failure::AnswerLost], 0),
        ("PutItem", &[Failure::AccessDenied], 1),
        ("Query", &[Failure::AccessDenied], 1),
        ("BatchWriteItem", &[Failure::Unprocessed, Failure::Unprocessed], 0),
        // More than the SDK repeats by itself.
        ("BatchWriteItem", &[Failure::Throttle; 12], 0),
        ("BatchWriteItem", &[Failure::AccessDenied], 1),
        ("BatchWriteItem", &[Failure::AnswerLost], 0),
        ("PutItem", &[Failure::Pass, Failure::Conflict], 0),
        ("PutItem", &[Failure::Pass, Failure::AccessDenied], 1),
    ] {
        let case = Case::imported(Dialect::V2, history(20)).await;
        let draft = case.world.mono.draft_transaction(&case.id).unwrap();
        case.world.mono.add_transactions(&case.id, [draft]).unwrap();
        let job = case.job();
        fail(operation, &case.id, failures);
        let answer = case.import(&job, 1).await;
        let count = answer.as_array().map(Vec::len);
        assert_eq!(count, Some(given_back), "{operation} {failures:?}: {answer}");
        assert_eq!(local().proxy.pending_faults(&case.id), 0);
        assert_eq!(case.import(&job, 1).await, json!([]), "{operation} {failures:?}");
        assert_eq!(case.rows().await, case.rows_at_mono(), "{operation} {failures:?}");
    }
}

#[tokio::test]
async fn crash_between_the_request_and_the_record_asks_again() {
    let world = world(Dialect::V2);
    let id = world.mono.link(Link { silent: true, history: Some(history(30)), ..Link::default() });
    let case = Case { world, id };
    let event = world.mono.event(sandbox::Kind::AccountUpdated, &case.id).unwrap();
    let received_at = Timestamp::now().to_string();
    let batch = samples::batch_received_at(&[event.body().to_string()], &received_at);
    fail("PutItem", &case.id, &[Failure::Crash]);
    world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(local().proxy.pending_faults(&case.id), 0);
    let asked = || local().proxy.count("SendMessageBatch", &case.id);
    assert_eq!(asked(), 1, "the request goes out first");
    // Delivered again, it asks again, and the record is written.
    world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(asked(), 2);
    case.until_as_at_mono().await;
    // A repeat finds all done and asks no more.
    world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(asked(), 2);
}

#[tokio::test]
async fn event_whose_import_cannot_be_requested_is_delivered_again_and_its_neighbour_is_not() {
    let world = world(Dialect::V2);
    let link = || Link { silent: true, history: Some(history(5)), ..Link::default() };
    let (one, other) = (world.mono.link(link()), world.mono.link(link()));
    let body = |id: &str| {
        let event = world.mono.event(sandbox::Kind::AccountUpdated, id).unwrap();
        event.body().to_string()
    };
    fail("SendMessageBatch", &one, &[Failure::AccessDenied]);
    let batch = samples::batch(&[body(&one)]);
    let answer = world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(local().proxy.count("PutItem", &one), 0, "the record does not say that it is due");
    let batch = samples::batch(&[body(&one), body(&other)]);
    let answer = world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    for id in [one, other] {
        Case { world, id }.until_as_at_mono().await;
    }
}

#[tokio::test]
async fn job_for_an_account_that_is_gone_at_mono_is_done() {
    let case = Case::imported(Dialect::V2, history(20)).await;
    case.world.mono.unlink(&case.id).unwrap();
    case.status("unlinked").await;
    let rows = case.rows().await;
    assert_eq!(case.import(&case.job(), 1).await, json!([]));
    assert_eq!(case.rows().await, rows, "what was imported stays");
    eventually("it is logged", async || {
        let lines = case.world.stack.log("importer").await.unwrap();
        lines.iter().any(|line| line.contains(&case.id) && line.contains("\"gone\""))
    })
    .await;
}

#[tokio::test]
async fn job_that_comes_before_its_record_is_delivered_again() {
    let world = world(Dialect::V2);
    let id = world.mono.link(Link { silent: true, history: Some(history(5)), ..Link::default() });
    let case = Case { world, id };
    assert_eq!(case.import(&case.job(), 1).await.as_array().map(Vec::len), Some(1));
    assert_eq!(case.shown().await["code"], "ACCOUNT_NOT_FOUND", "and makes none");
}
