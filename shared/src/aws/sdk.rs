//! How the functions reach AWS: one HTTP client, one TLS stack, bounded in time.

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
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

/// How long AWS may take for an attempt, and for all attempts of an operation together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    attempt: Duration,
    operation: Duration,
}

impl Timeouts {
    /// Of a function that somebody waits for, or whose work is small: longer than a healthy answer
    /// ever takes, and short enough that most operations are tried three times within its time.
    pub const SHORT: Self =
        Self { attempt: Duration::from_secs(2), operation: Duration::from_secs(7) };
    /// Of one that moves many items at once, and has the time.
    pub const LONG: Self =
        Self { attempt: Duration::from_secs(10), operation: Duration::from_secs(35) };
}

/// The configuration of every AWS client.
///
/// Lambda hands credentials and region over in the environment, and nothing else is looked at: the
/// default chain's other providers (profiles, SSO, container and instance metadata) would add a
/// seventh to each binary and time to each cold start.
///
/// `endpoint` is one endpoint for all services; without it each service has its own.
pub fn config(region: &str, endpoint: Option<&str>, timeouts: Timeouts) -> SdkConfig {
    let http_client = Builder::new().tls_provider(tls()).build_https();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(
            EnvironmentVariableCredentialsProvider::new(),
        ))
        .http_client(http_client)
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

/// The one TLS stack of the functions.
pub const fn tls() -> Provider {
    Provider::Rustls(CryptoMode::Ring)
}

/// A failed call to AWS. Its text, also in `Debug`, is the [`error_chain`].
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

/// The messages of an error and its causes, fit for a log. The SDK's own display of an error chain adds the raw answer,
/// which may hold bank data.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let chain = successors(Some(error), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
