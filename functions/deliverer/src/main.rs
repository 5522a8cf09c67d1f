//! The consumer of the queues of notifications and of forwarded events: posts them to the fintech's URLs.

mod handler;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::app::deliver::{Authentication, Route};
use mono_sync::aws::sdk::Timeouts;
use mono_sync::lambda::environment::ConfigError;
use mono_sync::lambda::startup::Startup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let routes = [notifications(&startup)?, forwarding(&startup)?];
    let routes: &Vec<_> = &routes.into_iter().flatten().collect();
    run(service_fn(async move |event: LambdaEvent<SqsEvent>| handler::deliver(routes, event).await))
        .await
}

/// `None`: no URL is set.
fn notifications(startup: &Startup) -> Result<Option<Route>, ConfigError> {
    let Some(receiver) = startup.notify_receiver()? else {
        return Ok(None);
    };
    let (queue, dead_letters) = startup.notification_delivery()?;
    let authentication = Authentication::Signature(startup.notify_secret()?);
    Ok(Some(Route { queue, dead_letters, receiver, authentication }))
}

/// `None`: no URL is set.
fn forwarding(startup: &Startup) -> Result<Option<Route>, ConfigError> {
    let Some(receiver) = startup.forward_receiver()? else {
        return Ok(None);
    };
    let (queue, dead_letters) = startup.forward_delivery()?;
    let authentication = Authentication::MonoSecret(startup.webhook_secret_text()?);
    Ok(Some(Route { queue, dead_letters, receiver, authentication }))
}
