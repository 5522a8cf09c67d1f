//! `GET /accounts…` and `POST /accounts/{account_id}/reauthorise`: the read side, and the way to a
//! customer's re-authorisation.

mod handler;
mod reauthorise;

use std::time::Duration;

use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_secretsmanager::Client as SecretsManager;
use lambda_http::{Error, Request, service_fn};
use mono_sync::aws::Patience;
use mono_sync::config::Environment;
use mono_sync::mono::{KeyCache, Meter, Mono};
use mono_sync::store::{AccountStore, EventStore, TransactionStore};
use mono_sync::{api, aws, telemetry};

use handler::Accounts;

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
    let accounts = &Accounts {
        events: EventStore::new(
            dynamodb.clone(),
            environment.required("EVENTS_TABLE")?,
            environment.event_retention()?,
        ),
        transactions: TransactionStore::new(
            dynamodb.clone(),
            environment.required("TRANSACTIONS_TABLE")?,
        ),
        store: AccountStore::new(
            dynamodb,
            environment.required("ACCOUNTS_TABLE")?,
            environment.refresh_policy()?,
        ),
        mono: Mono::new(version, base_url, keys, meter, MONO_LIMIT),
        owner_claim: environment.owner_claim()?,
    };
    api::serve(service_fn(async move |request: Request| accounts.answer(request).await)).await
}
