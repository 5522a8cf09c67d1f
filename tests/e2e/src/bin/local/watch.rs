//! Runs `cargo lambda watch` with the functions wired to a stack on the embedded AWS.

use std::net::Ipv6Addr;
use std::time::Duration;

use e2e::emulator::REGION;
use e2e::{project, samples};

use tokio::process::Command;
use tokio::time::timeout;

use super::{Local, Result, check_unused, interrupted, start};

/// Runs until Ctrl-C ends it.
pub(crate) async fn run(port: u16) -> Result<()> {
    check_unused(Ipv6Addr::LOCALHOST.into(), port)?;
    let Local { stack, mono, .. } = &start(None).await?;
    for account in samples::accounts_to_sync() {
        mono.post("accounts", &account).await?;
    }
    let account_id = samples::account_id();
    println!(
        "
Watching. In another terminal, with .venv/bin on the PATH:

  cargo lambda invoke --invoke-port {port} webhook --data-file events/webhook/account_updated.v2.json
  cargo lambda invoke --invoke-port {port} processor --data-file events/processor/account_updated.v2.json
  cargo lambda invoke --invoke-port {port} accounts --data-file events/accounts/get_account.json
  cargo lambda invoke --invoke-port {port} manual-sync --data-file events/manual-sync/sync.json
  cargo lambda invoke --invoke-port {port} importer --data-file events/importer/import.json
  cargo lambda invoke --invoke-port {port} refresh-planner --data-file events/refresh-planner/hourly.json
  cargo lambda invoke --invoke-port {port} refresh-worker --data-file events/refresh-worker/refresh.json
  cargo lambda invoke --invoke-port {port} notifier --data-file events/notifier/account_linked.json
  curl -s http://localhost:{port}/accounts/{account_id}
"
    );
    let mut watch = Command::new("cargo")
        // The address that `cargo lambda invoke` uses.
        .args(["lambda", "watch", "--invoke-address", "::1"])
        .args(["--invoke-port", &port.to_string()])
        .current_dir(project())
        .envs([
            ("AWS_ENDPOINT_URL", stack.endpoint()),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("WEBHOOK_QUEUE_URL", stack.output("WebhookQueueUrl")),
            ("WEBHOOK_SECRET_ARN", stack.resource("WebhookSecret")),
            ("WEBHOOK_DEAD_LETTER_QUEUE_URL", stack.output("WebhookDeadLetterQueueUrl")),
            ("MONO_KEY_ARN", stack.resource("MonoKey")),
            ("MONO_API_BASE_URL", &mono.url),
            ("MONO_API_VERSION", "v2"),
            ("IMPORT_QUEUE_URL", stack.output("ImportQueueUrl")),
            ("IMPORT_HISTORY_DAYS", "365"),
            ("TRANSACTION_RETENTION_DAYS", "0"),
            ("KEEP_UNKNOWN_FIELDS", "false"),
            ("REFRESH_QUEUE_URL", stack.output("RefreshQueueUrl")),
            ("TRANSACTIONS_TABLE", stack.output("TransactionsTableName")),
            ("EVENTS_TABLE", stack.output("EventsTableName")),
            ("EVENT_RETENTION_DAYS", "30"),
            ("PREVIOUS_SECRET_HOURS", "72"),
            ("REDIRECT_ORIGINS", "https://app.example"),
            ("ACCOUNTS_TABLE", stack.output("AccountsTableName")),
            ("REFRESH_INTERVAL_HOURS", "24"),
            ("OWNER_CLAIM", "none"),
            ("REFRESH_POLICY", "interval"),
            ("MONO_DAILY_BUDGET", "25000"),
            ("MANUAL_DAILY_BUDGET", "5000"),
            ("SYNC_COOLDOWN_SECONDS", "300"),
            ("UNLINKED_RETENTION_DAYS", "30"),
            ("EVENT_BUS_NAME", stack.output("EventBusName")),
            ("NOTIFIER_DEAD_LETTER_QUEUE_URL", stack.output("NotifierDeadLetterQueueUrl")),
            ("FORWARD_EVENTS", "none"),
            ("FORWARD_QUEUE_URL", stack.output("ForwardQueueUrl")),
        ])
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .kill_on_drop(true)
        .spawn()?;
    tokio::select! {
        ended = watch.wait() => {
            if ended?.success() { Ok(()) } else { Err("cargo lambda watch ended with an error.".into()) }
        }
        stopped = interrupted() => {
            // `cargo lambda watch` ends its functions first. Ctrl-C has already reached it, but another
            // signal has not.
            if let Some(id) = watch.id() {
                let _ = Command::new("kill").args(["-INT", &id.to_string()]).status().await;
            }
            let _ = timeout(Duration::from_secs(5), watch.wait()).await;
            stopped
        }
    }
}
