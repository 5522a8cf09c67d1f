//! The hourly planner: finds the accounts that are due and queues them.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::app::refresh_planner::Planner;
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::startup::Startup;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::LONG)?;
    let planner = &Planner {
        accounts: startup.accounts()?,
        ledger: startup.ledger()?,
        prices: startup.environment().mono_prices()?,
        queue: startup.refresh_queue()?,
    };
    run(service_fn(async move |event: LambdaEvent<Value>| {
        handler::plan(planner, &event.context).await
    }))
    .await
}
