//! Imports of transactions. After a pull, the table holds each row of Mono once, and only changed rows are written.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use e2e::samples;
use e2e::shared_stack::{local, world};
use mono_sync::domain::import::ImportJob;
use mono_sync::domain::timestamp::Timestamp;
use sandbox::{Dialect, History, Kind, Link, PageFault, Plan, Refresh, Webhooks};
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use super::manual_sync::{Answer, BOTH, Case};
use super::{account_id, eventually};

impl Case {
    /// A linked account whose history is imported.
    pub(super) async fn imported(dialect: Dialect, history: History) -> Self {
        let world = world(dialect);
        let id = world.mono.link(Link { history: Some(history), ..Link::default() });
        let case = Self { world, id };
        case.until_imported().await;
        case
    }

    /// Retries while the store is unavailable: the emulator may be busy with the rows of another test.
    pub(super) async fn transactions(&self, query: &str) -> Answer {
        let path = format!("/accounts/{}/transactions{query}", self.id);
        for _ in 0..3 {
            let answer = Answer::of(self.world.stack.get(&path).await.unwrap()).await;
            if answer.body["code"] != "STORE_UNAVAILABLE" {
                return answer;
            }
            sleep(Duration::from_secs(1)).await;
        }
        panic!("{path}: the store is unavailable");
    }

    /// Every row, page by page. Empty for an unknown account.
    pub(super) async fn rows(&self) -> Vec<Value> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = self.transactions(&format!("?limit=500{cursor}")).await;
            if answer.status == 404 {
                return rows;
            }
            let answer = answer.expect_ok();
            rows.extend(answer.body["transactions"].as_array().unwrap().clone());
            match answer.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    }

    /// Mono's rows, in the form and the order of the API.
    pub(super) fn rows_at_mono(&self) -> Vec<Value> {
        let currency = self.world.mono.account(&self.id).unwrap().currency;
        self.world.mono.transactions(&self.id).iter().map(|row| {
            let row = json!(row);
            json!({
                "id": row["id"], "date": row["date"], "type": row["type"], "amount": row["amount"],
                "balance": row["balance"], "currency": currency, "narration": row["narration"],
                "category": row["category"],
            })
        }).collect()
    }

    /// Waits until the rows are equal to Mono's and the import is recorded.
    pub(super) async fn until_imported(&self) -> Value {
        eventually("the rows are equal to Mono's", async || {
            self.rows().await == self.rows_at_mono()
        })
        .await;
        self.when("the import is recorded", |account| {
            account["transactions_imported_at"].is_string()
        })
        .await
    }

    /// Sends the webhook of a pull, and waits until its transactions are imported.
    pub(super) async fn pull(&self) -> Value {
        let before = self.shown().await["transactions_imported_at"].clone();
        let mono = &self.world.mono;
        mono.send(&mono.event(Kind::AccountUpdated, &self.id).unwrap());
        self.when("the pull is imported", |account| account["transactions_imported_at"] != before)
            .await
    }

    pub(super) fn table(&self) -> &str {
        self.world.stack.output("TransactionsTableName")
    }

    /// The numbers of rows put and deleted so far.
    pub(super) fn written(&self) -> (usize, usize) {
        let calls = local().proxy.calls(&self.id);
        let writes = calls.iter().filter(|call| call.operation == "BatchWriteItem");
        let writes = writes.filter(|call| call.body.contains(self.table()));
        let count = |body: &str, what: &str| body.matches(&format!("\"{what}\":")).count();
        writes.fold((0, 0), |(puts, deletes), call| {
            (puts + count(&call.body, "PutRequest"), deletes + count(&call.body, "DeleteRequest"))
        })
    }

    /// The number of calls for pages of transactions so far, without the calls that begin a sync.
    pub(super) fn pages(&self) -> usize {
        let calls = self.world.mono.calls();
        let pages = calls.iter().filter(|call| {
            call.account_id.as_ref() == Some(&self.id)
                && !call.sync
                && call.path.ends_with("/transactions")
        });
        pages.count()
    }

    /// The number of AWS requests about this account, by operation, without those of the notifier.
    pub(super) fn requests(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let calls = local().proxy.calls(&self.id).into_iter();
        for call in calls.filter(|call| call.operation != "PutEvents") {
            *counts.entry(call.operation).or_default() += 1;
        }
        counts
    }

    /// Invokes the importer with a job for this account in a message with this number. Returns the batch item
    /// failures.
    pub(super) async fn import(&self, job: &ImportJob, message: u32) -> Value {
        let mut batch = samples::batch(&[job.to_body()]);
        let message_id = format!("{}-{message}", self.id);
        batch["Records"][0]["messageId"] = json!(message_id);
        let answer = self.world.stack.invoke("ImporterFunction", &batch).await.unwrap();
        answer["batchItemFailures"].clone()
    }

    /// An import job for a pull that happens now.
    pub(super) fn job(&self) -> ImportJob {
        samples::import_job(&self.id, &Timestamp::now().to_string())
    }
}

fn history(transactions: usize) -> History {
    History { transactions, ..History::default() }
}

#[tokio::test]
async fn first_import_fetches_the_history_in_one_page() {
    for dialect in BOTH {
        let case = Case::imported(dialect, history(250)).await;
        let account = case.shown().await;
        assert_eq!(account["transactions_imported_at"], account["last_synced_at"]);
        assert_eq!(account["transactions_through"], case.rows_at_mono()[0]["date"]);
        assert_eq!(case.written(), (250, 0));
        assert_eq!(case.pages(), 1);
        let calls = case.world.mono.calls();
        let mine = calls.iter().filter(|call| call.account_id.as_ref() == Some(&case.id));
        for call in mine {
            assert!(!call.begun, "a listing begins no sync");
            assert!(!call.headers.iter().any(|name| name.starts_with("x-real")), "{call:?}");
            let query = call.query.as_deref().unwrap();
            let start = query.split(['=', '&']).nth(1).unwrap();
            let date: Vec<_> = start.split('-').map(str::len).collect();
            assert_eq!(date, [2, 2, 4], "{query}");
        }
    }
}

#[tokio::test]
async fn unchanged_rows_are_not_written_again() {
    let case = Case::imported(Dialect::V2, history(120)).await;
    let written = case.written();
    let pages = case.pages();
    case.pull().await;
    assert_eq!(case.written(), written, "no writes for 120 unchanged rows");
    assert_eq!(case.pages(), pages + 1, "one page with the last week and two days");
    assert_eq!(case.rows().await, case.rows_at_mono());
}

#[tokio::test]
async fn changed_moved_new_and_removed_rows_are_equal_to_monos_after_the_import() {
    for dialect in BOTH {
        let case = Case::imported(dialect, history(150)).await;
        let mono = &case.world.mono;
        let rows = mono.transactions(&case.id);
        let written = case.written();
        mono.change_transaction(&case.id, &rows[3].id, |row| row.narration = "Reversed".to_owned())
            .unwrap();
        case.pull().await;
        assert_eq!(case.rows().await, case.rows_at_mono());
        assert_eq!(case.written(), (written.0 + 1, written.1), "only the changed row is written");

        mono.change_transaction(&case.id, &rows[8].id, |row| {
            row.date -= Duration::from_hours(24);
        })
        .unwrap();
        mono.remove_transaction(&case.id, &rows[5].id).unwrap();
        let draft = mono.draft_transaction(&case.id).unwrap();
        mono.add_transactions(&case.id, [draft]).unwrap();
        case.pull().await;
        let held = case.rows().await;
        assert_eq!(held, case.rows_at_mono());
        let moved = held.iter().filter(|row| row["id"] == rows[8].id.as_str());
        assert_eq!(moved.count(), 1, "a row with a new date is still one row");
        assert_eq!(
            case.written().1,
            written.1 + 1,
            "the old item of the moved row is deleted, and a tombstone replaces the removed row"
        );
    }
}

#[tokio::test]
async fn inconsistent_statement_adds_rows_and_removes_none() {
    let case = Case::imported(Dialect::V2, history(150)).await;
    let mono = &case.world.mono;
    let gone = mono.transactions(&case.id)[0].id.clone();
    for fault in [PageFault::WrongTotal(1), PageFault::Missing(1)] {
        let draft = mono.draft_transaction(&case.id).unwrap();
        let new = draft.id.clone();
        mono.add_transactions(&case.id, [draft]).unwrap();
        let _ = mono.remove_transaction(&case.id, &gone);
        mono.plan_pages_always(&case.id, [(1, fault.clone())]).unwrap();
        case.pull().await;
        let rows = case.rows().await;
        let holds = |id: &str| rows.iter().any(|row| row["id"] == id);
        assert!(holds(&gone), "{fault:?}: the row may be missing only temporarily");
        assert!(holds(&new), "{fault:?}: the new row is stored");
    }
    mono.plan_pages_always(&case.id, []).unwrap();
    case.pull().await;
    assert_eq!(case.rows().await, case.rows_at_mono());
}

#[tokio::test]
async fn pages_that_change_during_the_import_are_fetched_again() {
    let paged = History { always_paged: true, ..history(250) };
    let case = Case::unseen(Dialect::V2, Link { history: Some(paged), ..Link::default() });
    let world = case.world;
    world.mono.plan_pages(&case.id, [(1, PageFault::Changing), (2, PageFault::Repeated)]).unwrap();
    world.mono.send(&world.mono.event(Kind::AccountUpdated, &case.id).unwrap());
    case.until_imported().await;
    assert_eq!(case.rows().await.len(), 251);
}

#[tokio::test]
async fn sync_without_new_transactions_starts_no_import() {
    let case = Case::imported(Dialect::V2, history(60)).await;
    let (rows, pages) = (case.rows().await, case.pages());
    for (outcome, status) in [
        (Refresh::Failed, "failed"),
        (Refresh::BankUnavailable, "bank_unavailable"),
        (Refresh::Partial, "partial"),
        (Refresh::NothingNew, "healthy"),
    ] {
        case.world.mono.refresh(&case.id, outcome).unwrap();
        case.status(status).await;
    }
    sleep(Duration::from_secs(4)).await;
    assert_eq!((case.rows().await, case.pages()), (rows, pages));
}

#[tokio::test]
async fn manual_sync_with_new_data_imports_the_transactions() {
    for dialect in BOTH {
        let case = Case::imported(dialect, history(40)).await;
        case.plan(Plan { webhooks: Webhooks::Lost, ..Plan::default() });
        let answer = case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        assert_eq!(answer.body["has_new_data"], true);
        let account = case.until_imported().await;
        assert!(case.rows().await.len() > 40);
        let imported_at = account["transactions_imported_at"].as_str();
        assert!(imported_at <= account["last_synced_at"].as_str());
    }
}

#[tokio::test]
async fn incomplete_statement_adds_rows_and_removes_none() {
    let case = Case::imported(Dialect::V1, history(100)).await;
    case.plan(Plan { outcome: Refresh::Partial, webhooks: Webhooks::Lost, ..Plan::default() });
    let synced = case.sync_with("?allow_incomplete_statement=true").await;
    synced.expect(200, "SYNC_SUCCESSFUL");
    let at_mono = case.rows_at_mono();
    assert!(at_mono.len() < 100, "Mono serves half of the rows");
    let (newest, before) = (at_mono[0]["id"].clone(), case.written());
    case.when("the import is recorded", |account| {
        account["transactions_imported_at"] == account["last_synced_at"]
    })
    .await;
    let rows = case.rows().await;
    assert!(rows.len() > 100 && rows.iter().any(|row| row["id"] == newest));
    assert_eq!(case.written().1, before.1, "no row is deleted");
}

#[tokio::test]
async fn batch_of_ten_updates_of_one_account_requests_one_import_before_the_record_is_written() {
    let id = account_id();
    let update = |second: u32| {
        json!({
            "event": "mono.events.account_updated", "event_id": format!("{id}-{second}"),
            "timestamp": format!("2026-01-27T21:00:{second:02}.000Z"),
            "data": { "account": { "_id": id }, "meta": { "data_status": "AVAILABLE" } },
        })
        .to_string()
    };
    let bodies: Vec<_> = (0..10).map(update).collect();
    let stack = &world(Dialect::V2).stack;
    stack.invoke("ProcessorFunction", &samples::batch(&bodies)).await.unwrap();
    let calls = local().proxy.calls(&id);
    let jobs: Vec<_> = calls.iter().filter(|call| call.operation == "SendMessageBatch").collect();
    assert_eq!((jobs.len(), jobs[0].body.matches("\"MessageBody\"").count()), (1, 1));
    let place = |operation: &str| calls.iter().position(|call| call.operation == operation);
    assert!(place("SendMessageBatch") < place("PutItem"), "{calls:?}");
}

#[tokio::test]
async fn import_costs_one_read_two_record_writes_two_queries_and_the_pages() {
    let case = Case::imported(Dialect::V2, history(50)).await;
    let before = case.requests();
    let pages = case.pages();
    assert_eq!(case.import(&case.job(), 1).await, json!([]));
    let after = case.requests();
    let spent = |operation: &str| {
        let count = |counts: &BTreeMap<String, usize>| counts.get(operation).copied().unwrap_or(0);
        count(&after) - count(&before)
    };
    let spent = ["GetItem", "PutItem", "Query", "BatchWriteItem"].map(spent);
    assert_eq!(spent, [1, 2, 2, 0], "one query for the days and one for the newest row");
    assert_eq!(case.pages(), pages + 1);
}

#[tokio::test]
async fn job_that_is_already_covered_costs_one_read() {
    let case = Case::imported(Dialect::V2, history(50)).await;
    let job = case.job();
    assert_eq!(case.import(&job, 1).await, json!([]));
    let (before, pages) = (local().proxy.calls(&case.id).len(), case.pages());
    assert_eq!(case.import(&job, 2).await, json!([]));
    let calls = local().proxy.calls(&case.id);
    let spent: Vec<_> = calls[before..].iter().map(|call| call.operation.as_str()).collect();
    assert_eq!((spent, case.pages()), (vec!["GetItem"], pages));
}

#[tokio::test]
async fn amounts_are_exact_and_unknown_fields_are_not_stored() {
    let case = Case::imported(Dialect::V2, history(0)).await;
    let mono = &case.world.mono;
    let mut row = mono.draft_transaction(&case.id).unwrap();
    row.amount = 9_007_199_254_740_993;
    row.balance = None;
    row.extra.insert("metadata".to_owned(), json!({ "channel": "USSD", "rate": 1.5 }));
    mono.add_transactions(&case.id, [row.clone()]).unwrap();
    case.pull().await;
    let shown = &case.rows().await[0];
    assert_eq!(shown["amount"].as_i64(), Some(9_007_199_254_740_993));
    assert_eq!((&shown["balance"], &shown["currency"]), (&json!(null), &json!("NGN")));
    assert!(shown.get("metadata").is_none());
    let items = Client::new(&case.world.stack.sdk())
        .query()
        .table_name(case.table())
        .key_condition_expression("account_id = :id")
        .expression_attribute_values(":id", AttributeValue::S(case.id.clone()))
        .send()
        .await
        .unwrap();
    assert!(!items.items()[0].contains_key("unknown"));
}
