//! What the roles of the functions may do, and what encrypts the data.

use serde_json::{Value, json};

use super::contract::{ALLOWED, FORBIDDEN_TYPES, KEY, LOG, SECRET_PARAMETERS, TABLE_KEY, TRACE};
use super::document::*;

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

rules! {
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
    secret_parameters_reach_only_secrets_manager {
        "//Parameters/MonoWebhookSecret/NoEcho" => Value::Null,
        "//Outputs/ApiUrl/Value" => json!({ "Fn::Sub": "${ApiUrl}?${MonoWebhookSecret}" }),
        "/WebhookSecret/Properties/Description" => json!({ "Ref": "MonoWebhookSecret" }),
        "/WebhookFunction/Properties/Environment/Variables/SECRET" => json!({ "Ref": "MonoWebhookSecret" }),
        "/WebhookFunction/Properties/Environment/Variables/SECRET" => json!("{{resolve:secretsmanager:mono}}"),
        "/NotifySecret/Properties/SecretString" => json!({ "Fn::Sub": "{{resolve:secretsmanager:${MonoKey}}}" }),
    }
}
