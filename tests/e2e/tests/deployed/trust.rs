//! Forged webhooks. Anyone who knows the webhook secret can post any event. Mono's API decides what counts.

use std::time::Duration;

use e2e::past;
use e2e::samples::LOCAL_SECRET;
use e2e::shared_stack::world;
use mono_sync::domain::timestamp::Timestamp;
use reqwest::Method;
use sandbox::{Dialect, Kind, Link};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::history::events;
use super::manual_sync::Case;
use super::{account_id, eventually};

const DAY: Duration = Duration::from_hours(24);
/// Longer than a message takes through a queue and a function.
const WHILE: Duration = Duration::from_secs(8);

impl Case {
    /// An account whose first import is complete.
    async fn owned_by(reference: &str) -> Self {
        let world = world(Dialect::V2);
        let reference = Some(reference.to_owned());
        let id = world.mono.link(Link { reference, ..Link::default() });
        let case = Self { world, id };
        case.until_imported().await;
        case
    }

    /// Posts a forged event, with a timestamp in the future.
    async fn forge(&self, event: &str, data: Value) {
        let ahead = Timestamp::now() + Duration::from_mins(4);
        let body = json!({ "event": event, "timestamp": ahead.to_string(), "data": data });
        let request = self.world.stack.request(Method::POST, "/webhooks/mono");
        let posted = request.header("mono-webhook-secret", LOCAL_SECRET).json(&body);
        assert_eq!(posted.send().await.unwrap().status(), 200);
    }

    async fn forge_owner(&self, owner: &str) {
        let data = json!({ "id": self.id, "customer": "c", "meta": { "ref": owner } });
        self.forge("mono.events.account_connected", data).await;
    }

    async fn until_read(&self, reads: usize) {
        eventually("the account is read at Mono", async || self.reads() == reads).await;
    }

    async fn kinds_in_history(&self) -> Vec<String> {
        let events = events(&self.id).await;
        events.iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn forged_owner_never_shows_and_costs_one_read() {
    let case = Case::owned_by("ada").await;
    let before = case.bill();
    case.forge_owner("mallory").await;
    eventually("Mono has confirmed the identity", async || {
        let account = case.shown().await;
        assert_eq!(account["ref"], "ada");
        account["identity_verified_at"].is_string()
    })
    .await;
    case.receive(Kind::AccountConnected);
    sleep(WHILE).await;
    assert_eq!(case.shown().await["ref"], "ada");
    assert_eq!((case.reads(), case.bill() - before), (1, 100));
    assert!(!case.kinds_in_history().await.contains(&"owner_changed".to_owned()));
}

#[tokio::test]
async fn genuine_change_of_the_owner_shows_within_seconds_and_is_noted() {
    let case = Case::owned_by("ada").await;
    let (account_id, reference) = (Some(case.id.clone()), Some("bola".to_owned()));
    case.world.mono.link(Link { account_id, reference, ..Link::default() });
    case.when("the new owner shows", |account| account["ref"] == "bola").await;
    case.until_read(1).await;
    assert!(case.kinds_in_history().await.contains(&"owner_changed".to_owned()));
    let lines = case.world.stack.log("refresh-worker").await.unwrap();
    let mut changes = lines.iter().filter(|line| line.contains("OWNER_CHANGED"));
    let line = changes.find(|line| line.contains(&case.id)).expect("no line in the log");
    assert!(!line.contains("ada") && !line.contains("bola"), "{line}");
}

#[tokio::test]
async fn forged_number_never_shows_and_the_forged_balance_is_repaired() {
    let case = Case::owned_by("ada").await;
    let genuine = case.shown().await;
    let account = json!({ "_id": case.id, "name": genuine["name"], "accountNumber": "9999999999",
                          "balance": 999_999_999_900_i64 });
    let data = json!({ "account": account, "meta": { "data_status": "AVAILABLE" } });
    case.forge("mono.events.account_updated", data).await;
    case.until_verified().await;
    let account = case.shown().await;
    for field in ["name", "account_number", "institution", "balance"] {
        assert_eq!(account[field], genuine[field], "{field}");
    }
    assert_eq!(case.reads(), 1);
}

#[tokio::test]
async fn forged_unlinking_never_shows_and_does_not_refuse_a_sync() {
    let case = Case::owned_by("ada").await;
    case.forge("mono.events.account_unlinked", json!({ "account": { "id": case.id } })).await;
    eventually("Mono has confirmed the link", async || {
        let account = case.shown().await;
        assert_eq!(account["status"], "healthy");
        account["identity_verified_at"].is_string()
    })
    .await;
    case.sync().await.expect(200, "SYNC_SUCCESSFUL");
    assert_eq!(case.reads(), 1);
}

#[tokio::test]
async fn flood_of_forged_owners_causes_one_read_in_a_minute() {
    let case = Case::owned_by("ada").await;
    for number in 0..20 {
        case.forge_owner(&format!("mallory-{number}")).await;
    }
    case.until_read(1).await;
    sleep(WHILE).await;
    assert_eq!((case.reads(), &case.shown().await["ref"]), (1, &json!("ada")));
}

#[tokio::test]
async fn ordinary_webhooks_and_syncs_cause_no_read() {
    let case = Case::owned_by("ada").await;
    for kind in [Kind::AccountUpdated, Kind::AccountReauthorized, Kind::AccountConnected] {
        case.receive(kind);
    }
    case.sync().await.expect(200, "SYNC_SUCCESSFUL");
    sleep(WHILE).await;
    assert_eq!(case.reads(), 0);
    assert_eq!(case.shown().await["identity_verified_at"], Value::Null);
}

#[tokio::test]
async fn invented_account_costs_one_attempt_and_is_removed_when_mono_denies_it_after_a_day() {
    let case = Case { world: world(Dialect::V2), id: account_id() };
    let calls = || {
        let calls = case.world.mono.calls();
        calls.iter().filter(|call| call.account_id.as_ref() == Some(&case.id)).count()
    };
    let data = json!({ "account": { "_id": case.id, "name": "Mallory" },
                       "meta": { "data_status": "AVAILABLE", "ref": "victim" } });
    for _ in 0..3 {
        case.forge("mono.events.account_updated", data.clone()).await;
    }
    eventually("the first import is attempted", async || calls() == 1).await;
    case.forge("mono.events.account_updated", data).await;
    sleep(WHILE).await;
    assert_eq!((calls(), case.bill()), (1, 0));
    past::let_time_pass(&case.world.stack, &case.id, DAY + DAY).await;
    case.refresh(Timestamp::now()).await;
    eventually("the record is removed", async || {
        let (status, _) = case.world.stack.account(&case.id).await.unwrap();
        status == 404
    })
    .await;
    assert_eq!((calls(), case.bill()), (2, 0));
}

#[tokio::test]
async fn events_of_other_products_make_no_account() {
    let world = world(Dialect::V2);
    for (event, field) in [
        ("events.mandates.created", "id"),
        ("event.disburse.account.created", "account_id"),
        ("owo.beneficiary.linked", "id"),
        ("mono.prove.data_verification_successful", "id"),
        ("mono.events.watchlist.match_found", "id"),
        ("mono.events.account_updated", "id"),
    ] {
        let case = Case { world, id: account_id() };
        case.forge(event, json!({ field: case.id, "meta": { "ref": "victim" } })).await;
        sleep(Duration::from_secs(2)).await;
        let (status, _) = world.stack.account(&case.id).await.unwrap();
        assert_eq!(status, 404, "{event}");
    }
}
