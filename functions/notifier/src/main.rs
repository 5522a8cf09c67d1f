//! The consumer of the stream of account records: publishes what changed.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mono_sync::app::notify::Notifier;
use mono_sync::aws::sdk::Timeouts;
use mono_sync::aws::stream::StreamEvent;
use mono_sync::lambda::startup::Startup;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let startup = Startup::of_process(Timeouts::SHORT)?;
    let notifier =
        &Notifier { bus: startup.event_bus()?, dead_letters: startup.notifier_dead_letters()? };
    run(service_fn(async move |event: LambdaEvent<StreamEvent>| {
        Ok::<_, Error>(handler::notify(notifier, event).await)
    }))
    .await
}
