//! `POST /accounts/{account_id}/sync`: one sync at Mono, on demand.

mod handler;

use std::time::Duration;

use lambda_http::{Error, Request, service_fn};
use mono_sync::app::sync::Syncer;
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::http_api;
use mono_sync::lambda::startup::Startup;

use handler::ManualSync;

/// API Gateway waits 30 seconds for the answer.
const MONO_LIMIT: Duration = Duration::from_secs(25);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let manual_sync = &ManualSync {
        syncer: Syncer {
            accounts: startup.accounts()?,
            mono: startup.mono(MONO_LIMIT)?,
            imports: startup.import_queue()?,
        },
        owner_claim: startup.environment().owner_claim()?,
    };
    http_api::serve(service_fn(async move |request: Request| manual_sync.answer(request).await))
        .await
}
