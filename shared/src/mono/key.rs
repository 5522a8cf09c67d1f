//! The secret key of the fintech's Mono app.

use std::fmt;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use lambda_http::http::HeaderValue;
use tokio::sync::Mutex;

use crate::aws::secrets::{MAX_AGE, SecretUnavailable, StoredSecret};
use crate::domain::timestamp::Timestamp;

/// Signs calls to Mono in (`live_sk_…`, `test_sk_…`). Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MonoKey(HeaderValue);

impl MonoKey {
    /// The key as stored; `None` for what is blank or cannot be sent.
    pub fn new(text: &str) -> Option<Self> {
        let mut value =
            HeaderValue::from_str(text.trim()).ok().filter(|value| !value.is_empty())?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for MonoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MonoKey([redacted])")
    }
}

/// The key as Secrets Manager holds it, read once an hour, and after Mono has refused it.
pub struct KeyCache {
    secret: StoredSecret,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    key: Option<(MonoKey, Timestamp)>,
    refused: bool,
}

impl KeyCache {
    /// How often at most a refused key is read again: a rotation is noticed within a minute.
    const REFUSAL_PAUSE: Duration = Duration::from_mins(1);

    /// A cache of the key in this secret, with nothing read yet.
    pub fn new(client: Client, secret_arn: impl Into<String>) -> Self {
        Self { secret: StoredSecret::new(client, secret_arn), state: Mutex::default() }
    }

    /// The key to use at this time.
    ///
    /// # Errors
    ///
    /// [`SecretUnavailable`] if it cannot be read, or there is none.
    pub async fn current(&self, now: Timestamp) -> Result<MonoKey, SecretUnavailable> {
        let mut state = self.state.lock().await;
        let max_age = if state.refused { Self::REFUSAL_PAUSE } else { MAX_AGE };
        if let Some((key, read_at)) = &state.key
            && now.since(*read_at) < max_age
        {
            return Ok(key.clone());
        }
        let version = match self.secret.version("AWSCURRENT").await {
            Ok(version) => version,
            // An old key is better than none: if it is not right any more, Mono says so.
            Err(error) => return state.key.clone().map(|(key, _)| key).ok_or(error),
        };
        let text = version.as_ref().and_then(|version| version.secret_string());
        let key = text.and_then(MonoKey::new);
        let key = key.ok_or(SecretUnavailable::Unset)?;
        *state = State { key: Some((key.clone(), now)), refused: false };
        Ok(key)
    }

    /// Mono has refused this key.
    pub(super) async fn refused(&self, key: &MonoKey) {
        let mut state = self.state.lock().await;
        if state.key.as_ref().is_some_and(|(held, _)| held == key) {
            state.refused = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_cannot_be_printed() {
        let key = MonoKey::new("test_sk_example").unwrap();
        assert_eq!(format!("{key:?}"), "MonoKey([redacted])");
        assert!(key.header().is_sensitive());
    }

    #[test]
    fn pasted_line_end_is_not_part_of_the_key() {
        assert_eq!(MonoKey::new("test_sk_example\n"), MonoKey::new("test_sk_example"));
    }

    #[test]
    fn blank_or_unsendable_text_is_not_a_key() {
        for text in ["", " \n", "two\nlines"] {
            assert_eq!(MonoKey::new(text), None, "{text:?}");
        }
    }
}
