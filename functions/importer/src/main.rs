//! The consumer of the import queue: brings accounts' transactions into the table.

mod handler;

use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_sdk_sqs::Client as Sqs;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::aws::Patience;
use mono_sync::config::Environment;
use mono_sync::import::{Importer, ROOM};
use mono_sync::mono::{KeyCache, Meter, Mono};
use mono_sync::queue::{ImportQueue, JobQueue};
use mono_sync::store::{AccountStore, TransactionStore};
use mono_sync::{aws, telemetry};
use tokio::sync::Semaphore;

use handler::Function;

/// A page of what Mono holds already takes no longer.
const MONO_LIMIT: Duration = Duration::from_secs(25);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let sdk = aws::sdk_config(&environment, Patience::LONG)?;
    let dynamodb = DynamoDb::new(&sdk);
    let (version, base_url) = environment.mono_api()?;
    let keys = KeyCache::new(SecretsManager::new(&sdk), environment.required("MONO_KEY_ARN")?);
    let meter = Meter::of(&environment, dynamodb.clone())?;
    let importer = &Function(Importer {
        accounts: AccountStore::new(
            dynamodb.clone(),
            environment.required("ACCOUNTS_TABLE")?,
            environment.refresh_policy()?,
        ),
        transactions: TransactionStore::new(dynamodb, environment.required("TRANSACTIONS_TABLE")?),
        mono: Mono::new(version, base_url, keys, meter, MONO_LIMIT),
        queue: ImportQueue(JobQueue::new(
            Sqs::new(&sdk),
            environment.required("IMPORT_QUEUE_URL")?,
        )),
        history: environment.import_history_days()?,
        room: Semaphore::new(ROOM),
    });
    run(service_fn(async move |event: LambdaEvent<SqsEvent>| importer.work(event).await)).await
}
