//! Transactions in DynamoDB: one item per transaction, with the account and the [`Position`] as its key.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::batch_write::{self, MAX_ITEMS};
use super::{Page, StoreError};
use crate::domain::account_id::AccountId;
use crate::domain::business_day::Days;
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{Direction, Position, Transaction};

#[derive(Clone)]
pub struct TransactionStore {
    client: Client,
    table: String,
}

/// A filter for transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Inclusive lower bound.
    pub from: Option<Timestamp>,
    /// Inclusive upper bound.
    pub to: Option<Timestamp>,
    pub direction: Option<Direction>,
}

/// The number of concurrent batch writes.
const CONCURRENCY: usize = 4;
/// The minimum limit of items that one query reads when it filters by direction.
const FILTERED_READ_LIMIT: usize = 1000;

type Item = HashMap<String, AttributeValue>;

impl TransactionStore {
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Reads all rows of these days. `None` if there are more than `most`. One request per MiB. The read is strongly
    /// consistent, because it must include the rows that an import has just written. Items that are not a valid row,
    /// or that a later version of the system wrote, are skipped.
    pub async fn of_days(
        &self,
        id: &AccountId,
        days: &Days,
        most: usize,
    ) -> Result<Option<Vec<Transaction>>, StoreError> {
        let (from, to) = (days.start().begins_at(), days.end().ends_at());
        let query = self.between(id, &Position::from(from), &Position::up_to(to));
        let mut pages = query.consistent_read(true).into_paginator().items().send();
        let mut rows = Vec::new();
        while let Some(item) = pages.next().await {
            rows.extend(row(&item.map_err(StoreError::unavailable)?));
            if rows.len() > most {
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }

    /// Puts and deletes rows, 25 per request. All puts come before the deletes, so that a row that moves is never
    /// missing. Throttled writes are retried until the deadline.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some rows may be written. The call is idempotent and can be retried.
    pub async fn write(
        &self,
        id: &AccountId,
        puts: &[Transaction],
        deletes: &[Position],
        deadline: Instant,
    ) -> Result<(), StoreError> {
        self.request(puts.iter().map(|row| put(id, row)).collect(), deadline).await?;
        let deletes = deletes.iter().map(|position| delete(id, position)).collect();
        self.request(deletes, deadline).await
    }

    /// The date of the newest row. One request.
    pub async fn newest(&self, id: &AccountId) -> Result<Option<Timestamp>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("account_id = :id")
            .expression_attribute_values(":id", AttributeValue::S(id.to_string()))
            .consistent_read(true);
        let items = newest_first(query, 1).await?.0;
        Ok(items.first().and_then(row).map(|row| row.position.date))
    }

    /// Reads one page of a selection, newest row first, optionally before a position. Eventually consistent. One
    /// request.
    ///
    /// A page may be short although more rows follow. The request ends at 1 MiB, and a filter by direction drops rows
    /// after the read.
    pub async fn page(
        &self,
        id: &AccountId,
        selection: Selection,
        limit: usize,
        before: Option<Position>,
    ) -> Result<Page<Transaction, Position>, StoreError> {
        let from = Position::from(selection.from.unwrap_or(Timestamp::from_millis(0)));
        let to = Position::up_to(selection.to.unwrap_or(Timestamp::from_millis(u64::MAX)));
        // DynamoDB rejects a start key outside the queried range.
        let start = before.map(|position| position.to_string());
        if start.as_ref().is_some_and(|start| *start < from) {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let start = start.filter(|start| *start < to).map(|start| key(id, &start));
        let query = self.between(id, &from, &to).set_exclusive_start_key(start);
        let Some(direction) = selection.direction else {
            // One item more than the limit shows whether another page follows.
            let (items, read_up_to) = newest_first(query, limit + 1).await?;
            return Ok(to_page(&items, limit, read_up_to));
        };
        let query = query
            .filter_expression("#type = :type")
            .expression_attribute_names("#type", "type")
            .expression_attribute_values(":type", AttributeValue::S(direction.as_str().to_owned()));
        let (items, read_up_to) = newest_first(query, FILTERED_READ_LIMIT.max(limit + 1)).await?;
        Ok(to_page(&items, limit, read_up_to))
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
}

/// Sends one request. Returns the items, and the last position read if DynamoDB stopped before the end of the range.
async fn newest_first(
    query: QueryFluentBuilder,
    limit: usize,
) -> Result<(Vec<Item>, Option<Position>), StoreError> {
    let query = query.scan_index_forward(false).limit(i32::try_from(limit).unwrap_or(i32::MAX));
    let answer = query.send().await.map_err(StoreError::unavailable)?;
    let read_up_to = answer.last_evaluated_key.as_ref().and_then(position);
    Ok((answer.items.unwrap_or_default(), read_up_to))
}

/// Makes a page of at most `limit` items. The next page begins after the last item shown, or after the last position
/// read if all items are shown.
fn to_page(
    items: &[Item],
    limit: usize,
    read_up_to: Option<Position>,
) -> Page<Transaction, Position> {
    let shown = &items[..limit.min(items.len())];
    let next = if items.len() > limit { shown.last().and_then(position) } else { read_up_to };
    Page { items: shown.iter().filter_map(row).collect(), next }
}

fn put(id: &AccountId, row: &Transaction) -> WriteRequest {
    let put = PutRequest::builder().set_item(Some(item(id, row))).build();
    WriteRequest::builder().put_request(put.expect("a put request has an item")).build()
}

fn delete(id: &AccountId, position: &Position) -> WriteRequest {
    let delete = DeleteRequest::builder().set_key(Some(key(id, &position.to_string()))).build();
    WriteRequest::builder().delete_request(delete.expect("a delete request has a key")).build()
}

fn key(id: &AccountId, position: &str) -> Item {
    [("account_id", id.as_str()), ("position", position)]
        .map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned())))
        .into()
}

fn item(id: &AccountId, row: &Transaction) -> Item {
    let mut item = key(id, &row.position.to_string());
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    let number = |amount: MinorUnits| AttributeValue::N(amount.0.to_string());
    put("type", AttributeValue::S(row.direction.as_str().to_owned()));
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
        direction: Direction::from_word(&text("type")?)?,
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
            assert_eq!(row(&item(&"account".parse().unwrap(), &read)), Some(read));
        }
    }
}
