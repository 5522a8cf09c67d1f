//! Converts YAML to JSON.

use saphyr::{LoadableYamlNode, ScalarOwned, YamlOwned};
use serde_json::{Value, json};

/// The first document of a text. `tagged` converts values with a tag, such as `!Ref`.
///
/// # Panics
///
/// If the text is not YAML, or contains a value that JSON cannot represent.
pub fn read(text: &str, tagged: fn(&str, Value) -> Value) -> Value {
    let documents = YamlOwned::load_from_str(text).unwrap_or_else(|error| panic!("{error}"));
    to_json(&documents[0], tagged)
}

/// The conversion for a document without tags.
///
/// # Panics
///
/// Always: the document contains a tag.
pub fn no_tags(tag: &str, _: Value) -> Value {
    panic!("unexpected tag: !{tag}")
}

fn to_json(node: &YamlOwned, tagged: fn(&str, Value) -> Value) -> Value {
    match node {
        YamlOwned::Value(ScalarOwned::Null) => Value::Null,
        YamlOwned::Value(ScalarOwned::Boolean(value)) => json!(value),
        YamlOwned::Value(ScalarOwned::Integer(value)) => json!(value),
        YamlOwned::Value(ScalarOwned::FloatingPoint(value)) => json!(value.into_inner()),
        YamlOwned::Value(ScalarOwned::String(value)) => json!(value),
        YamlOwned::Sequence(items) => items.iter().map(|item| to_json(item, tagged)).collect(),
        YamlOwned::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (key.as_str().expect("keys are strings"), to_json(value, tagged)))
            .collect(),
        YamlOwned::Tagged(tag, argument) => tagged(&tag.suffix, to_json(argument, tagged)),
        other => panic!("unexpected node: {other:?}"),
    }
}
