//! Notifications as signed requests to a URL of the fintech.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_secretsmanager::Client as Secrets;
use aws_sdk_sqs::Client as Sqs;
use e2e::emulator::{Emulator, REGION, lasting_port};
use e2e::notifications::violations;
use e2e::project;
use e2e::proxy::Failure;
use e2e::samples::{LOCAL_KEY, LOCAL_SECRET};
use e2e::shared_stack::{aside, local};
use e2e::stack::{Stack, deploy_template};
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::receivers::{Foreign, Programmed, Received, Reply};
use super::{account_id, balance_update, eventually, fail};

/// A stack whose notifications go to a port of this machine. The tests of this module use it one after the other,
/// because they share the port.
struct Delivery {
    stack: Stack,
    port: u16,
}

impl Delivery {
    async fn deploy(emulator: &Emulator) -> Self {
        let port = lasting_port().unwrap();
        let url = format!("http://localhost:{port}/notify");
        let parameters = [
            ("MonoSecretKey", LOCAL_KEY),
            ("MonoWebhookSecret", LOCAL_SECRET),
            ("NotifyUrl", &url),
        ];
        let stack = Stack::deploy(emulator, "notify", &parameters).await.unwrap();
        Self { stack, port }
    }

    /// Causes three notifications about an account.
    async fn cause(&self, account_id: &str) {
        let request = self.stack.request(Method::POST, "/webhooks/mono");
        let request = request.header("mono-webhook-secret", LOCAL_SECRET);
        let update = balance_update(account_id, 1, 500);
        assert_eq!(request.json(&update).send().await.unwrap().status(), 200);
    }

    async fn secret(&self) -> String {
        let read = Secrets::new(&self.stack.sdk()).get_secret_value();
        let read = read.secret_id(self.stack.output("NotifySecretArn")).send().await.unwrap();
        read.secret_string.unwrap()
    }

    async fn dead_letters(&self) -> Vec<aws_sdk_sqs::types::Message> {
        let url = self.stack.output("NotificationDeadLetterQueueUrl");
        let receive = Sqs::new(&self.stack.sdk()).receive_message().queue_url(url);
        let receive = receive.max_number_of_messages(10).message_attribute_names("All");
        receive.send().await.unwrap().messages.unwrap_or_default()
    }
}

const TYPES: [&str; 3] = ["account.balance_changed", "account.linked", "account.status_changed"];

fn types(received: &[Received]) -> BTreeSet<String> {
    received.iter().map(|request| request.json()["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn notifications_are_posted_signed_until_the_receiver_accepts_them() {
    let delivery = aside(Delivery::deploy(&local().emulator));
    posted_once(&delivery).await;
    retried(&delivery).await;
    given_up(&delivery).await;
    slow_request_delays_no_other(&delivery).await;
    for program in ["signed.py", "signed.js"] {
        verified_by(&delivery, program).await;
    }
    rotated(&delivery).await;
    passed_on_by_the_template_of_the_readme(&delivery).await;
}

async fn posted_once(delivery: &Delivery) {
    let receiver = Programmed::start(delivery.port).await;
    let id = account_id();
    delivery.cause(&id).await;
    let received = receiver.until(&id, 3).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(receiver.received(&id).len(), 3, "an accepted notification is posted once");
    assert!(types(&received).iter().eq(TYPES));
    for request in received {
        let notification = request.json();
        assert_eq!(violations(&notification), [""; 0]);
        assert_eq!(request.headers["webhook-id"], notification["id"].as_str().unwrap());
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.headers["content-length"], request.body.len().to_string());
        assert!(!request.headers.contains_key("transfer-encoding"));
        assert_eq!(request.headers["webhook-signature"].split(' ').count(), 1);
    }
}

/// After each kind of failure, the same message is posted again, with a new timestamp and signature.
async fn retried(delivery: &Delivery) {
    let receiver = Programmed::start(delivery.port).await;
    let id = account_id();
    let failures = [Reply::Status(503), Reply::Redirect, Reply::Status(404)];
    for name in TYPES {
        receiver.reply(name, &failures);
    }
    delivery.cause(&id).await;
    let received = receiver.until(&id, 12).await;
    for name in TYPES {
        let attempts: Vec<_> =
            received.iter().filter(|request| request.body.contains(name)).collect();
        assert_eq!(
            attempts.len(),
            4,
            "{name}: three failures, a success, and no redirect followed"
        );
        let of_message =
            |request: &&Received| (request.headers["webhook-id"].clone(), request.body.clone());
        let messages: BTreeSet<_> = attempts.iter().map(of_message).collect();
        assert_eq!(messages.len(), 1, "id and body are the message's");
        let times: Vec<_> =
            attempts.iter().map(|request| request.headers["webhook-timestamp"].clone()).collect();
        assert!(
            times.is_sorted() && times[0] < times[3],
            "the timestamp is the attempt's: {times:?}"
        );
        let waits: Vec<_> = attempts.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        assert!(waits[0] < waits[2], "exponential back-off: {waits:?}");
    }
}

/// 410 stops a message at once. It can be moved back from the dead-letter queue.
async fn given_up(delivery: &Delivery) {
    let receiver = Programmed::start(delivery.port).await;
    let id = account_id();
    receiver.reply("account.linked", &[Reply::Status(410)]);
    delivery.cause(&id).await;
    receiver.until(&id, 3).await;
    let sqs = Sqs::new(&delivery.stack.sdk());
    let mut letters = Vec::new();
    eventually("the message is in the dead-letter queue", async || {
        !delivery.dead_letters().await.is_empty()
    })
    .await;
    let dead = delivery.stack.output("NotificationDeadLetterQueueUrl");
    eventually("the message is visible again", async || {
        sqs.set_queue_attributes()
            .queue_url(dead)
            .attributes(aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout, "0")
            .send()
            .await
            .unwrap();
        !delivery.dead_letters().await.is_empty()
    })
    .await;
    letters.extend(delivery.dead_letters().await);
    let [letter] = &letters[..] else { panic!("one dead letter: {letters:#?}") };
    let reason = &letter.message_attributes.as_ref().unwrap()["reason"];
    assert_eq!(reason.string_value(), Some("the receiver answered 410"));
    let log = delivery.stack.log("deliverer").await.unwrap();
    assert!(log.iter().any(|line| line.contains("RECEIVER_GONE")), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains(&id)), "no body is logged");
    // As a redrive does it.
    let send = sqs.send_message().queue_url(delivery.stack.output("NotificationQueueUrl"));
    send.message_body(letter.body().unwrap()).send().await.unwrap();
    let received = receiver.until(&id, 4).await;
    assert_eq!(received.last().unwrap().json()["type"], "account.linked");
    sqs.purge_queue().queue_url(dead).send().await.unwrap();
}

async fn slow_request_delays_no_other(delivery: &Delivery) {
    let receiver = Programmed::start(delivery.port).await;
    let (slow, fast) = (account_id(), account_id());
    receiver.reply(&slow, &[Reply::Never; 3]);
    delivery.cause(&slow).await;
    let started = receiver.until(&slow, 3).await[0].at;
    delivery.cause(&fast).await;
    // The three requests still wait for their answers.
    let answered = receiver.until(&fast, 3).await;
    assert_eq!(receiver.received(&slow).len(), 3);
    let retried = receiver.until(&slow, 4).await;
    assert!(answered.iter().all(|request| request.at < retried[3].at), "the others do not wait");
    let wait = retried[3].at - started;
    assert!(wait >= Duration::from_secs(10), "an attempt waits for ten seconds: {wait:?}");
}

/// While a rotation is under way, a request has a signature with each secret.
async fn rotated(delivery: &Delivery) {
    let old = delivery.secret().await;
    let new = "whsec_bmV3IHNlY3JldCBvZiB0aGUgZmludGVjaCBoZXJl";
    let secrets = Secrets::new(&delivery.stack.sdk());
    let rotate = secrets.put_secret_value().secret_id(delivery.stack.output("NotifySecretArn"));
    rotate.secret_string(new).send().await.unwrap();
    // A new instance of the function reads the secret at once. An old one keeps it for five minutes.
    let receiver = Programmed::start(delivery.port).await;
    let id = account_id();
    for name in TYPES {
        receiver.reply(name, &[Reply::Status(500)]);
    }
    let queue = delivery.stack.output("NotificationQueueUrl");
    fail("ChangeMessageVisibility", queue, &[Failure::Crash; 2]);
    delivery.cause(&id).await;
    let signatures = |request: &Received| request.headers["webhook-signature"].split(' ').count();
    eventually("requests have two signatures", async || {
        receiver.received(&id).iter().any(|request| signatures(request) == 2)
    })
    .await;
    drop(receiver);
    for secret in [old.as_str(), new] {
        verified_with(delivery, "signed.py", secret).await;
    }
}

/// The template of the README sends the notifications to a queue and to a function. The planner takes any event.
async fn passed_on_by_the_template_of_the_readme(delivery: &Delivery) {
    let readme = std::fs::read_to_string(project().join("README.md")).unwrap();
    let (_, section) = readme.split_once("## How your system learns of changes").unwrap();
    let template = section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let file = project().join("target/local/consumer.yaml");
    std::fs::write(&file, template).unwrap();
    let planner = delivery.stack.resource("RefreshPlannerFunction");
    let function = format!("arn:aws:lambda:{REGION}:000000000000:function:{planner}");
    let bus = delivery.stack.output("EventBusName").to_owned();
    let emulator = &local().emulator;
    let outputs = aside(async move {
        let parameters = [("EventBusName", bus.as_str()), ("FunctionArn", &function)];
        deploy_template(emulator, "consumer", &file, &parameters).await.unwrap()
    });
    let plans = async || delivery.stack.log("refresh-planner").await.unwrap().len();
    let plans_before = plans().await;
    let id = account_id();
    delivery.cause(&id).await;
    let reauthorisation = json!({
        "event": "mono.events.reauthorisation_required",
        "timestamp": "2026-01-27T22:00:00.000Z",
        "data": { "account": { "_id": id } },
    });
    let request = delivery.stack.request(Method::POST, "/webhooks/mono");
    let request = request.header("mono-webhook-secret", LOCAL_SECRET).json(&reauthorisation);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let sqs = Sqs::new(&delivery.stack.sdk());
    let seen = std::sync::Mutex::new(BTreeSet::new());
    eventually("the queue and the function have the notifications", async || {
        let receive = sqs.receive_message().queue_url(&outputs["ChangesUrl"]);
        let received = receive.max_number_of_messages(10).send().await.unwrap();
        let mut seen = seen.lock().unwrap();
        for message in received.messages.unwrap_or_default() {
            let event: serde_json::Value = serde_json::from_str(message.body().unwrap()).unwrap();
            if event["detail"]["account_id"] == *id {
                seen.insert(event["detail-type"].as_str().unwrap().to_owned());
            }
        }
        seen.iter().eq(TYPES)
    })
    .await;
    eventually("the function is invoked", async || plans().await > plans_before).await;
}

/// The official library of another language accepts the requests, and refuses another secret's.
async fn verified_by(delivery: &Delivery, program: &str) {
    verified_with(delivery, program, &delivery.secret().await).await;
}

async fn verified_with(delivery: &Delivery, program: &str, secret: &str) {
    let id = account_id();
    let other =
        Foreign::start(program, delivery.port, "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg==");
    let other = other.await;
    delivery.cause(&id).await;
    eventually("the requests are refused", async || !other.received().is_empty()).await;
    assert!(other.received().iter().all(|request| !request.accepted), "{program}");
    drop(other);
    let receiver = Foreign::start(program, delivery.port, secret).await;
    eventually("the requests are verified", async || {
        // After a rotation, an old instance of the function may use the old secret alone.
        let verified = |request: &Received| request.accepted && request.body.contains(&id);
        let received: Vec<_> = receiver.received().into_iter().filter(verified).collect();
        types(&received).iter().eq(TYPES)
    })
    .await;
}
