//! Histories of accounts in DynamoDB: an item for each entry, gone when its retention is over.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use tokio::time::Instant;

use super::batch_write::{self, MOST_ITEMS};
use super::{Page, StoreError};
use crate::domain::account::Status;
use crate::domain::account_id::AccountId;
use crate::domain::history::{Entry, Position};
use crate::domain::timestamp::Timestamp;

/// The table of histories.
#[derive(Clone)]
pub struct EventStore {
    client: Client,
    table: String,
    retention: Duration,
}

/// How long throttled writes are retried. After that the events fail, and SQS delivers them again.
const PATIENCE: Duration = Duration::from_secs(5);

type Item = HashMap<String, AttributeValue>;

impl EventStore {
    /// The histories in this table, kept for a time. `None` if that is none at all.
    pub fn new(client: Client, table: impl Into<String>, retention: Duration) -> Option<Self> {
        (!retention.is_zero()).then(|| Self { client, table: table.into(), retention })
    }

    /// Writes entries of any number of accounts, a request for each 25. Answers with the accounts
    /// of which not every entry was written, and why.
    pub async fn write(
        &self,
        entries: impl IntoIterator<Item = (AccountId, Entry)>,
    ) -> HashMap<AccountId, StoreError> {
        // One request must not have two items of one key.
        let puts: BTreeMap<_, _> = entries
            .into_iter()
            .map(|(id, entry)| ((id.clone(), entry.position), self.put(&id, &entry)))
            .collect();
        self.request(puts.into_values().collect()).await
    }

    /// Writes entries of an account in the place of some that turned out not to be true.
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

    /// Answers with the accounts that some of it was not done for, and why.
    async fn request(&self, writes: Vec<WriteRequest>) -> HashMap<AccountId, StoreError> {
        let mut undone = HashMap::new();
        for chunk in writes.chunks(MOST_ITEMS) {
            let (writes, deadline) = (chunk.to_vec(), Instant::now() + PATIENCE);
            let (left, error) =
                batch_write::write(&self.client, &self.table, writes, deadline).await;
            let accounts: HashSet<AccountId> = left.iter().filter_map(account_id).collect();
            undone.extend(accounts.into_iter().map(|id| (id, error.clone())));
        }
        undone
    }

    /// The newest entries of an account, or those before a position. One request.
    pub async fn page(
        &self,
        id: &AccountId,
        limit: usize,
        before: Option<Position>,
        now: Timestamp,
    ) -> Result<Page<Entry, Position>, StoreError> {
        // DynamoDB removes what is over when it comes to it; what is over is not shown before.
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
            // One more than wanted, to know whether there is more.
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(StoreError::unavailable)?;
        let mut items = answer.items.unwrap_or_default();
        let more = items.len() > limit;
        items.truncate(limit);
        let entries: Vec<_> = items.iter().filter_map(entry).collect();
        let next = entries.last().filter(|_| more).map(|entry| entry.position);
        Ok(Page { items: entries, next })
    }

    fn put(&self, id: &AccountId, entry: &Entry) -> WriteRequest {
        let put = PutRequest::builder().set_item(Some(self.to_item(id, entry))).build();
        WriteRequest::builder().put_request(put.expect("it has an item")).build()
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
    WriteRequest::builder().delete_request(delete.expect("it has a key")).build()
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

/// What is no entry, or one of a later version, is left out.
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
