//! HTTP to Mono, limited to one origin. Uses the HTTP client and TLS stack of the AWS SDKs.

use std::error::Error;
use std::iter::successors;
use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_util::client::legacy;
use lambda_http::http::{HeaderValue, Request, Uri, header};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::answer::Answer;
use super::base_url::BaseUrl;
use crate::aws::sdk::{connector, error_chain};
use crate::domain::account::{CallError, ProviderError};

/// The time limit for opening a connection. After this timeout it is certain that nothing was sent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a response, about 14,000 transactions. The whole response is read into memory.
const MAX_BYTES: usize = 4 << 20;

/// Sends requests to Mono.
///
/// It follows no redirects, because the key must not be sent to another origin. It does not reuse connections: a
/// connection that Mono closed while idle looks like one that broke after a sync was sent.
pub(super) struct Transport {
    base_url: BaseUrl,
    limit: Duration,
    /// Created on first use, because reading the trusted certificates takes time.
    connector: OnceLock<Connector>,
}

impl Transport {
    pub(super) fn new(base_url: BaseUrl, limit: Duration) -> Self {
        Self { base_url, limit, connector: OnceLock::new() }
    }

    pub(super) fn base_url(&self) -> &BaseUrl {
        &self.base_url
    }

    pub(super) fn uri(&self, path: &str) -> Uri {
        self.base_url.join(path)
    }

    /// Sends a request once, and reads the whole response.
    pub(super) async fn send(
        &self,
        request: Request<Option<String>>,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let now = Instant::now();
        if deadline <= now {
            return Err(CallError::NotConnected);
        }
        let exchange = timeout_at(deadline.min(now + self.limit), self.exchange(request));
        exchange.await.unwrap_or(Err(CallError::TimedOut))
    }

    async fn exchange(&self, mut request: Request<Option<String>>) -> Result<Answer, CallError> {
        if request.body().is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        let body = |text: Option<String>| text.map_or_else(SdkBody::empty, SdkBody::from);
        let request = HttpRequest::try_from(request.map(body));
        let request = request.map_err(|error| unusable("request to Mono is invalid", &error))?;
        let response =
            self.connector().call(request).await.map_err(|error| connector_error(&error))?;
        let response = response.try_into_http1x();
        let response =
            response.map_err(|error| unusable("response from Mono is invalid", &error))?;
        let (parts, body) = response.into_parts();
        match Limited::new(body, MAX_BYTES).collect().await {
            Ok(body) => Ok(Answer::new(parts.status, parts.headers, body.to_bytes().into())),
            Err(error) if error.is::<LengthLimitError>() => {
                warn!("response from Mono is too large");
                Err(CallError::Unusable(ProviderError::too_large()))
            }
            Err(_) => Err(CallError::Unavailable),
        }
    }

    fn connector(&self) -> &Connector {
        self.connector.get_or_init(|| connector(CONNECT_TIMEOUT, None))
    }
}

/// Distinguishes a request that was never sent from one that may have been sent.
fn connector_error(error: &ConnectorError) -> CallError {
    let chain = successors(Some(error as &(dyn Error + 'static)), |error| (*error).source());
    let never_opened =
        chain.filter_map(<dyn Error>::downcast_ref::<legacy::Error>).any(legacy::Error::is_connect);
    warn!(error = error_chain(error), never_opened, "request to Mono failed");
    if never_opened { CallError::NotConnected } else { CallError::Unavailable }
}

fn unusable(message: &str, error: &(dyn Error + 'static)) -> CallError {
    warn!(error = error_chain(error), "{message}");
    CallError::Unusable(ProviderError::unreadable())
}
