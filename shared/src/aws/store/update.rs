//! Updates of single attributes.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{ACCOUNT_ID, Item};
use super::{AccountStore, StoreError};
use crate::domain::timestamp::Timestamp;

/// The key of the refresh's own item, which is not an account. No account id contains `#`.
const STATE_KEY: &str = "#refresh";

impl AccountStore {
    pub(super) fn update(&self, key: Item) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(key))
    }
}

pub(super) enum UpdateResult {
    /// The update was written. Holds the new attributes if the request asked for them.
    Done(Item),
    /// The condition did not hold. Holds the stored item if the request asked for it.
    ConditionFailed(Item),
}

pub(super) async fn send(update: UpdateItemFluentBuilder) -> Result<UpdateResult, StoreError> {
    match update.send().await {
        Ok(answer) => Ok(UpdateResult::Done(answer.attributes.unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                Ok(UpdateResult::ConditionFailed(failed.item.clone().unwrap_or_default()))
            }
            _ => Err(StoreError::unavailable(error)),
        },
    }
}

/// The key of the refresh's own item.
pub(super) fn state_key() -> Item {
    HashMap::from([(ACCOUNT_ID.to_owned(), AttributeValue::S(STATE_KEY.to_owned()))])
}

/// Adds attributes to an update. Returns the update and its expression. `None` as a value removes the attribute.
pub(super) fn assigned(
    update: UpdateItemFluentBuilder,
    attributes: impl IntoIterator<Item = (&'static str, Option<AttributeValue>)>,
) -> (UpdateItemFluentBuilder, String) {
    let (mut update, mut sets, mut removes) = (update, Vec::new(), Vec::new());
    for (name, value) in attributes {
        update = update.expression_attribute_names(format!("#{name}"), name);
        match value {
            Some(value) => {
                sets.push(format!("#{name} = :{name}"));
                update = update.expression_attribute_values(format!(":{name}"), value);
            }
            None => removes.push(format!("#{name}")),
        }
    }
    let clauses = [("SET", sets), ("REMOVE", removes)].into_iter();
    let clauses = clauses.filter(|(_, parts)| !parts.is_empty());
    let clauses = clauses.map(|(word, parts)| format!("{word} {}", parts.join(", ")));
    (update, clauses.collect::<Vec<_>>().join(" "))
}

pub(super) fn time(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.millis().to_string())
}

pub(super) fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
