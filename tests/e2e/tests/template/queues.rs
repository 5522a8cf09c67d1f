//! The queues, the stream, and their consumers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::document::*;

const DAY: i64 = 86_400;

/// SQS keeps one policy for each queue: a second one would replace the first.
fn each_queue_has_the_queue_policy(template: &Template) -> Vec<String> {
    let deny = |sid: &str, condition: Value| {
        json!({
            "Sid": sid,
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": "*",
            "Condition": condition,
        })
    };
    let plain_http = json!({ "Bool": { "aws:SecureTransport": "false" } });
    let other_accounts = json!({
        "StringNotEquals": { "aws:PrincipalAccount": { "Ref": "AWS::AccountId" } },
        "Bool": { "aws:PrincipalIsAWSService": "false" },
    });
    let rule = json!({
        "Sid": "AllowNotificationRule",
        "Effect": "Allow",
        "Principal": { "Service": "events.amazonaws.com" },
        "Action": "sqs:SendMessage",
        "Resource": "*",
        "Condition": { "ArnEquals": { "aws:SourceArn": get_att("NotificationRule") } },
    });
    let shape = json!({
        "Condition": null,
        "Properties": {
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    deny("DenyPlainHttp", plain_http),
                    deny("DenyOtherAccounts", other_accounts),
                    when("HasNotifyUrl", &rule, &no_value()),
                ],
            },
        },
    });
    let mut found = template.differences(template.all(QUEUE_POLICY), &shape);
    for id in template.all(QUEUE) {
        let policies = template.each(QUEUE_POLICY);
        let named = policies.flat_map(|(_, policy)| one_or_many(&policy["Queues"]));
        let times = named.filter(|queue| queue["Ref"] == id).count();
        if times != 1 {
            found.push(format!("{id}: {times} queue policies"));
        }
    }
    found
}

/// The maximum is five. It is 1,000 for the queues of the deliverer, which moves a message after 48 hours.
fn queues_have_a_dead_letter_queue_after_their_maximum_of_receives(
    template: &Template,
) -> Vec<String> {
    let is_delivery = |id: &&str| ["NotificationQueue", "ForwardQueue"].contains(id);
    let shape =
        |most: u32| json!({ "Properties": { "RedrivePolicy": { "maxReceiveCount": most } } });
    let others = template.source_queues().filter(|id| !is_delivery(id));
    let mut found = template.differences(others, &shape(5));
    found.extend(template.differences(template.source_queues().filter(is_delivery), &shape(1000)));
    let mut taken = BTreeSet::new();
    for id in template.source_queues() {
        let target = &template.properties(id)["RedrivePolicy"]["deadLetterTargetArn"];
        if !template.is_a(target, QUEUE) || !taken.insert(target.to_string()) {
            found.push(format!("{id}: no dead-letter queue of its own"));
        }
    }
    found
}

/// A message keeps its age when it moves to the dead-letter queue. Operators have only the difference
/// between the two retention periods to handle it.
fn dead_letters_are_kept_fourteen_days_and_longer_than_in_their_source(
    template: &Template,
) -> Vec<String> {
    let shape = json!({ "Properties": { "MessageRetentionPeriod": 14 * DAY } });
    let mut found = template.differences(template.dead_letter_queues(), &shape);
    for id in template.source_queues() {
        // SQS defaults to four days.
        let retention = template.properties(id)["MessageRetentionPeriod"].as_i64();
        if retention.unwrap_or(4 * DAY) >= 14 * DAY {
            found.push(format!("{id}: keeps messages as long as its dead-letter queue"));
        }
    }
    found
}

fn each_queue_has_one_consumer_and_six_times_its_timeout(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for id in template.source_queues() {
        let consumers: Vec<_> = template
            .consumers()
            .filter(|(_, event)| referent(&event["Queue"]) == Some(id))
            .collect();
        if consumers.len() != 1 {
            found.push(format!("{id}: {} consumers", consumers.len()));
        }
        for (consumer, _) in consumers {
            // SQS defaults to 30 seconds, Lambda to 3.
            let visibility = template.properties(id)["VisibilityTimeout"].as_i64().unwrap_or(30);
            let timeout = template.properties(consumer)["Timeout"].as_i64().unwrap_or(3);
            if visibility < 6 * timeout {
                found.push(format!(
                    "{id}: {visibility} s is under six times {consumer}'s {timeout} s"
                ));
            }
        }
    }
    found
}

fn consumers_report_batch_item_failures(template: &Template) -> Vec<String> {
    let expected = json!(["ReportBatchItemFailures"]);
    template
        .consumers()
        .filter(|(_, event)| event["FunctionResponseTypes"] != expected)
        .map(|(id, _)| format!("{id}: fails whole batches"))
        .collect()
}

/// A record that fails does not block the others of its batch for long, and is not lost.
fn stream_consumers_lose_no_record(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, event) in template.stream_consumers() {
        let expected = json!({
            "StartingPosition": "TRIM_HORIZON",
            "BisectBatchOnFunctionError": true,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            // Lambda retries until the record leaves the stream.
            "MaximumRetryAttempts": null,
            "MaximumRecordAgeInSeconds": null,
        });
        for (name, value) in entries(&expected) {
            if event[name] != *value {
                found.push(format!("{id}: {name} is {}", event[name]));
            }
        }
        let destination = &event["DestinationConfig"]["OnFailure"]["Destination"];
        if !template.is_a(destination, QUEUE) {
            found.push(format!("{id}: no destination for records that fail"));
        }
        let table = referent(&event["Stream"]).unwrap_or_default();
        let images = &template.properties(table)["StreamSpecification"]["StreamViewType"];
        if images != "NEW_AND_OLD_IMAGES" {
            found.push(format!("{id}: the stream has the images {images}"));
        }
        let has_alarm = template.each(ALARM).any(|(_, alarm)| {
            alarm["MetricName"] == "IteratorAge"
                && referent(&alarm["Dimensions"][0]["Value"]) == Some(id)
        });
        if !has_alarm {
            found.push(format!("{id}: no alarm on IteratorAge"));
        }
    }
    found
}

rules! {
    stream_consumers_lose_no_record {
        "/NotifierFunction/Properties/Events/AccountsTable/Properties/StartingPosition" => json!("LATEST"),
        "/NotifierFunction/Properties/Events/AccountsTable/Properties/FunctionResponseTypes" => Value::Null,
        "/NotifierFunction/Properties/Events/AccountsTable/Properties/DestinationConfig" => Value::Null,
        "/NotifierFunction/Properties/Events/AccountsTable/Properties/MaximumRetryAttempts" => json!(3),
        "/AccountsTable/Properties/StreamSpecification/StreamViewType" => json!("NEW_IMAGE"),
        "/NotifierIteratorAgeAlarm/Properties/MetricName" => json!("Errors"),
    }
    each_queue_has_the_queue_policy {
        "/QueuePolicy/Type" => json!("AWS::SNS::TopicPolicy"),
        "/QueuePolicy/Condition" => json!("UseJwt"),
        "/QueuePolicy/Properties/Queues/5" => json!({ "Ref": "WebhookQueue" }),
        "/QueuePolicy/Properties/Queues/5" => get_att("RefreshDeadLetterQueue"),
        "/QueuePolicy/Properties/PolicyDocument/Statement/0/Condition/Bool/aws:SecureTransport" => json!("true"),
        "/QueuePolicy/Properties/PolicyDocument/Statement/0/Principal" => json!({ "Service": "lambda.amazonaws.com" }),
        "/QueuePolicy/Properties/PolicyDocument/Statement/1/Effect" => json!("Allow"),
        "/QueuePolicy/Properties/PolicyDocument/Statement/1/Condition" => Value::Null,
        "/QueuePolicy/Properties/PolicyDocument/Statement/2/Fn::If/1/Condition" => Value::Null,
    }
    queues_have_a_dead_letter_queue_after_their_maximum_of_receives {
        "/WebhookQueue/Properties/RedrivePolicy" => Value::Null,
        "/WebhookQueue/Properties/RedrivePolicy/maxReceiveCount" => json!(1000),
        "/NotificationQueue/Properties/RedrivePolicy/maxReceiveCount" => json!(5),
        "/WebhookQueue/Properties/RedrivePolicy/deadLetterTargetArn" => get_att("NoQueue"),
    }
    dead_letters_are_kept_fourteen_days_and_longer_than_in_their_source {
        "/WebhookDeadLetterQueue/Properties/MessageRetentionPeriod" => Value::Null,
        "/WebhookQueue/Properties/MessageRetentionPeriod" => json!(14 * DAY),
    }
    each_queue_has_one_consumer_and_six_times_its_timeout {
        "/ProcessorFunction/Properties/Timeout" => json!(60),
        "/ProcessorFunction/Properties/Events" => Value::Null,
        "/WebhookQueue/Properties/VisibilityTimeout" => Value::Null,
    }
    consumers_report_batch_item_failures {
        "/ProcessorFunction/Properties/Events/WebhookQueue/Properties/FunctionResponseTypes" => Value::Null,
    }
}
