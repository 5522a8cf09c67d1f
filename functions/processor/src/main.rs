//! The consumer of the webhook queue: folds events into account records.

mod chronicle;
mod handler;
mod summary;

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_sqs::Client as Sqs;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::aws::Patience;
use mono_sync::config::Environment;
use mono_sync::queue::{DeadLetterQueue, ImportQueue, JobQueue};
use mono_sync::store::{AccountStore, EventStore};
use mono_sync::{aws, telemetry};

use chronicle::Chronicle;
use handler::Processor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let sdk = aws::sdk_config(&environment, Patience::SHORT)?;
    let (dynamodb, sqs) = (DynamoDb::new(&sdk), Sqs::new(&sdk));
    let processor = &Processor {
        chronicle: Chronicle(EventStore::new(
            dynamodb.clone(),
            environment.required("EVENTS_TABLE")?,
            environment.event_retention()?,
        )),
        accounts: AccountStore::new(
            dynamodb,
            environment.required("ACCOUNTS_TABLE")?,
            environment.refresh_policy()?,
        ),
        imports: ImportQueue(JobQueue::new(sqs.clone(), environment.required("IMPORT_QUEUE_URL")?)),
        dead_letters: DeadLetterQueue::new(
            sqs,
            environment.required("WEBHOOK_DEAD_LETTER_QUEUE_URL")?,
        ),
    };
    run(service_fn(async move |event: LambdaEvent<SqsEvent>| processor.work(event).await)).await
}
