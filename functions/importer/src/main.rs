//! The consumer of the import queue: imports the transactions of accounts.

mod handler;

use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::app::import::{Importer, ROOM};
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::startup::Startup;
use tokio::sync::Semaphore;

/// Mono serves a page of stored rows within this time.
const MONO_LIMIT: Duration = Duration::from_secs(25);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::LONG)?;
    let importer = &Importer {
        accounts: startup.accounts()?,
        transactions: startup.transactions()?,
        mono: startup.mono(MONO_LIMIT)?,
        queue: startup.import_queue()?,
        history_days: startup.environment().import_history_days()?,
        keeps_unknown_fields: startup.environment().keeps_unknown_fields()?,
        room: Semaphore::new(ROOM),
    };
    run(service_fn(async move |event: LambdaEvent<SqsEvent>| {
        handler::import(importer, event).await
    }))
    .await
}
