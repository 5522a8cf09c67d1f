//! Imports with failures. After every failure, the rows are equal to Mono's in the end.

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
use super::{eventually, fail, item};
use e2e::past::let_time_pass;

fn history(transactions: usize) -> History {
    History { transactions, ..History::default() }
}

/// A year in pages of five rows. The importer stores it in slices of at most 150 rows, each in six batch writes.
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
async fn failed_listing_changes_no_row_and_is_retried() {
    for fault in [Fault::Status(500), Fault::RateLimited { retry_after: Some(1) }] {
        let case = Case::imported(Dialect::V2, history(150)).await;
        let mono = &case.world.mono;
        let drafts = (0..150).map(|_| mono.draft_transaction(&case.id).unwrap());
        mono.add_transactions(&case.id, drafts.collect::<Vec<_>>()).unwrap();
        let (rows, written) = (case.rows().await, case.written());
        // The fault holds for every range of days.
        mono.plan_pages_always(&case.id, [(1, PageFault::Fault(fault.clone()))]).unwrap();
        let due = case.job();
        let failed = case.import(&due, 1).await;
        assert_eq!(failed.as_array().map(Vec::len), Some(1), "{fault:?}: {failed}");
        assert_eq!((case.rows().await, case.written()), (rows, written), "{fault:?}");
        mono.plan_pages_always(&case.id, []).unwrap();
        assert_eq!(
            case.import(&due, 1).await,
            json!([]),
            "the retry runs at once, because the lease was released"
        );
        assert_eq!(case.rows().await, case.rows_at_mono());
    }
}

#[tokio::test]
async fn failed_job_is_delivered_again() {
    let world = world(Dialect::V2);
    let id = world.mono.link(Link { silent: true, history: Some(history(30)), ..Link::default() });
    let case = Case { world, id };
    // As many faults as one invocation has tries.
    let limited = Fault::RateLimited { retry_after: None };
    world.mono.plan_free(&case.id, vec![limited; 3]).unwrap();
    world.mono.send(&world.mono.event(sandbox::Kind::AccountUpdated, &case.id).unwrap());
    case.until_imported().await;
    assert_eq!(case.pages(), 4, "three refused calls and one page");
}

#[tokio::test]
async fn concurrent_imports_of_one_account_fetch_the_pages_once() {
    let case = Case::imported(Dialect::V2, history(80)).await;
    let mono = &case.world.mono;
    let draft = mono.draft_transaction(&case.id).unwrap();
    mono.add_transactions(&case.id, [draft]).unwrap();
    let (job, pages) = (case.job(), case.pages());
    // The first import hangs after it takes the lease and before it fetches pages.
    fail("Query", &case.id, &[Failure::Hang]);
    let first = async { case.import(&job, 1).await };
    let second = async {
        sleep(Duration::from_millis(1500)).await;
        case.import(&job, 2).await
    };
    let failed = tokio::join!(first, second);
    assert_eq!(failed, (json!([]), json!([])));
    assert_eq!(case.pages(), pages + 1, "only the first import fetches a page");
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
    let failed = tokio::join!(first, second);
    assert_eq!(failed, (json!([]), json!([])), "the second message is queued again");
    let draft = mono.draft_transaction(&case.id).unwrap();
    mono.add_transactions(&case.id, [draft]).unwrap();
    case.until_imported().await;
}

#[tokio::test]
async fn import_of_a_crashed_function_is_completed_after_the_lease_expires() {
    let case = Case::imported(Dialect::V2, history(60)).await;
    let mono = &case.world.mono;
    let drafts: Vec<_> = (0..60).map(|_| mono.draft_transaction(&case.id).unwrap()).collect();
    let gone = mono.transactions(&case.id)[0].id.clone();
    mono.add_transactions(&case.id, drafts).unwrap();
    mono.remove_transaction(&case.id, &gone).unwrap();
    let job = case.job();
    fail("BatchWriteItem", &case.id, &[Failure::Pass, Failure::Crash]);
    // When the function crashes, the emulator does not answer with a batch response.
    case.import(&job, 1).await;
    assert_eq!(local().proxy.pending_faults(&case.id), 0);
    let rows = case.rows().await;
    assert_ne!(rows, case.rows_at_mono(), "some rows are written");
    assert_eq!(
        case.import(&job, 1).await,
        json!([]),
        "the lease holds, so the job is queued again"
    );
    assert_eq!(case.rows().await, rows);
    let_time_pass(&case.world.stack, &case.id, Duration::from_mins(2)).await;
    case.until_imported().await;
}

/// An account whose first import stored a part of the year and then failed. `change` alters the job of that import.
async fn half_imported(change: impl FnOnce(ImportJob) -> ImportJob) -> Case {
    let case =
        Case::unseen(Dialect::V2, Link { history: Some(paged_history()), ..Link::default() });
    let mono = &case.world.mono;
    let event = mono.event(sandbox::Kind::AccountUpdated, &case.id).unwrap();
    // No transactions in the event, so no import follows.
    let event = event.with("/data/meta/retrieved_data", json!(["identity", "balance"]));
    mono.send(&event);
    case.when("the account is known", |account| account["last_event_at"].is_string()).await;
    let mut failures = vec![Failure::Pass; 7];
    failures.push(Failure::AccessDenied);
    fail("BatchWriteItem", &case.id, &failures);
    let job = change(case.job());
    assert_eq!(case.import(&job, 1).await, json!([]), "the message is not delivered again");
    assert_eq!(local().proxy.pending_faults(&case.id), 0);
    let rows = case.rows().await.len();
    assert!((1..300).contains(&rows), "some rows are written: {rows}");
    case
}

#[tokio::test]
async fn import_that_fails_half_way_is_continued_by_a_new_message() {
    let case = half_imported(|job| job).await;
    eventually("the continuation is logged", async || {
        let lines = case.world.stack.log("importer").await.unwrap();
        lines.iter().any(|line| line.contains(&case.id) && line.contains("\"continued\""))
    })
    .await;
    case.until_imported().await;
}

/// The job of the last message that a chain may have.
fn at_chain_limit(job: ImportJob) -> ImportJob {
    std::iter::successors(Some(job), |job| job.clone().next()).last().unwrap()
}

#[tokio::test]
async fn import_at_the_chain_limit_is_deferred_for_an_hour_and_keeps_its_progress() {
    let before = Timestamp::now();
    let case = half_imported(at_chain_limit).await;
    assert_eq!(case.requests().get("SendMessageBatch"), None, "no message follows");
    let deferred = item(case.world, &case.id).await["import_deferred_until"].clone();
    let until = Timestamp::from_millis(deferred.as_n().unwrap().parse().unwrap());
    assert!(until >= before + Duration::from_hours(1));
    case.import(&case.job(), 2).await;
    case.until_imported().await;
}

#[tokio::test]
async fn message_at_the_chain_limit_fails_while_another_import_holds_the_lease() {
    let case = Case::imported(Dialect::V2, history(80)).await;
    fail("Query", &case.id, &[Failure::Hang]);
    let early = case.job();
    let first = async { case.import(&early, 1).await };
    let second = async {
        sleep(Duration::from_millis(1500)).await;
        case.import(&at_chain_limit(case.job()), 2).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second.as_array().map(Vec::len)), (json!([]), Some(1)));
}

#[tokio::test]
async fn failed_table_request_is_retried_or_the_job_is_delivered_again() {
    for (operation, failures, failed) in [
        ("GetItem", &[Failure::Throttle][..], 0),
        ("GetItem", &[Failure::AccessDenied], 1),
        ("PutItem", &[Failure::Conflict], 0),
        ("PutItem", &[Failure::AnswerLost], 0),
        ("PutItem", &[Failure::AccessDenied], 1),
        ("Query", &[Failure::AccessDenied], 1),
        ("BatchWriteItem", &[Failure::Unprocessed, Failure::Unprocessed], 0),
        // More failures than the SDK retries.
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
        assert_eq!(count, Some(failed), "{operation} {failures:?}: {answer}");
        assert_eq!(local().proxy.pending_faults(&case.id), 0);
        // After a failed read or write of rows, the lease is held for ten seconds, and the job is queued again.
        assert_eq!(case.import(&job, 1).await, json!([]), "{operation} {failures:?}");
        case.until_imported().await;
    }
}

#[tokio::test]
async fn crash_between_import_request_and_record_write_requests_the_import_again() {
    let world = world(Dialect::V2);
    let id = world.mono.link(Link { silent: true, history: Some(history(30)), ..Link::default() });
    let case = Case { world, id };
    let event = world.mono.event(sandbox::Kind::AccountUpdated, &case.id).unwrap();
    let received_at = Timestamp::now().to_string();
    let batch = samples::batch_received_at(&[event.body().to_string()], &received_at);
    fail("PutItem", &case.id, &[Failure::Crash]);
    world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(local().proxy.pending_faults(&case.id), 0);
    let import_requests = || local().proxy.count("SendMessageBatch", &case.id);
    assert_eq!(import_requests(), 1, "the import is requested before the record is written");
    // The redelivery requests the import again and writes the record.
    world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(import_requests(), 2);
    case.until_imported().await;
    // A duplicate requests no import.
    world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(import_requests(), 2);
}

#[tokio::test]
async fn event_whose_import_cannot_be_requested_is_delivered_again() {
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
    assert_eq!(local().proxy.count("PutItem", &one), 0, "no record says that an import is due");
    let batch = samples::batch(&[body(&one), body(&other)]);
    let answer = world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    for id in [one, other] {
        Case { world, id }.until_imported().await;
    }
}

#[tokio::test]
async fn job_for_an_account_unlinked_at_mono_succeeds_and_keeps_the_rows() {
    let case = Case::imported(Dialect::V2, history(20)).await;
    case.world.mono.unlink(&case.id).unwrap();
    case.status("unlinked").await;
    let rows = case.rows().await;
    assert_eq!(case.import(&case.job(), 1).await, json!([]));
    assert_eq!(case.rows().await, rows, "the imported rows stay");
    eventually("the outcome is logged", async || {
        let lines = case.world.stack.log("importer").await.unwrap();
        lines.iter().any(|line| line.contains(&case.id) && line.contains("\"gone\""))
    })
    .await;
}

#[tokio::test]
async fn job_without_a_record_is_delivered_again() {
    let world = world(Dialect::V2);
    let id = world.mono.link(Link { silent: true, history: Some(history(5)), ..Link::default() });
    let case = Case { world, id };
    assert_eq!(case.import(&case.job(), 1).await.as_array().map(Vec::len), Some(1));
    assert_eq!(case.shown().await["code"], "ACCOUNT_NOT_FOUND", "the job creates no record");
}
