//! The retention of transactions. The stack of these tests keeps them for ten days.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use e2e::past::Item;
use e2e::shared_stack::{World, aside};
use mono_sync::domain::business_day::BusinessDay;
use mono_sync::domain::retention::Retention;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::transaction::Position;
use sandbox::{History, Link};
use serde_json::{Value, json};

use super::budget::deploy;
use super::change_feed::{Ids, Reader};
use super::eventually;
use super::manual_sync::Case;

const DAY: Duration = Duration::from_hours(24);
const RETENTION: Retention = Retention::of_days(10);

fn short() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        aside(deploy("short", &[("MonoDailyBudget", "0"), ("TransactionRetentionDays", "10")]))
    })
}

/// An account whose history is older than the retention, and its kept rows.
async fn imported() -> (Case, Vec<Value>) {
    let world = short();
    let history = History { transactions: 150, days: 30, ..History::default() };
    let id = world.mono.link(Link { history: Some(history), ..Link::default() });
    let case = Case { world, id };
    case.when("the import is recorded", |account| account["transactions_imported_at"].is_string())
        .await;
    let kept = case.kept_rows();
    assert!(!kept.is_empty() && kept.len() < case.rows_at_mono().len());
    (case, kept)
}

impl Case {
    /// Mono's rows that are not expired.
    fn kept_rows(&self) -> Vec<Value> {
        let mut rows = self.rows_at_mono();
        rows.retain(|row| {
            let date = Timestamp::parse_rfc3339(row["date"].as_str().unwrap()).unwrap();
            !RETENTION.is_expired(date, Timestamp::now())
        });
        rows
    }

    /// The rows in the table, as stored.
    async fn stored_rows(&self) -> Vec<Item> {
        let query = Client::new(&self.world.stack.sdk()).query().table_name(self.table());
        let query = query
            .key_condition_expression("account_id = :id")
            .expression_attribute_values(":id", AttributeValue::S(self.id.clone()))
            .consistent_read(true);
        query.send().await.unwrap().items.unwrap_or_default()
    }

    /// Stores a copy of a row, dated 20 days ago. The number is its id and its revision.
    async fn store_expired(&self, row: &Item, number: u32, expires_at: Option<Timestamp>) {
        let date = Timestamp::now() - 20 * DAY;
        let position = Position::new(date, number, &number.to_string()).unwrap();
        let mut row = row.clone();
        row.insert("position".to_owned(), AttributeValue::S(position.to_string()));
        row.insert("revision".to_owned(), AttributeValue::N(number.to_string()));
        row.remove("expires_at");
        if let Some(expires_at) = expires_at {
            let seconds = AttributeValue::N((expires_at.millis() / 1000).to_string());
            row.insert("expires_at".to_owned(), seconds);
        }
        let put = Client::new(&self.world.stack.sdk()).put_item().set_item(Some(row));
        put.table_name(self.table()).send().await.unwrap();
    }
}

fn position(item: &Item) -> Position {
    item["position"].as_s().unwrap().parse().unwrap()
}

#[tokio::test]
async fn expired_rows_are_not_requested_and_kept_rows_have_an_expiry() {
    let (case, kept) = imported().await;
    assert_eq!(case.rows().await, kept);
    let stored = case.stored_rows().await;
    assert_eq!(stored.len(), kept.len());
    for row in stored {
        let expires_at = RETENTION.expires_at(position(&row).date).unwrap();
        let seconds = AttributeValue::N((expires_at.millis() / 1000).to_string());
        assert_eq!(row["expires_at"], seconds);
    }
    let first = RETENTION.first_day(BusinessDay::of(Timestamp::now())).for_mono();
    let calls = case.world.mono.calls();
    let listings = calls.iter().filter(|call| {
        call.account_id.as_ref() == Some(&case.id) && call.path.ends_with("/transactions")
    });
    let starts: Vec<_> =
        listings.map(|call| call.query.as_deref().unwrap().split(['=', '&']).nth(1)).collect();
    assert_eq!(starts, [Some(first.as_str())]);
    case.pull().await;
    assert_eq!((case.rows().await, case.written()), (kept.clone(), (kept.len(), 0)));
}

#[tokio::test]
async fn expired_rows_are_hidden_and_the_next_import_deletes_those_without_an_expiry() {
    let (case, kept) = imported().await;
    let (stored, now) = (case.stored_rows().await, Timestamp::now());
    case.store_expired(&stored[0], 1, None).await;
    // Written under a longer retention.
    case.store_expired(&stored[0], 2, Some(now + DAY)).await;
    // DynamoDB deletes it by itself, with a delay.
    case.store_expired(&stored[0], 3, Some(now - DAY)).await;
    assert_eq!(case.rows().await, kept);
    for query in ["?to=2001-01-01", "?from=2001-01-01&to=2001-12-31"] {
        let none = case.transactions(query).await.expect_ok();
        assert_eq!(none.body, json!({ "transactions": [], "next_cursor": null }));
    }
    let mut reader = Reader::default();
    let all = case.read_all(&mut reader, 7).await;
    assert_eq!((all.added.len(), reader.rows.len()), (kept.len(), kept.len()));
    assert_eq!(all.removed, ["1", "2", "3"], "a copy may still have these ids, with other dates");

    assert_eq!(case.import(&case.job(), 1).await, json!([]));
    let stored = case.stored_rows().await;
    assert_eq!(stored.len(), kept.len() + 1);
    assert!(stored.iter().any(|row| position(row).id == "3"));
    assert_eq!(
        case.read_all(&mut reader, 7).await,
        Ids::default(),
        "the deletion of an expired row is not a change"
    );
}

#[tokio::test]
async fn row_that_moves_to_an_expired_day_is_removed() {
    let (case, _) = imported().await;
    let mut reader = Reader::default();
    case.read_all(&mut reader, 500).await;
    let mono = &case.world.mono;
    let moved = mono.transactions(&case.id)[0].id.clone();
    mono.change_transaction(&case.id, &moved, |row| row.date -= 20 * DAY).unwrap();
    assert_eq!(case.import(&case.job(), 1).await, json!([]));
    eventually("the rows are equal to Mono's", async || case.rows().await == case.kept_rows())
        .await;
    assert_eq!(case.read_all(&mut reader, 500).await.removed, [moved]);
}
