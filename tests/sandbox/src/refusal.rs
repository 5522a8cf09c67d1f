//! What the sandbox will not do, and why.

use std::io;

/// What the sandbox will not do, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No account was linked under this id.
    #[error("no account {0} was linked here")]
    UnknownAccount(String),
    /// Mono knows nothing new of an account whose link is gone.
    #[error("account {0} is unlinked")]
    Unlinked(String),
    /// The account's history has no such row.
    #[error("the account has no transaction {0}")]
    UnknownTransaction(String),
    /// The sandbox speaks plain HTTP only.
    #[error("the webhook URL must be an http:// URL: {0}")]
    WebhookUrl(String),
    /// The value itself is kept out of the message.
    #[error("the webhook secret cannot be sent as a header value")]
    WebhookSecret,
    /// The value itself is kept out of the message.
    #[error("the secret key must be a header value and not blank")]
    SecretKey,
    /// A header of a raw delivery, or of an answer.
    #[error("header {0} cannot be sent")]
    Header(String),
    /// A status that no answer can have.
    #[error("a status must be between 200 and 599: {0}")]
    Status(u16),
    /// A likelihood in a [`Network`](crate::Network).
    #[error("{0} must be between 0 and 1")]
    Probability(&'static str),
    /// The longest delay in a [`Network`](crate::Network).
    #[error("delay_seconds must be between 0 and 172800")]
    DelaySeconds,
    /// The factor Mono's waits are divided by.
    #[error("the time scale must be a positive number")]
    TimeScale,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::ErrorKind::InvalidInput, refusal)
    }
}
