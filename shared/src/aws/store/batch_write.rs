//! Batch writes to DynamoDB.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::WriteRequest;
use tokio::time::{Instant, sleep};

use super::StoreError;
use crate::random;

/// The maximum number of items in one `BatchWriteItem` request.
pub(super) const MAX_ITEMS: usize = 25;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// DynamoDB's error codes for throttled writes. A new table takes 4,000 write units a second, and more after sustained
/// load. One account with a local index takes 1,000.
const THROTTLED: [&str; 3] =
    ["ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"];

/// Writes up to [`MAX_ITEMS`] items in one request. Retries throttled items with exponential back-off until the
/// deadline. Returns the items that were not written, and the error.
pub(super) async fn write(
    client: &Client,
    table: &str,
    writes: Vec<WriteRequest>,
    deadline: Instant,
) -> (Vec<WriteRequest>, StoreError) {
    let (mut left, mut longest) = (writes, FIRST_PAUSE);
    loop {
        let request = client.batch_write_item().request_items(table, left.clone());
        let reason = match request.send().await {
            Ok(answer) => {
                let unprocessed = answer.unprocessed_items.unwrap_or_default().remove(table);
                left = unprocessed.unwrap_or_default();
                StoreError::Unwritten
            }
            Err(error) => {
                let is_throttled = error.code().is_some_and(|code| THROTTLED.contains(&code));
                let reason = StoreError::unavailable(error);
                if !is_throttled {
                    return (left, reason);
                }
                reason
            }
        };
        let pause = random::jittered(longest);
        if left.is_empty() || Instant::now() + pause >= deadline {
            return (left, reason);
        }
        sleep(pause).await;
        longest = MAX_PAUSE.min(longest * 2);
    }
}
