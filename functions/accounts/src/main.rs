//! `GET /accounts/{account_id}`: the read side.

mod handler;

use aws_sdk_dynamodb::Client as DynamoDb;
use lambda_http::{Error, Request, run, service_fn};
use mono_sync::config::Environment;
use mono_sync::store::AccountStore;
use mono_sync::{aws, telemetry};

use handler::Accounts;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let sdk = aws::sdk_config(&environment)?;
    let accounts = &Accounts {
        store: AccountStore::new(
            DynamoDb::new(&sdk),
            environment.required("ACCOUNTS_TABLE")?,
            environment.refresh_policy()?,
        ),
    };
    run(service_fn(async move |request: Request| accounts.answer(request).await)).await
}
