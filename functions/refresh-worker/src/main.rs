//! The consumer of the refresh queue: refreshes one account.

mod handler;

use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::app::refresh::Refresher;
use mono_sync::app::sync::Syncer;
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::startup::Startup;

/// Mono's own limit is 30 seconds, and no caller waits.
const MONO_LIMIT: Duration = Duration::from_secs(45);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let syncer = Syncer {
        accounts: startup.accounts()?,
        mono: startup.mono(MONO_LIMIT)?,
        imports: startup.import_queue()?,
    };
    let (queue, events) = (startup.refresh_queue()?, startup.events()?);
    let refresher = &Refresher { syncer, queue, events, rows: startup.account_rows()? };
    run(service_fn(async move |event: LambdaEvent<SqsEvent>| {
        handler::refresh(refresher, event).await
    }))
    .await
}
