//! Transactions that no webhook announces, and transactions that reach Mono late.

use std::time::Duration;

use e2e::shared_stack::world;
use mono_sync::domain::timestamp::Timestamp;
use sandbox::{Dialect, Fault, History, Kind, Link, Transaction};
use serde_json::{Value, json};

use super::manual_sync::{BOTH, Case};
use super::{account_id, eventually};

const DAY: Duration = Duration::from_hours(24);

impl Case {
    /// An account with a history that is linked at Mono but unknown to the stack.
    fn unseen_with_history(dialect: Dialect, transactions: usize) -> Self {
        let history = History { transactions, days: 10, ..History::default() };
        let world = world(dialect);
        let id = world.mono.link(Link { silent: true, history: Some(history), ..Link::default() });
        Self { world, id }
    }

    /// Sends the webhook of a pull of this age with these fields in `meta`, and waits until it is applied.
    async fn send_pull_event(&self, age: Duration, meta: &[(&str, Value)]) -> Value {
        let at = (Timestamp::now() - age).to_string();
        let mono = &self.world.mono;
        let event = mono.event(Kind::AccountUpdatedBySync, &self.id).unwrap().with_timestamp(&at);
        let event = event.with("/data/meta/job_id", json!(account_id()));
        let with = |event: sandbox::Event, (field, value): &(&str, Value)| {
            event.with(&format!("/data/meta/{field}"), value.clone())
        };
        mono.send(&meta.iter().fold(event, with));
        self.when("the event is applied", |account| account["last_event_at"] == at.as_str()).await
    }

    /// A new row that is `days` days old.
    fn row(&self, days: u32) -> Transaction {
        let mut row = self.world.mono.draft_transaction(&self.id).unwrap();
        row.date -= days * DAY;
        row
    }

    async fn holds(&self, id: &str) -> bool {
        self.rows().await.iter().any(|row| row["id"] == id)
    }

    /// The start and end dates of all requests to Mono for this account.
    fn ranges(&self) -> Vec<(String, String)> {
        let calls = self.world.mono.calls();
        let mine = calls.iter().filter(|call| call.account_id.as_ref() == Some(&self.id));
        let queries = mine.filter_map(|call| call.query.clone());
        let range = |query: String| {
            let value = |name: &str| {
                let fields = query.split('&').filter_map(|field| field.split_once('='));
                fields
                    .into_iter()
                    .find(|(field, _)| *field == name)
                    .map(|(_, value)| value.to_owned())
            };
            Some((value("start")?, value("end")?))
        };
        queries.filter_map(range).collect()
    }
}

#[tokio::test]
async fn first_pull_without_new_data_imports_the_history() {
    for by_sync in [false, true] {
        let case = Case::unseen_with_history(Dialect::V2, 10);
        if by_sync {
            let outcome = sandbox::Refresh::NothingNew;
            let webhooks = sandbox::Webhooks::Lost;
            case.plan(sandbox::Plan { outcome, webhooks, ..sandbox::Plan::default() });
            let answer = case.sync().await.expect(200, "SYNC_SUCCESSFUL");
            assert_eq!(answer.body["has_new_data"], false);
        } else {
            case.send_pull_event(Duration::ZERO, &[("has_new_data", json!(false))]).await;
        }
        eventually("the rows are stored", async || {
            let ids =
                |rows: Vec<Value>| rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
            ids(case.rows().await) == ids(case.rows_at_mono())
        })
        .await;
        assert_eq!(case.rows().await.len(), 10);
    }
}

#[tokio::test]
async fn late_and_backdated_rows_are_imported_by_the_next_import_on_another_day() {
    for dialect in BOTH {
        let case = Case::unseen_with_history(dialect, 10);
        let mono = &case.world.mono;
        case.send_pull_event(DAY, &[]).await;
        case.until_imported().await;
        let moved = mono.transactions(&case.id)[0].id.clone();
        mono.change_transaction(&case.id, &moved, |row| row.date -= 14 * DAY).unwrap();
        let older = (0..12).map(|number| case.row(60 + number * 20));
        let booked_late = case.row(13);
        mono.add_transactions(&case.id, older.chain([booked_late]).collect::<Vec<_>>()).unwrap();
        let pages = case.pages();
        case.send_pull_event(Duration::ZERO, &[]).await;
        case.until_imported().await;
        assert_eq!(case.rows().await.len(), 23);
        assert_eq!(case.pages(), pages + 1, "{dialect}: the late rows cost no extra page");
    }
}

#[tokio::test]
async fn requested_range_ends_today_and_covers_at_most_a_year() {
    let case = Case::unseen_with_history(Dialect::V2, 10);
    case.send_pull_event(DAY, &[]).await;
    case.until_imported().await;
    case.send_pull_event(Duration::ZERO, &[]).await;
    case.until_imported().await;
    let today = mono_sync::domain::business_day::BusinessDay::of(Timestamp::now());
    let (first, last) = ((today - 364).for_mono(), today.for_mono());
    let ranges = case.ranges();
    assert!(ranges.contains(&(first, last.clone())), "the whole window: {ranges:?}");
    assert!(ranges.iter().all(|(_, end)| *end == last), "{ranges:?}");
}

#[tokio::test]
async fn failed_sync_that_retrieved_transactions_adds_rows_and_removes_none() {
    let case = Case::unseen_with_history(Dialect::V2, 10);
    let mono = &case.world.mono;
    case.send_pull_event(DAY, &[]).await;
    case.until_imported().await;
    let gone = mono.transactions(&case.id)[0].id.clone();
    mono.remove_transaction(&case.id, &gone).unwrap();
    let row = case.row(0);
    let new = row.id.clone();
    mono.add_transactions(&case.id, [row]).unwrap();
    case.send_pull_event(
        Duration::ZERO,
        &[("sync_status", json!("FAILED")), ("retrieved_data", json!(["balance", "transactions"]))],
    )
    .await;
    let account = case
        .when("the import is recorded", |account| {
            account["transactions_imported_at"] == account["last_event_at"]
        })
        .await;
    assert!(case.holds(&new).await);
    assert!(case.holds(&gone).await, "the row may be missing only temporarily");
    assert_eq!(account["status"], "failed");
}

#[tokio::test]
async fn day_that_mono_does_not_serve_blocks_no_other_day_and_is_requested_again() {
    let case = Case::unseen_with_history(Dialect::V2, 40);
    let mono = &case.world.mono;
    let rows = mono.transactions(&case.id);
    let day = rows[20].business_day();
    mono.stop_serving(&case.id, Some(day)).unwrap();
    let count =
        |of_day: bool| rows.iter().filter(|row| (row.business_day() == day) == of_day).count();
    case.send_pull_event(Duration::ZERO, &[]).await;
    case.when("the import is recorded", |account| account["transactions_imported_at"].is_string())
        .await;
    assert_eq!((case.rows().await.len(), count(true) > 0), (count(false), true));
    mono.stop_serving(&case.id, None).unwrap();
    case.send_pull_event(Duration::ZERO, &[("has_new_data", json!(false))]).await;
    case.until_imported().await;
}

#[tokio::test]
async fn import_with_required_reauthorisation_succeeds_and_records_the_status() {
    let case = Case::unseen_with_history(Dialect::V2, 10);
    let mono = &case.world.mono;
    case.send_pull_event(Duration::ZERO, &[]).await;
    case.until_imported().await;
    mono.add_transactions(&case.id, [case.row(0)]).unwrap();
    let message = "REAUTHORISATION_REQUIRED".to_owned();
    mono.plan_free(&case.id, [Fault::Words { status: 403, message }]).unwrap();
    let failures = case.import(&case.job(), 1).await;
    assert_eq!(failures, json!([]), "the message is not delivered again");
    case.status("reauthorisation_required").await;
    mono.send(&mono.event(Kind::AccountReauthorized, &case.id).unwrap());
    case.send_pull_event(Duration::ZERO, &[]).await;
    case.status("healthy").await;
    case.until_imported().await;
}
