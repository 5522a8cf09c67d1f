//! The sample events in `events/`: each file is up to date, and its function accepts it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use e2e::shared_stack::{stack, world};
use e2e::{project, samples};
use sandbox::Dialect;
use serde_json::{Value, json};

/// Every file in `events/`, by its path relative to that folder.
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
fn sample_files_are_up_to_date() {
    let (files, generated) = (files(), samples::all());
    let stale: Vec<_> = files
        .keys()
        .chain(generated.keys())
        .filter(|name| files.get(*name) != generated.get(*name))
        .collect();
    assert!(
        stale.is_empty(),
        "regenerate the samples with `cargo run -p e2e --bin samples`: {stale:?}"
    );
}

#[tokio::test]
async fn webhook_samples_are_accepted_or_refused_as_their_names_say() {
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
async fn processor_samples_and_all_events_of_the_sandbox_are_processed() {
    for (name, answer) in invoke("ProcessorFunction", "processor/").await {
        assert_eq!(answer, json!({ "batchItemFailures": [] }), "{name}");
    }
    let bodies: Vec<_> =
        sandbox::Event::samples().iter().map(|event| event.body().to_string()).collect();
    for bodies in bodies.chunks(10) {
        let answer = stack().invoke("ProcessorFunction", &samples::batch(bodies)).await.unwrap();
        assert_eq!(answer, json!({ "batchItemFailures": [] }), "{bodies:#?}");
    }
}

/// The status of each answer, by the name of its sample.
fn statuses(answers: &BTreeMap<String, Value>) -> Vec<(&str, i64)> {
    answers
        .iter()
        .map(|(path, answer)| {
            let name = path.rsplit('/').next().unwrap_or_default();
            (name.trim_end_matches(".json"), answer["statusCode"].as_i64().unwrap_or_default())
        })
        .collect()
}

#[tokio::test]
async fn samples_of_the_other_functions_have_the_expected_answers() {
    for account in samples::accounts_to_sync() {
        world(Dialect::V2).mono.link(serde_json::from_value(account).unwrap());
    }
    stack()
        .invoke("ProcessorFunction", &files()["processor/account_updated.v2.json"])
        .await
        .unwrap();
    let answers = invoke("ManualSyncFunction", "manual-sync/").await;
    let expected = [
        ("sync", 200),
        ("sync_balance", 200),
        ("sync_incomplete_statement", 200),
        ("sync_unknown_account", 404),
        ("sync_wrong_parameter", 400),
    ];
    assert_eq!(statuses(&answers), expected, "{answers:#?}");
    let answers = invoke("AccountsFunction", "accounts/").await;
    let expected = [
        ("get_account", 200),
        ("get_changes", 200),
        ("get_events", 200),
        ("get_transactions", 200),
        ("get_transactions_wrong_from", 400),
        ("get_unknown_account", 404),
        ("list_accounts", 200),
        ("list_accounts_of_owner", 200),
        ("list_failed_accounts", 200),
        ("list_wrong_limit", 400),
    ];
    assert_eq!(statuses(&answers), expected, "{answers:#?}");
    let answers = invoke("LinksFunction", "links/").await;
    let expected = [
        ("erase_unknown_account", 404),
        ("exchange_invalid_code", 400),
        ("reauthorise", 200),
        ("reauthorise_unknown_account", 404),
        ("reauthorise_wrong_url", 400),
        ("set_refresh", 200),
        ("start_link", 201),
        ("start_link_wrong_url", 400),
        ("unlink_unknown_account", 404),
    ];
    assert_eq!(statuses(&answers), expected, "{answers:#?}");
    for (name, answer) in invoke("NotifierFunction", "notifier/").await {
        assert_eq!(answer, json!({ "batchItemFailures": [] }), "{name}");
    }
    for (function, folder) in
        [("ImporterFunction", "importer/"), ("RefreshWorkerFunction", "refresh-worker/")]
    {
        for (name, answer) in invoke(function, folder).await {
            let failures = answer["batchItemFailures"].as_array().unwrap().len();
            let done = ["importer/import.json", "refresh-worker/refresh.json"];
            let expected = usize::from(!done.contains(&name.as_str()));
            assert_eq!(failures, expected, "{name}: {answer}");
        }
    }
}
