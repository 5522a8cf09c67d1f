//! `cargo lambda watch`, with the functions wired to a stack on the embedded AWS.

use std::process::Command;

use e2e::emulator::REGION;
use e2e::project;

use super::{Result, deploy, unused};

/// Runs until Ctrl-C ends it.
pub(crate) async fn run(port: u16) -> Result<()> {
    unused(port)?;
    let (emulator, stack) = deploy(None).await?;
    println!(
        "
Watching. In another terminal, with .venv/bin on the PATH:

  cargo lambda invoke webhook --data-file events/webhook/account_updated.v2.json
  cargo lambda invoke processor --data-file events/processor/account_updated.v2.json
  cargo lambda invoke accounts --data-file events/accounts/get_account.json
  curl -s http://127.0.0.1:{port}/accounts/697926f050b9c321c1451dda
"
    );
    let status = Command::new("cargo")
        .args(["lambda", "watch", "--invoke-address", "127.0.0.1"])
        .args(["--invoke-port", &port.to_string()])
        .current_dir(project())
        .envs([
            ("AWS_ENDPOINT_URL", emulator.endpoint().as_str()),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("WEBHOOK_QUEUE_URL", stack.output("WebhookQueueUrl")),
            ("WEBHOOK_SECRET_ARN", stack.resource("WebhookSecret")),
            (
                "WEBHOOK_DEAD_LETTER_QUEUE_URL",
                stack.output("WebhookDeadLetterQueueUrl"),
            ),
            ("ACCOUNTS_TABLE", stack.output("AccountsTableName")),
            ("REFRESH_INTERVAL_HOURS", "24"),
            ("SYNC_COOLDOWN_SECONDS", "300"),
        ])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("cargo lambda watch ended with an error.".into())
    }
}
