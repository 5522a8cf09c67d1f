//! `mono-sync account`, `events` and `export`: what the stack holds of one account.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use mono_sync::aws::sdk::AwsError;
use mono_sync::domain::account::Account;
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::history::Entry;
use mono_sync::domain::timestamp::Timestamp;
use serde_json::{Map, Value, json};

use crate::output::{Output, line};
use crate::stack::Stack;
use crate::{Done, Result};

/// The number of items that one request reads.
const PAGE: usize = 500;

#[derive(Debug, thiserror::Error)]
#[error("the stack has no account {0}")]
struct UnknownAccount(AccountId);

pub(crate) async fn show(stack: &Stack, id: &AccountId, output: Output) -> Result<Done> {
    let store = stack.startup.accounts()?;
    let account = read(stack, id).await?;
    output.print(&json!(account.view(Timestamp::now(), store.policy())))?;
    Ok(Done::All)
}

pub(crate) async fn events(
    stack: &Stack,
    id: &AccountId,
    limit: usize,
    output: Output,
) -> Result<Done> {
    read(stack, id).await?;
    let print = |entry: &Entry| match output.json {
        true => line(&json!(entry)),
        false => {
            let word = |status| json!(status).as_str().unwrap_or_default().to_owned();
            let (before, after) = (word(entry.status_before), word(entry.status_after));
            let (at, kind, effect) = (entry.occurred_at, &entry.kind, json!(entry.effect));
            let effect = effect.as_str().unwrap_or_default();
            let changed = if before == after { after } else { format!("{before} -> {after}") };
            println!("{at}  {kind:<28} {effect:<10} {changed}");
            Ok(())
        }
    };
    each_event(stack, id, limit, print).await?;
    Ok(Done::All)
}

/// Prints one line of JSON for each item that is held. The account comes as the API shows it, and then with all
/// attributes of its item, because those include values that only webhooks have claimed.
pub(crate) async fn export(stack: &Stack, id: &AccountId) -> Result<Done> {
    let store = stack.startup.accounts()?;
    let account = read(stack, id).await?;
    line(&json!({ "kind": "account", "account": account.view(Timestamp::now(), store.policy()) }))?;
    let client = Client::new(stack.sdk());
    for (kind, table) in [
        ("record", "ACCOUNTS_TABLE"),
        ("event", "EVENTS_TABLE"),
        ("transaction", "TRANSACTIONS_TABLE"),
    ] {
        let query = client.query().table_name(stack.startup.environment().required(table)?);
        let query = query.key_condition_expression("account_id = :id").consistent_read(true);
        let query = query.expression_attribute_values(":id", AttributeValue::S(id.to_string()));
        let mut items = query.into_paginator().items().send();
        while let Some(item) = items.next().await {
            line(&json!({ "kind": kind, kind: plain(&item.map_err(AwsError::new)?) }))?;
        }
    }
    Ok(Done::All)
}

async fn read(stack: &Stack, id: &AccountId) -> Result<Account> {
    let stored = stack.startup.accounts()?.get_newest(id).await?;
    let account = stored.map(|stored| stored.account).filter(|account| account.erasure.is_none());
    Ok(account.ok_or_else(|| UnknownAccount(id.clone()))?)
}

async fn each_event(
    stack: &Stack,
    id: &AccountId,
    limit: usize,
    print: impl Fn(&Entry) -> std::io::Result<()>,
) -> Result<()> {
    let Some(events) = stack.startup.events()? else {
        return Ok(());
    };
    let (mut left, mut before) = (limit, None);
    while left > 0 {
        let page = events.page(id, left.min(PAGE), before, Timestamp::now()).await?;
        page.items.iter().try_for_each(&print)?;
        left -= page.items.len();
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    Ok(())
}

/// The attributes of an item as plain JSON. Bytes are in base64.
fn plain(attributes: &HashMap<String, AttributeValue>) -> Value {
    let fields = attributes.iter().map(|(name, value)| (name.clone(), plain_value(value)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn plain_value(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(number) => serde_json::from_str(number).unwrap_or_else(|_| json!(number)),
        AttributeValue::Bool(flag) => json!(flag),
        AttributeValue::B(bytes) => json!(base64(bytes)),
        AttributeValue::L(values) => values.iter().map(plain_value).collect(),
        AttributeValue::M(fields) => plain(fields),
        _ => Value::Null,
    }
}

fn base64(bytes: &Blob) -> String {
    aws_smithy_types::base64::encode(bytes.as_ref())
}
