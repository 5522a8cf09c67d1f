//! A stack with minimal parameters: no cooldown, no history, and a base URL of Mono that refuses connections.

use std::sync::OnceLock;

use e2e::proxy::Failure;
use e2e::samples::{LOCAL_KEY, LOCAL_SECRET};
use e2e::shared_stack::{aside, local};
use e2e::stack::Stack;
use reqwest::Method;
use serde_json::{Value, json};

use super::manual_sync::Answer;
use super::{account_id, balance_update, eventually, fail};

fn bare() -> &'static Stack {
    static BARE: OnceLock<Stack> = OnceLock::new();
    BARE.get_or_init(|| {
        let parameters = &[
            ("MonoSecretKey", LOCAL_KEY),
            ("MonoWebhookSecret", LOCAL_SECRET),
            ("MonoApiBaseUrl", "http://127.0.0.1:9"),
            ("SyncCooldownSeconds", "0"),
            ("EventRetentionDays", "0"),
            ("LogLevel", "WARN"),
        ];
        let emulator = &local().emulator;
        aside(Stack::deploy(emulator, "bare", parameters)).unwrap_or_else(|error| panic!("{error}"))
    })
}

async fn sync(id: &str) -> Answer {
    Answer::of(bare().sync(id, "").await.unwrap()).await
}

#[tokio::test]
async fn sync_without_mono_or_the_key_is_503_and_leaves_no_record() {
    let id = account_id();
    for failures in [&[Failure::AccessDenied][..], &[Failure::Throttle; 3], &[Failure::Hang; 3]] {
        fail("GetSecretValue", bare().resource("MonoKey"), failures);
        let answer = sync(&id).await.expect(503, "STORE_UNAVAILABLE");
        assert_eq!(answer.retry_after, None);
    }
    assert_eq!(local().proxy.count("GetItem", &id), 0, "the key is read before the record");
    for _ in 0..2 {
        let answer = sync(&id).await.expect(503, "MONO_UNAVAILABLE");
        assert!(answer.retry_after.is_some());
        let (_, problem) = bare().account(&id).await.unwrap();
        assert_eq!(problem["code"], "ACCOUNT_NOT_FOUND");
    }
    caller_is_logged("manual-sync", "sync", &id).await;
}

#[tokio::test]
async fn retention_of_zero_writes_and_reads_no_history() {
    let id = account_id();
    let post = bare().request(Method::POST, "/webhooks/mono");
    let post = post.header("mono-webhook-secret", LOCAL_SECRET).json(&balance_update(&id, 1, 1));
    assert_eq!(post.send().await.unwrap().status(), 200);
    eventually("the event is applied", async || {
        bare().account(&id).await.unwrap().1["status"] == "healthy"
    })
    .await;
    let request = bare().request(Method::GET, &format!("/accounts/{id}/events"));
    let answer = request.header("authorization", "signed").send().await.unwrap();
    let answer = Answer::of(answer).await.expect_ok();
    assert_eq!(answer.body, json!({ "events": [], "next_cursor": Value::Null }));
    let requests = local().proxy.calls(&id);
    assert!(
        !requests.iter().any(|call| ["BatchWriteItem", "Query"].contains(&call.operation.as_str()))
    );
}

/// Waits until a function has logged the caller of this action.
async fn caller_is_logged(function: &str, action: &str, id: &str) {
    eventually("the caller is logged", async || {
        let lines = bare().log(function).await.unwrap();
        let mut lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.any(|line| {
            line["action"] == action
                && line["account_id"] == id
                && line["level"] == "INFO"
                && line["principal"].is_string()
                && line["request_id"].is_string()
        })
    })
    .await;
}

#[tokio::test]
async fn rule_change_logs_the_caller_at_log_level_warn() {
    let id = account_id();
    let post = bare().request(Method::POST, "/webhooks/mono");
    let post = post.header("mono-webhook-secret", LOCAL_SECRET).json(&balance_update(&id, 1, 1));
    assert_eq!(post.send().await.unwrap().status(), 200);
    eventually("the account is known", async || bare().account(&id).await.unwrap().0 == 200).await;
    let request = bare().request(Method::PATCH, &format!("/accounts/{id}"));
    let request = request.header("authorization", "signed").json(&json!({ "refresh": "weekly" }));
    Answer::of(request.send().await.unwrap()).await.expect_ok();
    caller_is_logged("links", "set_refresh", &id).await;
}
