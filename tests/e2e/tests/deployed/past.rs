//! Simulates elapsed time: moves all times of a record into the past.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use e2e::shared_stack::World;
use mono_sync::domain::account::OrderKey;
use mono_sync::domain::timestamp::Timestamp;

use super::{Item, item};

/// Larger numbers are times in milliseconds. This one is 2020-09-13.
const EARLIEST: u64 = 1_600_000_000_000;

/// The record with all its times moved back by `by`.
pub(super) fn aged(mut item: Item, by: Duration) -> Item {
    for value in item.values_mut() {
        if let AttributeValue::N(number) = value {
            let millis = number.parse().ok().filter(|millis| *millis > EARLIEST);
            if let Some(millis) = millis {
                *number = (Timestamp::from_millis(millis) - by).millis().to_string();
            }
        }
    }
    // The offsets of the times in the bytes of a lease: start and end, or end and pull.
    for (lease, times) in [("lease", [0, 6]), ("import_lease", [8, 14])] {
        if let Some(AttributeValue::B(bytes)) = item.get_mut(lease) {
            let mut moved = bytes.clone().into_inner();
            for at in times {
                let time: &mut [u8] = &mut moved[at..at + 6];
                let earlier = Timestamp::from_bytes(time.try_into().unwrap()) - by;
                time.copy_from_slice(&earlier.to_bytes());
            }
            *bytes = Blob::new(moved);
        }
    }
    if let Some(AttributeValue::M(order)) = item.get_mut("order") {
        for place in order.values_mut() {
            let key = OrderKey::from_bytes(place.as_b().unwrap().as_ref()).unwrap();
            let earlier = OrderKey { at: key.at - by, ..key };
            *place = AttributeValue::B(Blob::new(earlier.to_bytes()));
        }
    }
    item
}

/// Moves all times of an account's record back by `by`. No function may write the record at the same time.
pub(super) async fn let_time_pass(world: &World, account_id: &str, by: Duration) {
    let aged = aged(item(world, account_id).await, by);
    let put = Client::new(&world.stack.sdk()).put_item().set_item(Some(aged));
    put.table_name(world.stack.output("AccountsTableName")).send().await.unwrap();
}
