//! Configuration of the AWS clients: one HTTP client, one TLS stack, and time limits.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{SharedAsyncSleep, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::dns::SharedDnsResolver;
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpClient};

/// Time limits of AWS calls: for one attempt, and for all attempts of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    attempt: Duration,
    operation: Duration,
}

impl Timeouts {
    /// For a function that has a waiting caller or little work. A healthy response always arrives within one
    /// attempt's limit. The operation's limit leaves time for three attempts of most operations.
    pub const SHORT: Self =
        Self { attempt: Duration::from_secs(2), operation: Duration::from_secs(7) };
    /// For a function that moves many items in one request and has enough time.
    pub const LONG: Self =
        Self { attempt: Duration::from_secs(10), operation: Duration::from_secs(35) };
}

/// The configuration of every AWS client.
///
/// Lambda passes credentials and region in environment variables. No other provider is used. The default chain's
/// other providers (profiles, SSO, container and instance metadata) would make each binary one seventh larger and
/// each cold start slower.
///
/// `endpoint` is one endpoint for all services. Without it, each service uses its own endpoint.
pub fn config(region: &str, endpoint: Option<&str>, timeouts: Timeouts) -> SdkConfig {
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(
            EnvironmentVariableCredentialsProvider::new(),
        ))
        .http_client(https_client())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(SharedTimeSource::new(SystemTimeSource::new()))
        .retry_config(RetryConfig::standard())
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(timeouts.attempt)
                .operation_timeout(timeouts.operation)
                .build(),
        );
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint);
    }
    config.build()
}

/// The HTTP client of the AWS clients.
pub fn https_client() -> SharedHttpClient {
    Builder::new().tls_provider(tls()).build_https()
}

/// An HTTP client for services other than AWS, with the TLS stack of the AWS clients. It keeps no idle connections. If
/// set, `resolver` replaces the DNS resolver of the system.
pub fn connector(connect_timeout: Duration, resolver: Option<SharedDnsResolver>) -> Connector {
    let settings = HttpConnectorSettings::builder().connect_timeout(connect_timeout);
    let connector = Connector::builder()
        .connector_settings(settings.build())
        .pool_max_idle_per_host(0)
        .tls_provider(tls());
    match resolver {
        Some(resolver) => connector.build_with_resolver(resolver),
        None => connector.build(),
    }
}

/// The only TLS stack of the functions.
const fn tls() -> Provider {
    Provider::Rustls(CryptoMode::Ring)
}

/// A failed AWS call. `Display` and `Debug` both write the [`error_chain`].
#[derive(Clone)]
pub struct AwsError(Arc<dyn Error + Send + Sync>);

impl AwsError {
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&error_chain(&*self.0))
    }
}

impl fmt::Debug for AwsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Error for AwsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// The messages of an error and its causes, safe to log. The SDK's own display of an error chain adds the raw
/// response, which may contain bank data.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let chain = successors(Some(error), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
