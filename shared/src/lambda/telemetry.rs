//! Logs: short JSON lines on standard output, without personal data.
//!
//! Logs contain ids, counts, codes and lengths. They never contain a body, a name, an account number or a BVN.
//! Libraries log requests and answers at finer levels than warnings, so their finer levels are off at every
//! `LOG_LEVEL`.

use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;

/// The crates of this workspace. `LOG_LEVEL` sets their level.
const OURS: [&str; 11] = [
    "mono_sync",
    "webhook",
    "processor",
    "manual_sync",
    "notifier",
    "accounts",
    "deliverer",
    "importer",
    "links",
    "refresh_planner",
    "refresh_worker",
];

/// Starts logging at this level. If the level is missing or invalid, it is `INFO`.
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

/// Logs one line for an invocation, with all its events. For a batch of ten events, this costs half as much as one
/// line for each event. The line is printed directly, because `tracing` has no lists.
pub fn summary(request_id: &str, work: &impl Serialize) {
    if tracing::enabled!(tracing::Level::INFO) {
        print(request_id, work);
    }
}

/// Logs the caller and the requested action, at every `LOG_LEVEL`. `principal` is API Gateway's name for the caller.
pub fn audit(request_id: &str, principal: &str, action: &str, account_id: Option<&AccountId>) {
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
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a AccountId>,
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn log_level_applies_to_every_function() {
        let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
        let entries = fs::read_dir(functions).unwrap().map(Result::unwrap);
        let folders = entries.filter(|entry| entry.path().is_dir());
        let names = folders.map(|folder| folder.file_name().into_string().unwrap());
        let mut expected: Vec<_> = names.map(|name| name.replace('-', "_")).collect();
        expected.push("mono_sync".to_owned());
        expected.sort();
        let mut ours = OURS.map(str::to_owned);
        ours.sort();
        assert_eq!(ours.as_slice(), expected);
    }
}
