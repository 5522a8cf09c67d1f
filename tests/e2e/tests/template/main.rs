//! Tests `template.yaml` against the deployment contract.
//!
//! Each rule walks all resources of one type, so it also covers resources that are added later. It
//! returns the violations. A test runs each rule on the template, and on changed templates that
//! violate it.

use std::fs;

use serde_json::json;

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

mod alarms;
mod api;
mod contract;
mod document;
mod functions;
mod permissions;
mod queues;
mod tables;

use contract::{OUTPUTS, defaults};
use document::*;

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

rules! {
    parameters_and_outputs_are_those_of_the_contract {
        "//Parameters/LogRetention" => json!({}),
        "//Parameters/SyncCooldownSeconds/Default" => json!(60),
        "//Outputs/QueueUrl" => json!({}),
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
