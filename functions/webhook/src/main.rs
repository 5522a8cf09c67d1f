//! `POST /webhooks/mono`: verifies Mono's webhooks and enqueues them.

mod handler;

use lambda_http::{Error, Request, service_fn};
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::http_api;
use mono_sync::lambda::startup::Startup;

use handler::Webhook;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let webhook = &Webhook {
        secrets: startup.webhook_secret()?,
        queue: startup.webhook_queue()?,
        forwarded: startup.environment().forward_events()?,
    };
    http_api::serve(service_fn(async move |request: Request| webhook.answer(request).await)).await
}
