//! Writing many items at once.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::WriteRequest;
use tokio::time::sleep;

use super::{MOST_ROUNDS, StoreError, pause};
use crate::aws::describe;

/// The most items that one `BatchWriteItem` takes.
pub(super) const MOST_ITEMS: usize = 25;

/// Writes up to [`MOST_ITEMS`] items in one request, and what was left unprocessed again, with growing
/// pauses. Answers with what was not done, and why.
pub(super) async fn write(
    client: &Client,
    table: &str,
    writes: Vec<WriteRequest>,
) -> (Vec<WriteRequest>, StoreError) {
    let mut left = writes;
    for round in 0..MOST_ROUNDS {
        if round > 0 {
            sleep(pause(round)).await;
        }
        let request = client.batch_write_item().request_items(table, left.clone());
        left = match request.send().await {
            Ok(answer) => {
                let left = answer.unprocessed_items.unwrap_or_default().remove(table);
                left.unwrap_or_default()
            }
            Err(error) => return (left, StoreError::Unavailable(describe(&error))),
        };
        if left.is_empty() {
            break;
        }
    }
    (left, StoreError::Unprocessed)
}
