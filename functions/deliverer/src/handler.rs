//! Posts one batch and logs one line for it.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::app::deliver::{self, Route};
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::telemetry;

pub(crate) async fn deliver(
    routes: &[Route],
    event: LambdaEvent<SqsEvent>,
) -> Result<SqsBatchResponse, Error> {
    let (event, context) = event.into_parts();
    let invocation = Invocation::new(context.request_id, context.deadline);
    let (response, summary) = deliver::deliver(routes, event, &invocation).await?;
    telemetry::summary(&invocation.request_id, &summary);
    Ok(response)
}
