//! The alarms and the dashboard.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::contract::OPERATOR_CODES;
use super::document::*;

fn alarms_have_one_metric_and_notify_the_topic(template: &Template) -> Vec<String> {
    let topic = template.all(TOPIC).next().unwrap_or_default();
    let shape = json!({
        "Properties": {
            "AlarmActions": [{ "Ref": topic }],
            // One metric each, without metric math, which the local emulator rejects.
            "Metrics": null,
        },
    });
    let mut found = template.differences(template.all(ALARM), &shape);
    for (id, alarm) in template.each(ALARM) {
        // A schedule must run, so missing invocations raise the alarm.
        let must_run = alarm["MetricName"] == "Invocations";
        let missing = if must_run { "breaching" } else { "notBreaching" };
        if alarm["TreatMissingData"] != missing {
            found.push(format!("{id}: missing data is not {missing}"));
        }
    }
    found
}

/// Each alarm names a section of the runbook, and at least one alarm names each section. Only the section about a
/// restored table has no alarm.
fn each_alarm_has_a_runbook_section_and_each_section_an_alarm(template: &Template) -> Vec<String> {
    let runbook = fs::read_to_string(root().join("docs/runbook.md")).expect("a runbook");
    let headings = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let sections: BTreeSet<_> =
        headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect();
    let mut named = BTreeSet::from(["a-restored-table".to_owned()]);
    let mut found = Vec::new();
    for (id, alarm) in template.each(ALARM) {
        let description = alarm["AlarmDescription"].as_str().unwrap_or_default();
        let section = description.rsplit_once(" docs/runbook.md#").map(|(_, section)| section);
        match section.filter(|section| sections.contains(*section)) {
            Some(section) => _ = named.insert(section.to_owned()),
            None => found.push(format!("{id}: no section {section:?} in the runbook")),
        }
    }
    found.extend(sections.difference(&named).map(|section| format!("{section}: has no alarm")));
    found
}

fn everything_that_can_fail_has_an_alarm(template: &Template) -> Vec<String> {
    let dead_letters: Vec<_> = template.dead_letter_queues().collect();
    let sources: Vec<_> = template.source_queues().collect();
    let functions: Vec<_> = template.all(FUNCTION).collect();
    let tables: Vec<_> = template.all(TABLE).collect();
    let planners: Vec<_> = template.scheduled().collect();
    let watched = [
        (&functions, "AWS/Lambda", "Errors", "FunctionName"),
        (&functions, "AWS/Lambda", "Throttles", "FunctionName"),
        (&dead_letters, "AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName"),
        (&sources, "AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName"),
        (&tables, "AWS/DynamoDB", "WriteThrottleEvents", "TableName"),
        (&tables, "AWS/DynamoDB", "ReadThrottleEvents", "TableName"),
        (&planners, "AWS/Lambda", "Invocations", "FunctionName"),
    ];
    let mut found = Vec::new();
    for (ids, namespace, metric, dimension) in watched {
        for id in ids {
            let alarmed = template.each(ALARM).any(|(_, alarm)| {
                let [only] = one_or_many(&alarm["Dimensions"])[..] else {
                    return false;
                };
                alarm["Namespace"] == namespace
                    && alarm["MetricName"] == metric
                    && only["Name"] == dimension
                    && referent(&only["Value"]) == Some(id)
            });
            if !alarmed {
                found.push(format!("{id}: no alarm on {metric}"));
            }
        }
    }
    found
}

/// Anyone can call the webhook, so refusals alone prove nothing. Refusals without any accepted webhook show that the
/// secret differs from Mono's.
fn wrong_secret_raises_an_alarm_while_no_webhook_is_accepted(template: &Template) -> Vec<String> {
    let counts = |status: u32, value: &str| {
        let pattern =
            format!(r#"{{ ($.route = "POST /webhooks/mono") && ($.status = {status}) }}"#);
        let mut filters = template.access_log_filters();
        let filter = filters.find(|filter| filter["FilterPattern"] == pattern.as_str());
        let metric = filter.map(|filter| &filter["MetricTransformations"][0]);
        metric.filter(|metric| metric["MetricValue"] == value)
    };
    let raised = match (counts(200, "1"), counts(401, "0")) {
        (Some(accepted), Some(refused)) => template.each(ALARM).any(|(_, alarm)| {
            alarm["Namespace"] == accepted["MetricNamespace"]
                && alarm["MetricName"] == accepted["MetricName"]
                && accepted["MetricName"] == refused["MetricName"]
                && alarm["Statistic"] == "Maximum"
                && alarm["ComparisonOperator"] == "LessThanThreshold"
                && alarm["Threshold"] == 1
        }),
        _ => false,
    };
    if raised { Vec::new() } else { vec!["no alarm on a wrong secret".to_owned()] }
}

/// A throttled index blocks writes to its table. The table's own metrics do not include it.
fn throttled_indexes_raise_an_alarm(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for table in template.all(TABLE) {
        for index in template.indexes(table) {
            let name = &index["IndexName"];
            let alarmed = template.each(ALARM).any(|(_, alarm)| {
                let value = |dimension: &str| {
                    let mut all = one_or_many(&alarm["Dimensions"]).into_iter();
                    all.find(|each| each["Name"] == dimension).map(|each| &each["Value"])
                };
                alarm["MetricName"] == "WriteThrottleEvents"
                    && value("TableName").and_then(referent) == Some(table)
                    && value("GlobalSecondaryIndexName") == Some(name)
            });
            if !alarmed {
                found.push(format!("{table}: no alarm on {name}"));
            }
        }
    }
    found
}

/// The access log counts each route's 5xx responses once, and they raise an alarm. The same holds for the
/// 4xx responses of each closed route.
fn errors_of_each_route_raise_an_alarm(template: &Template) -> Vec<String> {
    let patterns = |status: &str| -> Vec<&str> {
        template
            .access_log_filters()
            .filter(|filter| {
                let metric = &filter["MetricTransformations"][0];
                metric["MetricValue"] == "1"
                    && template.each(ALARM).any(|(_, alarm)| {
                        alarm["Namespace"] == metric["MetricNamespace"]
                            && alarm["MetricName"] == metric["MetricName"]
                            && alarm["Statistic"] == "Sum"
                    })
            })
            .filter_map(|filter| filter["FilterPattern"].as_str())
            .filter(|pattern| pattern.contains(status))
            .collect()
    };
    let (server_errors, client_errors) = (patterns("$.status >= 500"), patterns("$.status >= 400"));
    let mut found = Vec::new();
    for (id, route) in template.each(ROUTE) {
        let key = route["RouteKey"].as_str().unwrap_or_default();
        let times =
            |patterns: &[&str]| patterns.iter().filter(|pattern| counts(pattern, key)).count();
        if times(&server_errors) != 1 {
            found.push(format!("{id}: 5xx responses are not counted exactly once"));
        }
        if times(&client_errors) != usize::from(route["AuthorizationType"] != "NONE") {
            found.push(format!("{id}: 4xx responses are not counted exactly once"));
        }
    }
    found
}

/// Whether a filter's pattern matches this route, by its whole key or by a part with `*` at an end.
fn counts(pattern: &str, key: &str) -> bool {
    pattern.split("$.route = \"").skip(1).filter_map(|rest| rest.split('"').next()).any(|name| {
        let inner = name.trim_matches('*');
        match (name.starts_with('*'), name.ends_with('*')) {
            (true, true) => key.contains(inner),
            (false, true) => key.starts_with(inner),
            (true, false) => key.ends_with(inner),
            (false, false) => key == name,
        }
    })
}

/// Each code is counted in the log of each function that logs it.
fn error_codes_for_operators_are_counted_and_raise_an_alarm(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (folder, code) in OPERATOR_CODES {
        let function = template.each(FUNCTION).find(|(_, function)| function["CodeUri"] == *folder);
        let group = function.map(|(_, function)| &function["LoggingConfig"]["LogGroup"]);
        let counted = template.each("AWS::Logs::MetricFilter").any(|(_, filter)| {
            let metric = &filter["MetricTransformations"][0];
            let pattern = filter["FilterPattern"].as_str().unwrap_or_default();
            let mut codes = pattern.trim_matches(['{', '}', ' ']).split(" || ");
            codes.any(|counted| counted == format!(r#"$.code = "{code}""#))
                && Some(&filter["LogGroupName"]) == group
                && template.each(ALARM).any(|(_, alarm)| {
                    alarm["Namespace"] == metric["MetricNamespace"]
                        && alarm["MetricName"] == metric["MetricName"]
                })
        });
        if !counted {
            found.push(format!("{folder}: no alarm on {code}"));
        }
    }
    found
}

fn dashboard_shows_every_function_queue_and_table(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, dashboard) in template.each(DASHBOARD) {
        let body = dashboard["DashboardBody"]["Fn::Sub"].as_str().unwrap_or_default();
        if serde_json::from_str::<Value>(body).is_err() {
            found.push(format!("{id}: not JSON"));
        }
        for kind in [FUNCTION, QUEUE, TABLE] {
            let shown = |id: &str| {
                body.contains(&format!("${{{id}}}")) || body.contains(&format!("${{{id}."))
            };
            found.extend(template.all(kind).filter(|id| !shown(id)).map(|id| format!("no {id}")));
        }
    }
    found
}

rules! {
    wrong_secret_raises_an_alarm_while_no_webhook_is_accepted {
        "/WebhookRefusedFilter/Properties/MetricTransformations/0/MetricValue" => json!("1"),
        "/WebhookAcceptedFilter/Properties/FilterPattern" => json!("{ $.status = 200 }"),
        "/WebhookAcceptedFilter/Properties/LogGroupName" => json!({ "Ref": "WebhookLogGroup" }),
        "/WebhooksRejectedAlarm/Properties/Statistic" => json!("Sum"),
    }
    errors_of_each_route_raise_an_alarm {
        "/ReadServerErrorsAlarm/Properties/MetricName" => json!("4xx"),
        "/ReadServerErrorsFilter/Properties/FilterPattern" => json!("{ $.status >= 500 }"),
        "/ReadServerErrorsFilter/Properties/LogGroupName" => json!({ "Ref": "WebhookLogGroup" }),
        "/ReadServerErrorsFilter/Properties/MetricTransformations/0/MetricValue" => json!("0"),
        "/ClientErrorsFilter/Properties/FilterPattern" => json!("{ ($.route = \"*\") && ($.status >= 400) }"),
    }
    throttled_indexes_raise_an_alarm {
        "/AttentionIndexThrottlesAlarm/Properties/Dimensions/1/Value" => json!("NoIndex"),
        "/AttentionByOwnerIndexThrottlesAlarm/Properties/MetricName" => json!("ReadThrottleEvents"),
    }
    each_alarm_has_a_runbook_section_and_each_section_an_alarm {
        "/WebhookErrorsAlarm/Properties/AlarmDescription" => json!("It fails."),
        "/WebhookErrorsAlarm/Properties/AlarmDescription" => json!("It fails. docs/runbook.md#nowhere"),
        "/OwnerChangedAlarm/Properties/AlarmDescription" => json!("It fails. docs/runbook.md#function-errors"),
    }
    alarms_have_one_metric_and_notify_the_topic {
        "/ApiClientErrorsAlarm/Properties/AlarmActions" => json!([]),
        "/ApiClientErrorsAlarm/Properties/TreatMissingData" => Value::Null,
        "/RefreshPlannerMissingAlarm/Properties/TreatMissingData" => json!("notBreaching"),
        "/ApiClientErrorsAlarm/Properties/Metrics" => json!([]),
    }
    everything_that_can_fail_has_an_alarm {
        "/WebhookErrorsAlarm/Properties/MetricName" => json!("Duration"),
        "/WebhookThrottlesAlarm/Properties/Namespace" => json!("AWS/SQS"),
        "/WebhookDeadLettersAlarm/Properties/Dimensions/0/Value" => get_att("WebhookQueue"),
        "/WebhookQueueAgeAlarm/Properties/MetricName" => json!("NumberOfMessagesSent"),
        "/EventsTableReadThrottlesAlarm/Properties/MetricName" => json!("WriteThrottleEvents"),
        "/RefreshPlannerMissingAlarm/Properties/Namespace" => json!("AWS/SQS"),
    }
    error_codes_for_operators_are_counted_and_raise_an_alarm {
        "/TransactionsUnreadableAlarm/Properties/Namespace" => json!("AWS/Lambda"),
        "/TransactionsUnreadableFilter/Properties/FilterPattern" => json!("TRANSACTIONS_UNREADABLE"),
        "/MonoKeyRefusedAlarm/Properties/MetricName" => json!("Errors"),
        "/LinksMonoKeyRefusedFilter/Properties/LogGroupName" => json!({ "Ref": "ProcessorLogGroup" }),
    }
    dashboard_shows_every_function_queue_and_table {
        "/Dashboard/Properties/DashboardBody" => json!({ "Fn::Sub": "{}" }),
    }
}
