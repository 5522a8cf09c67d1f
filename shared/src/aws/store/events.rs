//! Account histories in DynamoDB: one item per entry, deleted by DynamoDB after the retention period.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use tokio::time::Instant;

use super::batch_write::{self, MAX_ITEMS};
use super::{Page, StoreError};
use crate::domain::account::Status;
use crate::domain::account_id::AccountId;
use crate::domain::history::{Entry, Position};
use crate::domain::timestamp::Timestamp;

/// The table of account histories.
#[derive(Clone)]
pub struct EventStore {
    client: Client,
    table: String,
    retention: Duration,
}

/// How long throttled writes are retried. After that, the webhooks of these entries fail and SQS delivers them again.
const RETRY_FOR: Duration = Duration::from_secs(5);

type Item = HashMap<String, AttributeValue>;

impl EventStore {
    /// A store that keeps entries for `retention`. `None` if the retention is zero: then there is no history.
    pub fn new(client: Client, table: impl Into<String>, retention: Duration) -> Option<Self> {
        (!retention.is_zero()).then(|| Self { client, table: table.into(), retention })
    }

    /// Writes entries of any number of accounts, 25 per request. Returns the accounts with entries that were not
    /// written, with the error.
    pub async fn write(
        &self,
        entries: impl IntoIterator<Item = (AccountId, Entry)>,
    ) -> HashMap<AccountId, StoreError> {
        // A batch request must not contain two items with the same key.
        let puts: BTreeMap<_, _> = entries
            .into_iter()
            .map(|(id, entry)| ((id.clone(), entry.position), self.put(&id, &entry)))
            .collect();
        self.request(puts.into_values().collect()).await
    }

    /// Corrects the history of an account: deletes stale entries and writes the correct ones.
    pub async fn correct(
        &self,
        id: &AccountId,
        stale: &[Position],
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let deletes = stale.iter().map(|position| delete(id, *position));
        let puts = entries.iter().map(|entry| self.put(id, entry));
        let mut unwritten = self.request(deletes.chain(puts).collect()).await;
        unwritten.remove(id).map_or(Ok(()), Err)
    }

    /// Returns the accounts with writes that failed, with the error.
    async fn request(&self, writes: Vec<WriteRequest>) -> HashMap<AccountId, StoreError> {
        let mut failed = HashMap::new();
        for chunk in writes.chunks(MAX_ITEMS) {
            let (writes, deadline) = (chunk.to_vec(), Instant::now() + RETRY_FOR);
            let (unwritten, error) =
                batch_write::write(&self.client, &self.table, writes, deadline).await;
            let accounts: HashSet<AccountId> = unwritten.iter().filter_map(account_id).collect();
            failed.extend(accounts.into_iter().map(|id| (id, error.clone())));
        }
        failed
    }

    /// Reads one page of an account's history, newest entry first, optionally before a position. One request.
    pub async fn page(
        &self,
        id: &AccountId,
        limit: usize,
        before: Option<Position>,
        now: Timestamp,
    ) -> Result<Page<Entry, Position>, StoreError> {
        // DynamoDB deletes expired entries with a delay. Until then, the query leaves them out.
        let earliest = Position::earliest(now, self.retention);
        if before.is_some_and(|before| before.to_string() <= earliest) {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let start = before.map(|position| key(id, position));
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("account_id = :id AND #position > :earliest")
            .expression_attribute_names("#position", "position")
            .expression_attribute_values(":id", AttributeValue::S(id.to_string()))
            .expression_attribute_values(":earliest", AttributeValue::S(earliest))
            .scan_index_forward(false)
            // One item more than the limit shows whether another page follows.
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(StoreError::unavailable)?;
        let mut items = answer.items.unwrap_or_default();
        let has_more = items.len() > limit;
        items.truncate(limit);
        let entries: Vec<_> = items.iter().filter_map(entry).collect();
        let next = entries.last().filter(|_| has_more).map(|entry| entry.position);
        Ok(Page { items: entries, next })
    }

    fn put(&self, id: &AccountId, entry: &Entry) -> WriteRequest {
        let put = PutRequest::builder().set_item(Some(self.to_item(id, entry))).build();
        WriteRequest::builder().put_request(put.expect("a put request has an item")).build()
    }

    fn to_item(&self, id: &AccountId, entry: &Entry) -> Item {
        let mut item = key(id, entry.position);
        let mut put = |name: &str, value| item.insert(name.to_owned(), value);
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: u64| AttributeValue::N(number.to_string());
        put("kind", text(&entry.kind));
        if let Some(event_id) = &entry.event_id {
            put("event_id", text(event_id));
        }
        put("occurred_at", number(entry.occurred_at.millis()));
        put("received_at", number(entry.received_at.millis()));
        if let Some(status) = entry.status_before {
            put("status_before", text(status.as_str()));
        }
        if let Some(status) = entry.status_after {
            put("status_after", text(status.as_str()));
        }
        put("expires_at", number((entry.received_at + self.retention).millis() / 1000));
        item
    }
}

fn delete(id: &AccountId, position: Position) -> WriteRequest {
    let delete = DeleteRequest::builder().set_key(Some(key(id, position))).build();
    WriteRequest::builder().delete_request(delete.expect("a delete request has a key")).build()
}

fn account_id(write: &WriteRequest) -> Option<AccountId> {
    let put = write.put_request.as_ref().map(|put| &put.item);
    let item = put.or_else(|| write.delete_request.as_ref().map(|delete| &delete.key))?;
    text(item, "account_id")?.parse().ok()
}

fn key(id: &AccountId, position: Position) -> Item {
    [("account_id", id.to_string()), ("position", position.to_string())]
        .map(|(name, text)| (name.to_owned(), AttributeValue::S(text)))
        .into()
}

/// `None` if the item is not a valid entry, or if a later version of the system wrote it.
fn entry(item: &Item) -> Option<Entry> {
    let time = |name| {
        let millis = item.get(name)?.as_n().ok()?.parse().ok()?;
        Some(Timestamp::from_millis(millis))
    };
    let position: Position = text(item, "position")?.parse().ok()?;
    Some(Entry {
        position,
        kind: text(item, "kind")?.to_owned(),
        event_id: text(item, "event_id").map(str::to_owned),
        occurred_at: time("occurred_at")?,
        received_at: time("received_at")?,
        effect: position.effect(),
        status_before: text(item, "status_before").and_then(Status::from_word),
        status_after: text(item, "status_after").and_then(Status::from_word),
    })
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}
