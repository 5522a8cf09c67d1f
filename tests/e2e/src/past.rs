//! Simulates elapsed time: moves all times of a record into the past.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the items are those of this system"
)]

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use mono_sync::domain::account::OrderKey;
use mono_sync::domain::timestamp::Timestamp;

use crate::stack::Stack;

/// A stored item.
pub type Item = HashMap<String, AttributeValue>;

/// Larger numbers are times in milliseconds. This one is 2020-09-13.
const EARLIEST: u64 = 1_600_000_000_000;

/// The record with all its times moved back by `by`.
pub fn aged(mut item: Item, by: Duration) -> Item {
    for value in item.values_mut() {
        if let AttributeValue::N(number) = value {
            let millis = number.parse().ok().filter(|millis| *millis > EARLIEST);
            if let Some(millis) = millis {
                *number = (Timestamp::from_millis(millis) - by).millis().to_string();
            }
        }
    }
    // The offsets of the times in the bytes of a lease (start and end, or end and pull) and of an erasure (begin and new
    // link).
    let times_in_bytes: [(_, &[usize]); 3] =
        [("lease", &[0, 6]), ("import_lease", &[8, 14]), ("erasure", &[0, 7, 13])];
    for (lease, times) in times_in_bytes {
        if let Some(AttributeValue::B(bytes)) = item.get_mut(lease) {
            let mut moved = bytes.clone().into_inner();
            for &at in times {
                // An erasure may have no new link, and no exchange.
                let Some(time) = moved.get_mut(at..at + 6) else { continue };
                let earlier = Timestamp::from_bytes((&*time).try_into().unwrap()) - by;
                time.copy_from_slice(&earlier.to_bytes());
            }
            *bytes = Blob::new(moved);
        }
    }
    for (register, key) in order_keys(&item) {
        set_order_key(&mut item, register, OrderKey { at: key.at - by, ..key });
    }
    item
}

/// The bytes of a register in `order`: its number and its order key.
const ENTRY: usize = 12;

fn order_keys(item: &Item) -> Vec<(u8, OrderKey)> {
    let bytes = item.get("order").map(|order| order.as_b().unwrap().as_ref()).unwrap_or_default();
    let entry = |entry: &[u8]| (entry[0], OrderKey::from_bytes(&entry[1..]).unwrap());
    bytes.chunks(ENTRY).map(entry).collect()
}

/// Sets the order key of the register with this number.
pub fn set_order_key(item: &mut Item, register: u8, key: OrderKey) {
    let others = order_keys(item).into_iter().filter(|(other, _)| *other != register);
    let keys = others.chain([(register, key)]);
    let bytes: Vec<u8> =
        keys.flat_map(|(register, key)| [&[register][..], &key.to_bytes()].concat()).collect();
    item.insert("order".to_owned(), AttributeValue::B(Blob::new(bytes)));
}

/// Moves all times of an account's record back by `by`. No function may write the record at the same time.
pub async fn let_time_pass(stack: &Stack, account_id: &str, by: Duration) {
    put(stack, aged(item(stack, account_id).await, by)).await;
}

/// An item of the accounts table.
pub async fn item(stack: &Stack, key: &str) -> Item {
    let read = Client::new(&stack.sdk())
        .get_item()
        .table_name(stack.output("AccountsTableName"))
        .key("account_id", AttributeValue::S(key.to_owned()));
    read.send().await.unwrap().item.unwrap_or_default()
}

pub async fn put(stack: &Stack, item: Item) {
    let put = Client::new(&stack.sdk()).put_item().set_item(Some(item));
    put.table_name(stack.output("AccountsTableName")).send().await.unwrap();
}

/// Marks the account as known at Mono.
pub fn set_proven(item: &mut Item) {
    let mut identity = item["identity"].as_b().unwrap().clone().into_inner();
    identity[0] |= 1;
    item.insert("identity".to_owned(), AttributeValue::B(Blob::new(identity)));
}
