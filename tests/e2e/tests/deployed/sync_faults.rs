//! Failures between `manual-sync` and AWS, at each of its requests. After every failure, Mono is called at most once,
//! every lease ends, and the webhook sets an outcome that was not recorded.

use std::time::Duration;

use e2e::proxy::Failure;
use e2e::shared_stack::{local, world};
use sandbox::{Dialect, Kind, Link, Plan, Refresh, Webhooks};
use serde_json::{Value, json};

use super::{account_id, eventually, fail};
use e2e::past::let_time_pass;

/// An account that Mono knows and the stack does not.
fn unseen() -> String {
    world(Dialect::V2).mono.link(Link { silent: true, ..Link::default() })
}

async fn sync(id: &str) -> (u16, Value) {
    let answer = world(Dialect::V2).stack.sync(id, "").await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn shown(id: &str) -> Value {
    world(Dialect::V2).stack.account(id).await.unwrap().1
}

fn sync_calls(id: &str) -> usize {
    let calls = world(Dialect::V2).mono.calls();
    calls.iter().filter(|call| call.sync && call.account_id.as_deref() == Some(id)).count()
}

/// Failures that end before the SDK's retries do.
const TRANSIENT: [Failure; 5] = [
    Failure::Throttle,
    Failure::ServerError,
    Failure::Hang,
    Failure::AnswerLost,
    Failure::Conflict,
];

#[tokio::test]
async fn transient_failure_of_any_request_is_retried() {
    for failure in TRANSIENT {
        for (operation, passed) in [("GetItem", 0), ("PutItem", 0), ("PutItem", 1)] {
            if operation == "GetItem" && failure == Failure::Conflict {
                continue;
            }
            let id = unseen();
            // Without a webhook, the processor writes nothing and cannot consume the failures of this function.
            let quiet = Plan { webhooks: Webhooks::Lost, ..Plan::default() };
            world(Dialect::V2).mono.plan(&id, [quiet]).unwrap();
            let failures: Vec<_> =
                std::iter::repeat_n(Failure::Pass, passed).chain([failure]).collect();
            fail(operation, &id, &failures);
            let (status, body) = sync(&id).await;
            assert_eq!(status, 200, "{operation} {passed} {failure:?}: {body}");
            assert_eq!(sync_calls(&id), 1, "{operation} {passed} {failure:?}");
            let account = shown(&id).await;
            assert_eq!(account["status"], "healthy");
            assert_eq!(account["next_sync_allowed_at"], body["account"]["next_sync_allowed_at"]);
            assert_eq!(local().proxy.pending_faults(&id), 0);
        }
    }
}

#[tokio::test]
async fn mono_is_not_called_without_a_lease() {
    for (operation, failure) in [
        ("GetItem", Failure::AccessDenied),
        ("GetItem", Failure::ServerError),
        ("GetItem", Failure::Hang),
        ("PutItem", Failure::AccessDenied),
        ("PutItem", Failure::ServerError),
        ("PutItem", Failure::Hang),
        ("PutItem", Failure::AnswerLost),
    ] {
        let id = unseen();
        // As many failures as the SDK has tries. After a lost answer, the retry conflicts with the function's own
        // write.
        let failures = match failure {
            Failure::AccessDenied => vec![failure],
            Failure::AnswerLost => vec![failure, Failure::ServerError, Failure::ServerError],
            _ => vec![failure; 3],
        };
        fail(operation, &id, &failures);
        let (status, body) = sync(&id).await;
        assert_eq!(
            (status, &body["code"]),
            (503, &json!("STORE_UNAVAILABLE")),
            "{operation} {failure:?}"
        );
        assert_eq!(sync_calls(&id), 0, "{operation} {failure:?}");
        assert_eq!(local().proxy.pending_faults(&id), 0);
    }
}

#[tokio::test]
async fn crash_after_the_call_leaves_an_expiring_lease_and_the_webhook_sets_the_outcome() {
    let id = unseen();
    let world = world(Dialect::V2);
    world.mono.plan(&id, [Plan { webhooks: Webhooks::Lost, ..Plan::default() }]).unwrap();
    fail("PutItem", &id, &[Failure::Pass, Failure::Crash]);
    let answer = world.stack.sync(&id, "").await.unwrap();
    assert!(answer.status().is_server_error(), "the function crashed: {}", answer.status());
    assert_eq!(local().proxy.pending_faults(&id), 0);
    assert_eq!(shown(&id).await["status"], "syncing", "the lease holds");
    assert_eq!(sync(&id).await.0, 202);
    let event = world.mono.event(Kind::AccountUpdatedBySync, &id).unwrap();
    world.mono.send(&event);
    let balance = world.mono.account(&id).unwrap().balance;
    eventually("the webhook is applied", async || shown(&id).await["balance"] == balance).await;
    // The function's timeout of 29 seconds and one minute.
    let_time_pass(&world.stack, &id, Duration::from_secs(90)).await;
    eventually("the lease expires", async || shown(&id).await["status"] == "healthy").await;
    let (status, body) = sync(&id).await;
    assert_eq!(
        (status, &body["code"]),
        (429, &json!("SYNC_COOLDOWN")),
        "the crashed sync may have been charged"
    );
    assert_eq!(sync_calls(&id), 1);
}

#[tokio::test]
async fn outcome_that_cannot_be_recorded_is_503_without_a_second_call_to_mono() {
    for failures in [
        &[Failure::Pass, Failure::AccessDenied][..],
        &[Failure::Pass, Failure::Hang, Failure::Hang, Failure::Hang],
    ] {
        let id = unseen();
        // No webhook and no import: no other function consumes the failures of this function.
        let (outcome, webhooks) = (Refresh::Failed, Webhooks::Lost);
        let quiet = Plan { outcome, webhooks, ..Plan::default() };
        world(Dialect::V2).mono.plan(&id, [quiet]).unwrap();
        fail("PutItem", &id, failures);
        let (status, body) = sync(&id).await;
        assert_eq!((status, &body["code"]), (503, &json!("STORE_UNAVAILABLE")), "{failures:?}");
        assert_eq!(sync(&id).await.0, 202, "the lease holds");
        assert_eq!(sync_calls(&id), 1, "{failures:?}");
    }
}

#[tokio::test]
async fn record_of_an_unknown_account_is_deleted_despite_transient_failures() {
    for failure in TRANSIENT {
        let id = account_id();
        fail("DeleteItem", &id, &[failure]);
        let (status, body) = sync(&id).await;
        assert_eq!((status, &body["code"]), (404, &json!("ACCOUNT_NOT_FOUND")), "{failure:?}");
        assert_eq!(shown(&id).await["code"], "ACCOUNT_NOT_FOUND", "{failure:?}");
        assert_eq!(local().proxy.pending_faults(&id), 0);
    }
}
