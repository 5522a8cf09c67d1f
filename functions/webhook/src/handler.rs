//! Verifies a webhook, masks a BVN in its body and enqueues it. An event of an unknown kind is enqueued too, so that none
//! is lost.

use lambda_http::http::{HeaderMap, HeaderValue};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use mono_sync::aws::queues::{SendError, WebhookQueue};
use mono_sync::aws::secrets::SecretUnavailable;
use mono_sync::aws::webhook_secrets::{SecretCache, VerificationError};
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::webhook::body::{UnusableBody, WebhookBody};
use mono_sync::domain::webhook::forwarding::ForwardEvents;
use mono_sync::domain::webhook::secret::{SECRET_HEADERS, UnverifiedBody, VerifiedBody};
use mono_sync::http::problem::Problem;
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use serde_json::json;
use tokio::time::timeout_at;
use tracing::{debug, error, warn};

pub(crate) struct Webhook {
    pub(crate) secrets: SecretCache,
    pub(crate) queue: WebhookQueue,
    /// A BVN in a forwarded event is not masked.
    pub(crate) forwarded: ForwardEvents,
}

impl Webhook {
    /// Answers a webhook. After any answer except 200, Mono retries the webhook for 48 hours.
    pub(crate) async fn answer(&self, request: Request) -> Result<Response<Body>, Error> {
        let context = request.lambda_context();
        let invocation = Invocation::new(context.request_id, context.deadline);
        let request_id = &invocation.request_id;
        let response = match self.accept(&request, &invocation).await {
            Ok(()) => response::ok(&json!({ "status": "accepted" })),
            Err(problem) => {
                let length = request.body().len();
                warn!(request_id, code = problem.code(), length, "webhook refused");
                Response::from(&problem)
            }
        };
        Ok(response::with_request_id(response, request_id))
    }

    async fn accept(&self, request: &Request, invocation: &Invocation) -> Result<(), Problem> {
        let Invocation { request_id, deadline, .. } = invocation;
        let verified = timeout_at(*deadline, self.verify(request)).await;
        let verified = verified.unwrap_or_else(|_| Err(SecretUnavailable::Late.into()));
        let verified = verified.map_err(|error| match error {
            VerificationError::InvalidSecret(_) => Problem::WebhookSecretInvalid,
            VerificationError::SecretUnavailable(_) => {
                error!(request_id, %error, "webhook secret could not be read");
                Problem::StoreUnavailable
            }
        })?;
        let body = WebhookBody::accept(&verified, self.forwarded).map_err(|error| match error {
            UnusableBody::TooLarge => Problem::WebhookBodyTooLarge,
            UnusableBody::NotAJsonObject => Problem::WebhookBodyInvalid,
        })?;
        let sent = timeout_at(*deadline, self.queue.send(&body, requested_at(request))).await;
        let message_id = sent.unwrap_or_else(|_| Err(SendError::Late)).map_err(|error| {
            error!(request_id, %error, "webhook could not be enqueued");
            Problem::QueueUnavailable
        })?;
        debug!(request_id, message_id, "webhook enqueued");
        Ok(())
    }

    async fn verify<'a>(
        &self,
        request: &'a Request,
    ) -> Result<VerifiedBody<'a>, VerificationError> {
        let presented = presented_secrets(request.headers());
        let body = UnverifiedBody::new(request.body());
        self.secrets.verify(&presented, body, Timestamp::now()).await
    }
}

fn presented_secrets(headers: &HeaderMap) -> Vec<&[u8]> {
    let values = SECRET_HEADERS.iter().flat_map(|name| headers.get_all(*name));
    values.map(HeaderValue::as_bytes).collect()
}

/// The time at which the webhook arrived at API Gateway.
fn requested_at(request: &Request) -> Timestamp {
    let epoch = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.time_epoch,
        _ => 0,
    };
    match u64::try_from(epoch) {
        Ok(millis) if millis > 0 => Timestamp::from_millis(millis),
        _ => Timestamp::now(),
    }
}
