//! Publishes the notifications of one batch and logs one line for it.

use lambda_runtime::LambdaEvent;
use mono_sync::app::notify::Notifier;
use mono_sync::aws::stream::{StreamEvent, StreamResponse};
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::telemetry;

pub(crate) async fn notify(notifier: &Notifier, event: LambdaEvent<StreamEvent>) -> StreamResponse {
    let (event, context) = event.into_parts();
    let invocation = Invocation::new(context.request_id, context.deadline);
    let (response, summary) = notifier.notify(&event, &invocation).await;
    // Most writes change nothing that is notified.
    if !summary.is_empty() {
        telemetry::summary(&invocation.request_id, &summary);
    }
    response
}
