//! HTTP requests to the fintech's own systems.

mod address;
mod url;

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::dns::SharedDnsResolver;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use lambda_http::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use tokio::time::timeout;

pub use url::{InvalidReceiverUrl, ReceiverUrl};

use crate::aws::sdk::{connector, error_chain};
use address::PublicAddresses;

/// The time for the whole attempt: to connect, to send and to receive the status.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// A URL of the fintech, to which JSON is posted.
///
/// It follows no redirects, and reads no body of an answer. A URL that is not on this machine is reached only at a
/// public address. So a name in the DNS cannot direct a request into the network of the functions.
pub struct Receiver {
    url: ReceiverUrl,
    connector: OnceLock<Connector>,
}

/// The receiver did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PostError {
    #[error("no answer: {0}")]
    NoAnswer(String),
    #[error("no answer within {} seconds", ATTEMPT_TIMEOUT.as_secs())]
    Late,
}

impl PostError {
    fn no_answer(error: &(dyn Error + 'static)) -> Self {
        Self::NoAnswer(error_chain(error))
    }
}

impl Receiver {
    pub fn new(url: ReceiverUrl) -> Self {
        Self { url, connector: OnceLock::new() }
    }

    /// Posts a body once. The request has a `content-length`, because some receivers treat a chunked body as empty.
    /// Returns the status of the answer.
    ///
    /// # Errors
    ///
    /// [`PostError`]: the receiver may have got the request.
    pub async fn post(&self, headers: HeaderMap, body: String) -> Result<StatusCode, PostError> {
        let mut request = Request::new(SdkBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.uri().clone();
        *request.headers_mut() = headers;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let request =
            HttpRequest::try_from(request).map_err(|error| PostError::no_answer(&error))?;
        let answer = timeout(ATTEMPT_TIMEOUT, self.connector().call(request))
            .await
            .map_err(|_| PostError::Late)?;
        let answer = answer.map_err(|error| PostError::no_answer(&error))?;
        let answer = answer.try_into_http1x().map_err(|error| PostError::no_answer(&error))?;
        Ok(answer.status())
    }

    /// The connector is created on first use, because reading the trusted certificates takes time.
    fn connector(&self) -> &Connector {
        self.connector.get_or_init(|| {
            let public = (!self.url.is_local()).then(|| SharedDnsResolver::new(PublicAddresses));
            connector(ATTEMPT_TIMEOUT, public)
        })
    }
}
