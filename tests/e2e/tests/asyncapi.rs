//! The contract of the notifications: `asyncapi.yaml`, the schemas and the samples agree with the code.

#![allow(clippy::unwrap_used, reason = "a missing value fails the test")]

use std::collections::BTreeSet;
use std::fs;

use e2e::notifications::{schemas, violations};
use e2e::{project, samples, yaml};
use serde_json::{Value, json};

fn document() -> Value {
    yaml::read(&fs::read_to_string(project().join("asyncapi.yaml")).unwrap(), yaml::no_tags)
}

/// The types that the code publishes.
fn types() -> BTreeSet<&'static str> {
    samples::notifications().iter().map(|notification| notification.name).collect()
}

fn values(object: &Value) -> impl Iterator<Item = &Value> {
    object.as_object().into_iter().flat_map(|fields| fields.values())
}

#[test]
fn each_type_has_a_schema_that_its_sample_matches() {
    assert_eq!(schemas().keys().map(String::as_str).collect::<BTreeSet<_>>(), types());
    for notification in samples::notifications() {
        let sample = serde_json::to_value(&notification).unwrap();
        assert_eq!(violations(&sample), [""; 0]);
        let future = with(&sample, "field_of_a_later_version", json!(1));
        assert_eq!(violations(&future), [""; 0], "fields may be added");
    }
}

fn with(sample: &Value, field: &str, value: Value) -> Value {
    let mut changed = sample.clone();
    changed[field] = value;
    changed
}

#[test]
fn notification_without_a_field_or_with_another_value_violates_its_schema() {
    for notification in samples::notifications() {
        let sample = serde_json::to_value(&notification).unwrap();
        for name in sample.as_object().unwrap().keys() {
            let mut without = sample.clone();
            without.as_object_mut().unwrap().remove(name);
            assert_ne!(violations(&without), [""; 0], "{} without {name}", notification.name);
            let odd = with(&sample, name, json!([]));
            assert_ne!(violations(&odd), [""; 0], "{} with an odd {name}", notification.name);
        }
    }
    let mut syncing = serde_json::to_value(&samples::notifications()[1]).unwrap();
    syncing["to"] = json!("syncing");
    assert_ne!(violations(&syncing), [""; 0]);
}

#[test]
fn document_has_a_message_for_each_type_with_its_schema_and_its_sample() {
    let document = document();
    let mut documented = BTreeSet::new();
    for message in values(&document["components"]["messages"]) {
        let name = message["name"].as_str().unwrap();
        documented.insert(name.to_owned());
        let schema = format!("./docs/notifications/{name}.schema.json");
        assert_eq!(message["payload"]["schema"]["$ref"], schema);
        let mut notifications = samples::notifications().into_iter();
        let sample = notifications.find(|notification| notification.name == name).unwrap();
        assert_eq!(message["examples"][0]["payload"], serde_json::to_value(&sample).unwrap());
    }
    assert!(documented.iter().map(String::as_str).eq(types()));
    for channel in values(&document["channels"]) {
        assert_eq!(channel["messages"].as_object().unwrap().len(), types().len());
    }
    for operation in values(&document["operations"]) {
        assert_eq!(operation["messages"].as_array().unwrap().len(), types().len());
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn every_reference_of_the_document_exists() {
    let document = document();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 30, "{}", references.len());
    for reference in references {
        let exists = match reference.strip_prefix('#') {
            Some(pointer) => document.pointer(pointer).is_some(),
            None => fs::exists(project().join(reference)).unwrap(),
        };
        assert!(exists, "{reference}");
    }
}

fn collect<'a>(part: &'a Value, references: &mut Vec<&'a str>) {
    if let Some(reference) = part["$ref"].as_str() {
        references.push(reference);
    }
    values(part).chain(part.as_array().into_iter().flatten()).for_each(|part| {
        collect(part, references);
    });
}
