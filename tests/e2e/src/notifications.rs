//! The JSON Schemas of the notifications, and the check of notifications against them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

use crate::project;

/// The schemas in `docs/notifications`, by type.
///
/// # Panics
///
/// If a file is not a JSON Schema.
pub fn schemas() -> &'static BTreeMap<String, Validator> {
    static SCHEMAS: OnceLock<BTreeMap<String, Validator>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let folder = fs::read_dir(project().join("docs/notifications")).expect("the schemas exist");
        let schema = |file: fs::DirEntry| {
            let name = file.file_name().into_string().expect("a file name is text");
            let name = name.strip_suffix(".schema.json").expect("the folder has only schemas");
            let schema: Value = serde_json::from_slice(&fs::read(file.path()).expect("a file"))
                .expect("a schema is JSON");
            assert!(jsonschema::meta::is_valid(&schema), "{name} is no JSON Schema");
            let validator = jsonschema::options().should_validate_formats(true).build(&schema);
            (name.to_owned(), validator.expect("a schema compiles"))
        };
        folder.map(|file| schema(file.expect("a file"))).collect()
    })
}

/// The differences between a notification and the schema of its type.
pub fn violations(notification: &Value) -> Vec<String> {
    let name = notification["type"].as_str().unwrap_or_default();
    let Some(schema) = schemas().get(name) else {
        return vec![format!("no schema for {notification}")];
    };
    schema.iter_errors(notification).map(|error| format!("{name}: {error}")).collect()
}

/// Ends the tests if a published notification violates its schema. Most tests do not look at what is published.
pub(crate) fn check_published(put_events: &str) {
    let request: Value = serde_json::from_str(put_events).unwrap_or_default();
    for entry in request["Entries"].as_array().into_iter().flatten() {
        let detail = entry["Detail"].as_str().unwrap_or_default();
        let notification: Value = serde_json::from_str(detail).unwrap_or_default();
        let mut found = violations(&notification);
        if entry["DetailType"] != notification["type"] || entry["Source"] != "mono-sync" {
            found.push(format!("{entry} has another type or source"));
        }
        if !found.is_empty() {
            eprintln!("A published notification violates its schema: {found:#?}");
            std::process::exit(101);
        }
    }
}
