//! Undocumented webhooks and answers of Mono, and their effect on the account.

use e2e::samples;
use e2e::shared_stack::World;
use sandbox::{Dialect, Fault, Kind, Link};
use serde_json::{Value, json};

use super::manual_sync::{BOTH, Case};
use super::{account_id, account_when, eventually, post};

#[tokio::test]
async fn balance_and_reference_are_read_as_number_or_text() {
    for (balance, read) in [
        (json!(22967.0), json!(22967)),
        (json!("22967"), json!(22967)),
        (json!(229.67), json!(null)),
    ] {
        let id = account_id();
        let update = json!({
            "event": "mono.events.account_updated", "event_id": id, "timestamp": "2026-01-27T21:00:00.000Z",
            "data": {
                "account": { "_id": id, "name": "Ada Example", "balance": balance },
                "meta": {
                    "data_status": "AVAILABLE", "sync_status": "SUCCESSFUL", "ref": 4_055_877,
                    "retrieved_data": ["identity", "balance"],
                },
            },
        });
        post(&update).await.error_for_status().unwrap();
        let account = account_when(&id, |account| account["status"] == "healthy").await;
        assert_eq!((&account["balance"], &account["ref"]), (&read, &json!("4055877")));
        let synced_at = &account["balance_synced_at"];
        let expected = if read.is_null() { Value::Null } else { json!("2026-01-27T21:00:00.000Z") };
        assert_eq!(*synced_at, expected, "{balance}");
    }
}

#[tokio::test]
async fn account_is_unlinked_after_any_answer_that_denies_it() {
    for dialect in BOTH {
        for status in [400, 404, 410] {
            let case = Case::linked(dialect).await;
            // Its listing would meet the planned answer, and count as a call.
            case.until_imported().await;
            case.world.mono.plan_free(&case.id, [Fault::Status(status)]).unwrap();
            case.receive(Kind::AccountUnlinked);
            case.status("unlinked").await;
            let calls = case.world.mono.calls().len();
            case.sync().await.expect(410, "ACCOUNT_UNLINKED");
            let more = case.world.mono.calls().split_off(calls);
            let mine: Vec<_> =
                more.iter().filter(|call| call.account_id.as_ref() == Some(&case.id)).collect();
            assert!(mine.is_empty(), "{dialect} {status}: no second read at once: {mine:#?}");
        }
    }
}

#[tokio::test]
async fn unlinked_account_whose_sync_is_404_stays_unlinked() {
    let case = Case::linked(Dialect::V2).await;
    case.receive(Kind::AccountUnlinked);
    case.until_verified().await;
    case.plan(sandbox::Plan { fault: Some(Fault::Status(404)), ..sandbox::Plan::default() });
    case.sync().await.expect(404, "ACCOUNT_NOT_FOUND");
    let account = case.shown().await;
    assert_eq!(
        (&account["status"], &account["next_refresh_at"]),
        (&json!("unlinked"), &json!(null))
    );
    case.receive(Kind::AccountUnlinked);
    let calls = case.world.mono.calls().len();
    case.sync().await.expect(410, "ACCOUNT_UNLINKED");
    let more = case.world.mono.calls().split_off(calls);
    assert!(
        !more.iter().any(|call| call.account_id.as_ref() == Some(&case.id)),
        "no second paid call"
    );
}

#[tokio::test]
async fn empty_wallet_fails_no_account_and_is_logged_for_the_alarm() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        case.plan(sandbox::Plan { fault: Some(Fault::Status(402)), ..sandbox::Plan::default() });
        let refused = case.sync().await.expect(502, "SYNC_FAILED");
        assert_eq!(refused.body["mono_code"], "HTTP_402");
        let account = case.shown().await;
        assert_eq!(account["status"], "healthy");
        assert_eq!(account["next_sync_allowed_at"], json!(null), "no sync has begun");
        let logged = |lines: Vec<String>| {
            let refused = |line: &&String| line.contains("MONO_PAYMENT_REQUIRED");
            lines.iter().filter(refused).count() > 0
        };
        eventually("the refusal is logged", async || {
            logged(case.world.stack.log("manual-sync").await.unwrap())
        })
        .await;
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
    }
}

#[tokio::test]
async fn late_retry_of_a_success_does_not_clear_a_required_reauthorisation() {
    let world: &World = e2e::shared_stack::world(Dialect::V1);
    let id = world.mono.link(Link { silent: true, ..Link::default() });
    let case = Case { world, id };
    let update = |balance: i64| {
        let account = json!({ "_id": case.id, "name": "Ada Example", "balance": balance });
        let data = json!({ "account": account, "meta": { "data_status": "AVAILABLE" } });
        json!({ "event": "mono.events.account_updated", "data": data }).to_string()
    };
    let reauth_required = json!({
        "event": "mono.events.reauthorisation_required", "data": { "account": { "_id": case.id } },
    });
    let process = async |body: String, hour: u32| {
        let received_at = format!("2026-01-{:02}T{:02}:00:00.000Z", 10 + hour / 24, hour % 24);
        let batch = samples::batch_received_at(&[body], &received_at);
        world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    };
    process(update(100), 0).await;
    process(update(50), 1).await;
    process(reauth_required.to_string(), 25).await;
    process(update(100), 40).await;
    let account = case.status("reauthorisation_required").await;
    assert_eq!(account["balance"], 50, "the repeated body is a duplicate");
    assert_eq!(account["last_synced_at"], "2026-01-10T01:00:00.000Z");
}
