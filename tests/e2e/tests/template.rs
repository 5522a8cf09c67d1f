//! Tests `template.yaml` against the deployment contract.
//!
//! Each rule walks all resources of one type, so it also covers resources that are added later. It
//! returns the violations. A test runs each rule on the template, and on changed templates that
//! violate it.

use std::collections::BTreeSet;
use std::fs;

use mono_sync::domain::account::Erasure;
use mono_sync::domain::timestamp::Timestamp;
use serde_json::{Value, json};

#[path = "template/contract.rs"]
mod contract;
#[path = "template/document.rs"]
mod document;

use contract::{
    ALLOWED, FORBIDDEN_TYPES, KEY, LOG, OPERATOR_CODES, OUTPUTS, SECRET_PARAMETERS, TABLE_KEY,
    TRACE, defaults, scopes, tables,
};
use document::*;

const DAY: i64 = 86_400;

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

fn functions_have_no_permissions_or_triggers_outside_the_rules(template: &Template) -> Vec<String> {
    let shape = json!({ "Properties": { "FunctionUrlConfig": null, "Policies": null } });
    let mut found = template.differences(template.all(FUNCTION), &shape);
    for kind in FORBIDDEN_TYPES {
        found.extend(template.all(kind).map(|id| format!("{id}: a {kind}")));
    }
    for (id, function) in template.each(FUNCTION) {
        for event in values(&function["Events"]) {
            if !["SQS", "DynamoDB", "Schedule", "ScheduleV2"]
                .iter()
                .any(|known| event["Type"] == *known)
            {
                found.push(format!("{id}: triggered by {}", event["Type"]));
            }
        }
    }
    found
}

fn only_lambda_assumes_roles(template: &Template) -> Vec<String> {
    let shape = json!({
        "Properties": {
            "AssumeRolePolicyDocument": {
                "Statement": [{
                    "Effect": "Allow",
                    "Principal": { "Service": "lambda.amazonaws.com" },
                    "Action": "sts:AssumeRole",
                }],
            },
            "ManagedPolicyArns": null,
        },
    });
    template.differences(template.all(ROLE), &shape)
}

fn roles_name_each_action_and_resource(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for id in template.all(ROLE) {
        for statement in template.statements(id) {
            let actions = strings(&statement["Action"]);
            let named = !actions.is_empty() && !actions.iter().any(|action| action.contains('*'));
            if statement["Effect"] != "Allow" || !named {
                found.push(format!("{id}: not a plain list of allowed actions: {statement}"));
            }
            let tracing = actions.iter().all(|action| TRACE.contains(action));
            for resource in one_or_many(&statement["Resource"]) {
                if template.granted(resource).is_none() && !tracing {
                    found.push(format!("{id}: {actions:?} on {resource}"));
                }
            }
        }
    }
    found
}

fn functions_have_only_the_permissions_of_the_contract(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, function) in template.each(FUNCTION) {
        let folder = function["CodeUri"].as_str().unwrap_or_default();
        let name = folder.trim_start_matches("functions/");
        if !ALLOWED.iter().any(|(listed, ..)| *listed == name) {
            found.push(format!("{id}: {name} is not in the contract"));
        }
        let group = referent(&function["LoggingConfig"]["LogGroup"]).unwrap_or_default();
        let own = [(name, group, LOG), (name, "*", TRACE), (name, "KmsKeyArn", TABLE_KEY)];
        let allows = |resource: &str, action: &str| {
            ALLOWED.iter().chain(&own).any(|(function, on, actions)| {
                *function == name && *on == resource && actions.contains(&action)
            })
        };
        for statement in template.statements(referent(&function["Role"]).unwrap_or_default()) {
            for resource in one_or_many(&statement["Resource"]) {
                let named = || resource.as_str().unwrap_or("something else").to_owned();
                let resource = template.granted(resource).unwrap_or_else(named);
                for action in strings(&statement["Action"]) {
                    if !allows(&resource, action) {
                        found.push(format!("{id}: {action} on {resource}"));
                    }
                }
            }
        }
    }
    found
}

/// Without `KmsKeyArn`, keys of AWS encrypt everything except the topic of the alarms.
fn key_of_the_parameter_encrypts_all_data(template: &Template) -> Vec<String> {
    let key = json!({ "Ref": "KmsKeyArn" });
    let of_tables = json!({ "SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": key });
    let of_tables = when("HasKmsKey", &of_tables, &json!({ "SSEEnabled": true }));
    let key = when("HasKmsKey", &key, &no_value());
    let managed = when("HasKmsKey", &no_value(), &json!(true));
    let mut found = Vec::new();
    for (kind, properties) in [
        (QUEUE, json!({ "KmsMasterKeyId": key, "SqsManagedSseEnabled": managed })),
        (TABLE, json!({ "SSESpecification": of_tables })),
        (STORED_SECRET, json!({ "KmsKeyId": key })),
        (LOG_GROUP, json!({ "KmsKeyId": key })),
        (TOPIC, json!({ "KmsMasterKeyId": key })),
    ] {
        let shape = json!({ "Properties": properties });
        found.extend(template.differences(template.all(kind), &shape));
    }
    let given = json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": "KmsKeyArn" }, ""] }] });
    if template.0["Conditions"]["HasKmsKey"] != given {
        found.push("HasKmsKey: unexpected condition".to_owned());
    }
    found
}

/// The only statement about keys applies if there is a key. It names the services that the role calls
/// and that use the key on behalf of their caller.
fn roles_use_the_key_only_through_the_services_they_call(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for id in template.all(ROLE) {
        let calls = |prefix: &str| {
            let mut statements = template.statements(id);
            statements.any(|statement| {
                strings(&statement["Action"]).iter().any(|action| action.starts_with(prefix))
            })
        };
        let services = ["dynamodb", "sqs", "secretsmanager"];
        let services = services.into_iter().filter(|service| calls(&format!("{service}:")));
        let services: Vec<_> = services
            .map(
                |service| json!({ "Fn::Sub": format!("{service}.${{AWS::Region}}.amazonaws.com") }),
            )
            .collect();
        let statement = json!({
            "Effect": "Allow",
            "Action": if calls("dynamodb:") { TABLE_KEY } else { KEY },
            "Resource": { "Ref": "KmsKeyArn" },
            "Condition": { "StringEquals": { "kms:ViaService": services } },
        });
        let expected = when("HasKmsKey", &statement, &no_value());
        let about_keys = template.statement_entries(id).filter(|entry| {
            let text = entry.to_string();
            text.contains("kms:") || text.contains("KmsKeyArn")
        });
        let about_keys: Vec<_> = about_keys.collect();
        if about_keys != [&expected] {
            found.push(format!("{id}: {about_keys:?} instead of {expected}"));
        }
    }
    found
}

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

/// A first deployment that rolls back leaves no table (`RetainExceptOnCreate`).
fn tables_are_on_demand_restorable_and_retained(template: &Template) -> Vec<String> {
    let shape = json!({
        "DeletionPolicy": "RetainExceptOnCreate",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "BillingMode": "PAY_PER_REQUEST",
            // CloudFormation cannot roll back a protected table. Protection therefore starts with
            // the webhook secret, which a first deployment does not have yet.
            "DeletionProtectionEnabled": when("HasWebhookSecret", &json!(true), &json!(false)),
            "PointInTimeRecoverySpecification": { "PointInTimeRecoveryEnabled": true },
        },
    });
    let mut found = template.differences(template.all(TABLE), &shape);
    let given = json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": "MonoWebhookSecret" }, "unset"] }] });
    if template.0["Conditions"]["HasWebhookSecret"] != given {
        found.push("HasWebhookSecret: unexpected condition".to_owned());
    }
    found
}

fn table_keys_indexes_and_ttl_are_those_of_the_contract(template: &Template) -> Vec<String> {
    let tables = tables();
    let mut found = Vec::new();
    for (id, table) in template.each(TABLE) {
        let mut indexes = json!({});
        for index in template.indexes(id) {
            let name = index["IndexName"].as_str().unwrap_or_default();
            indexes[name] = template.key(id, &index["KeySchema"]);
            // A write that changes no key of an index causes no write to that index.
            let projection = &index["Projection"];
            let keys = one_or_many(&table["AttributeDefinitions"]);
            let keys: Vec<_> = keys.iter().map(|key| &key["AttributeName"]).collect();
            let more = one_or_many(&projection["NonKeyAttributes"]);
            if projection["ProjectionType"] == "ALL" || !more.iter().all(|name| keys.contains(name))
            {
                found.push(format!("{id}: {name} projects more than keys"));
            }
        }
        let mut local = json!({});
        for index in template.local_indexes(id) {
            let name = index["IndexName"].as_str().unwrap_or_default();
            local[name] = template.key(id, &index["KeySchema"]);
            // The feed shows whole rows, and a local index without them reads each row from its table.
            if index["Projection"]["ProjectionType"] != "ALL" {
                found.push(format!("{id}: {name} does not project whole items"));
            }
        }
        let actual = json!({
            "keys": template.key(id, &table["KeySchema"]),
            "indexes": indexes,
            "local": local,
            "ttl": table["TimeToLiveSpecification"],
        });
        if actual != tables[id] {
            found.push(format!("{id}: {actual} instead of {}", tables[id]));
        }
    }
    found
}

fn secret_parameters_reach_only_secrets_manager(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, parameter) in entries(&template.0["Parameters"]) {
        let secret = SECRET_PARAMETERS.contains(&id);
        if secret != (parameter["NoEcho"] == true) {
            found.push(format!("{id}: NoEcho must be set on secret parameters only"));
        }
        if !secret {
            continue;
        }
        for section in ["Conditions", "Outputs", "Resources"] {
            for (place, body) in entries(&template.0[section]) {
                let mut body = body.clone();
                if body["Type"] == STORED_SECRET {
                    body["Properties"]["SecretString"].take();
                }
                // A condition on whether the secret is set does not disclose it.
                let is_given = json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": id }, "unset"] }] });
                if body != is_given && mentions(&body, id) {
                    found.push(format!("{place}: contains {id}"));
                }
            }
        }
    }
    // Only the generated key of the signatures, which is no parameter.
    let signing_key = "whsec_{{resolve:secretsmanager:${NotifySigningKey}}}";
    let mut others = template.0.clone();
    if others["Resources"]["NotifySecret"]["Properties"]["SecretString"]["Fn::Sub"] == signing_key {
        others["Resources"]["NotifySecret"].take();
    }
    if others.to_string().contains("{{resolve:") {
        found.push("the template resolves a secret's value".to_owned());
    }
    found
}

fn parameters_and_outputs_are_those_of_the_contract(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    let defaults = defaults();
    for (id, parameter) in entries(&template.0["Parameters"]) {
        let known = defaults.get(id).is_some_and(|default| *default == parameter["Default"]);
        if !known || !parameter["Description"].is_string() {
            found.push(format!("{id}: not in the contract, other default, or no description"));
        }
    }
    for (id, output) in entries(&template.0["Outputs"]) {
        if !OUTPUTS.contains(&id) || !output["Description"].is_string() {
            found.push(format!("{id}: not in the contract, or no description"));
        }
    }
    found
}

fn only_the_webhook_route_is_open(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, route) in template.each(ROUTE) {
        let webhook = route["RouteKey"] == "POST /webhooks/mono";
        let authorization = &route["AuthorizationType"];
        let right = if webhook { authorization == "NONE" } else { template.closed(authorization) };
        if !right {
            found.push(format!("{id}: {authorization}"));
        }
    }
    found
}

/// With `AWS_IAM`, requests are signed. They need neither an authorizer nor a scope.
fn closed_routes_require_the_scope_of_their_method(template: &Template) -> Vec<String> {
    let authorizer = template.all(AUTHORIZER).next().unwrap_or_default();
    let mut found = Vec::new();
    for (condition, parameter) in
        [("UseReadScope", "JwtReadScope"), ("UseSyncScope", "JwtSyncScope")]
    {
        let given = json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": parameter }, ""] }] });
        let both = json!({ "Fn::And": [{ "Condition": "UseJwt" }, given] });
        if template.0["Conditions"][condition] != both {
            found.push(format!("{condition}: unexpected condition"));
        }
    }
    for (id, route) in template.closed_routes() {
        let key = route["RouteKey"].as_str().unwrap_or_default();
        let method = key.split(' ').next().unwrap_or_default();
        let shape = json!({
            "Properties": {
                "AuthorizationType": when("UseJwt", &json!("JWT"), &json!("AWS_IAM")),
                "AuthorizerId": when("UseJwt", &json!({ "Ref": authorizer }), &no_value()),
                "AuthorizationScopes": scopes(method),
            },
        });
        found.extend(template.differences([id].into_iter(), &shape));
    }
    found
}

fn authorizer_checks_issuer_and_audience(template: &Template) -> Vec<String> {
    let shape = json!({
        "Condition": "UseJwt",
        "Properties": {
            "AuthorizerType": "JWT",
            "IdentitySource": ["$request.header.Authorization"],
            "JwtConfiguration": {
                "Issuer": { "Ref": "JwtIssuer" },
                "Audience": { "Fn::Split": [",", { "Ref": "JwtAudience" }] },
            },
        },
    });
    let mut found = template.differences(template.all(AUTHORIZER), &shape);
    let jwt = json!({ "Fn::Equals": [{ "Ref": "ApiAuthorization" }, "JWT"] });
    if template.0["Conditions"]["UseJwt"] != jwt {
        found.push("UseJwt: unexpected condition".to_owned());
    }
    let required = values(&template.0["Rules"])
        .filter(|rule| rule["RuleCondition"] == jwt)
        .flat_map(|rule| one_or_many(&rule["Assertions"]));
    let required: Vec<_> = required.map(|assertion| &assertion["Assert"]).collect();
    for parameter in ["JwtIssuer", "JwtAudience", "JwtOwnerClaim"] {
        let given = json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": parameter }, ""] }] });
        if !required.contains(&&given) {
            found.push(format!("JWT is accepted without {parameter}"));
        }
    }
    found
}

/// Without the claim, every caller with a token could read all accounts.
fn functions_behind_closed_routes_have_the_owner_claim(template: &Template) -> Vec<String> {
    let claim = when("UseJwt", &json!({ "Ref": "JwtOwnerClaim" }), &json!("none"));
    let shape =
        json!({ "Properties": { "Environment": { "Variables": { "OWNER_CLAIM": claim } } } });
    let functions: BTreeSet<_> =
        template.closed_routes().filter_map(|(_, route)| template.function_of(route)).collect();
    template.differences(functions.into_iter(), &shape)
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

fn cors_allows_only_the_configured_origin(template: &Template) -> Vec<String> {
    let cors = json!({
        "AllowOrigins": [{ "Ref": "CorsAllowOrigin" }],
        "AllowMethods": ["GET", "POST", "PATCH", "DELETE"],
        "AllowHeaders": [
            "authorization", "content-type", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token",
        ],
        "ExposeHeaders": ["x-request-id", "retry-after", "apigw-requestid"],
        "MaxAge": 3600,
    });
    let cors = when("HasCorsAllowOrigin", &cors, &no_value());
    let shape = json!({ "Properties": { "CorsConfiguration": cors } });
    let mut found = template.differences(template.all(API), &shape);
    let given = json!({ "Fn::Not": [{ "Fn::Equals": [{ "Ref": "CorsAllowOrigin" }, ""] }] });
    if template.0["Conditions"]["HasCorsAllowOrigin"] != given {
        found.push("HasCorsAllowOrigin: unexpected condition".to_owned());
    }
    found
}

fn each_route_has_a_throttle_of_its_own(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, stage) in template.each(STAGE) {
        let settings = &stage["RouteSettings"];
        // API Gateway rejects settings for a route that does not exist yet.
        let waits_for = strings(&template.resource(id)["DependsOn"]);
        for (route, properties) in template.each(ROUTE) {
            let key = properties["RouteKey"].as_str().unwrap_or_default();
            for limit in ["ThrottlingRateLimit", "ThrottlingBurstLimit"] {
                if settings[key][limit].as_i64() <= Some(0) {
                    found.push(format!("{route}: no {limit}"));
                }
            }
            if !waits_for.contains(&route) {
                found.push(format!("{id}: may be created before {route}"));
            }
        }
        if values(settings).count() != template.all(ROUTE).count() {
            found.push(format!("{id}: settings for routes that do not exist"));
        }
    }
    found
}

fn api_may_invoke_each_function_only_on_its_routes(template: &Template) -> Vec<String> {
    let granted: BTreeSet<String> = template
        .each("AWS::Lambda::Permission")
        .map(|(_, permission)| {
            let function = referent(&permission["FunctionName"]).unwrap_or("any function");
            let source = permission["SourceArn"]["Fn::Sub"].as_str();
            let route = source.and_then(|arn| arn.split_once("${HttpApi}/*/"));
            format!("{function} on {}", route.map_or("anything", |(_, path)| path))
        })
        .collect();
    let needed: BTreeSet<String> = template
        .each(ROUTE)
        .map(|(_, route)| {
            let function = template.function_of(route).unwrap_or("nothing");
            let key = route["RouteKey"].as_str().unwrap_or_default();
            format!("{function} on {}", source_path(key))
        })
        .collect();
    granted.symmetric_difference(&needed).cloned().collect()
}

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

/// The access log identifies the call and the caller, and holds no private data.
fn access_log_lines_hold_no_query_body_address_or_name(template: &Template) -> Vec<String> {
    let mut found = Vec::new();
    for (id, stage) in template.each(STAGE) {
        let log = &stage["AccessLogSettings"];
        let format = log["Format"].as_str().unwrap_or_default();
        let line = format.replace("$context.status", "200");
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if line["request_id"] != "$context.requestId" {
            found.push(format!("{id}: the line has no request id: {line}"));
        }
        if ["sourceIp", "path", "query", "userAgent"].iter().any(|private| format.contains(private))
        {
            found.push(format!("{id}: logs private data"));
        }
        let group = referent(&log["DestinationArn"]).unwrap_or_default();
        let kept = &template.properties(group)["RetentionInDays"];
        if *kept != json!({ "Ref": "AccessLogRetentionDays" }) {
            found.push(format!("{id}: log retention is {kept}"));
        }
    }
    found
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

/// Lambda would retry a failed plan twice. That is not needed: the next run completes it.
fn scheduled_functions_are_not_retried_by_lambda(template: &Template) -> Vec<String> {
    let shape = json!({ "Properties": { "EventInvokeConfig": { "MaximumRetryAttempts": 0 } } });
    template.differences(template.scheduled(), &shape)
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

/// Tests that the rule holds for the template, and that it detects each listed change (see
/// [`Template::with`]).
macro_rules! rules {
    ($($rule:ident { $($pointer:literal => $value:expr,)+ })+) => {
        $(mod $rule {
            use super::*;

            #[test]
            fn document_follows_the_rule() {
                assert_eq!($rule(&Template::load()), Vec::<String>::new());
            }

            #[test]
            fn each_listed_change_breaks_the_rule() {
                for (pointer, value) in [$(($pointer, $value)),+] {
                    let template = Template::load().with(pointer, value);
                    assert!(!$rule(&template).is_empty(), "the rule accepts the change at {pointer}");
                }
            }
        })+
    };
}

rules! {
    access_log_lines_hold_no_query_body_address_or_name {
        "/HttpApiStage/Properties/AccessLogSettings" => Value::Null,
        "/HttpApiStage/Properties/AccessLogSettings/Format" => json!("$context.requestId"),
        "/HttpApiStage/Properties/AccessLogSettings/DestinationArn" => get_att("WebhookLogGroup"),
    }
    stream_consumers_lose_no_record {
        "/NotifierFunction/Properties/Events/AccountsTable/Properties/StartingPosition" => json!("LATEST"),
        "/NotifierFunction/Properties/Events/AccountsTable/Properties/FunctionResponseTypes" => Value::Null,
        "/NotifierFunction/Properties/Events/AccountsTable/Properties/DestinationConfig" => Value::Null,
        "/NotifierFunction/Properties/Events/AccountsTable/Properties/MaximumRetryAttempts" => json!(3),
        "/AccountsTable/Properties/StreamSpecification/StreamViewType" => json!("NEW_IMAGE"),
        "/NotifierIteratorAgeAlarm/Properties/MetricName" => json!("Errors"),
    }
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
    functions_have_no_permissions_or_triggers_outside_the_rules {
        "/AlarmTopic/Type" => json!("AWS::IAM::Policy"),
        "/WebhookFunction/Properties/Events" => json!({ "Any": { "Type": "HttpApi" } }),
        "/WebhookFunction/Properties/FunctionUrlConfig" => json!({ "AuthType": "NONE" }),
        "/WebhookFunction/Properties/Policies" => json!(["AmazonSQSFullAccess"]),
    }
    only_lambda_assumes_roles {
        "/WebhookRole/Properties/AssumeRolePolicyDocument/Statement/0/Principal" => json!("*"),
        "/WebhookRole/Properties/ManagedPolicyArns" => json!(["arn:aws:iam::aws:policy/AdministratorAccess"]),
    }
    roles_name_each_action_and_resource {
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource" => json!("*"),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource" => get_att("NoQueue"),
        "/AccountsRole/Properties/Policies/0/PolicyDocument/Statement/1/Resource/0" => json!({ "Fn::Sub": "${AccountsTable.Arn}/*" }),
        "/AccountsRole/Properties/Policies/0/PolicyDocument/Statement/1/Resource/0" => json!({ "Fn::Sub": "${AccountsTable.Arn}/index/*" }),
        "/AccountsRole/Properties/Policies/0/PolicyDocument/Statement/1/Resource/0" => json!({ "Fn::Sub": "${AccountsTable.Arn}/index/NoIndex" }),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/1/Resource" => json!("*"),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/2" => json!({ "Effect": "Allow", "Action": "sqs:*" }),
        "/WebhookRole/Properties/Policies" => when("UseJwt", &json!([{ "PolicyDocument": { "Statement": { "Action": "sqs:*" } } }]), &no_value()),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/0/Action" => json!("sqs:*"),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/0/Action" => Value::Null,
    }
    functions_have_only_the_permissions_of_the_contract {
        "/AccountsRole/Properties/Policies/0/PolicyDocument/Statement/0/Action" => json!("dynamodb:DeleteItem"),
        "/AccountsRole/Properties/Policies/0/PolicyDocument/Statement/1/Action" => json!("dynamodb:GetItem"),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource" => get_att("AccountsTable"),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/1/Action" => json!("kms:CreateGrant"),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/1/Resource" => get_att("WebhookQueue"),
        "/WebhookFunction/Properties/CodeUri" => json!("functions/newcomer"),
    }
    key_of_the_parameter_encrypts_all_data {
        "/WebhookQueue/Properties/SqsManagedSseEnabled" => json!(true),
        "/WebhookQueue/Properties/KmsMasterKeyId" => Value::Null,
        "/WebhookDeadLetterQueue/Properties/SqsManagedSseEnabled/Fn::If/2" => json!(false),
        "/ImportDeadLetterQueue/Properties/KmsMasterKeyId" => json!({ "Ref": "KmsKeyArn" }),
        "/EventsTable/Properties/SSESpecification" => json!({ "SSEEnabled": true }),
        "/AccountsTable/Properties/SSESpecification" => Value::Null,
        "/AccountsTable/Properties/SSESpecification/Fn::If/2/SSEEnabled" => json!(false),
        "/MonoKey/Properties/KmsKeyId" => Value::Null,
        "/AccessLogGroup/Properties/KmsKeyId" => Value::Null,
        "/ImporterLogGroup/Properties/KmsKeyId/Fn::If/1" => json!("alias/logs"),
        "/AlarmTopic/Properties/KmsMasterKeyId" => json!("alias/aws/sns"),
        "//Conditions/HasKmsKey" => Value::Null,
    }
    roles_use_the_key_only_through_the_services_they_call {
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2" => no_value(),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/0" => json!("UseJwt"),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/1/Condition" => Value::Null,
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/1/Action" => json!(TABLE_KEY),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/1/Resource" => json!("*"),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/2/Fn::If/2" => json!({ "Action": "kms:Decrypt" }),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/1/Action" => json!(["secretsmanager:GetSecretValue", "kms:Decrypt"]),
        "/WebhookRole/Properties/Policies/0/PolicyDocument/Statement/1/Action" => json!("sqs:GetQueueUrl"),
        "/ImporterRole/Properties/Policies/0/PolicyDocument/Statement/5/Fn::If/1/Action" => json!(KEY),
        "/LinksRole/Properties/Policies/0/PolicyDocument/Statement/4/Fn::If/1/Condition/StringEquals/kms:ViaService/1"
            => json!({ "Fn::Sub": "events.${AWS::Region}.amazonaws.com" }),
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
    tables_are_on_demand_restorable_and_retained {
        "/AccountsTable/DeletionPolicy" => json!("Delete"),
        "/AccountsTable/DeletionPolicy" => json!("Retain"),
        "/AccountsTable/UpdateReplacePolicy" => Value::Null,
        "/AccountsTable/Properties/BillingMode" => json!("PROVISIONED"),
        "/AccountsTable/Properties/PointInTimeRecoverySpecification" => Value::Null,
        "/EventsTable/Properties/DeletionProtectionEnabled" => Value::Null,
        "//Conditions/HasWebhookSecret" => Value::Null,
    }
    table_keys_indexes_and_ttl_are_those_of_the_contract {
        "/AccountsTable/Properties/GlobalSecondaryIndexes/0/IndexName" => json!("Attention"),
        "/AccountsTable/Properties/GlobalSecondaryIndexes/1/KeySchema/1/AttributeName" => json!("attention"),
        "/AccountsTable/Properties/GlobalSecondaryIndexes/0/Projection/ProjectionType" => json!("ALL"),
        "/TransactionsTable/Properties/LocalSecondaryIndexes/0/KeySchema/1/AttributeName" => json!("position"),
        "/TransactionsTable/Properties/LocalSecondaryIndexes/0/Projection/ProjectionType" => json!("KEYS_ONLY"),
        "/AccountsTable/Properties/GlobalSecondaryIndexes/1/Projection/NonKeyAttributes" => json!(["name"]),
        "/AccountsTable/Properties/AttributeDefinitions/3/AttributeType" => json!("S"),
        "/AccountsTable/Properties/TimeToLiveSpecification" => Value::Null,
        "/EventsTable/Properties/TimeToLiveSpecification" => Value::Null,
        "/EventsTable/Properties/TimeToLiveSpecification/Enabled" => json!(false),
        "/EventsTable/Properties/KeySchema/1/AttributeName" => json!("occurred_at"),
    }
    secret_parameters_reach_only_secrets_manager {
        "//Parameters/MonoWebhookSecret/NoEcho" => Value::Null,
        "//Outputs/ApiUrl/Value" => json!({ "Fn::Sub": "${ApiUrl}?${MonoWebhookSecret}" }),
        "/WebhookSecret/Properties/Description" => json!({ "Ref": "MonoWebhookSecret" }),
        "/WebhookFunction/Properties/Environment/Variables/SECRET" => json!({ "Ref": "MonoWebhookSecret" }),
        "/WebhookFunction/Properties/Environment/Variables/SECRET" => json!("{{resolve:secretsmanager:mono}}"),
        "/NotifySecret/Properties/SecretString" => json!({ "Fn::Sub": "{{resolve:secretsmanager:${MonoKey}}}" }),
    }
    parameters_and_outputs_are_those_of_the_contract {
        "//Parameters/LogRetention" => json!({}),
        "//Parameters/SyncCooldownSeconds/Default" => json!(60),
        "//Outputs/QueueUrl" => json!({}),
    }
    only_the_webhook_route_is_open {
        "/AccountRoute/Properties/AuthorizationType" => Value::Null,
        "/AccountRoute/Properties/AuthorizationType" => json!("NONE"),
        "/AccountRoute/Properties/AuthorizationType" => json!({ "Fn::If": ["Jwt", "JWT", "NONE"] }),
        "/AccountRoute/Properties/AuthorizationType" => json!({ "Ref": "AlarmEmail" }),
    }
    closed_routes_require_the_scope_of_their_method {
        "/SyncRoute/Properties/AuthorizationScopes" => Value::Null,
        "/SyncRoute/Properties/AuthorizationScopes/Fn::If/1/0" => json!("accounts:read"),
        "/AccountRoute/Properties/AuthorizationScopes/Fn::If/1/0" => json!("accounts:sync"),
        "/EventsRoute/Properties/AuthorizationScopes" => json!(["accounts:read"]),
        "/AccountsRoute/Properties/AuthorizationType" => json!("AWS_IAM"),
        "/ReauthoriseRoute/Properties/AuthorizerId" => json!({ "Ref": "JwtAuthorizer" }),
    }
    authorizer_checks_issuer_and_audience {
        "/JwtAuthorizer/Condition" => Value::Null,
        "/JwtAuthorizer/Properties/AuthorizerType" => json!("REQUEST"),
        "/JwtAuthorizer/Properties/IdentitySource/0" => json!("$request.querystring.token"),
        "/JwtAuthorizer/Properties/JwtConfiguration/Issuer" => json!("https://example.com"),
        "/JwtAuthorizer/Properties/JwtConfiguration/Audience" => json!([]),
        "//Conditions/UseJwt" => json!({ "Fn::Equals": [{ "Ref": "JwtIssuer" }, ""] }),
        "//Rules/JwtIsComplete/RuleCondition" => Value::Null,
        "//Rules/JwtIsComplete/Assertions/0/Assert" => Value::Null,
        "//Rules/JwtIsComplete/Assertions/1/Assert" => Value::Null,
        "//Rules/JwtIsComplete/Assertions/2/Assert" => Value::Null,
    }
    functions_behind_closed_routes_have_the_owner_claim {
        "/AccountsFunction/Properties/Environment/Variables/OWNER_CLAIM" => Value::Null,
        "/ManualSyncFunction/Properties/Environment/Variables/OWNER_CLAIM" => json!(""),
    }
    writers_end_before_an_erasure_deletes {
        "/ImporterFunction/Properties/Timeout" => json!(300),
    }
    function_timeouts_fit_into_the_api_timeout {
        "/AccountsFunction/Properties/Timeout" => json!(31),
        "/ManualSyncFunction/Properties/Timeout" => Value::Null,
        "/WebhookIntegration/Properties/IntegrationUri" => get_att("NoFunction"),
    }
    cors_allows_only_the_configured_origin {
        "/HttpApi/Properties/CorsConfiguration" => Value::Null,
        "/HttpApi/Properties/CorsConfiguration/Fn::If/1/AllowOrigins" => json!(["*"]),
        "/HttpApi/Properties/CorsConfiguration/Fn::If/1/AllowCredentials" => json!(true),
        "/HttpApi/Properties/CorsConfiguration/Fn::If/1/AllowHeaders" => json!(["authorization", "content-type"]),
        "/HttpApi/Properties/CorsConfiguration/Fn::If/2" => json!({ "AllowOrigins": ["*"] }),
        "//Conditions/HasCorsAllowOrigin" => Value::Null,
    }
    each_route_has_a_throttle_of_its_own {
        "/HttpApiStage/DependsOn" => json!(["WebhookRoute"]),
        "/HttpApiStage/Properties/RouteSettings/POST ~1webhooks~1mono" => Value::Null,
        "/HttpApiStage/Properties/RouteSettings/GET ~1nowhere" => json!({}),
    }
    api_may_invoke_each_function_only_on_its_routes {
        "/WebhookPermission/Properties/SourceArn" => Value::Null,
        "/WebhookPermission/Properties/SourceArn" => json!({ "Fn::Sub": "arn:aws:execute-api:${HttpApi}/*" }),
        "/WebhookPermission/Properties/FunctionName" => json!({ "Ref": "AccountsFunction" }),
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
    scheduled_functions_are_not_retried_by_lambda {
        "/RefreshPlannerFunction/Properties/EventInvokeConfig" => Value::Null,
        "/RefreshPlannerFunction/Properties/EventInvokeConfig/MaximumRetryAttempts" => json!(2),
    }
    dashboard_shows_every_function_queue_and_table {
        "/Dashboard/Properties/DashboardBody" => json!({ "Fn::Sub": "{}" }),
    }
}

/// A rule about a misspelt type would always pass.
#[test]
fn template_has_a_resource_of_each_tested_type() {
    let template = Template::load();
    for kind in [
        API,
        AUTHORIZER,
        FUNCTION,
        ROLE,
        LOG_GROUP,
        QUEUE,
        QUEUE_POLICY,
        TABLE,
        STORED_SECRET,
        ROUTE,
        STAGE,
        ALARM,
        TOPIC,
        DASHBOARD,
    ] {
        assert!(template.all(kind).next().is_some(), "no {kind}");
    }
    assert!(template.dead_letter_queues().next().is_some(), "no dead-letter queue");
    assert!(template.source_queues().next().is_some(), "no queue with a consumer");
    assert!(template.consumers().next().is_some(), "no consumer");
}

#[test]
fn route_may_be_closed_by_condition_or_parameter() {
    let by_condition = json!({ "Fn::If": ["Jwt", "JWT", "AWS_IAM"] });
    let by_parameter = json!({ "Ref": "ApiAuthorization" });
    for authorization in [by_condition, by_parameter] {
        let template = Template::load()
            .with("//Parameters/ApiAuthorization", json!({ "AllowedValues": ["AWS_IAM", "JWT"] }))
            .with("/AccountRoute/Properties/AuthorizationType", authorization);
        assert_eq!(only_the_webhook_route_is_open(&template), Vec::<String>::new());
    }
}

/// The text of all Rust files in a folder.
fn rust_in(folder: &std::path::Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let text = |path: std::path::PathBuf| {
        if path.is_dir() {
            rust_in(&path)
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            fs::read_to_string(path).expect("a text")
        } else {
            String::new()
        }
    };
    entries.map(text).collect()
}

#[test]
fn each_test_named_in_the_threats_exists() {
    let security = fs::read_to_string(root().join("docs/security.md")).expect("a page");
    let (_, threats) = security.split_once("## Threats").expect("a section");
    let code: String =
        ["functions", "shared", "tests"].map(|folder| rust_in(&root().join(folder))).concat();
    let last_cells = threats.lines().filter_map(|line| line.strip_suffix('|')?.rsplit('|').next());
    let names: Vec<_> = last_cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.contains('_'))
        .collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        // A rule of the template is one test with its own module.
        let exists = code.contains(&format!("fn {name}("));
        assert!(exists, "{name}");
    }
}
