//! Proof that an erasure leaves no personal data in the stack, and that late messages bring none back.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_sqs::Client as Sqs;
use e2e::past::let_time_pass;
use e2e::proxy::Failure;
use e2e::samples::LOCAL_SECRET;
use e2e::shared_stack::World;
use reqwest::Method;
use sandbox::{History, Kind, Link};
use serde_json::{Value, json};

use super::budget::deploy;
use super::logs::{FUNCTIONS, contains_words};
use super::manual_sync::{Answer, Case};
use super::{eventually, fail};

const EMAIL: &str = "zipporah.seeded@example.com";

/// The personal data of an account.
fn personal_data(case: &Case) -> Vec<String> {
    let account = case.world.mono.account(&case.id).unwrap();
    vec![account.name, account.account_number, account.bvn, narration(case)]
}

/// A text in one of the account's transactions.
fn narration(case: &Case) -> String {
    format!("Seeded narration {}", case.id)
}

fn history() -> Option<History> {
    Some(History { transactions: 60, days: 9, ..History::default() })
}

/// Links an account on Mono's page.
async fn hosted(world: &'static World) -> Case {
    let link = json!({
        "ref": "customer-1",
        "customer": { "name": "Zipporah Seeded", "email": EMAIL },
        "redirect_url": "https://app.example/done",
    });
    let request = world.stack.request(Method::POST, "/links").header("authorization", "signed");
    let answer = Answer::of(request.json(&link).send().await.unwrap()).await;
    assert_eq!(answer.status, 201);
    let page = answer.body["url"].as_str().unwrap().rsplit('/').next().unwrap();
    let link = Link { history: history(), ..Link::default() };
    Case { world, id: world.mono.complete_link(page, link).unwrap() }
}

impl Case {
    /// Imports the history, and then a transaction with a narration of its own.
    async fn seed(&self) {
        self.until_imported().await;
        let mono = &self.world.mono;
        let row = mono.transactions(&self.id)[0].id.clone();
        mono.change_transaction(&self.id, &row, |row| row.narration = narration(self)).unwrap();
        self.pull().await;
        self.until_imported().await;
    }
}

/// The places of the stack that contain one of these texts.
async fn places_with(world: &World, texts: &[String]) -> Vec<String> {
    let mut places = Vec::new();
    let mut look = |place: &str, content: &str| {
        let found = texts.iter().filter(|text| contains_words(content, text));
        places.extend(found.map(|text| format!("{place}: {text}")));
    };
    let tables = Client::new(&world.stack.sdk());
    for table in ["AccountsTableName", "TransactionsTableName", "EventsTableName"] {
        let name = world.stack.output(table);
        let table = tables.describe_table().table_name(name).send().await.unwrap().table.unwrap();
        let global = table.global_secondary_indexes().iter().map(|index| index.index_name());
        let local = table.local_secondary_indexes().iter().map(|index| index.index_name());
        for index in [None].into_iter().chain(global).chain(local) {
            let scan = tables.scan().table_name(name).set_index_name(index.map(str::to_owned));
            let mut items = scan.into_paginator().items().send();
            while let Some(item) = items.next().await {
                look(
                    &format!("{name} {}", index.unwrap_or_default()),
                    &format!("{:?}", item.unwrap()),
                );
            }
        }
    }
    let queues = Sqs::new(&world.stack.sdk());
    for (queue, url) in world.stack.queues() {
        let receive = queues.receive_message().queue_url(url);
        let receive = receive.max_number_of_messages(10).visibility_timeout(0);
        for message in receive.send().await.unwrap().messages.unwrap_or_default() {
            look(queue, &format!("{message:?}"));
        }
    }
    for function in FUNCTIONS.iter().chain(&["refresh-planner"]) {
        for line in world.stack.log(function).await.unwrap() {
            look(function, &line);
        }
    }
    places
}

/// Moves all dead-lettered webhooks back to their queue.
async fn redrive(world: &World) -> usize {
    let sqs = Sqs::new(&world.stack.sdk());
    let letters = world.stack.output("WebhookDeadLetterQueueUrl");
    let receive = sqs.receive_message().queue_url(letters).message_attribute_names("All");
    let messages = receive.max_number_of_messages(10).send().await.unwrap().messages;
    let messages = messages.unwrap_or_default();
    for message in &messages {
        let send = sqs.send_message().queue_url(world.stack.output("WebhookQueueUrl"));
        let send = send.message_body(message.body().unwrap());
        let send = send.set_message_attributes(message.message_attributes.clone());
        send.send().await.unwrap();
        let delete = sqs.delete_message().queue_url(letters);
        delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
    }
    messages.len()
}

#[tokio::test]
async fn erased_accounts_leave_no_personal_data_and_late_messages_bring_none_back() {
    let parameters = [("RedirectOrigins", "https://app.example")];
    let world: &'static World = Box::leak(Box::new(deploy("erasure-proof", &parameters).await));
    let mono = &world.mono;
    let asked = hosted(world).await;
    let id = mono.link(Link { history: history(), ..Link::default() });
    let retained = Case { world, id };
    asked.seed().await;
    retained.seed().await;
    let mut texts = [personal_data(&asked), personal_data(&retained)].concat();
    texts.push(EMAIL.to_owned());
    let before = places_with(world, &texts).await;
    for case in [&asked, &retained] {
        let data = personal_data(case);
        for text in [&data[0], &data[1], &data[3]] {
            assert!(
                before.iter().any(|place| place.ends_with(text.as_str())),
                "{text}: {before:?}"
            );
        }
    }

    // Mono cannot deliver some webhooks, and retries them. One is a dead letter.
    mono.set_webhook(&world.stack.webhook_url(), "another secret of the app").unwrap();
    for kind in [Kind::AccountConnected, Kind::AccountUpdated] {
        asked.receive(kind);
        retained.receive(kind);
    }
    let letter = mono.event(Kind::AccountUpdated, &asked.id).unwrap().body().to_string();
    let sqs = Sqs::new(&world.stack.sdk());
    let send = sqs.send_message().queue_url(world.stack.output("WebhookDeadLetterQueueUrl"));
    send.message_body(letter).send().await.unwrap();

    // One customer asks for the erasure during an import, whose writes are late. The other only unlinks.
    let row = mono.transactions(&asked.id)[1].id.clone();
    mono.change_transaction(&asked.id, &row, |row| row.narration = narration(&asked)).unwrap();
    fail("BatchWriteItem", &asked.id, &[Failure::Hang]);
    let job = asked.job();
    let (_, erased) = tokio::join!(asked.import(&job, 1), asked.erase());
    assert_eq!(erased.status, 202);
    assert_eq!(retained.unlink().await.status, 200);
    let_time_pass(&world.stack, &retained.id, Duration::from_hours(31 * 24)).await;
    world.stack.plan_refresh().await.unwrap();
    for case in [&asked, &retained] {
        eventually("the erasure has begun", async || {
            world.stack.account(&case.id).await.unwrap().0 == 404
        })
        .await;
        let_time_pass(&world.stack, &case.id, Duration::from_mins(6)).await;
        case.run_erasure().await;
    }

    // Mono's retries of 48 hours, and the redrive, come to an end.
    mono.set_webhook(&world.stack.webhook_url(), LOCAL_SECRET).unwrap();
    let deliveries = mono.settled().await;
    let retried = deliveries.iter().filter(|delivery| delivery.attempts.len() > 1);
    assert!(retried.count() >= 4, "the webhooks were retried");
    assert_eq!(redrive(world).await, 1);
    let updated = || json!(mono.event(Kind::AccountUpdated, &asked.id).unwrap().body());
    let redelivered: Value = updated();
    let request = world.stack.request(Method::POST, "/webhooks/mono").json(&redelivered);
    let request = request.header("mono-webhook-secret", LOCAL_SECRET);
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(asked.import(&asked.job(), 2).await, json!([]));
    asked.sync().await.expect(404, "ACCOUNT_NOT_FOUND");
    eventually("all messages are processed", async || {
        let event_id = redelivered["event_id"].as_str().unwrap();
        let log = world.stack.log("processor").await.unwrap();
        log.iter().any(|line| line.contains(event_id))
    })
    .await;
    assert_eq!(places_with(world, &texts).await, [""; 0]);
    for case in [&asked, &retained] {
        assert_eq!(world.stack.account(&case.id).await.unwrap().0, 404);
    }
}
