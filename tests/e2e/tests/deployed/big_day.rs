//! A day with 100,000 due accounts and a budget for 1,000 of them. The test has its own stack.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use e2e::shared_stack::{Local, World};
use futures_util::stream::{self, StreamExt};
use sandbox::{Plan, Webhooks};

use super::budget::{deploy_to, spent, until_idle};
use super::item;
use super::manual_sync::Case;
use e2e::past::{Item, aged, set_proven};

const DUE: usize = 100_000;
const PAID: usize = 1_000;
const DAY: Duration = Duration::from_hours(24);

/// Writes one copy of the record for each id. Each copy is one second older than the next.
async fn fill(world: &World, record: &Item, ids: &[String]) {
    let client = Client::new(&world.stack.sdk());
    let table = world.stack.output("AccountsTableName");
    let put = |(number, id): &(usize, &String)| {
        let mut copy = aged(record.clone(), Duration::from_secs((DUE - number) as u64));
        copy.insert("account_id".to_owned(), AttributeValue::S((*id).clone()));
        let put = PutRequest::builder().set_item(Some(copy)).build().unwrap();
        WriteRequest::builder().put_request(put).build()
    };
    let numbered: Vec<_> = ids.iter().enumerate().collect();
    stream::iter(numbered.chunks(25))
        .for_each_concurrent(4, async |chunk| {
            let puts = chunk.iter().map(put).collect::<Vec<_>>();
            let written = client.batch_write_item().request_items(table, puts).send().await;
            assert!(written.unwrap().unprocessed_items().is_none_or(HashMap::is_empty));
        })
        .await;
}

#[tokio::test]
async fn plan_refreshes_the_oldest_1_000_of_100_000_due_accounts_within_the_budget() {
    // A sync and the listing after it cost 250 naira.
    let budget = 250 * PAID as u64;
    // The test has its own emulator, because a scan of so many records blocks all other requests.
    let local: &'static Local = Box::leak(Box::new(Local::start().await.unwrap()));
    let parameters = [("MonoDailyBudget", budget.to_string())];
    let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
    let deployed = deploy_to(&local.emulator, "big-day", &parameters).await;
    let world: &'static World = Box::leak(Box::new(deployed));
    world.stack.stop_notifier().await.unwrap();
    let template = Case::overdue(world, DAY).await;
    let mut record = aged(item(world, &template.id).await, DAY);
    set_proven(&mut record);
    let oldest: Vec<String> = (0..PAID)
        .map(|_| {
            let id = Case::silent(world, 0).id;
            let plan = Plan { webhooks: Webhooks::Lost, ..Plan::default() };
            world.mono.plan_always(&id, plan).unwrap();
            id
        })
        .collect();
    // The other accounts do not exist at Mono, so a call about one of them fails.
    let others = (PAID..DUE).map(|number| format!("{:024x}", number * 7_919 % DUE));
    let ids: Vec<_> = oldest.iter().cloned().chain(others).collect();
    fill(world, &record, &ids).await;
    let plan = world.stack.plan_refresh().await.unwrap();
    assert_eq!(plan["scheduled"], PAID, "{plan}");
    assert!(plan["left_out"].as_u64() >= Some((DUE - PAID) as u64), "{plan}");
    until_idle(world).await;
    let called = world.mono.calls().into_iter().filter_map(|call| call.account_id);
    let called: BTreeSet<String> = called.collect();
    assert!(called.into_iter().eq(oldest.iter().cloned().collect::<BTreeSet<_>>()));
    let syncs = oldest.iter().map(|id| world.mono.begun_syncs(id));
    assert!(syncs.eq([1; PAID]));
    let charged = world.mono.whole_bill().naira;
    println!("{charged} of {budget} naira");
    assert_eq!(charged, spent(world, "automatic").await);
    assert!(charged <= budget, "{charged}");
}
