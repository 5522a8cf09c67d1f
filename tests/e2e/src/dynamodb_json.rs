//! DynamoDB's JSON, as a stream contains it.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mono_sync::aws::store::Stored;
use mono_sync::domain::account::{Account, RefreshPolicy, RefreshRule};
use serde_json::{Map, Value, json};

/// The image of a record, with a fixed version.
pub fn image(account: &Account) -> Value {
    let policy = RefreshPolicy {
        interval: Some(Duration::from_hours(24)),
        rule: RefreshRule::Interval,
        cooldown: Duration::from_mins(5),
        unlinked_retention: None,
    };
    let item = Stored::next(account.clone(), None).to_item(policy);
    let mut image = object(item);
    image["version"] = json!({ "B": STANDARD.encode([0; 8]) });
    Value::Object(image)
}

fn object(item: impl IntoIterator<Item = (String, AttributeValue)>) -> Map<String, Value> {
    item.into_iter().map(|(name, value)| (name, to_json(value))).collect()
}

fn to_json(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(digits) => json!({ "N": digits }),
        AttributeValue::B(bytes) => json!({ "B": STANDARD.encode(bytes) }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::L(values) => {
            json!({ "L": values.into_iter().map(to_json).collect::<Vec<_>>() })
        }
        AttributeValue::M(fields) => json!({ "M": object(fields) }),
        other => panic!("no record has an attribute of this type: {other:?}"),
    }
}
