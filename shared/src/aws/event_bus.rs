//! The EventBridge bus of the stack.

use std::error::Error;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use tokio::time::{Instant, timeout_at};

use crate::aws::sdk::AwsError;
use crate::domain::notification::Notification;

/// The source of all notifications.
pub const SOURCE: &str = "mono-sync";
/// The maximum number of entries of one `PutEvents` request.
const MAX_ENTRIES: usize = 10;
/// Codes that say that the entry itself is invalid.
const INVALID: [&str; 3] = ["InvalidArgument", "MalformedDetail", "ValidationException"];

pub struct EventBus {
    client: Client,
    name: String,
}

/// Why a notification was not published. If only the answer was lost, it was published.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    #[error("EventBridge call failed: {0}")]
    Unavailable(#[source] AwsError),
    #[error("EventBridge refused the notification: {code}")]
    Refused { code: String },
    #[error("EventBridge did not answer in time")]
    Late,
}

impl PublishError {
    fn unavailable(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(AwsError::new(error))
    }

    /// Whether another attempt cannot succeed.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused { code } if INVALID.contains(&code.as_str()))
    }
}

impl EventBus {
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Publishes notifications in this order, ten per request, until the deadline. Returns one result for each. After a
    /// failed request, the rest is not sent.
    pub async fn publish(
        &self,
        notifications: &[Notification],
        deadline: Instant,
    ) -> Vec<Result<(), PublishError>> {
        let mut results = Vec::with_capacity(notifications.len());
        for chunk in notifications.chunks(MAX_ENTRIES) {
            let put = timeout_at(deadline, self.put(chunk)).await;
            match put.unwrap_or(Err(PublishError::Late)) {
                Ok(published) => results.extend(published),
                Err(error) => {
                    results.resize_with(notifications.len(), || Err(error.clone()));
                    break;
                }
            }
        }
        results
    }

    async fn put(
        &self,
        notifications: &[Notification],
    ) -> Result<Vec<Result<(), PublishError>>, PublishError> {
        let mut request = self.client.put_events();
        for notification in notifications {
            let detail = serde_json::to_string(notification).map_err(PublishError::unavailable)?;
            let entry = PutEventsRequestEntry::builder()
                .event_bus_name(&self.name)
                .source(SOURCE)
                .detail_type(notification.name)
                .detail(detail);
            request = request.entries(entry.build());
        }
        let answer = request.send().await.map_err(PublishError::unavailable)?;
        let mut entries = answer.entries.unwrap_or_default().into_iter();
        // One result for each notification, even if the answer has fewer.
        let result = |_: &Notification| match entries.next()?.error_code {
            None => Some(Ok(())),
            Some(code) => Some(Err(PublishError::Refused { code })),
        };
        let results = notifications.iter().map(result);
        Ok(results.map(|result| result.unwrap_or(Err(PublishError::Late))).collect())
    }
}
