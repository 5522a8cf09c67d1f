//! A history that is too long for one message: its import, and the first read of its change feed.
//!
//! The module's name sorts last, so the test starts last: the emulator is slow with so many rows and would delay the
//! other tests.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use e2e::shared_stack::{local, world};
use e2e::stack::Stack;
use sandbox::{Dialect, History, Link};
use serde_json::Value;
use tokio::time::{Duration, sleep};

use super::change_feed::Reader;
use super::manual_sync::Case;

/// 40,000 rows. `VOLUME_ROWS` sets another number. One answer of Mono's would hold 20,000.
fn rows() -> usize {
    std::env::var("VOLUME_ROWS").map_or(40_000, |number| number.parse().unwrap())
}

/// The importer works in slices of days. Each message continues where the previous message stopped. The feed is read
/// with one query per page.
#[tokio::test]
async fn history_of_many_rows_is_imported_in_slices_and_read_from_the_feed() {
    let rows = rows();
    let world = world(Dialect::V2);
    let past = History { transactions: rows, days: 365, ..History::default() };
    let id = world.mono.link(Link { history: Some(past), ..Link::default() });
    let case = Case { world, id: id.clone() };
    let counted = async || {
        let pages = Client::new(&world.stack.sdk())
            .query()
            .table_name(case.table())
            .key_condition_expression("account_id = :id")
            .expression_attribute_values(":id", AttributeValue::S(case.id.clone()))
            .select(Select::Count)
            .into_paginator();
        let mut pages = pages.send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += page.unwrap().count();
        }
        usize::try_from(count).unwrap()
    };
    let started = tokio::time::Instant::now();
    loop {
        let account = case.shown().await;
        if account["transactions_imported_at"].is_string() {
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(15), "{} rows so far", counted().await);
        sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(counted().await, rows);
    let (put, deleted) = case.written();
    let requests = case.requests();
    let writes = requests["BatchWriteItem"];
    println!(
        "{rows} rows: {} pages of Mono's, {writes} batches of {put} puts, {} queries, {} writes of the record",
        case.pages(),
        requests["Query"],
        requests["PutItem"],
    );
    assert_eq!((put, deleted), (rows, 0), "each row is written once");
    assert!(case.pages() <= 40, "{} answers", case.pages());
    assert_eq!(world.mono.bill(&id).naira, 150 * case.pages() as u64);
    let lines = world.stack.log("importer").await.unwrap();
    let of_case = lines.iter().filter(|line| line.contains(&case.id) && line.contains("outcome"));
    let slices = of_case.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let slices: u64 = slices.filter_map(|line| line["slices"].as_u64()).sum();
    assert!(slices >= rows as u64 / 5000, "a slice has at most 5,000 rows: {slices}");
    let full = rows / 25 + 2 * usize::try_from(slices).unwrap();
    assert!(writes <= full, "only the last batches of a slice are not full: {writes}");
    check_memory(&world.stack, "ImporterFunction");
    read_feed(&case, rows).await;
    check_memory(&world.stack, "AccountsFunction");
}

/// Reads the change feed from its beginning.
async fn read_feed(case: &Case, rows: usize) {
    const LIMIT: usize = 500;
    let mut reader = Reader::default();
    let seen = case.read_all(&mut reader, LIMIT).await;
    assert_eq!((seen.added.len(), seen.modified.len(), seen.removed.len()), (rows, 0, 0));
    assert_eq!(reader.rows.len(), rows);
    let queries = local().proxy.calls(&case.id);
    let queries = queries.iter().filter(|call| call.body.contains("RevisionIndex"));
    // If the emulator answers too late, the SDK retries the query with the same body.
    let queries: HashSet<_> = queries.map(|call| &call.body).collect();
    assert_eq!(queries.len(), rows.div_ceil(LIMIT));
    println!("{rows} rows of the feed: {} different queries", queries.len());
}

/// Prints how much memory the function has used, and checks that it is a part of what the function has.
fn check_memory(stack: &Stack, function: &str) {
    const MEBIBYTES: u64 = 256;
    if let Some(peak) = peak_memory(stack, function) {
        println!("{function}: at most {peak} KiB resident");
        assert!(peak < MEBIBYTES * 1024 / 2, "{function}: {peak} KiB");
    }
}

/// The highest resident memory of a function's running instances, in KiB. `None` without `/proc`.
fn peak_memory(stack: &Stack, function: &str) -> Option<u64> {
    let variable = format!("AWS_LAMBDA_FUNCTION_NAME={}", stack.resource(function));
    let is_instance = |process: &Path| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    };
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let peaks = processes.filter(|process| is_instance(process)).filter_map(|process| {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    peaks.max()
}
