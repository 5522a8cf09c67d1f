//! The files of `events/`: each is what it is said to be, and each is handed to its function.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use e2e::shared_stack::{stack, world};
use e2e::{project, samples};
use sandbox::Dialect;
use serde_json::{Value, json};

/// Every file below `events/`, by its path there.
fn files() -> BTreeMap<String, Value> {
    let root = project().join("events");
    let mut files = BTreeMap::new();
    for function in list(&root) {
        for path in list(&function) {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap());
        }
    }
    files
}

fn list(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

async fn invoke(function: &str, folder: &str) -> BTreeMap<String, Value> {
    let mut results = BTreeMap::new();
    for (name, event) in files().into_iter().filter(|(name, _)| name.starts_with(folder)) {
        results.insert(name, stack().invoke(function, &event).await.unwrap());
    }
    assert!(!results.is_empty());
    results
}

#[test]
fn the_files_are_what_the_sandbox_would_send_today() {
    let (files, made) = (files(), samples::all());
    let stale: Vec<_> = files
        .keys()
        .chain(made.keys())
        .filter(|name| files.get(*name) != made.get(*name))
        .collect();
    assert!(stale.is_empty(), "write them anew with `cargo run -p e2e --bin samples`: {stale:?}");
}

#[tokio::test]
async fn each_webhook_sample_is_accepted_or_refused_as_its_name_says() {
    for (name, answer) in invoke("WebhookFunction", "webhook/").await {
        let expected = match name.as_str() {
            "webhook/wrong_secret.json" => 401,
            "webhook/not_json.json" => 400,
            _ => 200,
        };
        assert_eq!(answer["statusCode"], expected, "{name}: {answer}");
    }
}

#[tokio::test]
async fn each_processor_sample_is_worked_through() {
    for (name, answer) in invoke("ProcessorFunction", "processor/").await {
        assert_eq!(answer, json!({ "batchItemFailures": [] }), "{name}");
    }
}

#[tokio::test]
async fn each_accounts_sample_is_answered() {
    stack()
        .invoke("ProcessorFunction", &files()["processor/account_updated.v2.json"])
        .await
        .unwrap();
    let answers = invoke("AccountsFunction", "accounts/").await;
    assert_eq!(answers["accounts/get_account.json"]["statusCode"], 200);
    assert_eq!(answers["accounts/get_unknown_account.json"]["statusCode"], 404);
}

#[tokio::test]
async fn each_manual_sync_sample_is_answered() {
    for account in samples::accounts_to_sync() {
        world(Dialect::V2).mono.link(serde_json::from_value(account).unwrap());
    }
    let answers = invoke("ManualSyncFunction", "manual-sync/").await;
    let statuses =
        answers.iter().map(|(name, answer)| (name.as_str(), answer["statusCode"].as_i64()));
    let expected = [
        ("manual-sync/sync.json", 200),
        ("manual-sync/sync_balance.json", 200),
        ("manual-sync/sync_incomplete_statement.json", 200),
        ("manual-sync/sync_unknown_account.json", 404),
        ("manual-sync/sync_wrong_parameter.json", 400),
    ];
    assert!(statuses.eq(expected.map(|(name, status)| (name, Some(status)))), "{answers:#?}");
}
