//! The way from Mono's webhook to the account in the API.

use mono_sync::domain::timestamp::Timestamp;
use sandbox::{Dialect, Kind, Link, Network, NetworkFault, Order, Refresh};
use serde_json::json;

use super::{account_id, account_when, account_with_status, balance_update, mono, post};

#[tokio::test]
async fn linked_account_becomes_healthy() {
    let mono = mono(Dialect::V2).await;
    let link = Link { reference: Some("owner-1".to_owned()), ..Link::default() };
    let id = mono.link(link);
    let account = account_with_status(&id, "healthy").await;
    assert_eq!(account["account_id"], json!(id));
    assert_eq!(account["ref"], "owner-1");
    assert_eq!(account["data_status"], "AVAILABLE");
    assert!(account["balance"].is_i64() && account["customer_id"].is_string());
    assert!(account["next_refresh_at"].is_string());
    assert!(account.get("bvn").is_none());
}

#[tokio::test]
async fn reauthorisation_required_holds_until_new_data_arrives() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let mono = mono(dialect).await;
        let id = mono.link(Link::default());
        let healthy = account_with_status(&id, "healthy").await;

        mono.refresh(&id, Refresh::ReauthorisationRequired).unwrap();
        let waiting = account_with_status(&id, "reauthorisation_required").await;
        assert_eq!(waiting["reauthorisation_required_at"], waiting["status_at"]);
        assert_eq!(
            waiting["last_synced_at"], healthy["last_synced_at"],
            "the time of the last sync does not change"
        );
        assert_eq!(waiting["balance"], healthy["balance"]);

        mono.reauthorise(&id).unwrap();
        let recovered = account_with_status(&id, "healthy").await;
        assert!(recovered["last_synced_at"].as_str() > healthy["last_synced_at"].as_str());
        assert_eq!(recovered["reauthorisation_required_at"], json!(null));
    }
}

#[tokio::test]
async fn reauthorised_account_without_new_data_is_pending() {
    let mono = mono(Dialect::V2).await;
    let id = mono.link(Link::default());
    account_with_status(&id, "healthy").await;
    mono.send(&mono.event(Kind::AccountReauthorized, &id).unwrap());
    account_with_status(&id, "reauthorisation_pending").await;
}

#[tokio::test]
async fn refresh_outcome_determines_the_status() {
    let outcomes = [
        (Refresh::NewData, "healthy"),
        (Refresh::NothingNew, "healthy"),
        (Refresh::Failed, "failed"),
        (Refresh::BankUnavailable, "bank_unavailable"),
        (Refresh::ReauthorisationRequired, "reauthorisation_required"),
    ];
    let mono = mono(Dialect::V2).await;
    for (outcome, status) in outcomes {
        let id = mono.link(Link::default());
        let linked = account_with_status(&id, "healthy").await;
        mono.refresh(&id, outcome).unwrap();
        account_when(&id, |account| {
            account["status"] == status && account["last_event_at"] != linked["last_event_at"]
        })
        .await;
    }
}

#[tokio::test]
async fn unlinked_account_stays_unlinked_after_a_later_update() {
    let mono = mono(Dialect::V2).await;
    let id = mono.link(Link::default());
    account_with_status(&id, "healthy").await;
    mono.unlink(&id).unwrap();
    account_with_status(&id, "unlinked").await;
    let mut late = balance_update(&id, 59, 7);
    late["timestamp"] = json!(Timestamp::now());
    post(&late).await;
    let account = account_when(&id, |account| account["balance"] == 7).await;
    assert_eq!(account["status"], "unlinked");
}

#[tokio::test]
async fn duplicate_and_late_events_do_not_replace_the_newest_state() {
    let mono = mono(Dialect::V2).await;
    let id = mono.link(Link::default());
    account_with_status(&id, "healthy").await;
    let newest = mono.event(Kind::AccountUpdated, &id).unwrap();
    let newest = newest.with("/data/account/balance", 900);
    let late = mono.event(Kind::AccountUpdatedReauthorisationRequired, &id).unwrap();
    let late = late.with_timestamp("2026-01-01T00:00:00.000Z").with("/data/account/balance", 100);
    mono.send_with(&newest, NetworkFault::Duplicated(3));
    mono.send_all(vec![late.clone(), newest, late], Order::Shuffled);
    mono.settled().await;
    let account = account_when(&id, |account| account["balance"] == 900).await;
    let marker = account_id();
    post(&balance_update(&marker, 1, 1)).await;
    account_with_status(&marker, "healthy").await;
    assert_eq!(account_with_status(&id, "healthy").await["balance"], account["balance"]);
}

#[tokio::test]
async fn unreliable_network_delays_but_does_not_change_the_final_state() {
    let mono = mono(Dialect::V2).await;
    let bad = Network {
        duplicate: 0.5,
        delay: 0.5,
        delay_seconds: 600.0,
        reorder: 0.5,
        ..Network::default()
    };
    mono.set_network(bad).unwrap();
    let id = mono.link(Link::default());
    for _ in 0..3 {
        mono.refresh(&id, Refresh::NewData).unwrap();
    }
    mono.settled().await;
    let balance = mono.account(&id).unwrap().balance;
    account_when(&id, |account| {
        account["status"] == "healthy" && account["balance"] == json!(balance)
    })
    .await;
}

#[tokio::test]
async fn update_before_the_link_event_is_kept() {
    let id = account_id();
    post(&balance_update(&id, 10, 500)).await;
    account_when(&id, |account| account["balance"] == 500).await;
    post(&json!({
        "event": "mono.events.account_connected",
        "timestamp": "2026-01-27T21:00:05.000Z",
        "data": { "id": id, "customer": "c1", "meta": { "ref": "owner-2" } },
    }))
    .await;
    let account = account_when(&id, |account| account["ref"] == "owner-2").await;
    assert_eq!((&account["balance"], &account["status"]), (&json!(500), &json!("healthy")));
}

#[tokio::test]
async fn webhook_of_every_kind_is_answered_with_200() {
    for dialect in [Dialect::V1, Dialect::V2] {
        let mono = mono(dialect).await;
        let id = mono.link(Link::default());
        for kind in Kind::ALL {
            mono.send(&mono.event(kind, &id).unwrap());
        }
        for delivery in mono.settled().await {
            let statuses: Vec<_> = delivery.attempts.iter().collect();
            assert!(
                matches!(statuses[..], [sandbox::Attempt::Status(200)]),
                "{:?} {statuses:?}",
                delivery.kind
            );
        }
    }
}

#[tokio::test]
async fn event_without_facts_about_an_account_creates_no_record() {
    let id = account_id();
    for event in
        ["mono.events.account_income", "mono.events.webhook_test", "direct_debit.paid", "new"]
    {
        let answer = post(&json!({ "event": event, "data": { "account": id } })).await;
        assert_eq!(answer.status(), 200, "{event}");
    }
    let marker = account_id();
    post(&balance_update(&marker, 1, 1)).await;
    account_with_status(&marker, "healthy").await;
    let (status, problem) = e2e::shared_stack::stack().account(&id).await.unwrap();
    assert_eq!((status.as_u16(), &problem["code"]), (404, &json!("ACCOUNT_NOT_FOUND")));
}
