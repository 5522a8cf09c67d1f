//! The command-line tool on the deployed template, with the stand-in for Mono.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use e2e::emulator::REGION;
use e2e::shared_stack::{World, world};
use sandbox::{Dialect, History, Link};
use serde_json::{Value, json};

/// The number of accounts in the adoption that is killed. For a measurement, set `ADOPTED_ACCOUNTS=50000`.
fn adopted_accounts() -> usize {
    std::env::var("ADOPTED_ACCOUNTS").ok().and_then(|number| number.parse().ok()).unwrap_or(1_000)
}

/// The tool, with the environment that `make run` prints.
fn tool(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mono-sync"));
    command
        .arg("--json")
        .args(arguments)
        .env("MONO_SYNC_STACK", world.stack.name())
        .env("AWS_ENDPOINT_URL", world.stack.endpoint())
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .stdin(Stdio::null());
    command
}

fn run(world: &World, arguments: &[&str]) -> Output {
    tool(world, arguments).output().unwrap()
}

/// The JSON lines of a run that succeeds.
fn lines(world: &World, arguments: &[&str]) -> Vec<Value> {
    let output = run(world, arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {error}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The only line of a run that succeeds.
fn line(world: &World, arguments: &[&str]) -> Value {
    let mut lines = lines(world, arguments);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

fn eventually(condition: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_mins(3);
    while !holds() {
        assert!(Instant::now() < end, "timed out waiting for: {condition}");
        sleep(Duration::from_millis(100));
    }
}

fn silent() -> Link {
    Link { silent: true, ..Link::default() }
}

fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("mono-sync-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

/// The number of writes of each account's record, counted in the stream of the table.
async fn writes(world: &World) -> HashMap<String, usize> {
    let mut writes = HashMap::new();
    for record in world.stack.stream_of("AccountsTable").await.unwrap() {
        let id = record["dynamodb"]["Keys"]["account_id"]["S"].as_str().unwrap_or_default();
        *writes.entry(id.to_owned()).or_default() += 1;
    }
    writes
}

/// Adopts 300 accounts, of which 30 are unlinked at Mono meanwhile. So the rows of the list move to other pages.
fn adopt_a_list_that_shrinks(world: &World) -> usize {
    let mut ids: Vec<_> = (0..300).map(|_| world.mono.link(silent())).collect();
    ids.sort();
    let state = file("shrinking");
    let path = state.to_str().unwrap();
    let mut adoption = tool(world, &["adopt", "--rate", "100", "--state", path]);
    let mut adoption = adoption.stdout(Stdio::null()).spawn().unwrap();
    let parts = || fs::read_to_string(&state).map_or(0, |state| state.lines().count());
    eventually("the first page is adopted", || parts() > 1);
    ids[..30].iter().for_each(|id| world.mono.unlink(id).unwrap());
    assert_eq!(adoption.wait().unwrap().code(), Some(0));
    fs::remove_file(&state).unwrap();
    let known = &line(world, &["adopt", "--rate", "100000", "--dry-run"])["accounts"];
    assert_eq!((&known["unchanged"], &known["created"]), (&json!(270), &json!(0)), "{known}");
    270
}

#[tokio::test(flavor = "multi_thread")]
async fn adoption_that_is_killed_three_times_adopts_each_account_once() {
    let (world, number) = (world(Dialect::V2), adopted_accounts());
    let known = adopt_a_list_that_shrinks(world);
    let ids: Vec<_> = (0..number).map(|_| world.mono.link(silent())).collect();
    let state = file("state");
    let arguments = ["adopt", "--rate", "100000", "--state", state.to_str().unwrap()];
    for part in 1..=3 {
        let mut adoption = tool(world, &arguments).stdout(Stdio::null()).spawn().unwrap();
        let parts = || fs::read_to_string(&state).map_or(0, |state| state.lines().count());
        // The first line is the header.
        eventually("a part is adopted", || parts() > part * number / 500);
        adoption.kill().unwrap();
        let killed = adoption.wait().unwrap();
        assert_eq!(killed.code(), None, "it was killed before its end");
    }
    let mixed = run(world, &[&arguments[..], &["--transactions"]].concat());
    let error = String::from_utf8_lossy(&mixed.stderr).into_owned();
    assert_eq!(mixed.status.code(), Some(1), "the state is of a run without imports: {error}");
    let adopted = &line(world, &arguments)["accounts"];
    let count = |name: &str| usize::try_from(adopted[name].as_u64().unwrap()).unwrap();
    assert!(count("done_before") >= 3 * number / 500 * 100, "{adopted}");
    let all = count("done_before") + count("created") + count("unchanged");
    assert_eq!((all, count("failed")), (number + known, 0), "{adopted}");
    assert_eq!(adopted["incomplete"], false, "{adopted}");

    let before = writes(world).await;
    assert!(ids.iter().all(|id| before.get(id) == Some(&1)), "each record was written once");
    let again = &line(world, &["adopt", "--rate", "100000"])["accounts"];
    let all = json!(number + known);
    assert_eq!((&again["unchanged"], &again["created"]), (&all, &json!(0)));
    assert_eq!(writes(world).await, before, "a second run writes nothing");

    let account = line(world, &["account", &ids[0]]);
    let at_mono = world.mono.account(&ids[0]).unwrap();
    assert_eq!(account["name"], at_mono.name);
    assert_eq!(account["customer_id"], at_mono.customer_id);
    assert_eq!(account["balance"], at_mono.balance);
    assert!(account["identity_verified_at"].is_string());
    assert_eq!(account["last_synced_at"], Value::Null, "a list is not fresh data");

    fs::remove_file(&state).unwrap();

    // The transactions that Mono already has are imported once.
    let dry = line(world, &["adopt", "--rate", "100000", "--transactions", "--dry-run"]);
    assert_eq!(dry["accounts"]["imports"], all);
    assert_eq!(dry["naira_for_one_page_each"], (number + known) * 150);
    let some = file("ids");
    let history = History { transactions: 30, days: 9, ..History::default() };
    let link = Link { history: Some(history), ..silent() };
    let with_history: Vec<_> = (0..20).map(|_| world.mono.link(link.clone())).collect();
    fs::write(&some, with_history.join("\n")).unwrap();
    let arguments = ["adopt", "--transactions", "--ids", some.to_str().unwrap()];
    let adopted = line(world, &arguments);
    assert_eq!(
        (&adopted["accounts"]["created"], &adopted["accounts"]["imports"]),
        (&json!(20), &json!(20))
    );
    assert_eq!(line(world, &arguments)["accounts"]["created"], 0);
    for id in &with_history {
        eventually("the transactions are imported", || {
            line(world, &["account", id])["transactions_imported_at"].is_string()
        });
    }
    assert_eq!(line(world, &arguments)["accounts"]["imports"], 0);
    let calls = world.mono.calls();
    let listings = calls.iter().filter(|call| call.path.ends_with("/transactions"));
    assert_eq!(listings.count(), 20, "each history is listed once");
    assert!(calls.iter().all(|call| !call.begun), "no call in real time");
    fs::remove_file(&some).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_sees_and_exports_an_account_and_replays_dead_letters() {
    let world = world(Dialect::V1);
    let history = History { transactions: 30, days: 9, ..History::default() };
    let id = world.mono.link(Link { history: Some(history), ..Link::default() });
    let shown = || line(world, &["account", &id]);
    eventually("the transactions are imported", || {
        run(world, &["account", &id]).status.success()
            && shown()["transactions_imported_at"].is_string()
    });
    let status = line(world, &["status"]);
    assert_eq!(status["accounts"]["by_status"]["healthy"], 1, "{status}");
    assert_eq!(status["accounts"]["account_with_oldest_sync"], id.as_str());
    assert_eq!(status["dead_letters"]["WebhookDeadLetter"], 0);

    let events = lines(world, &["events", &id]);
    assert!(events.iter().any(|event| event["kind"] == "account_connected"), "{events:?}");
    let export = lines(world, &["export", &id]);
    let of_kind = |kind: &str| export.iter().filter(|line| line["kind"] == kind).count();
    let counts = ["account", "record", "event", "transaction"].map(of_kind);
    assert_eq!(counts, [1, 1, events.len(), 30]);
    assert_eq!(export[0]["account"]["name"], world.mono.account(&id).unwrap().name);

    let unknown = run(world, &["account", &"0".repeat(24)]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("the stack has no account"));
    assert_eq!(run(world, &["adopt"]).status.code(), Some(1), "v1 has no list");
    assert_eq!(run(world, &["adopt", "--rate", "0"]).status.code(), Some(2));
    let elsewhere = run(world, &["--stack", "elsewhere", "status"]);
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("elsewhere"), "{elsewhere:?}");

    // The processor rejects letters without JSON again. So a letter that comes back was really moved.
    let other = "1".repeat(24);
    let queue = world.stack.output("WebhookDeadLetterQueueUrl");
    let sqs = aws_sdk_sqs::Client::new(&world.stack.sdk());
    for text in [&id, &other] {
        let letter = sqs.send_message().queue_url(queue).message_body(format!("no json {text}"));
        letter.send().await.unwrap();
    }
    let dry = lines(world, &["replay", "webhook", "--account", &id]);
    let summary = |lines: &[Value]| lines.last().unwrap().clone();
    let expected = json!({ "dead_letters": 2, "has_more": false, "matching": 1, "moved": 0 });
    assert_eq!(summary(&dry), expected);
    assert!(!dry[0].to_string().contains("no json"), "no content is shown");
    let old = lines(world, &["replay", "webhook", "--older-than", "1h", "--execute"]);
    assert_eq!(summary(&old)["moved"], 0);
    let moved = lines(world, &["replay", "webhook", "--account", &id, "--execute"]);
    assert_eq!(summary(&moved)["moved"], 1);
    eventually("the processor refuses the message again", || {
        let letters = lines(world, &["replay", "webhook", "--account", &id]);
        letters.iter().any(|letter| letter["reason"].is_string())
    });
    let all = lines(world, &["replay", "webhook"]);
    assert_eq!(summary(&all)["dead_letters"], 2, "nothing is lost");
}
