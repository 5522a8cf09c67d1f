//! A queue that receives the events of a bus, as a consumer of the fintech does.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_eventbridge::Client as EventBridge;
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::QueueAttributeName::QueueArn;
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// A rule of a bus, and the queue to which the rule sends.
#[derive(Debug)]
pub struct Subscription {
    sqs: Sqs,
    queue_url: String,
}

impl Subscription {
    /// Creates a queue and a rule with this name.
    ///
    /// # Panics
    ///
    /// If the emulator refuses.
    pub async fn new(sdk: &SdkConfig, bus: &str, name: &str, pattern: &Value) -> Self {
        let sqs = Sqs::new(sdk);
        let queue = sqs.create_queue().queue_name(name).send().await.expect("a queue is created");
        let queue_url = queue.queue_url.expect("a queue has a URL");
        let read = sqs.get_queue_attributes().queue_url(&queue_url).attribute_names(QueueArn);
        let attributes = read.send().await.expect("a queue has attributes").attributes;
        let arn = attributes.unwrap_or_default().remove(&QueueArn).expect("a queue has an ARN");
        let events = EventBridge::new(sdk);
        let rule = events.put_rule().event_bus_name(bus).name(name);
        rule.event_pattern(pattern.to_string()).send().await.expect("a rule is created");
        let target = Target::builder().id("queue").arn(arn).build().expect("a target is complete");
        let targets = events.put_targets().event_bus_name(bus).rule(name).targets(target);
        targets.send().await.expect("a target is added");
        Self { sqs, queue_url }
    }

    pub fn queue_url(&self) -> &str {
        &self.queue_url
    }

    /// Removes and returns the events in the queue.
    ///
    /// # Panics
    ///
    /// If the emulator refuses.
    pub async fn take(&self) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let receive = self.sqs.receive_message().queue_url(&self.queue_url);
            let received = receive.max_number_of_messages(10).send().await;
            let messages = received.expect("messages are received").messages.unwrap_or_default();
            if messages.is_empty() {
                return events;
            }
            for message in messages {
                let handle = message.receipt_handle.unwrap_or_default();
                let delete = self.sqs.delete_message().queue_url(&self.queue_url);
                delete.receipt_handle(handle).send().await.expect("a message is deleted");
                events.push(serde_json::from_str(&message.body.unwrap_or_default()).expect("JSON"));
            }
        }
    }

    /// Waits until the events that have arrived are as expected, and returns them.
    ///
    /// # Panics
    ///
    /// If they are not within three minutes.
    pub async fn take_until(&self, expected: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let end = Instant::now() + Duration::from_mins(3);
        let mut events = Vec::new();
        while !expected(&events) {
            assert!(Instant::now() < end, "the events did not become as expected: {events:#?}");
            sleep(Duration::from_millis(100)).await;
            events.extend(self.take().await);
        }
        events
    }
}
