//! End-to-end tests of the whole system. The real template is deployed on the emulator, each function has exactly the
//! permissions of its role, and the sandbox replaces Mono.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod accounts_list;
mod answers;
mod attention;
mod authorisation;
mod bare;
mod big_day;
mod bills;
mod budget;
mod burst;
mod chain;
mod change_feed;
mod costs;
mod dead_letters;
mod deliveries;
mod erasure_proof;
mod faults;
mod forwarding;
mod history;
mod import_faults;
mod imports;
mod late_transactions;
mod life_cycle;
mod logs;
mod manual_sync;
mod notification_volume;
mod notifications;
mod odd_events;
mod odd_statements;
mod postgres_mirror;
mod reauthorise;
mod receivers;
mod refresh;
mod retention;
mod rotation;
mod samples;
mod sync_faults;
mod ten_days;
mod transactions;
mod trust;
mod volume;
mod web_example;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use e2e::proxy::Failure;
use e2e::samples::LOCAL_SECRET;
use e2e::shared_stack::{World, local, stack};
use reqwest::{Method, Response};
use sandbox::{Dialect, Sandbox, Settings};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// An account id that no other test uses.
fn account_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0x6979_26f0);
    format!("{:024x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A sandbox that sends its webhooks to the stack, with its delays divided by 1,000.
async fn mono(dialect: Dialect) -> Sandbox {
    let settings = Settings {
        webhook_url: stack().webhook_url(),
        webhook_secret: LOCAL_SECRET.to_owned(),
        time_scale: 1000.0,
        dialect,
        ..Settings::default()
    };
    Sandbox::start(settings).await.unwrap()
}

/// Posts a body to the webhook endpoint as Mono does.
async fn post(body: &Value) -> Response {
    let request = stack().request(Method::POST, "/webhooks/mono");
    request.header("mono-webhook-secret", LOCAL_SECRET).json(body).send().await.unwrap()
}

/// Waits until the account in the API is as expected, and returns it.
async fn account_when(account_id: &str, expected: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    let end = Instant::now() + Duration::from_secs(40);
    while Instant::now() < end {
        let (status, account) = stack().account(account_id).await.unwrap();
        if status == 200 && expected(&account) {
            return account;
        }
        seen = account;
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the account did not become as expected: {seen:#}");
}

async fn account_with_status(account_id: &str, status: &str) -> Value {
    account_when(account_id, |account| account["status"] == status).await
}

/// Waits until a condition holds. The limit is longer than the minute for which a function caches a secret, and
/// longer than the two minutes for which the rest of an import may wait.
async fn eventually(condition: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(3);
    while !holds().await {
        assert!(Instant::now() < end, "timed out waiting for: {condition}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// An update with a balance and no transactions, so no import follows. Its time is in this second.
fn balance_update(account_id: &str, second: u32, balance: i64) -> Value {
    json!({
        "event": "mono.events.account_updated",
        "event_id": format!("{account_id}-{second}"),
        "timestamp": format!("2026-01-27T21:00:{second:02}.000Z"),
        "data": {
            "account": { "_id": account_id, "name": "Ada Example", "balance": balance },
            "meta": {
                "data_status": "AVAILABLE", "sync_status": "SUCCESSFUL",
                "retrieved_data": ["identity", "balance"],
            },
        },
    })
}

/// An item of the accounts table, as stored.
async fn item(world: &World, key: &str) -> e2e::past::Item {
    e2e::past::item(&world.stack, key).await
}

/// Sets a number of an item of the accounts table: a time in milliseconds, or an amount in naira.
async fn set_number(world: &World, key: &str, attribute: &str, number: u64) {
    Client::new(&world.stack.sdk())
        .update_item()
        .table_name(world.stack.output("AccountsTableName"))
        .key("account_id", AttributeValue::S(key.to_owned()))
        .update_expression("SET #attribute = :number")
        .expression_attribute_names("#attribute", attribute)
        .expression_attribute_values(":number", AttributeValue::N(number.to_string()))
        .send()
        .await
        .unwrap();
}

/// Makes the next requests for this operation that contain this text fail, one for each failure.
fn fail(operation: &'static str, containing: &str, failures: &[Failure]) {
    local().proxy.fail(operation, containing, failures);
}
