//! Notifications on the bus: what changes in a record is published, once, and without personal data.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::notifications::violations;
use e2e::proxy::Failure;
use e2e::shared_stack::{local, stack, world};
use e2e::subscription::Subscription;
use sandbox::{Dialect, History, Kind, Link};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::manual_sync::Case;
use super::{account_id, account_with_status, balance_update, fail, post, set_number};

/// A consumer of the notifications of one account.
async fn subscribe(account_id: &str) -> Subscription {
    let pattern = json!({ "source": ["mono-sync"], "detail": { "account_id": [account_id] } });
    let bus = stack().output("EventBusName");
    Subscription::new(&stack().sdk(), bus, &format!("consumer-{account_id}"), &pattern).await
}

/// The distinct notifications among events. A second delivery has the same id and the same content.
pub(super) fn distinct(events: &[Value]) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for event in events {
        let detail = &event["detail"];
        assert_eq!(violations(detail), [""; 0]);
        match seen.iter().find(|known| known["id"] == detail["id"]) {
            Some(known) => assert_eq!(known, detail),
            None => seen.push(detail.clone()),
        }
    }
    seen
}

fn of_type(events: &[Value], name: &str) -> Vec<Value> {
    let mut distinct = distinct(events);
    distinct.retain(|notification| notification["type"] == name);
    distinct
}

fn has(name: &str) -> impl Fn(&[Value]) -> bool {
    move |events| !of_type(events, name).is_empty()
}

/// The transitions of the status, from the first to the last.
fn statuses(events: &[Value]) -> Vec<String> {
    let mut changes = of_type(events, "account.status_changed");
    let mut path = vec!["pending".to_owned()];
    while let Some(index) =
        changes.iter().position(|change| change["from"] == *path[path.len() - 1])
    {
        path.push(changes.remove(index)["to"].as_str().unwrap().to_owned());
    }
    assert_eq!(changes, [Value::Null; 0], "the transitions form one path");
    path
}

#[tokio::test]
async fn life_of_an_account_is_notified_without_personal_data() {
    let world = world(Dialect::V2);
    let id = account_id();
    let subscription = subscribe(&id).await;
    let history = History { transactions: 40, days: 90, ..History::default() };
    let (reference, history) = (Some("ada-0815".to_owned()), Some(history));
    world.mono.link(Link { account_id: Some(id.clone()), reference, history, ..Link::default() });
    let case = Case { world, id: id.clone() };
    case.until_imported().await;
    let mut events = subscription.take_until(has("account.transactions_imported")).await;

    assert_eq!(of_type(&events, "account.linked").len(), 1);
    let imports = of_type(&events, "account.transactions_imported");
    let [imported] = &imports[..] else { panic!("one import: {imports:#?}") };
    let rows = case.rows().await.len();
    assert_eq!(imported["added"], rows);
    assert_eq!(imported["history_complete"], true);
    assert_eq!((&imported["modified"], &imported["removed"]), (&json!(0), &json!(0)));

    case.receive(Kind::ReauthorisationRequired);
    case.status("reauthorisation_required").await;
    world.mono.reauthorise(&id).unwrap();
    case.status("healthy").await;
    let reference = Some("bola-0816".to_owned());
    world.mono.link(Link { account_id: Some(id.clone()), reference, ..Link::default() });
    events.extend(subscription.take_until(has("account.owner_changed")).await);
    // An account is read at most once a minute.
    set_number(world, &id, "link_checked_at", 1).await;
    world.mono.unlink(&id).unwrap();
    events.extend(subscription.take_until(has("account.unlinked")).await);

    let owner = &of_type(&events, "account.owner_changed")[0];
    assert_eq!((&owner["previous_ref"], &owner["ref"]), (&json!("ada-0815"), &json!("bola-0816")));
    assert!(!of_type(&events, "account.balance_changed").is_empty());
    let path = statuses(&events);
    assert!(path.contains(&"reauthorisation_required".to_owned()), "{path:?}");
    assert_eq!(path.last().unwrap(), "unlinked");

    let account = case.shown().await;
    let published = serde_json::to_string(&events).unwrap();
    let rows = case.rows().await;
    let mut personal = vec![account["name"].clone(), account["account_number"].clone()];
    personal.extend(rows.iter().map(|row| row["narration"].clone()));
    personal.push(account["institution"]["name"].clone());
    assert!(personal.len() > 40);
    for text in personal.iter().map(|text| text.as_str().unwrap()) {
        assert!(text.len() > 3 && !published.contains(text), "{text} is published");
    }
    for amount in
        rows.iter().map(|row| row["amount"].as_i64().unwrap()).filter(|amount| *amount > 9999)
    {
        assert!(!published.contains(&format!(":{amount}")), "{amount} is published");
    }
    assert!(!published.contains(account["customer_id"].as_str().unwrap()));
}

#[tokio::test]
async fn webhook_that_changes_nothing_is_not_notified_and_no_request_is_added_to_its_path() {
    let id = account_id();
    let subscription = subscribe(&id).await;
    post(&balance_update(&id, 1, 500)).await.error_for_status().unwrap();
    account_with_status(&id, "healthy").await;
    let mut events = subscription.take_until(has("account.balance_changed")).await;
    for _ in 0..3 {
        post(&balance_update(&id, 1, 500)).await.error_for_status().unwrap();
    }
    sleep(Duration::from_secs(5)).await;
    events.extend(subscription.take().await);
    for name in ["account.linked", "account.balance_changed"] {
        assert_eq!(of_type(&events, name).len(), 1, "{name}");
    }
    // A plan of another test may sync the account later.
    assert_eq!(statuses(&events)[..2], ["pending", "healthy"]);
    let proxy = &local().proxy;
    assert_eq!(proxy.count("SendMessage", &id), 4, "one request for each webhook");
}

#[tokio::test]
async fn account_of_a_one_time_payment_is_not_notified_and_costs_nothing() {
    let id = account_id();
    let subscription = subscribe(&id).await;
    // The body of a one-time payment, which has only the id [docs.mono.co, one-time payment webhooks].
    let bare = json!({ "event": "mono.events.account_connected", "data": { "id": id } });
    post(&bare).await.error_for_status().unwrap();
    let account = account_with_status(&id, "pending").await;
    assert_eq!(account["next_refresh_at"], Value::Null);
    stack().plan_refresh().await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(subscription.take().await, [Value::Null; 0]);
    let calls = world(Dialect::V2).mono.calls();
    assert!(!calls.iter().any(|call| call.account_id.as_deref() == Some(&id)));
}

#[tokio::test]
async fn notifier_that_is_killed_before_or_after_it_publishes_loses_nothing() {
    for failure in [Failure::Crash, Failure::CrashAfter] {
        let id = account_id();
        let subscription = subscribe(&id).await;
        fail("PutEvents", &id, &[failure; 3]);
        post(&balance_update(&id, 1, 500)).await.error_for_status().unwrap();
        let mut events = subscription.take_until(has("account.linked")).await;
        sleep(Duration::from_secs(4)).await;
        events.extend(subscription.take().await);
        for name in ["account.balance_changed", "account.linked", "account.status_changed"] {
            assert!(!of_type(&events, name).is_empty(), "{failure:?}: {name}");
        }
        assert_eq!(of_type(&events, "account.linked").len(), 1, "a repetition has the same id");
        let linked = events.iter().filter(|event| event["detail-type"] == "account.linked");
        let is_repeated = linked.count() > 1;
        assert_eq!(is_repeated, failure == Failure::CrashAfter, "{failure:?}");
        assert_eq!(local().proxy.pending_faults(&id), 0);
    }
}

#[tokio::test]
async fn rows_that_change_or_vanish_are_counted() {
    let world = world(Dialect::V2);
    let id = account_id();
    let history = History { transactions: 30, days: 30, ..History::default() };
    let (account_id, history) = (Some(id.clone()), Some(history));
    let subscription = subscribe(&id).await;
    world.mono.link(Link { account_id, history, ..Link::default() });
    let case = Case { world, id: id.clone() };
    case.until_imported().await;
    let imported = "account.transactions_imported";
    // Another test kills the notifier, so a notification may come twice.
    let mut events = subscription.take_until(has(imported)).await;
    let before = case.rows().await;
    let (mono, at_mono) = (&world.mono, world.mono.transactions(&id));
    let reverse = |row: &mut sandbox::Transaction| row.narration = "Reversed".to_owned();
    mono.change_transaction(&id, &at_mono[3].id, reverse).unwrap();
    mono.remove_transaction(&id, &at_mono[1].id).unwrap();
    mono.add_transactions(&id, [mono.draft_transaction(&id).unwrap()]).unwrap();
    case.pull().await;
    let first = of_type(&events, imported);
    let is_second =
        |event: &Value| event["detail"]["type"] == imported && !first.contains(&event["detail"]);
    events = subscription.take_until(|events| events.iter().any(is_second)).await;
    events.retain(is_second);
    let after = case.rows().await;
    let ids = |rows: &[Value]| -> BTreeSet<String> {
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let (old, new) = (ids(&before), ids(&after));
    let changed = after
        .iter()
        .filter(|row| before.iter().any(|known| known["id"] == row["id"] && known != *row));
    let imports = of_type(&events, imported);
    let [imported] = &imports[..] else { panic!("one import: {imports:#?}") };
    assert_eq!(imported["added"], new.difference(&old).count());
    assert_eq!(imported["removed"], old.difference(&new).count());
    assert_eq!(imported["modified"], changed.count());
    assert!(imported["added"] != 0 && imported["removed"] != 0 && imported["modified"] != 0);
}
