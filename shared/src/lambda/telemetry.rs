//! Logs: JSON lines on standard output, lean, and free of personal data.
//!
//! Ids, counts, codes and lengths are logged; never a body, a name, an account number or a BVN. Libraries log requests
//! and answers at their finer levels, so they log warnings only, at every `LOG_LEVEL`.

use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;

/// The crates of this workspace, whose level `LOG_LEVEL` sets.
const OURS: [&str; 8] = [
    "mono_sync",
    "webhook",
    "processor",
    "manual_sync",
    "accounts",
    "importer",
    "refresh_planner",
    "refresh_worker",
];

/// Starts logging at this level, or at `INFO` if it is missing or not a level.
pub fn start(level: Option<&str>) {
    let level = level.and_then(|level| level.parse().ok());
    let level = level.unwrap_or(LevelFilter::INFO);
    let levels = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OURS.map(|target| (target, level)));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_target(false)
        .with_current_span(false)
        .with_span_list(false);
    tracing_subscriber::registry().with(levels).with(lines).init();
}

/// Logs one line for an invocation, with all its events. For batches of ten that costs half as much as a line for each
/// event. The line is printed directly, since `tracing` has no lists.
pub fn summary(request_id: &str, work: &impl Serialize) {
    if tracing::enabled!(tracing::Level::INFO) {
        print(request_id, work);
    }
}

/// Logs who requested which action, at every `LOG_LEVEL`. `principal` is API Gateway's name for the caller.
pub fn audit(request_id: &str, principal: &str, action: &str, account_id: &AccountId) {
    print(request_id, &Audit { action, account_id, principal });
}

fn print(request_id: &str, work: &impl Serialize) {
    let line = Line { timestamp: Timestamp::now(), level: "INFO", request_id, work };
    if let Ok(line) = serde_json::to_string(&line) {
        println!("{line}");
    }
}

#[derive(Serialize)]
struct Audit<'a> {
    action: &'a str,
    account_id: &'a AccountId,
    principal: &'a str,
}

#[derive(Serialize)]
struct Line<'a, T> {
    timestamp: Timestamp,
    level: &'static str,
    request_id: &'a str,
    #[serde(flatten)]
    work: &'a T,
}
