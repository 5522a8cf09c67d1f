//! Events that can never be applied, and events that fail on every retry, end in the dead-letter queue.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::Message;
use e2e::samples;
use e2e::shared_stack::stack;
use serde_json::{Value, json};

use super::{account_id, account_with_status, balance_update, eventually, post};

/// Waits for the dead letter that contains this text.
async fn dead_letter(containing: &str) -> Message {
    let found = std::cell::RefCell::new(None);
    eventually("the dead letter arrives", async || {
        let received = Client::new(&stack().sdk())
            .receive_message()
            .queue_url(stack().output("WebhookDeadLetterQueueUrl"))
            .max_number_of_messages(10)
            .visibility_timeout(0)
            .message_attribute_names("All")
            .send()
            .await
            .unwrap();
        let mut dead_letters = received.messages.unwrap_or_default();
        dead_letters
            .retain(|dead_letter| dead_letter.body().is_some_and(|body| body.contains(containing)));
        *found.borrow_mut() = dead_letters.pop();
        found.borrow().is_some()
    })
    .await;
    found.take().unwrap()
}

fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes.as_ref()?.get(name)?.string_value()
}

#[tokio::test]
async fn dead_letter_masks_the_bvn_and_spares_other_events() {
    let (first, last, tag) = (account_id(), account_id(), account_id());
    let nameless = json!({
        "event": "mono.events.reauthorisation_required",
        "data": { "account": { "bvn": "22212345678" }, "tag": tag },
    });
    let bodies = [balance_update(&first, 1, 1), nameless.clone(), balance_update(&last, 2, 2)];
    for body in &bodies {
        assert_eq!(post(body).await.status(), 200, "an authentic webhook is accepted");
    }
    account_with_status(&first, "healthy").await;
    account_with_status(&last, "healthy").await;
    let dead_letter = dead_letter(&tag).await;
    let masked = nameless.to_string().replace("22212345678", "***********");
    assert_eq!(dead_letter.body(), Some(masked.as_str()));
    let reason = "reauthorisation_required names no account";
    assert_eq!(attribute(&dead_letter, "reason"), Some(reason));
    assert!(attribute(&dead_letter, "received_at").is_some());
}

#[tokio::test]
async fn unprocessable_event_is_dead_lettered_and_its_batch_succeeds() {
    let (id, tag) = (account_id(), account_id());
    let bodies = [balance_update(&id, 1, 1).to_string(), format!("not json {tag}")];
    let response = stack().invoke("ProcessorFunction", &samples::batch(&bodies)).await.unwrap();
    assert_eq!(response, json!({ "batchItemFailures": [] }));
    account_with_status(&id, "healthy").await;
    assert_eq!(dead_letter(&tag).await.body(), Some(bodies[1].as_str()));
}

#[tokio::test]
async fn body_with_10_000_nested_arrays_is_accepted_and_dead_lettered_unchanged() {
    let tag = account_id();
    let deep = format!("{{\"tag\":\"{tag}\",\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let request = stack().request(reqwest::Method::POST, "/webhooks/mono");
    let request = request.header("mono-webhook-secret", samples::LOCAL_SECRET).body(deep.clone());
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(dead_letter(&tag).await.body(), Some(deep.as_str()));
}

#[tokio::test]
async fn event_that_fails_on_every_retry_ends_in_the_dead_letter_queue() {
    let (broken, good) = (account_id(), account_id());
    aws_sdk_dynamodb::Client::new(&stack().sdk())
        .put_item()
        .table_name(stack().output("AccountsTableName"))
        .item("account_id", AttributeValue::S(broken.clone()))
        .send()
        .await
        .unwrap();
    let body = balance_update(&broken, 1, 1);
    let bodies = [body.to_string(), balance_update(&good, 1, 1).to_string()];
    let response = stack().invoke("ProcessorFunction", &samples::batch(&bodies)).await.unwrap();
    let failed: Vec<_> = response["batchItemFailures"].as_array().unwrap().iter().collect();
    assert_eq!(failed.len(), 1, "only the broken event fails");
    account_with_status(&good, "healthy").await;

    assert_eq!(post(&body).await.status(), 200);
    let dead_letter = dead_letter(&format!("{broken}-1")).await;
    assert_eq!(serde_json::from_str::<Value>(dead_letter.body().unwrap()).unwrap(), body);
    assert!(attribute(&dead_letter, "received_at").is_some());
}
