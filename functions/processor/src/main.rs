//! The consumer of the webhook queue: applies events to account records.

mod handler;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::app::ingest::Ingest;
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::startup::Startup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let ingest = &Ingest {
        accounts: startup.accounts()?,
        events: startup.events()?,
        imports: startup.import_queue()?,
        refreshes: startup.refresh_queue()?,
        dead_letters: startup.webhook_dead_letters()?,
        forwards: startup.forward_queue()?,
    };
    run(service_fn(async move |event: LambdaEvent<SqsEvent>| handler::process(ingest, event).await))
        .await
}
