//! What can never be applied, and what fails again and again, is kept.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::Message;
use e2e::samples;
use e2e::shared_stack::stack;
use serde_json::{Value, json};

use super::{account_id, account_with_status, balance_update, eventually, post};

/// The dead letter with this text in it, once it is there.
async fn letter(containing: &str) -> Message {
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
        let mut letters = received.messages.unwrap_or_default();
        letters.retain(|letter| letter.body().is_some_and(|body| body.contains(containing)));
        *found.borrow_mut() = letters.pop();
        found.borrow().is_some()
    })
    .await;
    found.take().unwrap()
}

fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes.as_ref()?.get(name)?.string_value()
}

#[tokio::test]
async fn event_without_an_account_is_dead_lettered_whole_while_its_neighbours_are_applied() {
    let (first, last, tag) = (account_id(), account_id(), account_id());
    let nameless = json!({
        "event": "mono.events.reauthorisation_required",
        "data": { "account": {}, "tag": tag },
    });
    let bodies = [balance_update(&first, 1, 1), nameless.clone(), balance_update(&last, 2, 2)];
    for body in &bodies {
        assert_eq!(post(body).await.status(), 200, "what is authentic is accepted");
    }
    account_with_status(&first, "healthy").await;
    account_with_status(&last, "healthy").await;
    let letter = letter(&tag).await;
    assert_eq!(letter.body(), Some(nameless.to_string().as_str()));
    let reason = "reauthorisation_required names no account";
    assert_eq!(attribute(&letter, "reason"), Some(reason));
    assert!(attribute(&letter, "received_at").is_some());
}

#[tokio::test]
async fn unprocessable_event_alone_of_its_batch_goes_to_the_dead_letter_queue() {
    let (id, tag) = (account_id(), account_id());
    let bodies = [balance_update(&id, 1, 1).to_string(), format!("not json {tag}")];
    let response = stack().invoke("ProcessorFunction", &samples::batch(&bodies)).await.unwrap();
    assert_eq!(response, json!({ "batchItemFailures": [] }));
    account_with_status(&id, "healthy").await;
    assert_eq!(letter(&tag).await.body(), Some(bodies[1].as_str()));
}

#[tokio::test]
async fn nesting_of_ten_thousand_is_accepted_and_dead_lettered_whole() {
    let tag = account_id();
    let deep = format!("{{\"tag\":\"{tag}\",\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let request = stack().request(reqwest::Method::POST, "/webhooks/mono");
    let request = request.header("mono-webhook-secret", samples::LOCAL_SECRET).body(deep.clone());
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(letter(&tag).await.body(), Some(deep.as_str()));
}

#[tokio::test]
async fn event_that_fails_again_and_again_ends_in_the_dead_letter_queue() {
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
    assert_eq!(failed.len(), 1, "its neighbour does not fail with it");
    account_with_status(&good, "healthy").await;

    assert_eq!(post(&body).await.status(), 200);
    let letter = letter(&format!("{broken}-1")).await;
    assert_eq!(serde_json::from_str::<Value>(letter.body().unwrap()).unwrap(), body);
    assert!(attribute(&letter, "received_at").is_some());
}
