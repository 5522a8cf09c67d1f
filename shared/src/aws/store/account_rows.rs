//! The deletion of all items of an account in a table with the key `account_id` and `position`.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use super::StoreError;
use super::batch_write::{self, MAX_ITEMS};
use crate::domain::account_id::AccountId;

/// The items of accounts in one table.
pub struct AccountRows {
    client: Client,
    table: String,
}

/// The number of concurrent batch writes.
const CONCURRENCY: usize = 4;
/// Items that are read and deleted together.
const PART: i32 = 1000;

impl AccountRows {
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Deletes the items of an account, as far as there is time. Returns whether all are gone. Strongly consistent.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some items may be deleted. The call can be repeated.
    pub async fn erase(&self, id: &AccountId, by: Instant) -> Result<bool, StoreError> {
        while Instant::now() < by {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("account_id = :id")
                .expression_attribute_values(":id", AttributeValue::S(id.to_string()))
                .projection_expression("account_id, #position")
                .expression_attribute_names("#position", "position")
                .consistent_read(true)
                .limit(PART);
            let keys =
                query.send().await.map_err(StoreError::unavailable)?.items.unwrap_or_default();
            if keys.is_empty() {
                return Ok(true);
            }
            let deletes: Result<Vec<_>, _> = keys
                .into_iter()
                .map(|key| DeleteRequest::builder().set_key(Some(key)).build())
                .map(|delete| {
                    delete.map(|delete| WriteRequest::builder().delete_request(delete).build())
                })
                .collect();
            let deletes = deletes.map_err(StoreError::unavailable)?;
            let mut results = stream::iter(deletes.chunks(MAX_ITEMS))
                .map(|chunk| batch_write::write(&self.client, &self.table, chunk.to_vec(), by))
                .buffer_unordered(CONCURRENCY);
            while let Some((left, error)) = results.next().await {
                if !left.is_empty() {
                    return if Instant::now() < by { Err(error) } else { Ok(false) };
                }
            }
        }
        Ok(false)
    }
}
