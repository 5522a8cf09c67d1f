//! `GET /accounts…`: the read side.

mod handler;
mod list;
mod transactions;

use lambda_http::{Error, Request, service_fn};
use mono_sync::app::accounts::AccountReader;
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::http_api;
use mono_sync::lambda::startup::Startup;

use handler::Accounts;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let accounts = &Accounts {
        accounts: AccountReader { store: startup.accounts()? },
        events: startup.events()?,
        transactions: startup.transactions()?,
        owner_claim: startup.environment().owner_claim()?,
    };
    http_api::serve(service_fn(async move |request: Request| accounts.answer(request).await)).await
}
