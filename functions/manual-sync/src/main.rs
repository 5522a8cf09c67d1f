//! `POST /accounts/{account_id}/sync`: one sync at Mono, on demand.

mod handler;

use std::time::Duration;

use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_sdk_sqs::Client as Sqs;
use lambda_http::{Error, Request, service_fn};
use mono_sync::aws::Patience;
use mono_sync::config::Environment;
use mono_sync::mono::{KeyCache, Meter, Mono};
use mono_sync::queue::{ImportQueue, JobQueue};
use mono_sync::store::AccountStore;
use mono_sync::sync::Syncer;
use mono_sync::{api, aws, telemetry};

use handler::ManualSync;

/// API Gateway waits for 30 seconds.
const MONO_LIMIT: Duration = Duration::from_secs(25);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let sdk = aws::sdk_config(&environment, Patience::SHORT)?;
    let dynamodb = DynamoDb::new(&sdk);
    let (version, base_url) = environment.mono_api()?;
    let keys = KeyCache::new(SecretsManager::new(&sdk), environment.required("MONO_KEY_ARN")?);
    let meter = Meter::of(&environment, dynamodb.clone())?;
    let manual_sync = &ManualSync {
        syncer: Syncer {
            accounts: AccountStore::new(
                dynamodb,
                environment.required("ACCOUNTS_TABLE")?,
                environment.refresh_policy()?,
            ),
            mono: Mono::new(version, base_url, keys, meter, MONO_LIMIT),
            imports: ImportQueue(JobQueue::new(
                Sqs::new(&sdk),
                environment.required("IMPORT_QUEUE_URL")?,
            )),
        },
        owner_claim: environment.owner_claim()?,
    };
    api::serve(service_fn(async move |request: Request| manual_sync.answer(request).await)).await
}
