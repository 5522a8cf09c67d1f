//! Transactions in DynamoDB: one item per transaction, with the account and the [`Position`] as its key. The
//! [`Revision`] is the sort key of an index, from which the change feed is read.

use std::collections::{HashMap, HashSet};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;
use tracing::error;

use super::batch_write::{self, MAX_ITEMS};
use super::{Page, StoreError};
use crate::domain::account_id::AccountId;
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::change_feed::{Content, Entry, Presence, Revision, StoredRows};
use crate::domain::money::MinorUnits;
use crate::domain::retention::Retention;
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{Direction, Position, Transaction};

#[derive(Clone)]
pub struct TransactionStore {
    client: Client,
    table: String,
    retention: Retention,
}

/// A filter for transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Inclusive lower bound.
    pub from: Option<Timestamp>,
    /// Inclusive upper bound.
    pub to: Option<Timestamp>,
    pub direction: Option<Direction>,
    /// Exactly this category.
    pub category: Option<String>,
    /// Inclusive lower bound.
    pub min_amount: Option<MinorUnits>,
    /// Inclusive upper bound.
    pub max_amount: Option<MinorUnits>,
}

/// The number of concurrent batch writes.
const CONCURRENCY: usize = 4;
/// The most items that one query reads when it filters.
const FILTERED_READ_LIMIT: usize = 1000;
/// The most items that one query for the newest row reads.
const NEWEST: i32 = 20;
/// The most queries for one page.
const MAX_READS: usize = 5;

/// The [`Revision`] of an item: the sort key of [`REVISION_INDEX`].
const REVISION: &str = "revision";
const REVISION_INDEX: &str = "RevisionIndex";
/// The [`Presence`] as bytes: eight for each revision.
const PRESENCE: &str = "presence";
/// When DynamoDB deletes the item, in seconds since 1970. Tombstones have this attribute, and rows that were written
/// while the retention was limited.
const EXPIRES_AT: &str = "expires_at";
/// Debit or credit. Every row has this attribute, and no tombstone.
const TYPE: &str = "type";
/// The most items that one query for expired rows reads, and so the most that are deleted after an import.
const MOST_EXPIRED: i32 = 1000;

type Item = HashMap<String, AttributeValue>;

impl TransactionStore {
    /// A store that keeps rows for `retention`.
    pub fn new(client: Client, table: impl Into<String>, retention: Retention) -> Self {
        Self { client, table: table.into(), retention }
    }

    pub const fn retention(&self) -> Retention {
        self.retention
    }

    /// Reads all rows and tombstones of these days. `None` if there are more than `most`. One request per MiB. The read
    /// is strongly consistent, because it must include the rows that an import has just written. Items that are not a
    /// valid row, or that a later version of the system wrote, are skipped.
    pub async fn of_days(
        &self,
        id: &AccountId,
        days: &Days,
        most: usize,
    ) -> Result<Option<StoredRows>, StoreError> {
        let (from, to) = (days.start().begins_at(), days.end().ends_at());
        let query = self.between(id, &Position::from(from), &Position::up_to(to));
        let mut pages = query.consistent_read(true).into_paginator().items().send();
        let mut rows = StoredRows::default();
        while let Some(item) = pages.next().await {
            if let Some(entry) = entry(&item.map_err(StoreError::unavailable)?) {
                rows.insert(entry);
            }
            if rows.len() > most {
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }

    /// Returns the other items of these rows, from this day on. A row with another item has moved by more days than an
    /// import compares. The query reads all rows of the account, so call this only before rows are removed. One request
    /// per MiB.
    pub async fn elsewhere(
        &self,
        id: &AccountId,
        rows: &[Position],
        first: BusinessDay,
    ) -> Result<Vec<Entry>, StoreError> {
        let ids: HashSet<_> = rows.iter().map(|position| position.id.as_str()).collect();
        let rows: HashSet<_> = rows.iter().collect();
        let query = self
            .since(id, first)
            .filter_expression("attribute_exists(#type)")
            .expression_attribute_names("#type", TYPE);
        let mut items = query.into_paginator().items().send();
        let mut others = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(StoreError::unavailable)?;
            let is_other = |found: &Position| ids.contains(&*found.id) && !rows.contains(found);
            if position(&item).is_some_and(|found| is_other(&found)) {
                others.extend(entry(&item));
            }
        }
        Ok(others)
    }

    /// Puts and deletes items, 25 per request. All puts come before the deletes, so that a row that moves is never
    /// missing. Throttled writes are retried until the deadline.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some items may be written, some of them even shortly after the error. The call is idempotent and
    /// can be retried.
    pub async fn write(
        &self,
        id: &AccountId,
        puts: &[Entry],
        deletes: &[Position],
        deadline: Instant,
    ) -> Result<(), StoreError> {
        self.request(puts.iter().map(|entry| self.put(id, entry)).collect(), deadline).await?;
        let deletes = deletes.iter().map(|position| delete(id, position)).collect();
        self.request(deletes, deadline).await
    }

    /// Deletes items of the days before this one that DynamoDB does not delete yet: rows that were written before the
    /// retention was limited or was shortened, and tombstones. At most [`MOST_EXPIRED`]. Eventually consistent. One
    /// request if there are none.
    pub async fn delete_before(
        &self,
        id: &AccountId,
        first: BusinessDay,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let before = AttributeValue::S(Position::from(first.begins_at()));
        let now = AttributeValue::N((now.millis() / 1000).to_string());
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("account_id = :id AND #position < :before")
            .filter_expression("attribute_not_exists(#expires_at) OR #expires_at > :now")
            .projection_expression("account_id, #position")
            .expression_attribute_names("#position", "position")
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_values(":id", AttributeValue::S(id.to_string()))
            .expression_attribute_values(":before", before)
            .expression_attribute_values(":now", now)
            .limit(MOST_EXPIRED);
        let expired = query.send().await.map_err(StoreError::unavailable)?.items;
        let deletes = expired.unwrap_or_default().into_iter().map(delete_item).collect();
        self.request(deletes, deadline).await
    }

    /// The date of the newest row, if it is of this day or later. One request, unless many of the newest items are
    /// tombstones.
    pub async fn newest(
        &self,
        id: &AccountId,
        first: BusinessDay,
    ) -> Result<Option<Timestamp>, StoreError> {
        let query = self.since(id, first).scan_index_forward(false).limit(NEWEST);
        let mut items = query.into_paginator().items().send();
        while let Some(item) = items.next().await {
            if let Some(row) = row(&item.map_err(StoreError::unavailable)?) {
                return Ok(Some(row.position.date));
            }
        }
        Ok(None)
    }

    /// Reads one page of a selection, newest row first, optionally before a position. It has no row that is expired
    /// `now`. Eventually consistent. One request if there is no filter and no tombstone, otherwise at most
    /// [`MAX_READS`]. So a page may be short although more rows follow.
    pub async fn page(
        &self,
        id: &AccountId,
        selection: &Selection,
        limit: usize,
        before: Option<Position>,
        now: Timestamp,
    ) -> Result<Page<Transaction, Position>, StoreError> {
        // DynamoDB deletes expired rows with a delay. Until then, the query leaves them out.
        let kept_from = self.retention.first_day(BusinessDay::of(now)).begins_at();
        let from = Position::from(selection.from.map_or(kept_from, |from| from.max(kept_from)));
        let to = Position::up_to(selection.to.unwrap_or(Timestamp::from_millis(u64::MAX)));
        // DynamoDB rejects an empty range, and a start key outside the queried range.
        let start = before.map(|position| position.to_string());
        if to < from || start.as_ref().is_some_and(|start| *start < from) {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let mut start = start.filter(|start| *start < to).map(|start| key(id, &start));
        let query = self.between(id, &from, &to).scan_index_forward(false);
        let (query, filters) = filtered(query, selection);
        let mut rows = Vec::new();
        for _ in 0..MAX_READS {
            // One item more than the limit shows whether another page follows.
            let missing = limit + 1 - rows.len();
            let reads = if filters { FILTERED_READ_LIMIT.max(missing) } else { missing };
            let query = query.clone().limit(i32::try_from(reads).unwrap_or(i32::MAX));
            let answer = query.set_exclusive_start_key(start).send().await;
            let answer = answer.map_err(StoreError::unavailable)?;
            rows.extend(answer.items().iter().filter_map(row));
            start = answer.last_evaluated_key;
            if rows.len() > limit || start.is_none() {
                break;
            }
        }
        let next = if rows.len() > limit {
            rows.truncate(limit);
            rows.last().map(|row| row.position.clone())
        } else {
            start.as_ref().and_then(position)
        };
        Ok(Page { items: rows, next })
    }

    /// Reads the items after one revision up to another, in the order of their revisions. A row that is expired at `now`
    /// is returned as a tombstone. The page leaves out corrupt items, but continues after them. Strongly consistent.
    /// One request.
    pub async fn changes(
        &self,
        id: &AccountId,
        after: Revision,
        up_to: Revision,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<Entry, Revision>, StoreError> {
        if after >= up_to {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let number = |number: u64| AttributeValue::N(number.to_string());
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(REVISION_INDEX)
            .consistent_read(true)
            .key_condition_expression("account_id = :id AND #revision BETWEEN :first AND :last")
            .expression_attribute_names("#revision", REVISION)
            .expression_attribute_values(":id", AttributeValue::S(id.to_string()))
            .expression_attribute_values(":first", number(after.number() + 1))
            .expression_attribute_values(":last", number(up_to.number()))
            // One item more than the limit shows whether more follow.
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX));
        let answer = query.send().await.map_err(StoreError::unavailable)?;
        let has_more = answer.items().len() > limit || answer.last_evaluated_key.is_some();
        let items = &answer.items()[..limit.min(answer.items().len())];
        let last = items.last().and_then(revision).filter(|_| has_more);
        let readable = items.iter().filter_map(|item| {
            let read = entry(item);
            if read.is_none() {
                let revision = revision(item).map(Revision::number);
                error!(account_id = %id, revision, "corrupt row left out of the change feed");
            }
            read
        });
        Ok(Page {
            items: readable.map(|entry| self.removed_if_expired(entry, now)).collect(),
            next: last,
        })
    }

    fn removed_if_expired(&self, entry: Entry, now: Timestamp) -> Entry {
        match entry.content {
            Content::Row(row) if self.retention.is_expired(row.position.date, now) => {
                let content = Content::Tombstone { position: row.position, expires_at: now };
                Entry { content, ..entry }
            }
            _ => entry,
        }
    }

    /// The items from this day on. Strongly consistent.
    fn since(&self, id: &AccountId, first: BusinessDay) -> QueryFluentBuilder {
        let end = Position::up_to(Timestamp::from_millis(u64::MAX));
        self.between(id, &Position::from(first.begins_at()), &end).consistent_read(true)
    }

    fn between(&self, id: &AccountId, from: &str, to: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("account_id = :id AND #position BETWEEN :from AND :to")
            .expression_attribute_names("#position", "position")
            .expression_attribute_values(":id", AttributeValue::S(id.to_string()))
            .expression_attribute_values(":from", AttributeValue::S(from.to_owned()))
            .expression_attribute_values(":to", AttributeValue::S(to.to_owned()))
    }

    async fn request(
        &self,
        writes: Vec<WriteRequest>,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        stream::iter(writes.chunks(MAX_ITEMS))
            .map(|chunk| async {
                let writes = chunk.to_vec();
                let (unwritten, error) =
                    batch_write::write(&self.client, &self.table, writes, deadline).await;
                if unwritten.is_empty() { Ok(()) } else { Err(error) }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    fn put(&self, id: &AccountId, entry: &Entry) -> WriteRequest {
        let item = to_item(id, entry, self.retention);
        let put = PutRequest::builder().set_item(Some(item)).build();
        WriteRequest::builder().put_request(put.expect("a put request has an item")).build()
    }
}

/// Adds the filters of the selection, and one that drops tombstones. Also returns whether the selection has filters.
fn filtered(query: QueryFluentBuilder, selection: &Selection) -> (QueryFluentBuilder, bool) {
    let Selection { direction, category, min_amount, max_amount, .. } = selection;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let conditions = [
        direction.map(|direction| ("#type = :type", TYPE, text(direction.as_str()))),
        category.as_ref().map(|category| ("#category = :category", "category", text(category))),
        min_amount.map(|least| ("#amount >= :min_amount", "amount", number(least))),
        max_amount.map(|most| ("#amount <= :max_amount", "amount", number(most))),
    ];
    let conditions: Vec<_> = conditions.into_iter().flatten().collect();
    let mut query = query.expression_attribute_names("#type", TYPE);
    let mut filter = "attribute_exists(#type)".to_owned();
    let filters = !conditions.is_empty();
    for (condition, attribute, value) in conditions {
        let placeholder = condition.split(' ').next_back().unwrap_or_default();
        query = query
            .expression_attribute_names(format!("#{attribute}"), attribute)
            .expression_attribute_values(placeholder, value);
        filter = format!("{filter} AND {condition}");
    }
    (query.filter_expression(filter), filters)
}

fn number(amount: MinorUnits) -> AttributeValue {
    AttributeValue::N(amount.0.to_string())
}

fn delete(id: &AccountId, position: &Position) -> WriteRequest {
    delete_item(key(id, &position.to_string()))
}

fn delete_item(key: Item) -> WriteRequest {
    let delete = DeleteRequest::builder().set_key(Some(key)).build();
    WriteRequest::builder().delete_request(delete.expect("a delete request has a key")).build()
}

fn key(id: &AccountId, position: &str) -> Item {
    [("account_id", id.as_str()), ("position", position)]
        .map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned())))
        .into()
}

fn to_item(id: &AccountId, entry: &Entry, retention: Retention) -> Item {
    let (mut item, expires_at) = match &entry.content {
        Content::Row(row) => (row_item(id, row), retention.expires_at(row.position.date)),
        Content::Tombstone { position, expires_at } => {
            (key(id, &position.to_string()), Some(*expires_at))
        }
    };
    if let Some(expires_at) = expires_at {
        let seconds = AttributeValue::N((expires_at.millis() / 1000).to_string());
        item.insert(EXPIRES_AT.to_owned(), seconds);
    }
    let revision = AttributeValue::N(entry.revision.number().to_string());
    item.insert(REVISION.to_owned(), revision);
    let presence = entry.presence.revisions().iter().map(|change| change.number().to_be_bytes());
    let presence = AttributeValue::B(Blob::new(presence.collect::<Vec<_>>().concat()));
    item.insert(PRESENCE.to_owned(), presence);
    item
}

fn revision(item: &Item) -> Option<Revision> {
    item.get(REVISION)?.as_n().ok()?.parse().ok().map(Revision::from_number)
}

fn entry(item: &Item) -> Option<Entry> {
    let number = |name| item.get(name)?.as_n().ok()?.parse::<u64>().ok();
    let presence = item.get(PRESENCE)?.as_b().ok()?.as_ref();
    let (presence, []) = presence.as_chunks() else {
        return None;
    };
    let presence = presence.iter().map(|number| Revision::from_number(u64::from_be_bytes(*number)));
    let content = if item.contains_key(TYPE) {
        Content::Row(row(item)?)
    } else {
        let expires_at = Timestamp::from_millis(number(EXPIRES_AT)?.saturating_mul(1000));
        Content::Tombstone { position: position(item)?, expires_at }
    };
    Some(Entry { revision: revision(item)?, presence: Presence::of(presence.collect()), content })
}

fn row_item(id: &AccountId, row: &Transaction) -> Item {
    let mut item = key(id, &row.position.to_string());
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put(TYPE, AttributeValue::S(row.direction.as_str().to_owned()));
    put("amount", number(row.amount));
    if let Some(balance) = row.balance {
        put("balance", number(balance));
    }
    let texts = [
        ("currency", &row.currency),
        ("narration", &row.narration),
        ("category", &row.category),
        ("unknown", &row.unknown),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            put(name, AttributeValue::S(text.clone()));
        }
    }
    item
}

fn row(item: &Item) -> Option<Transaction> {
    let text = |name| item.get(name)?.as_s().ok().cloned();
    let number = |name| item.get(name)?.as_n().ok()?.parse().ok().map(MinorUnits);
    Some(Transaction {
        position: position(item)?,
        direction: Direction::from_word(&text(TYPE)?)?,
        amount: number("amount")?,
        balance: number("balance"),
        currency: text("currency"),
        narration: text("narration"),
        category: text("category"),
        unknown: text("unknown"),
    })
}

fn position(item: &Item) -> Option<Position> {
    item.get("position")?.as_s().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[test]
    fn written_row_is_read_back_unchanged() {
        for json in [
            r#"{"id":"a","date":"2026-01-05T00:00:00Z","type":"debit","amount":9007199254740993,
                "balance":-9223372036854775808,"currency":"NGN","narration":"","category":"unknown",
                "metadata":{"rate": 1.10}}"#,
            r#"{"id":"a b/c","date":"2026-01-05","type":"credit","amount":0,"balance":null}"#,
        ] {
            let read = Transaction::read(&RawValue::from_string(json.to_owned()).unwrap()).unwrap();
            let entry_of = |content| {
                let revisions = [1, 2, 3 << 40].map(Revision::from_number);
                let presence = Presence::of(revisions.to_vec());
                Entry { revision: revisions[2], presence, content }
            };
            let expires_at = Timestamp::from_millis(1_769_547_600_000);
            let tombstone = Content::Tombstone { position: read.position.clone(), expires_at };
            for content in [Content::Row(read), tombstone] {
                let written = entry_of(content);
                for retention in [Retention::default(), Retention::of_days(90)] {
                    let item = to_item(&"account".parse().unwrap(), &written, retention);
                    assert_eq!(entry(&item).as_ref(), Some(&written));
                }
            }
        }
    }

    /// A new row then costs one write unit, and one for its copy in the index.
    #[test]
    fn item_of_a_row_with_a_long_narration_and_all_revisions_is_within_one_write_unit() {
        let json = serde_json::json!({
            "id": "66141bbff58d2687e7d91234", "date": "2023-12-14T00:02:00.500Z", "type": "debit",
            "narration": "n".repeat(512), "amount": 9_007_199_254_740_993_i64,
            "balance": 9_007_199_254_740_993_i64, "currency": "NGN", "category": "phone_and_internet",
        });
        let read = Transaction::read(&RawValue::from_string(json.to_string()).unwrap()).unwrap();
        let revisions: Vec<_> = (0..9).map(|number| Revision::from_number(number << 40)).collect();
        let (revision, presence) = (revisions[8], Presence::of(revisions));
        let item = to_item(
            &"697926f050b9c321c1451dda".parse().unwrap(),
            &Entry { revision, presence, content: Content::Row(read) },
            Retention::of_days(3_650),
        );
        assert!(item.contains_key(EXPIRES_AT));
        let size = crate::aws::store::tests::size_of_item(&item);
        assert!(size <= 1024, "{size} bytes");
    }
}
