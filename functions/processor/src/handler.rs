//! Processes one batch of webhooks and logs one line for it.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::app::ingest::Ingest;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::telemetry;

pub(crate) async fn process(
    ingest: &Ingest,
    event: LambdaEvent<SqsEvent>,
) -> Result<SqsBatchResponse, Error> {
    let (event, context) = event.into_parts();
    let invocation = Invocation::new(context.request_id.clone(), context.deadline);
    let (response, summary) = ingest.ingest(event, invocation).await?;
    telemetry::summary(&context.request_id, &summary);
    Ok(response)
}
