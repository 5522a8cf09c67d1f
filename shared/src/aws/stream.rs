//! The stream of the table of account records: one record of the stream for each write, with both images of the item.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::base64;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::aws::store::{self, CorruptItem, Stored};
use crate::domain::account::Account;
use crate::domain::notification::Write;
use crate::domain::timestamp::Timestamp;

/// A batch of records, as Lambda delivers it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StreamEvent {
    #[serde(rename = "Records")]
    pub records: Vec<Value>,
}

/// The records that Lambda must deliver again. Lambda delivers the first of them and all later ones.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamResponse {
    pub batch_item_failures: Vec<StreamFailure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamFailure {
    /// The sequence number of the record.
    pub item_identifier: String,
}

/// The record cannot be read, and another delivery does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableRecord {
    /// The error does not quote the record.
    #[error("the record of the stream has an unknown shape")]
    Shape,
    #[error(transparent)]
    Image(#[from] CorruptItem),
}

/// The position of a record in the stream, and its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub sequence_number: String,
    /// When DynamoDB wrote the item, to the second.
    pub at: Timestamp,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventID")]
    event_id: String,
    #[serde(rename = "userIdentity")]
    user: Option<Value>,
    dynamodb: Change,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    approximate_creation_date_time: f64,
    sequence_number: String,
    old_image: Option<Map<String, Value>>,
    new_image: Option<Map<String, Value>>,
}

/// The user of a deletion by time to live.
const TIME_TO_LIVE: &str = "dynamodb.amazonaws.com";

/// The place of a record. `None` if the record has no place.
pub fn place(record: &Value) -> Option<Place> {
    let change = Change::deserialize(&record["dynamodb"]).ok()?;
    Some(Place { at: change.at(), sequence_number: change.sequence_number })
}

/// Reads one record. `None`: no account was written, or the item has expired.
///
/// # Errors
///
/// [`UnreadableRecord`]: no delivery of the record can be read.
pub fn write(record: &Value) -> Result<Option<Write>, UnreadableRecord> {
    let Record { event_id, user, dynamodb } =
        Record::deserialize(record).map_err(|_| UnreadableRecord::Shape)?;
    if user.is_some_and(|user| user["principalId"] == TIME_TO_LIVE) {
        return Ok(None);
    }
    let at = dynamodb.at();
    let (before, after) = (account(dynamodb.old_image)?, account(dynamodb.new_image)?);
    let is_account = before.is_some() || after.is_some();
    Ok(is_account.then_some(Write { id: event_id, at, before, after }))
}

impl Change {
    fn at(&self) -> Timestamp {
        let since = Duration::try_from_secs_f64(self.approximate_creation_date_time);
        Timestamp::from_millis(0) + since.unwrap_or_default()
    }
}

/// The account in an image. `None`: there is no image, or the item is one of the refresh's own.
fn account(image: Option<Map<String, Value>>) -> Result<Option<Account>, UnreadableRecord> {
    let Some(image) = image else {
        return Ok(None);
    };
    let item = attributes(image).ok_or(UnreadableRecord::Shape)?;
    if store::is_account(&item) { Ok(Some(Stored::from_item(item)?.account)) } else { Ok(None) }
}

fn attributes(object: Map<String, Value>) -> Option<HashMap<String, AttributeValue>> {
    object.into_iter().map(|(name, value)| Some((name, attribute(value)?))).collect()
}

/// An attribute value in DynamoDB's JSON.
fn attribute(value: Value) -> Option<AttributeValue> {
    let Value::Object(value) = value else {
        return None;
    };
    let (kind, value) = value.into_iter().next()?;
    let binary = |value: &Value| Some(Blob::new(base64::decode(value.as_str()?).ok()?));
    let text = |value: Value| value.as_str().map(str::to_owned);
    Some(match (kind.as_str(), value) {
        ("S", Value::String(text)) => AttributeValue::S(text),
        ("N", Value::String(digits)) => AttributeValue::N(digits),
        ("B", value) => AttributeValue::B(binary(&value)?),
        ("BOOL", Value::Bool(flag)) => AttributeValue::Bool(flag),
        ("NULL", Value::Bool(null)) => AttributeValue::Null(null),
        ("L", Value::Array(values)) => {
            AttributeValue::L(values.into_iter().map(attribute).collect::<Option<_>>()?)
        }
        ("M", Value::Object(fields)) => AttributeValue::M(attributes(fields)?),
        ("SS", Value::Array(values)) => {
            AttributeValue::Ss(values.into_iter().map(text).collect::<Option<_>>()?)
        }
        ("NS", Value::Array(values)) => {
            AttributeValue::Ns(values.into_iter().map(text).collect::<Option<_>>()?)
        }
        ("BS", Value::Array(values)) => {
            AttributeValue::Bs(values.iter().map(binary).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_attribute_is_read() {
        let values = json!({
            "s": { "S": "a" }, "n": { "N": "7" }, "b": { "B": "AQI=" }, "bool": { "BOOL": true },
            "null": { "NULL": true }, "l": { "L": [{ "N": "1" }] }, "m": { "M": { "x": { "S": "y" } } },
            "ss": { "SS": ["a"] }, "ns": { "NS": ["1"] }, "bs": { "BS": ["AQI="] },
        });
        let Value::Object(values) = values else { unreachable!() };
        let bytes = || Blob::new([1, 2]);
        let inner = HashMap::from([("x".to_owned(), AttributeValue::S("y".to_owned()))]);
        let expected = HashMap::from([
            ("s", AttributeValue::S("a".to_owned())),
            ("n", AttributeValue::N("7".to_owned())),
            ("b", AttributeValue::B(bytes())),
            ("bool", AttributeValue::Bool(true)),
            ("null", AttributeValue::Null(true)),
            ("l", AttributeValue::L(vec![AttributeValue::N("1".to_owned())])),
            ("m", AttributeValue::M(inner)),
            ("ss", AttributeValue::Ss(vec!["a".to_owned()])),
            ("ns", AttributeValue::Ns(vec!["1".to_owned()])),
            ("bs", AttributeValue::Bs(vec![bytes()])),
        ]);
        let expected = expected.into_iter().map(|(name, value)| (name.to_owned(), value));
        assert_eq!(attributes(values), Some(expected.collect()));
        for invalid in [json!({}), json!({ "S": 1 }), json!({ "B": "?" }), json!({ "X": "" })] {
            assert_eq!(attribute(invalid), None);
        }
    }

    fn record(image: &Value) -> Value {
        json!({
            "eventID": "e",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_769_547_600.0,
                "SequenceNumber": "100",
                "NewImage": image,
            },
        })
    }

    #[test]
    fn place_has_the_second_of_the_write() {
        let place = place(&record(&json!({}))).unwrap();
        assert_eq!(place.at.to_string(), "2026-01-27T21:00:00.000Z");
        assert_eq!(place.sequence_number, "100");
    }

    #[test]
    fn item_that_is_no_account_or_has_expired_is_no_write() {
        let ledger = record(&json!({ "account_id": { "S": "#spending#2026-01-27" } }));
        assert_eq!(write(&ledger), Ok(None));
        let mut expired = record(&json!({ "account_id": { "S": "a" } }));
        expired["userIdentity"] =
            json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" });
        assert_eq!(write(&expired), Ok(None));
    }

    #[test]
    fn unreadable_record_or_image_is_an_error() {
        assert_eq!(write(&json!({})), Err(UnreadableRecord::Shape));
        assert_eq!(write(&record(&json!({ "a": 1 }))), Err(UnreadableRecord::Shape));
        let corrupt = record(&json!({ "account_id": { "S": "697926f050b9c321c1451dda" } }));
        assert!(matches!(write(&corrupt), Err(UnreadableRecord::Image(_))));
    }
}
