//! Once an hour: finds the accounts that are overdue, and queues them.

mod handler;

use aws_sdk_dynamodb::Client as DynamoDb;
use aws_sdk_sqs::Client as Sqs;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::aws::Patience;
use mono_sync::config::Environment;
use mono_sync::queue::JobQueue;
use mono_sync::store::{AccountStore, Ledger};
use mono_sync::{aws, telemetry};
use serde_json::Value;

use handler::Planner;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let sdk = aws::sdk_config(&environment, Patience::LONG)?;
    let dynamodb = DynamoDb::new(&sdk);
    let table = environment.required("ACCOUNTS_TABLE")?;
    let planner = &Planner {
        accounts: AccountStore::new(dynamodb.clone(), table, environment.refresh_policy()?),
        ledger: Ledger::new(dynamodb, table, environment.daily_budgets()?),
        prices: environment.mono_prices()?,
        queue: JobQueue::new(Sqs::new(&sdk), environment.required("REFRESH_QUEUE_URL")?),
    };
    run(service_fn(async move |event: LambdaEvent<Value>| planner.plan(&event.context).await)).await
}
