//! The consumer of the webhook queue: folds events into account records.

mod chronicle;
mod handler;
mod summary;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::aws::Patience;
use mono_sync::startup::Startup;

use chronicle::Chronicle;
use handler::Processor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Patience::SHORT)?;
    let processor = &Processor {
        chronicle: Chronicle(startup.events()?),
        accounts: startup.accounts()?,
        imports: startup.import_queue()?,
        dead_letters: startup.webhook_dead_letters()?,
    };
    run(service_fn(async move |event: LambdaEvent<SqsEvent>| processor.work(event).await)).await
}
