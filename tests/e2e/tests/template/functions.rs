//! The functions: their logs, timeouts, retries and concurrency.

use std::collections::BTreeSet;

use mono_sync::domain::account::Erasure;
use mono_sync::domain::timestamp::Timestamp;
use serde_json::{Value, json};

use super::document::*;

/// Platform log lines below WARN would cause most of the log cost.
fn functions_are_traced_and_log_lean_json(template: &Template) -> Vec<String> {
    let shape = json!({
        "Properties": {
            "Tracing": { "Ref": "Tracing" },
            "LoggingConfig": {
                "LogFormat": "JSON",
                // At a higher level, Lambda would drop the lines that name the caller.
                "ApplicationLogLevel": "TRACE",
                "SystemLogLevel": "WARN",
            },
        },
    });
    template.differences(template.all(FUNCTION), &shape)
}

fn functions_share_no_folder_role_or_log_group(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    for (id, function) in template.each(FUNCTION) {
        let folder = function["CodeUri"].as_str().unwrap_or_default();
        if !root().join(folder).join("Cargo.toml").is_file() {
            found.push(format!("{id}: no package in {folder:?}"));
        }
        let group = &function["LoggingConfig"]["LogGroup"];
        for (reference, kind) in [(&function["Role"], ROLE), (group, LOG_GROUP)] {
            if !template.is_a(reference, kind) {
                found.push(format!("{id}: {reference} is no {kind} of the template"));
            }
        }
        for own in [&function["CodeUri"], &function["Role"], group] {
            if !taken.insert(own.to_string()) {
                found.push(format!("{id}: {own} belongs to another function"));
            }
        }
    }
    found
}

fn log_retention_is_the_parameter(template: &Template) -> Vec<String> {
    let shape = json!({ "Properties": { "RetentionInDays": { "Ref": "LogRetentionDays" } } });
    let groups = template
        .each(FUNCTION)
        .filter_map(|(_, function)| referent(&function["LoggingConfig"]["LogGroup"]));
    template.differences(groups, &shape)
}

/// API Gateway waits for 30 seconds. A function stops its work one second before its own timeout.
fn function_timeouts_fit_into_the_api_timeout(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, route) in template.each(ROUTE) {
        let function = template.function_of(route).unwrap_or_default();
        let timeout = template.properties(function)["Timeout"].as_i64();
        if timeout.is_none_or(|seconds| seconds > 30) {
            found.push(format!("{id}: {function:?} has a timeout of {timeout:?} s"));
        }
    }
    found
}

/// An erasure deletes rows when no earlier invocation can write any more. The planner writes no rows.
fn writers_end_before_an_erasure_deletes(template: &Template) -> Vec<String> {
    let begun = Timestamp::from_millis(0);
    let erasure = Erasure::new(begun);
    let wait = erasure.deletes_from().since(begun).as_secs();
    let is_longer = |function: &Value| function["Timeout"].as_u64().is_some_and(|end| end >= wait);
    let functions = template.each(FUNCTION).filter(|(id, _)| *id != "RefreshPlannerFunction");
    functions.filter(|(_, function)| is_longer(function)).map(|(id, _)| id.to_owned()).collect()
}

/// If a function sends to the queue that triggers it, Lambda stops the chain after about 16 messages.
fn self_triggering_functions_allow_recursion_and_have_an_alarm(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, function) in template.each(FUNCTION) {
        let role = referent(&function["Role"]).unwrap_or_default();
        let sends_to = template
            .statements(role)
            .filter(|statement| strings(&statement["Action"]).contains(&"sqs:SendMessage"))
            .flat_map(|statement| one_or_many(&statement["Resource"]))
            .filter_map(referent);
        let sends_to: BTreeSet<_> = sends_to.collect();
        let loops = template
            .consumers()
            .filter(|(consumer, _)| *consumer == id)
            .filter_map(|(_, event)| referent(&event["Queue"]))
            .any(|queue| sends_to.contains(queue));
        let allowed = function["RecursiveLoop"] == "Allow";
        if loops != allowed {
            found.push(format!("{id}: RecursiveLoop is {}", function["RecursiveLoop"]));
        }
        let watched = template.each(ALARM).any(|(_, alarm)| {
            alarm["MetricName"] == "RecursiveInvocationsDropped"
                && referent(&alarm["Dimensions"][0]["Value"]) == Some(id)
        });
        if loops && !watched {
            found.push(format!("{id}: no alarm for a stopped chain"));
        }
    }
    found
}

/// A new AWS account runs ten function instances at once. The background functions leave some of them to the API.
fn consumers_leave_concurrency_to_the_api(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    let mut sum = 0;
    for (id, event) in template.consumers() {
        let maximum = &event["ScalingConfig"]["MaximumConcurrency"];
        // A consumer that runs only if a parameter says so has the minimum.
        if event["Enabled"]["Fn::If"].is_array() && *maximum == 2 {
            continue;
        }
        let parameter = maximum["Ref"].as_str();
        let default = &template.0["Parameters"][parameter.unwrap_or_default()]["Default"];
        match default.as_i64() {
            Some(most) => sum += most,
            None => found.push(format!("{id}: no maximum concurrency")),
        }
    }
    if sum > 6 {
        found.push(format!("background functions may use {sum} instances"));
    }
    let reserved =
        when("ReservesConcurrency", &json!({ "Ref": "WebhookReservedConcurrency" }), &no_value());
    let shape = json!({ "Properties": { "ReservedConcurrentExecutions": reserved } });
    let open = template.each(ROUTE).filter(|(_, route)| route["AuthorizationType"] == "NONE");
    let open = open.filter_map(|(_, route)| template.function_of(route));
    found.extend(template.differences(open, &shape));
    found
}

/// Lambda would retry a failed plan twice. That is not needed: the next run completes it.
fn scheduled_functions_are_not_retried_by_lambda(template: &Template) -> Vec<String> {
    let shape = json!({ "Properties": { "EventInvokeConfig": { "MaximumRetryAttempts": 0 } } });
    template.differences(template.scheduled(), &shape)
}

rules! {
    self_triggering_functions_allow_recursion_and_have_an_alarm {
        "/ImporterFunction/Properties/RecursiveLoop" => Value::Null,
        "/ImporterRecursionAlarm/Properties/MetricName" => json!("Errors"),
        "/RefreshWorkerFunction/Properties/RecursiveLoop" => Value::Null,
        "/ProcessorFunction/Properties/RecursiveLoop" => json!("Allow"),
    }
    consumers_leave_concurrency_to_the_api {
        "/ProcessorFunction/Properties/Events/WebhookQueue/Properties/ScalingConfig" => Value::Null,
        "/WebhookFunction/Properties/ReservedConcurrentExecutions" => json!(100),
        "//Parameters/ImportMaximumConcurrency/Default" => json!(10),
    }
    functions_are_traced_and_log_lean_json {
        "/AccountsFunction/Properties/Tracing" => Value::Null,
        "/AccountsFunction/Properties/LoggingConfig/LogFormat" => json!("Text"),
        "/AccountsFunction/Properties/LoggingConfig/SystemLogLevel" => json!("INFO"),
    }
    functions_share_no_folder_role_or_log_group {
        "/WebhookFunction/Properties/CodeUri" => json!("functions/nowhere"),
        "/WebhookFunction/Properties/CodeUri" => json!("functions/accounts"),
        "/WebhookFunction/Properties/Role" => Value::Null,
        "/WebhookFunction/Properties/Role" => get_att("ProcessorRole"),
        "/WebhookFunction/Properties/LoggingConfig/LogGroup" => json!({ "Ref": "AccountsLogGroup" }),
    }
    log_retention_is_the_parameter {
        "/AccountsLogGroup/Properties/RetentionInDays" => Value::Null,
    }
    writers_end_before_an_erasure_deletes {
        "/ImporterFunction/Properties/Timeout" => json!(300),
    }
    function_timeouts_fit_into_the_api_timeout {
        "/AccountsFunction/Properties/Timeout" => json!(31),
        "/ManualSyncFunction/Properties/Timeout" => Value::Null,
        "/WebhookIntegration/Properties/IntegrationUri" => get_att("NoFunction"),
    }
    scheduled_functions_are_not_retried_by_lambda {
        "/RefreshPlannerFunction/Properties/EventInvokeConfig" => Value::Null,
        "/RefreshPlannerFunction/Properties/EventInvokeConfig/MaximumRetryAttempts" => json!(2),
    }
}
