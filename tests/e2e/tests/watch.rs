//! Tests `make watch` and `cargo lambda invoke` as the README describes them.

#![allow(clippy::unwrap_used, reason = "a missing value fails the test")]

use std::time::Duration;

use e2e::emulator::free_port;
use e2e::process::Companion;
use e2e::project;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

/// The `PATH` with the tools that `make` installs.
fn path() -> String {
    let tools = project().join(".venv/bin");
    format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default())
}

async fn watch(port: u16) -> Companion {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(["watch", "--port", &port.to_string()]).env("PATH", path());
    let log = project().join(format!("target/local/watch-{port}.log"));
    let mut watch = Companion::start(&mut command, &log).unwrap();
    let end = Instant::now() + Duration::from_mins(2);
    while TcpStream::connect(("::1", port)).await.is_err() {
        assert!(
            !watch.has_ended() && Instant::now() < end,
            "make watch has not started: see {}",
            log.display()
        );
        sleep(Duration::from_millis(200)).await;
    }
    watch
}

async fn invoke(port: u16, function: &str, sample: &str) -> Value {
    let output = Command::new("cargo")
        .args(["lambda", "invoke", function, "--data-file", sample])
        .args(["--invoke-port", &port.to_string()])
        .current_dir(project())
        .env("PATH", path())
        .output()
        .await
        .unwrap();
    let (printed, error) = (output.stdout, String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&printed).unwrap_or_else(|_| panic!("{function}: {error}"))
}

#[tokio::test]
async fn cargo_lambda_invoke_reaches_every_function_with_its_sample() {
    let port = free_port().unwrap();
    let _watch = watch(port).await;
    let accepted = invoke(port, "webhook", "events/webhook/account_updated.v2.json").await;
    assert_eq!(accepted["statusCode"], 200, "{accepted}");
    let worked = invoke(port, "processor", "events/processor/account_updated.v2.json").await;
    assert_eq!(worked["batchItemFailures"].as_array().map(Vec::len), Some(0), "{worked}");
    let shown = invoke(port, "accounts", "events/accounts/get_account.json").await;
    assert_eq!(shown["statusCode"], 200, "{shown}");
    let history = invoke(port, "accounts", "events/accounts/get_events.json").await;
    assert_eq!(history["statusCode"], 200, "{history}");
    let started = invoke(port, "links", "events/links/start_link.json").await;
    assert_eq!(started["statusCode"], 201, "{started}");
    let synced = invoke(port, "manual-sync", "events/manual-sync/sync.json").await;
    assert_eq!(synced["statusCode"], 200, "{synced}");
    let imported = invoke(port, "importer", "events/importer/import.json").await;
    assert_eq!(imported["batchItemFailures"].as_array().map(Vec::len), Some(0), "{imported}");
    let plan = invoke(port, "refresh-planner", "events/refresh-planner/hourly.json").await;
    assert!(plan["scanned"].as_u64() > Some(0), "{plan}");
    let refreshed = invoke(port, "refresh-worker", "events/refresh-worker/refresh.json").await;
    assert_eq!(refreshed["batchItemFailures"].as_array().map(Vec::len), Some(0), "{refreshed}");
    // Through the API's own routes, as `make watch` prints them.
    let accounts = format!("http://[::1]:{port}/accounts");
    let id = e2e::samples::account_id();
    for (path, field) in [
        (accounts.clone(), "accounts"),
        (format!("{accounts}/{id}"), "status"),
        (format!("{accounts}/{id}/events"), "events"),
        (format!("{accounts}/{id}/transactions"), "transactions"),
    ] {
        let answer = reqwest::get(&path).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let answer: Value = answer.json().await.unwrap();
        assert!(!answer[field].is_null(), "{path}: {answer}");
    }
}
