//! `POST /links…`, `PATCH` and `DELETE /accounts/{account_id}`, and `POST /accounts/{account_id}/reauthorise` and
//! `…/unlink`: the life cycle of a link.

mod body;
mod erase;
mod handler;
mod link;
mod reauthorise;
mod refresh_rule;

use std::time::Duration;

use lambda_http::{Error, Request, service_fn};
use mono_sync::app::accounts::AccountReader;
use mono_sync::app::links::Linker;
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::http_api;
use mono_sync::lambda::startup::Startup;

use handler::Links;

/// API Gateway waits 30 seconds for the answer.
const MONO_LIMIT: Duration = Duration::from_secs(25);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let linker = Linker {
        accounts: startup.accounts()?,
        mono: startup.mono(MONO_LIMIT)?,
        events: startup.events()?,
        refreshes: startup.refresh_queue()?,
    };
    let links = &Links {
        accounts: AccountReader { store: startup.accounts()? },
        linker,
        owner_claim: startup.environment().owner_claim()?,
        redirect_origins: startup.environment().redirect_origins()?,
    };
    http_api::serve(service_fn(async move |request: Request| links.answer(request).await)).await
}
