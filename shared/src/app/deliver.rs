//! Posts notifications and Mono's events to the fintech's own URLs.
//!
//! Each message is attempted for 48 hours, with exponential back-off. A message that is not delivered goes to the
//! dead-letter queue, from which an operator can move it back. The messages of a batch are posted concurrently, and
//! each attempt has a time limit. So a slow receiver delays no other queue.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::stream::{self, StreamExt};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook,
};
use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use crate::aws::queues::{self, DeadLetterQueue, DeliveryQueue};
use crate::aws::secrets::{SecretTextCache, SecretUnavailable};
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::secret::SECRET_HEADERS;
use crate::lambda::invocation::Invocation;
use crate::lambda::sqs_batch::{self, MissingMessageId};
use crate::random;
use crate::receiver::{ATTEMPT_TIMEOUT, PostError, Receiver};

/// A queue, and the URL to which its messages are posted.
pub struct Route {
    pub queue: DeliveryQueue,
    pub dead_letters: DeadLetterQueue,
    pub receiver: Receiver,
    pub authentication: Authentication,
}

/// How a receiver recognises that a request is authentic.
pub enum Authentication {
    /// A signature by Standard Webhooks, with one or, after a rotation, two secrets.
    Signature(SecretTextCache),
    /// Mono's webhook secret, as Mono itself sends it.
    MonoSecret(SecretTextCache),
}

/// One log line for each batch.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    delivered: usize,
    delivered_again: usize,
    dead_lettered: usize,
}

/// From this age on, each failed attempt logs the code of an alarm. The age that SQS reports leaves out messages that
/// were received three times.
const LATE: Duration = Duration::from_hours(1);
/// A message is attempted for this time.
const RETRY_PERIOD: Duration = Duration::from_hours(48);
/// The longest wait after the first attempt. Each further failure doubles the wait.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_hours(4);
/// The messages of a batch that are posted concurrently.
const CONCURRENCY: usize = 10;

/// Why a message is not delivered.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the message is not a notification")]
    NotANotification,
    #[error("the message body is not valid base64 of UTF-8 text")]
    NoText,
    #[error("the secret cannot be sent in a header, or is not base64")]
    UnusableSecret,
    #[error(transparent)]
    Secret(#[from] SecretUnavailable),
    #[error(transparent)]
    NoAnswer(#[from] PostError),
    #[error("the receiver answered {}", .0.as_u16())]
    Answer(StatusCode),
}

impl Failure {
    /// Whether another attempt cannot succeed. 410 is the answer of a receiver that wants no more messages.
    fn is_final(&self) -> bool {
        matches!(self, Self::NotANotification | Self::NoText | Self::Answer(StatusCode::GONE))
    }
}

/// An event of the bus.
#[derive(Deserialize)]
struct BusEvent<'a> {
    /// The notification. Its text is the body of each attempt.
    #[serde(borrow)]
    detail: &'a RawValue,
}

#[derive(Deserialize)]
struct Identified {
    id: String,
}

/// Posts a batch. All its messages are from one queue. Returns the messages that SQS must deliver again, and a summary
/// for the log.
///
/// # Errors
///
/// [`MissingMessageId`]: nothing was posted, and the whole batch is delivered again.
pub async fn deliver(
    routes: &[Route],
    event: SqsEvent,
    invocation: &Invocation,
) -> Result<(SqsBatchResponse, Summary), MissingMessageId> {
    let has_no_id = |message: &SqsMessage| message.message_id.as_ref().is_none_or(String::is_empty);
    if event.records.iter().any(has_no_id) {
        return Err(MissingMessageId);
    }
    let outcomes = stream::iter(&event.records)
        .map(async |message| {
            let route = routes.iter().find(|route| route.queue.holds(message));
            let outcome = match route {
                Some(route) => route.deliver(message, invocation).await,
                None => Outcome::DeliveredAgain,
            };
            (outcome, message.message_id.clone())
        })
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<_>>()
        .await;
    let count = |wanted| outcomes.iter().filter(|(outcome, _)| *outcome == wanted).count();
    let summary = Summary {
        delivered: count(Outcome::Delivered),
        delivered_again: count(Outcome::DeliveredAgain),
        dead_lettered: count(Outcome::DeadLettered),
    };
    let failed = outcomes
        .into_iter()
        .filter_map(|(outcome, id)| id.filter(|_| outcome == Outcome::DeliveredAgain));
    Ok((sqs_batch::response(failed), summary))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Delivered,
    DeliveredAgain,
    DeadLettered,
}

impl Route {
    async fn deliver(&self, message: &SqsMessage, invocation: &Invocation) -> Outcome {
        // Without the time for an attempt, the message becomes visible again by itself.
        if Instant::now() + ATTEMPT_TIMEOUT > invocation.deadline {
            return Outcome::DeliveredAgain;
        }
        let now = Timestamp::now();
        let posted = timeout_at(invocation.deadline, self.post(message, now)).await;
        let Err(failure) = posted.unwrap_or(Err(PostError::Late.into())) else {
            return Outcome::Delivered;
        };
        let request_id = &invocation.request_id;
        let message_id = message.message_id.as_deref();
        let age = sent_at(message).map(|sent_at| now.since(sent_at)).unwrap_or_default();
        if failure.is_final() || age >= RETRY_PERIOD {
            let moved = self.dead_letters.put(message, &failure.to_string()).await;
            if let Err(error) = moved {
                error!(request_id, message_id, %failure, %error, "message could not be moved to the dead-letter queue");
                return Outcome::DeliveredAgain;
            }
            let code = match failure {
                Failure::Answer(StatusCode::GONE) => "RECEIVER_GONE",
                _ => "DELIVERY_GIVEN_UP",
            };
            error!(request_id, message_id, code, %failure, "message moved to the dead-letter queue");
            return Outcome::DeadLettered;
        }
        let wait = back_off(receive_count(message));
        let (code, wait_seconds) = ((age >= LATE).then_some("DELIVERY_LATE"), wait.as_secs());
        warn!(request_id, message_id, code, %failure, wait_seconds, "message not delivered");
        if let Err(error) = self.queue.postpone(message, wait).await {
            warn!(request_id, message_id, %error, "visibility timeout could not be changed");
        }
        Outcome::DeliveredAgain
    }

    async fn post(&self, message: &SqsMessage, now: Timestamp) -> Result<(), Failure> {
        let text = queues::webhook_text(message).ok_or(Failure::NoText)?;
        let (headers, body) = self.authentication.request(&text, now).await?;
        let status = self.receiver.post(headers, body.to_owned()).await?;
        if status.is_success() { Ok(()) } else { Err(Failure::Answer(status)) }
    }
}

impl Authentication {
    /// The headers and the body of this attempt.
    async fn request<'a>(
        &self,
        text: &'a str,
        now: Timestamp,
    ) -> Result<(HeaderMap, &'a str), Failure> {
        match self {
            Self::Signature(secrets) => {
                let (id, body) = notification(text).ok_or(Failure::NotANotification)?;
                Ok((signed(&id, body, &secrets.texts(now).await?, now)?, body))
            }
            Self::MonoSecret(secrets) => {
                let texts = secrets.texts(now).await?;
                let current = texts.first().map(|text| text.trim()).unwrap_or_default();
                Ok((headers([(SECRET_HEADERS[0], current.to_owned())])?, text))
            }
        }
    }
}

/// The id and the text of the notification in an event of the bus.
fn notification(text: &str) -> Option<(String, &str)> {
    let BusEvent { detail } = serde_json::from_str(text).ok()?;
    let Identified { id } = serde_json::from_str(detail.get()).ok()?;
    Some((id, detail.get()))
}

/// The headers of Standard Webhooks. The signature is of this attempt. The id is the same in each attempt.
fn signed(id: &str, body: &str, secrets: &[String], now: Timestamp) -> Result<HeaderMap, Failure> {
    let seconds = i64::try_from(now.millis() / 1000).unwrap_or(i64::MAX);
    let sign = |secret: &String| Webhook::new(secret.trim())?.sign(id, seconds, body.as_bytes());
    let (current, previous) = secrets.split_first().ok_or(Failure::UnusableSecret)?;
    let mut signatures = vec![sign(current).map_err(|_| Failure::UnusableSecret)?];
    // A previous secret that was mistyped does not stop the deliveries.
    signatures.extend(previous.iter().filter_map(|secret| sign(secret).ok()));
    headers([
        (HEADER_WEBHOOK_ID, id.to_owned()),
        (HEADER_WEBHOOK_TIMESTAMP, seconds.to_string()),
        (HEADER_WEBHOOK_SIGNATURE, signatures.join(" ")),
    ])
}

fn headers<const N: usize>(headers: [(&'static str, String); N]) -> Result<HeaderMap, Failure> {
    let header = |(name, value): (&'static str, String)| {
        let mut value = HeaderValue::from_str(&value).map_err(|_| Failure::UnusableSecret)?;
        value.set_sensitive(true);
        Ok((HeaderName::from_static(name), value))
    };
    headers.into_iter().map(header).collect()
}

/// The wait before the next attempt: exponential back-off with jitter.
fn back_off(received: u32) -> Duration {
    let longest = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(received.saturating_sub(1)));
    random::jittered(longest.min(LONGEST_WAIT))
}

fn receive_count(message: &SqsMessage) -> u32 {
    let count = message.attributes.get("ApproximateReceiveCount");
    count.and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// When the message was sent. A redrive counts as sending.
fn sent_at(message: &SqsMessage) -> Option<Timestamp> {
    let millis = message.attributes.get("SentTimestamp")?.parse().ok()?;
    Some(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_five_seconds_to_four_hours() {
        for (received, longest) in [(0, 5), (1, 5), (2, 10), (3, 20), (12, 10_240), (13, 14_400)] {
            let wait = back_off(received).as_secs();
            assert!((longest / 2..=longest).contains(&wait), "{received}: {wait}");
        }
        assert!(back_off(u32::MAX) <= LONGEST_WAIT);
    }

    #[test]
    fn outage_of_an_hour_has_about_ten_attempts_and_the_next_within_ninety_minutes() {
        let hour = Duration::from_hours(1);
        let (mut waited, mut received) = (Duration::ZERO, 0);
        while waited < hour {
            received += 1;
            waited += back_off(received);
        }
        assert!((10..=11).contains(&received), "{received}");
        assert!(waited - hour < hour + hour / 2, "{waited:?}");
    }

    #[test]
    fn only_410_and_unreadable_messages_are_final() {
        for status in [301, 400, 401, 404, 408, 429, 500, 503] {
            assert!(!Failure::Answer(StatusCode::from_u16(status).unwrap()).is_final(), "{status}");
        }
        assert!(Failure::Answer(StatusCode::GONE).is_final());
        assert!(Failure::NotANotification.is_final());
        assert!(!Failure::NoAnswer(PostError::Late).is_final());
    }

    const NOW: Timestamp = Timestamp::from_millis(1_769_547_600_123);

    #[test]
    fn signature_is_verified_by_the_current_and_by_the_previous_secret() {
        let secrets =
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"];
        let now = Timestamp::now();
        let headers = signed("id", "{}", &secrets.map(str::to_owned), now).unwrap();
        for secret in secrets {
            Webhook::new(secret).unwrap().verify(b"{}", &headers).unwrap();
        }
        let other = Webhook::new("whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg==").unwrap();
        assert!(other.verify(b"{}", &headers).is_err());
        assert_eq!(headers[HEADER_WEBHOOK_SIGNATURE].to_str().unwrap().split(' ').count(), 2);
    }

    /// The example of the specification's libraries.
    #[test]
    fn signature_of_the_example_of_the_specification_is_reproduced() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
        let at = Timestamp::from_millis(1_614_265_330_000);
        let headers =
            signed("msg_p5jXN8AQM9LWM0D4loKWxJek", r#"{"test": 2432232314}"#, &[secret], at);
        let headers = headers.unwrap();
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(headers[HEADER_WEBHOOK_SIGNATURE], signature);
        assert_eq!(headers[HEADER_WEBHOOK_TIMESTAMP], "1614265330");
    }

    #[test]
    fn notification_is_the_detail_of_the_event_byte_for_byte() {
        let detail = r#"{ "type":"account.linked", "id" : "4a", "x":1.0 }"#;
        let event = format!(r#"{{"version":"0","id":"other","detail":{detail},"resources":[]}}"#);
        assert_eq!(notification(&event), Some(("4a".to_owned(), detail)));
        for other in ["", "{}", r#"{"detail":{}}"#, r#"{"detail":"x"}"#] {
            assert_eq!(notification(other), None, "{other}");
        }
    }

    #[test]
    fn secret_that_is_not_base64_is_an_error() {
        assert!(matches!(
            signed("id", "{}", &["not base64!".to_owned()], NOW),
            Err(Failure::UnusableSecret)
        ));
        let secrets = ["c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "mistyped!"].map(str::to_owned);
        assert!(signed("id", "{}", &secrets, NOW).is_ok(), "only the current one is needed");
    }
}
