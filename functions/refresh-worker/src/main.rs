//! The consumer of the refresh queue: has Mono sync one account, and records what it came to.

mod handler;

use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::aws::Timeouts;
use mono_sync::startup::Startup;

use handler::Worker;

/// Nobody waits for it, and Mono's own limit is half a minute.
const MONO_LIMIT: Duration = Duration::from_secs(45);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let worker = &Worker { syncer: startup.syncer(MONO_LIMIT)?, queue: startup.refresh_queue()? };
    run(service_fn(async move |event: LambdaEvent<SqsEvent>| worker.work(event).await)).await
}
