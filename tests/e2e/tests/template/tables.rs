//! The tables, their keys and indexes.

use serde_json::{Value, json};

use super::contract::tables;
use super::document::*;

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

rules! {
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
}
