//! `POST /webhooks/mono`: verifies Mono's calls and queues them.

mod handler;

use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_sdk_sqs::Client as Sqs;
use lambda_http::{Error, Request, service_fn};
use mono_sync::aws::Patience;
use mono_sync::config::Environment;
use mono_sync::queue::WebhookQueue;
use mono_sync::secret_cache::SecretCache;
use mono_sync::{api, aws, telemetry};

use handler::Webhook;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let sdk = aws::sdk_config(&environment, Patience::SHORT)?;
    let webhook = &Webhook {
        secrets: SecretCache::new(
            SecretsManager::new(&sdk),
            environment.required("WEBHOOK_SECRET_ARN")?,
        ),
        queue: WebhookQueue::new(Sqs::new(&sdk), environment.required("WEBHOOK_QUEUE_URL")?),
    };
    api::serve(service_fn(async move |request: Request| webhook.answer(request).await)).await
}
