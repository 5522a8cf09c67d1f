//! The secret key of the fintech's Mono app.

use std::fmt;
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use lambda_http::http::HeaderValue;
use tokio::sync::Mutex;

use crate::aws::secrets::{SecretUnavailable, StoredSecret};
use crate::domain::timestamp::Timestamp;

/// Authenticates calls to Mono (`live_sk_…`, `test_sk_…`). `Debug` does not print the key.
#[derive(Clone, PartialEq, Eq)]
pub struct MonoKey(HeaderValue);

impl MonoKey {
    /// Reads the stored text. `None` if the text is blank or cannot be sent in a header.
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

/// The key in Secrets Manager, cached for one hour. A key that Mono rejected is read again when it is one minute old.
pub struct KeyCache {
    secret: StoredSecret,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    key: Option<(MonoKey, Timestamp)>,
    rejected: bool,
}

impl KeyCache {
    /// The maximum age of a cached key.
    const MAX_AGE: Duration = Duration::from_hours(1);
    /// The minimum time between reads of a rejected key. A rotation is noticed within a minute.
    const REJECTION_PAUSE: Duration = Duration::from_mins(1);

    /// An empty cache. The first call of [`Self::current`] reads the secret.
    pub fn new(client: Client, secret_arn: impl Into<String>) -> Self {
        Self { secret: StoredSecret::new(client, secret_arn), state: Mutex::default() }
    }

    /// The current key. If a new read fails, the cached key stays in use.
    ///
    /// # Errors
    ///
    /// [`SecretUnavailable`]: no key is cached and the secret cannot be read, or the secret has no valid key.
    pub async fn current(&self, now: Timestamp) -> Result<MonoKey, SecretUnavailable> {
        let mut state = self.state.lock().await;
        let max_age = if state.rejected { Self::REJECTION_PAUSE } else { Self::MAX_AGE };
        if let Some((key, read_at)) = &state.key
            && now.since(*read_at) < max_age
        {
            return Ok(key.clone());
        }
        let version = match self.secret.version("AWSCURRENT").await {
            Ok(version) => version,
            // An old key is better than no key. If it is no longer valid, Mono rejects it.
            Err(error) => return state.key.clone().map(|(key, _)| key).ok_or(error),
        };
        let text = version.as_ref().and_then(|version| version.secret_string());
        let key = text.and_then(MonoKey::new);
        let key = key.ok_or(SecretUnavailable::Unset)?;
        *state = State { key: Some((key.clone(), now)), rejected: false };
        Ok(key)
    }

    /// Records that Mono rejected this key.
    pub(super) async fn refused(&self, key: &MonoKey) {
        let mut state = self.state.lock().await;
        if state.key.as_ref().is_some_and(|(cached, _)| cached == key) {
            state.rejected = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_redacts_the_key() {
        let key = MonoKey::new("test_sk_example").unwrap();
        assert_eq!(format!("{key:?}"), "MonoKey([redacted])");
        assert!(key.header().is_sensitive());
    }

    #[test]
    fn trailing_line_end_is_removed_from_the_key() {
        assert_eq!(MonoKey::new("test_sk_example\n"), MonoKey::new("test_sk_example"));
    }

    #[test]
    fn blank_or_unsendable_text_is_not_a_key() {
        for text in ["", " \n", "two\nlines"] {
            assert_eq!(MonoKey::new(text), None, "{text:?}");
        }
    }
}
