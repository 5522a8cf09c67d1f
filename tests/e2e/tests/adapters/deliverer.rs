use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_secretsmanager::Client as Secrets;
use aws_sdk_sqs::Client as Sqs;
use e2e::emulator::free_port;
use e2e::proxy::Failure;
use e2e::shared_stack::local;
use mono_sync::app::deliver::{Authentication, Route, deliver};
use mono_sync::aws::queues::{DeadLetterQueue, DeliveryQueue};
use mono_sync::aws::secrets::SecretTextCache;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::receiver::Receiver;
use serde_json::json;
use tokio::time::Instant;

use crate::{fail, unique};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// A route whose receiver does not listen.
struct Case {
    route: Route,
    queue: String,
    dead_letters: String,
}

impl Case {
    async fn new() -> Self {
        let sqs = Sqs::new(&local().sdk());
        let (queue, dead_letters) = (new_queue(&sqs).await, new_queue(&sqs).await);
        let url = format!("http://localhost:{}/notify", free_port().unwrap());
        let route = Route {
            queue: DeliveryQueue::new(sqs.clone(), &queue),
            dead_letters: DeadLetterQueue::new(sqs, &dead_letters),
            receiver: Receiver::new(url.parse().unwrap()),
            authentication: Authentication::Signature(new_secret().await.1),
        };
        Self { route, queue, dead_letters }
    }

    /// Delivers a message of this age. Returns the failed messages, and the summary as JSON.
    async fn deliver(&self, age: Duration) -> (Vec<String>, serde_json::Value) {
        let body = json!({ "detail": { "id": "4a", "type": "account.linked" } });
        let name = self.queue.rsplit('/').next().unwrap();
        let sent_at = Timestamp::now() - age;
        let event: SqsEvent = serde_json::from_value(json!({ "Records": [{
            "messageId": "m1",
            "receiptHandle": "unknown",
            "body": body.to_string(),
            "attributes": {
                "SentTimestamp": sent_at.millis().to_string(),
                "ApproximateReceiveCount": "20",
            },
            "eventSourceARN": format!("arn:aws:sqs:eu-west-1:000000000000:{name}"),
        }]}))
        .unwrap();
        let invocation = Invocation {
            request_id: "request".to_owned(),
            deadline: Instant::now() + Duration::from_secs(30),
            ends_at: Timestamp::now(),
        };
        let routes = std::slice::from_ref(&self.route);
        let (response, summary) = deliver(routes, event, &invocation).await.unwrap();
        let failures = response.batch_item_failures.into_iter();
        let failed = failures.map(|failure| failure.item_identifier).collect();
        (failed, serde_json::to_value(summary).unwrap())
    }

    async fn dead_letters(&self) -> usize {
        let receive = Sqs::new(&local().sdk()).receive_message().queue_url(&self.dead_letters);
        receive.send().await.unwrap().messages.unwrap_or_default().len()
    }
}

async fn new_queue(sqs: &Sqs) -> String {
    let queue = sqs.create_queue().queue_name(unique("deliveries")).send().await.unwrap();
    queue.queue_url.unwrap()
}

/// The name of a secret, and its cache.
async fn new_secret() -> (String, SecretTextCache) {
    let (client, name) = (Secrets::new(&local().sdk()), unique("signing"));
    let create = client.create_secret().name(&name);
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    create.secret_string(secret).send().await.unwrap();
    let cache = SecretTextCache::new(client, &name, HOUR);
    (name, cache)
}

#[tokio::test]
async fn message_is_retried_for_48_hours_and_then_dead_lettered() {
    let case = Case::new().await;
    let (failed, summary) = case.deliver(48 * HOUR - MINUTE).await;
    assert_eq!(failed, ["m1"]);
    assert_eq!(summary["delivered_again"], 1);
    assert_eq!(case.dead_letters().await, 0);
    let (failed, summary) = case.deliver(48 * HOUR).await;
    assert_eq!(failed, [""; 0]);
    assert_eq!(summary["dead_lettered"], 1);
    assert_eq!(case.dead_letters().await, 1);
}

#[tokio::test]
async fn message_stays_in_its_queue_if_the_dead_letter_queue_is_down() {
    let case = Case::new().await;
    let name = case.dead_letters.rsplit('/').next().unwrap();
    fail("SendMessage", name, &[Failure::ServerError; 3]);
    let (failed, summary) = case.deliver(48 * HOUR).await;
    assert_eq!(failed, ["m1"]);
    assert_eq!(summary["delivered_again"], 1);
}

#[tokio::test]
async fn cached_secret_is_used_while_it_cannot_be_read_again() {
    let (name, cache) = new_secret().await;
    let now = Timestamp::now();
    let texts = cache.texts(now).await.unwrap();
    fail("GetSecretValue", &name, &[Failure::ServerError; 3]);
    assert_eq!(cache.texts(now + 6 * MINUTE).await.unwrap(), texts);
    let changed = "whsec_bmV3IHNlY3JldCBvZiB0aGUgZmludGVjaCBoZXJl";
    let put = Secrets::new(&local().sdk()).put_secret_value().secret_id(&name);
    put.secret_string(changed).send().await.unwrap();
    let soon = cache.texts(now + 10 * MINUTE).await.unwrap();
    assert_eq!(soon, texts, "the next read comes five minutes later");
    let later = cache.texts(now + 11 * MINUTE).await.unwrap();
    assert_eq!(later.first().map(String::as_str), Some(changed));
}
