//! The errors of the sandbox.

use std::io;

/// The reason why the sandbox refuses a request of a test.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No account was linked under this id.
    #[error("no account {0} was linked here")]
    UnknownAccount(String),
    /// Mono has no new data for an unlinked account.
    #[error("account {0} is unlinked")]
    Unlinked(String),
    /// No hosted link has this token, or it was completed.
    #[error("no open link {0}")]
    UnknownLink(String),
    /// The account's history has no row with this id.
    #[error("the account has no transaction {0}")]
    UnknownTransaction(String),
    /// The sandbox supports only plain HTTP.
    #[error("the webhook URL must be an http:// URL: {0}")]
    WebhookUrl(String),
    /// The message does not contain the value.
    #[error("the webhook secret cannot be sent as a header value")]
    WebhookSecret,
    /// The message does not contain the value.
    #[error("the secret key must be a header value and not blank")]
    SecretKey,
    /// A header of a raw delivery, or of an answer, is invalid.
    #[error("header {0} cannot be sent")]
    Header(String),
    /// The status is not valid for an answer.
    #[error("a status must be between 200 and 599: {0}")]
    Status(u16),
    /// A probability in a [`Network`](crate::Network) is out of range.
    #[error("{0} must be between 0 and 1")]
    Probability(&'static str),
    /// The longest delay in a [`Network`](crate::Network) is out of range.
    #[error("delay_seconds must be between 0 and 172800")]
    DelaySeconds,
    /// The factor by which Mono's waiting times are divided is invalid.
    #[error("the time scale must be a positive number")]
    TimeScale,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::ErrorKind::InvalidInput, refusal)
    }
}
