//! A burst of concurrent webhooks.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use e2e::samples::LOCAL_SECRET;
use e2e::shared_stack::{stack, world};

use mono_sync::aws::store::AccountStore;
use mono_sync::domain::account::{Account, AccountView, RefreshPolicy, RefreshRule};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::webhook::event::{self, Interpretation};
use sandbox::{Attempt, Dialect, Link};
use serde_json::{Value, json};

use super::{account_id, eventually, mono};

/// Ten events. Each one is the only writer of some register or bound of the record, so the loss of any event is
/// visible. All events carry their time, so the record does not depend on the order of arrival.
fn ten_events(id: &str, number: usize) -> [Value; 10] {
    let event = |name: &str, second: usize, data: Value| {
        json!({
            "event": name,
            "event_id": format!("{id}-{second}"),
            "timestamp": format!("2026-01-27T21:{:02}:{second:02}.000Z", number % 60),
            "data": data,
        })
    };
    let account = json!({ "_id": id });
    let updated = "mono.events.account_updated";
    [
        event(updated, 2, json!({ "account": { "_id": id, "accountNumber": "0131883461" } })),
        event(
            "mono.events.account_connected",
            4,
            json!({ "id": id, "customer": format!("c{number}"), "meta": { "ref": format!("r{number}") } }),
        ),
        event("mono.events.reauthorisation_required", 6, json!({ "account": account })),
        event("mono.events.account_reauthorized", 8, json!({ "account": account })),
        event(updated, 10, json!({ "account": { "_id": id, "balance": number } })),
        event(updated, 12, json!({ "account": { "_id": id, "name": "Ada Example" } })),
        event(updated, 14, json!({ "account": account, "meta": { "data_status": "AVAILABLE" } })),
        event(
            "mono.accounts.jobs.update",
            16,
            json!({ "account": id, "id": format!("job{number}"), "status": "finished" }),
        ),
        event("mono.events.sync_failed", 1, json!({ "account": account })),
        event("mono.events.sync_failed", 18, json!({ "account": account })),
    ]
}

fn expected(id: &AccountId, events: &[Value]) -> Account {
    events.iter().fold(Account::new(id.clone()), |account, body| {
        match event::read(&body.to_string(), Timestamp::now()).unwrap().interpretation {
            Interpretation::Fact(_, fact) => account.apply(&fact),
            Interpretation::Nothing(_) => panic!("each of the ten events is a fact"),
        }
    })
}

#[tokio::test]
async fn burst_of_500_webhooks_for_50_accounts_loses_no_event() {
    let accounts: Vec<(AccountId, [Value; 10])> = (0..50)
        .map(|number| {
            let id = account_id();
            let events = ten_events(&id, number);
            let account_id = Some(id.clone());
            // Its first import finds nothing.
            let link = Link { account_id, silent: true, balance_only: true, ..Link::default() };
            world(Dialect::V2).mono.link(link);
            (id.parse().unwrap(), events)
        })
        .collect();

    let mono = mono(Dialect::V2).await;
    let header = [("mono-webhook-secret", LOCAL_SECRET), ("content-type", "application/json")];
    for round in 0..10 {
        for (number, (_, events)) in accounts.iter().enumerate() {
            // Each account gets its events in a different order.
            let body = &events[(round * 7 + number) % 10];
            mono.send_raw(body.to_string(), &header).unwrap();
        }
    }
    let deliveries = mono.settled().await;
    assert_eq!(deliveries.len(), 500);
    let accepted = |attempts: &[Attempt]| matches!(attempts.last(), Some(Attempt::Status(200)));
    assert!(deliveries.iter().all(|delivery| accepted(&delivery.attempts)));

    let policy = RefreshPolicy {
        interval: None,
        rule: RefreshRule::Interval,
        cooldown: Duration::ZERO,
        unlinked_retention: None,
    };
    let store =
        AccountStore::new(Client::new(&stack().sdk()), stack().output("AccountsTableName"), policy);
    let ids: BTreeSet<AccountId> = accounts.iter().map(|(id, _)| id.clone()).collect();
    eventually("each record holds its ten events", async || {
        let records = store.get_all(ids.clone()).await;
        accounts.iter().all(|(id, events)| {
            let Ok(Some(stored)) = &records[id] else {
                return false;
            };
            let (held, expected, now) = (&stored.account, expected(id, events), Timestamp::now());
            // An import may have run.
            let view = AccountView { transactions_imported_at: None, ..held.view(now, policy) };
            view == expected.view(now, policy)
        })
    })
    .await;
}
