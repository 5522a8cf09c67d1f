//! `GET /accounts…`, `PATCH /accounts/{account_id}` and `POST /accounts/{account_id}/reauthorise`: the read side, the
//! refresh rule, and the start of a re-authorisation.

mod handler;
mod list;
mod reauthorise;
mod transactions;

use std::time::Duration;

use lambda_http::{Error, Request, service_fn};
use mono_sync::app::accounts::AccountReader;
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::http_api;
use mono_sync::lambda::startup::Startup;

use handler::Accounts;

/// API Gateway waits 30 seconds for the answer.
const MONO_LIMIT: Duration = Duration::from_secs(25);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let accounts = &Accounts {
        accounts: AccountReader { store: startup.accounts()? },
        events: startup.events()?,
        transactions: startup.transactions()?,
        mono: startup.mono(MONO_LIMIT)?,
        owner_claim: startup.environment().owner_claim()?,
        redirect_origins: startup.environment().redirect_origins()?,
    };
    http_api::serve(service_fn(async move |request: Request| accounts.answer(request).await)).await
}
