//! The logs of the functions, and the private data that they must not contain.

use e2e::samples::LOCAL_KEY;
use e2e::shared_stack::{stack, world};
use sandbox::{Dialect, Fault, Link, Plan, Refresh};
use serde_json::{Value, json};

use super::{account_id, account_with_status, eventually, post};

/// The functions that handle data of customers.
pub(super) const FUNCTIONS: [&str; 9] = [
    "webhook",
    "processor",
    "manual-sync",
    "accounts",
    "links",
    "importer",
    "refresh-worker",
    "notifier",
    "deliverer",
];

async fn lines(function: &str) -> Vec<String> {
    stack().log(function).await.unwrap()
}

#[tokio::test]
async fn event_is_logged_with_request_event_and_account_and_without_personal_data() {
    let id = account_id();
    let body = json!({
        "event": "mono.events.account_updated",
        "event_id": "logged-event",
        "timestamp": "2026-01-27T21:00:38.856Z",
        "data": {
            "account": { "_id": id, "name": "Zebedee Quux", "accountNumber": "9988776655",
                "bvn": "22212345678", "balance": 1 },
            "meta": { "data_status": "AVAILABLE" },
        },
    });
    post(&body).await;
    account_with_status(&id, "healthy").await;
    let found = std::cell::RefCell::new(Value::Null);
    eventually("the event is logged", async || {
        let lines = lines("processor").await;
        let line = lines.iter().find(|line| line.contains(&id) && line.contains("request_id"));
        let line = line.and_then(|line| serde_json::from_str(line).ok());
        *found.borrow_mut() = line.unwrap_or_default();
        found.borrow().is_object()
    })
    .await;
    let line = found.take();
    assert!(line["timestamp"].is_string() && line["level"] == "INFO");
    let events = line["events"].as_array().unwrap();
    let event = events.iter().find(|event| event["account_id"] == json!(id)).unwrap();
    let expected = json!({ "event": "account_updated", "event_id": "logged-event", "account_id": id, "effect": "applied" });
    assert_eq!(*event, expected);
    for function in FUNCTIONS {
        for line in lines(function).await {
            for personal in ["Zebedee", "9988776655", "22212345678"] {
                assert!(!line.contains(personal), "{function} logs {personal}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn dead_letter_is_logged_with_the_reason_and_without_the_body() {
    let tag = account_id();
    post(&json!({
        "event": "mono.events.reauthorisation_required",
        "data": { "account": { "_id": format!("Zebedee Quux {tag}"), "accountNumber": "9988776655" } },
    }))
    .await;
    eventually("the dead letter is logged", async || {
        lines("processor").await.iter().any(|line| {
            line.contains("moved to the dead-letter queue")
                && line.contains("by something that is no account id")
        })
    })
    .await;
    let logged = lines("processor").await;
    assert!(!logged.iter().any(|line| line.contains(&tag) || line.contains("9988776655")));
}

#[tokio::test]
async fn refused_webhook_is_logged_as_a_warning_with_its_code() {
    let request = stack().request(reqwest::Method::POST, "/webhooks/mono");
    let answer = request.header("mono-webhook-secret", "wrong").body("{}").send().await.unwrap();
    let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    eventually("the refusal is logged", async || {
        let lines = lines("webhook").await;
        let line = lines.iter().find(|line| line.contains(&request_id) && line.contains("code"));
        let line: Value = line.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        line["code"] == "WEBHOOK_SECRET_INVALID" && line["level"] == "WARN"
    })
    .await;
}

#[tokio::test]
async fn sync_is_logged_with_its_outcome_and_logs_and_problems_hold_no_private_data() {
    let world = world(Dialect::V2);
    let mono = &world.mono;
    let private = |id: &str| {
        let account = mono.account(id).unwrap();
        [LOCAL_KEY.to_owned(), account.name, account.account_number, account.bvn]
    };
    let mut ids = Vec::new();
    for (plan, outcome) in [
        (Plan::default(), "successful"),
        (Plan { outcome: Refresh::Failed, ..Plan::default() }, "failed"),
        (Plan { fault: Some(Fault::Status(401)), ..Plan::default() }, "refused"),
        (Plan { fault: Some(Fault::Html(200)), ..Plan::default() }, "unusable"),
        (Plan { fault: Some(Fault::Status(500)), ..Plan::default() }, "unavailable"),
        (Plan { fault: Some(Fault::Status(404)), ..Plan::default() }, "not_found"),
    ] {
        let id = mono.link(Link::default());
        account_with_status(&id, "healthy").await;
        mono.plan(&id, [plan]).unwrap();
        let answer = world.stack.sync(&id, "").await.unwrap();
        let request_id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let refused = !answer.status().is_success();
        let body = answer.text().await.unwrap();
        if refused {
            assert!(!private(&id).iter().any(|text| contains_words(&body, text)), "{body}");
        }
        eventually("the outcome is logged", async || {
            let lines = lines("manual-sync").await;
            let line =
                lines.iter().find(|line| line.contains(&request_id) && line.contains("outcome"));
            let line: Value =
                line.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
            line["outcome"] == outcome && line["account_id"] == id.as_str()
        })
        .await;
        ids.push(id);
    }
    for function in FUNCTIONS {
        for line in lines(function).await {
            for id in &ids {
                assert!(
                    !private(id).iter().any(|text| contains_words(&line, text)),
                    "{function}: {line}"
                );
            }
        }
    }
    let lines = lines("manual-sync").await;
    let refused = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let refused = refused.filter(|line| line["code"] == "MONO_KEY_REFUSED");
    assert!(refused.count() > 0, "the alarm counts these lines");
}

/// Whether the text contains these words as whole words. An account number may be a part of an id.
pub(super) fn contains_words(text: &str, words: &str) -> bool {
    let alone = |character: Option<char>| !character.is_some_and(char::is_alphanumeric);
    text.match_indices(words).any(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + words.len()..]);
        alone(before.chars().next_back()) && alone(after.chars().next())
    })
}
