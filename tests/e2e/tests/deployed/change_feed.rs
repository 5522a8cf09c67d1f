//! The change feed of transactions.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use e2e::proxy::Failure;
use e2e::shared_stack::local;
use mono_sync::domain::timestamp::Timestamp;
use sandbox::{Dialect, History};
use serde_json::{Value, json};

use super::manual_sync::{Answer, Case};
use super::{fail, set_number};
use e2e::past::let_time_pass;

const DAY: Duration = Duration::from_hours(24);

/// A reader of the feed, with its copy of the rows.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) rows: BTreeMap<String, Value>,
    cursor: Option<String>,
}

/// The ids in the lists of a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) added: Vec<String>,
    pub(super) modified: Vec<String>,
    pub(super) removed: Vec<String>,
}

fn ids(page: &Value, list: &str) -> Vec<String> {
    let rows = page[list].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn by_id(rows: Vec<Value>) -> BTreeMap<String, Value> {
    rows.into_iter().map(|row| (row["id"].as_str().unwrap().to_owned(), row)).collect()
}

impl Case {
    async fn changes(&self, query: &str) -> Answer {
        self.transactions(&format!("/changes{query}")).await
    }

    /// Reads one page. A reader that is killed before it stores the cursor repeats the page.
    async fn read_page(&self, reader: &mut Reader, limit: usize, stores_cursor: bool) -> Value {
        let cursor = reader.cursor.as_ref().map(|cursor| format!("&cursor={cursor}"));
        let query = format!("?limit={limit}{}", cursor.unwrap_or_default());
        let page = self.changes(&query).await.expect_ok().body;
        let lists = ["added", "modified", "removed"].map(|list| ids(&page, list)).concat();
        assert!(lists.len() <= limit);
        assert_eq!(lists.iter().collect::<HashSet<_>>().len(), lists.len(), "each row once");
        if page["reset"] == true {
            reader.rows.clear();
        }
        for list in ["added", "modified"] {
            reader.rows.extend(by_id(page[list].as_array().unwrap().clone()));
        }
        for id in ids(&page, "removed") {
            reader.rows.remove(&id);
        }
        if stores_cursor {
            reader.cursor = Some(page["next_cursor"].as_str().unwrap().to_owned());
        }
        page
    }

    /// Reads until there is no more. Returns all ids.
    pub(super) async fn read_all(&self, reader: &mut Reader, limit: usize) -> Ids {
        let mut all = Ids::default();
        loop {
            let page = self.read_page(reader, limit, true).await;
            all.added.extend(ids(&page, "added"));
            all.modified.extend(ids(&page, "modified"));
            all.removed.extend(ids(&page, "removed"));
            if page["has_more"] == false {
                return all;
            }
        }
    }

    async fn has_all(&self, reader: &Reader) {
        assert_eq!(reader.rows, by_id(self.rows().await));
    }

    /// Adds this number of rows at Mono.
    fn add_rows(&self, count: usize) -> Vec<String> {
        let mono = &self.world.mono;
        let rows: Vec<_> = (0..count).map(|_| mono.draft_transaction(&self.id).unwrap()).collect();
        let ids = rows.iter().map(|row| row.id.clone()).collect();
        mono.add_transactions(&self.id, rows).unwrap();
        ids
    }

    async fn import_now(&self, message: u32) {
        assert_eq!(self.import(&self.job(), message).await, json!([]));
        assert_eq!(self.rows().await, self.rows_at_mono());
    }
}

async fn case(transactions: usize) -> Case {
    Case::imported(Dialect::V2, History { transactions, days: 5, ..History::default() }).await
}

#[tokio::test]
async fn feed_shows_added_changed_moved_and_removed_rows_once() {
    let case = case(20).await;
    let (mono, mut reader) = (&case.world.mono, Reader::default());
    let all = case.read_all(&mut reader, 7).await;
    assert_eq!((all.added.len(), all.modified.len(), all.removed.len()), (20, 0, 0));
    case.has_all(&reader).await;
    assert_eq!(case.read_all(&mut reader, 7).await, Ids::default());

    let rows = mono.transactions(&case.id);
    // The removed row is the newest, so its removal changes no other balance.
    let [removed, moved, changed] = [0, 1, 19].map(|row: usize| rows[row].id.clone());
    mono.remove_transaction(&case.id, &removed).unwrap();
    mono.change_transaction(&case.id, &moved, |row| row.date -= DAY / 24).unwrap();
    mono.change_transaction(&case.id, &changed, |row| row.narration.push('!')).unwrap();
    let added = case.add_rows(2);
    let known = reader.rows.clone();
    case.import_now(1).await;
    let changes = case.read_all(&mut reader, 3).await;
    assert_eq!(changes.added.iter().collect::<HashSet<_>>(), added.iter().collect());
    // The move also changes balances of other rows.
    let rows_now = by_id(case.rows().await);
    let is_modified = |id: &&String| known.get(*id).is_some_and(|row| *row != rows_now[*id]);
    let modified: Vec<_> = rows_now.keys().filter(is_modified).collect();
    assert!([&moved, &changed].iter().all(|id| modified.contains(id)));
    assert_eq!(
        changes.modified.iter().collect::<BTreeSet<_>>(),
        modified.iter().copied().collect()
    );
    assert_eq!(changes.modified.len(), modified.len(), "each modified row appears once");
    assert_eq!(changes.removed, [removed]);
    case.has_all(&reader).await;
    let mut late = Reader::default();
    case.read_all(&mut late, 500).await;
    case.has_all(&late).await;
}

#[tokio::test]
async fn page_of_the_feed_costs_one_read_and_one_query() {
    let case = case(10).await;
    let before = local().proxy.calls(&case.id).len();
    let page = case.changes("?limit=3").await.expect_ok().body;
    assert_eq!((page["has_more"].as_bool(), page["reset"].as_bool()), (Some(true), Some(false)));
    let calls = local().proxy.calls(&case.id);
    let spent = calls[before..].iter().map(|call| call.operation.as_str());
    // The notifier may still publish the import.
    let spent: Vec<_> = spent.filter(|operation| *operation != "PutEvents").collect();
    assert_eq!(spent, ["GetItem", "Query"]);
}

#[tokio::test]
async fn reader_ends_with_all_rows_although_imports_crash() {
    let case = case(30).await;
    let mono = &case.world.mono;
    let mut readers = [Reader::default(), Reader::default()];
    for round in 0..3 {
        case.read_all(&mut readers[0], 7).await;
        case.add_rows(40);
        let rows = mono.transactions(&case.id);
        mono.remove_transaction(&case.id, &rows[round].id).unwrap();
        mono.change_transaction(&case.id, &rows[5].id, |row| row.date -= DAY).unwrap();
        // The import is killed between two batches of rows, before or after the second one.
        let failure = if round == 1 { Failure::CrashAfter } else { Failure::Crash };
        fail("BatchWriteItem", &case.id, &[Failure::Pass, failure]);
        let job = case.job();
        case.import(&job, 1).await;
        assert_eq!(local().proxy.pending_faults(&case.id), 0);
        let seen = case.read_all(&mut readers[0], 7).await;
        assert_eq!(seen, Ids::default(), "rows of an unfinished import are invisible");
        case.read_page(&mut readers[1], 9, false).await;
        let_time_pass(&case.world.stack, &case.id, Duration::from_mins(3)).await;
        assert_eq!(case.import(&job, 1).await, json!([]));
        assert_eq!(case.rows().await, case.rows_at_mono());
        case.read_page(&mut readers[1], 9, true).await;
    }
    for reader in &mut readers {
        case.read_all(reader, 11).await;
        case.has_all(reader).await;
    }
}

#[tokio::test]
async fn old_cursor_is_answered_with_a_reset() {
    let case = case(12).await;
    let mut reader = Reader::default();
    case.read_all(&mut reader, 500).await;
    // Make the account older than the cursors, so that only their age causes a reset.
    set_number(case.world, &case.id, "first_seen_at", 1).await;
    let cursor = reader.cursor.clone().unwrap();
    let (place, _) = cursor.rsplit_once('.').unwrap();
    let aged = |days: u32| format!("{place}.{}", (Timestamp::now() - days * DAY).millis());
    reader.cursor = Some(aged(88));
    let page = case.read_page(&mut reader, 5, true).await;
    assert_eq!((page["reset"].as_bool(), ids(&page, "added").len()), (Some(false), 0));
    reader.cursor = Some(aged(91));
    reader.rows.insert("gone".to_owned(), json!({}));
    let page = case.read_page(&mut reader, 5, true).await;
    assert_eq!((page["reset"].as_bool(), ids(&page, "added").len()), (Some(true), 5));
    let page = case.read_page(&mut reader, 500, true).await;
    assert_eq!((page["reset"].as_bool(), ids(&page, "added").len()), (Some(false), 7));
    case.has_all(&reader).await;
}

#[tokio::test]
async fn invalid_request_for_changes_is_400() {
    let case = case(1).await;
    for (query, part) in [
        ("?limit=0", "`limit`"),
        ("?limit=501", "`limit`"),
        ("?cursor=", "`cursor`"),
        ("?cursor=1.2.3", "`cursor`"),
        ("?cursor=what", "`cursor`"),
    ] {
        let answer = case.changes(query).await.expect(400, "REQUEST_INVALID");
        assert!(answer.body["detail"].as_str().unwrap().starts_with(part), "{query}: {answer:?}");
    }
    let unknown = Case { world: case.world, id: super::account_id() };
    assert_eq!(unknown.changes("").await.status, 404);
}
