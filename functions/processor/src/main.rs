//! The consumer of the webhook queue: folds events into account records.

mod handler;
mod history;
mod summary;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::aws::Timeouts;
use mono_sync::startup::Startup;

use handler::Processor;
use history::History;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let processor = &Processor {
        history: History(startup.events()?),
        accounts: startup.accounts()?,
        imports: startup.import_queue()?,
        dead_letters: startup.webhook_dead_letters()?,
    };
    run(service_fn(async move |event: LambdaEvent<SqsEvent>| processor.work(event).await)).await
}
