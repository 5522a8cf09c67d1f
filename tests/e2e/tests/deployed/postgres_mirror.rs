//! The example `examples/postgres-mirror`: copies the change feed to PostgreSQL after each notification.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::QueueAttributeName;
use e2e::process::Companion;
use e2e::project;
use e2e::proxy::Failure;
use e2e::shared_stack::{local, stack};
use e2e::subscription::Subscription;
use mono_sync::random;
use sandbox::{Dialect, History};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::manual_sync::Case;
use super::{eventually, fail};

/// The longest time from an import to a kill at a random point.
const MOMENT: Duration = Duration::from_secs(1);

/// 10,000 changes. `MIRROR_CHANGES` sets another number.
fn changes() -> usize {
    std::env::var("MIRROR_CHANGES").map_or(10_000, |number| number.parse().unwrap())
}

/// The changes of one import.
const CHANGES_PER_ROUND: usize = 500;

fn python() -> Command {
    Command::new(project().join(".venv/postgres/bin/python"))
}

fn example(file: &str) -> PathBuf {
    project().join("examples/postgres-mirror").join(file)
}

/// A PostgreSQL server with the schema of the example. It ends with this handle.
struct Database {
    _process: Companion,
    url: String,
}

impl Database {
    async fn start() -> Self {
        let log = project().join("target/local/postgres.log");
        let mut command = python();
        command.arg(project().join("tests/e2e/postgres/server.py")).arg(example("schema.sql"));
        let process = Companion::start(&mut command, &log).unwrap();
        let end = Instant::now() + Duration::from_mins(1);
        loop {
            let output = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(url) = output.lines().find(|line| line.starts_with("postgresql://")) {
                return Self { _process: process, url: url.to_owned() };
            }
            assert!(Instant::now() < end, "PostgreSQL did not start: {output}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The rows of an account by their ids, as the API shows them.
    fn rows(&self, account_id: &str) -> BTreeMap<String, Value> {
        let statement = r#"SELECT id, to_char(date AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), type, amount,
            balance, currency, narration, category FROM transactions WHERE account_id = %s"#;
        let names =
            ["id", "date", "type", "amount", "balance", "currency", "narration", "category"];
        let row = |values: Vec<Value>| {
            let id = values[0].as_str().unwrap().to_owned();
            let fields = names.iter().map(|name| (*name).to_owned()).zip(values);
            (id, Value::Object(fields.collect()))
        };
        self.run(statement, &[account_id]).into_iter().map(row).collect()
    }

    /// Runs a statement, and returns its rows.
    fn run(&self, statement: &str, parameters: &[&str]) -> Vec<Vec<Value>> {
        let mut command = python();
        command.arg(project().join("tests/e2e/postgres/query.py")).args([&self.url, statement]);
        let output = command.args(parameters).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let rows = String::from_utf8(output.stdout).unwrap();
        rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    }

    /// The number of transactions and the number of cursors.
    fn count(&self) -> [u64; 2] {
        ["transactions", "cursors"].map(|table| {
            self.run(&format!("SELECT count(*) FROM {table}"), &[])[0][0].as_u64().unwrap()
        })
    }
}

/// The program of the example. It is killed with this handle.
struct Mirror(Child);

impl Mirror {
    fn start(database: &Database, api: &str, arguments: &[&str], queue_url: &str) -> Self {
        let mut command = python();
        command
            .arg(example("mirror.py"))
            .args(arguments)
            .env("DATABASE_URL", &database.url)
            .env("API_URL", api)
            .env("QUEUE_URL", queue_url)
            .env("AWS_ENDPOINT_URL", local().emulator.endpoint())
            .env("AWS_DEFAULT_REGION", e2e::emulator::REGION)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Waits until the program ends, and checks that it succeeded.
    async fn succeeds(mut self) {
        let mut status = None;
        eventually("the copy is made", async || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        assert!(status.unwrap().success());
    }

    fn kill(&mut self) {
        let _ended = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Case {
    fn by_id(rows: Vec<Value>) -> BTreeMap<String, Value> {
        rows.into_iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
    }

    /// Adds, changes and removes rows at Mono: [`CHANGES_PER_ROUND`] in total.
    fn change_rows(&self) {
        let mono = &self.world.mono;
        let rows = mono.transactions(&self.id);
        for row in rows.iter().take(100) {
            mono.change_transaction(&self.id, &row.id, |row| row.narration.push('!')).unwrap();
        }
        for row in rows.iter().skip(100).take(50) {
            mono.remove_transaction(&self.id, &row.id).unwrap();
        }
        let new = (0..CHANGES_PER_ROUND - 150).map(|_| mono.draft_transaction(&self.id).unwrap());
        mono.add_transactions(&self.id, new.collect::<Vec<_>>()).unwrap();
    }
}

#[tokio::test]
async fn mirror_in_postgresql_equals_the_table_after_kills_a_reset_and_an_erasure() {
    let database = Database::start().await;
    let history = History { transactions: 400, days: 5, ..History::default() };
    let case = Case::imported(Dialect::V2, history).await;
    let pattern = json!({ "detail": { "account_id": [case.id] } });
    let (sdk, bus) = (stack().sdk(), stack().output("EventBusName"));
    let subscription = Subscription::new(&sdk, bus, "postgres-mirror", &pattern).await;
    let queue_url = subscription.queue_url();
    let visibility = Sqs::new(&sdk).set_queue_attributes().queue_url(queue_url);
    let visibility = visibility.attributes(QueueAttributeName::VisibilityTimeout, "2");
    visibility.send().await.unwrap();
    let api = stack().api_address();
    let once = || Mirror::start(&database, &api, &["--once", &case.id], queue_url).succeeds();
    once().await;
    assert_eq!(database.rows(&case.id), Case::by_id(case.rows().await));
    let start = || Mirror::start(&database, &api, &[], queue_url);
    let both = || vec![start(), start()];
    let mut mirrors = both();
    for round in 0..changes() / CHANGES_PER_ROUND {
        let is_killed_in_a_page = round % 4 == 0;
        if is_killed_in_a_page {
            mirrors.clear();
        }
        case.change_rows();
        let number = u32::try_from(round).unwrap();
        assert_eq!(case.import(&case.job(), number).await, json!([]));
        if is_killed_in_a_page {
            // Both mirrors are killed inside the transaction of a page, before the feed answers.
            fail("Query", &case.id, &[Failure::Hang]);
            mirrors = both();
            let is_reading = async || local().proxy.pending_faults(&case.id) == 0;
            eventually("a mirror reads a page", is_reading).await;
            mirrors.clear();
            let at_mono = case.world.mono.transactions(&case.id).len() as u64;
            assert_ne!(database.count()[0], at_mono);
            mirrors = both();
        } else {
            // The mirror is killed at a random point of its work.
            sleep(2 * random::jittered(MOMENT) - MOMENT).await;
            mirrors[round % 2] = start();
        }
    }
    let stored = Case::by_id(case.rows().await);
    assert_eq!(stored, Case::by_id(case.rows_at_mono()));
    eventually("the copy equals the table", async || database.rows(&case.id) == stored).await;

    drop(mirrors);
    // The cursor has expired, and the copy has a row that the table does not have.
    database.run("UPDATE cursors SET cursor = regexp_replace(cursor, '[^.]+$', '1')", &[]);
    let rename =
        "UPDATE transactions SET id = 'gone' WHERE id = (SELECT min(id) FROM transactions)";
    database.run(rename, &[]);
    once().await;
    assert_eq!(database.rows(&case.id), stored);

    let _mirror = start();
    case.erase_completely().await;
    eventually("the copy is deleted", async || database.count() == [0, 0]).await;
}
