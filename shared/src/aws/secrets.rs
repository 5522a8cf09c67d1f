//! Reading a secret from Secrets Manager.

use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValueError, GetSecretValueOutput,
};

use tokio::sync::Mutex;
use tracing::warn;

use crate::aws::sdk::AwsError;
use crate::domain::timestamp::Timestamp;

pub struct StoredSecret {
    client: Client,
    arn: String,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretUnavailable {
    #[error("Secrets Manager call failed: {0}")]
    Call(#[source] AwsError),
    #[error("Secrets Manager did not answer in time")]
    Late,
    /// The last read failed a moment ago, so no new call was made.
    #[error("the last read of the secret failed a moment ago")]
    FailedBefore,
    #[error("the secret has no usable value")]
    Unset,
}

impl StoredSecret {
    pub fn new(client: Client, arn: impl Into<String>) -> Self {
        Self { client, arn: arn.into() }
    }

    /// The version of the secret with this staging label, or `None` if there is none. One request.
    pub async fn version(
        &self,
        stage: &str,
    ) -> Result<Option<GetSecretValueOutput>, SecretUnavailable> {
        let request = self.client.get_secret_value().secret_id(&self.arn);
        match request.version_stage(stage).send().await {
            Ok(version) => Ok(Some(version)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetSecretValueError::is_resource_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(SecretUnavailable::Call(AwsError::new(error))),
        }
    }

    /// The texts of the current and of the previous version. The previous one counts for some time after the change.
    /// At most two requests.
    ///
    /// # Errors
    ///
    /// [`SecretUnavailable`]: the secret cannot be read.
    pub async fn texts(
        &self,
        previous_for: Duration,
        now: Timestamp,
    ) -> Result<SecretTexts, SecretUnavailable> {
        let Some(current) = self.version("AWSCURRENT").await? else {
            return Ok(SecretTexts::default());
        };
        let since = current.created_date().and_then(|date| date.to_millis().ok());
        let since = Timestamp::from_millis(since.and_then(|at| at.try_into().ok()).unwrap_or(0));
        let until = since + previous_for;
        let previous = if now < until { self.version("AWSPREVIOUS").await? } else { None };
        let previous = previous.and_then(|version| version.secret_string);
        Ok(SecretTexts {
            current: current.secret_string,
            previous: previous.map(|previous| (previous, until)),
        })
    }
}

/// The texts of a secret. Not `Debug`, so that no log contains them.
#[derive(Clone, Default)]
pub struct SecretTexts {
    pub current: Option<String>,
    /// The text before the last change, and the time until which it counts.
    pub previous: Option<(String, Timestamp)>,
}

/// The texts of a secret, cached for five minutes. So every instance follows a change within five minutes.
pub struct SecretTextCache {
    secret: StoredSecret,
    previous_for: Duration,
    cached: Mutex<Option<(SecretTexts, Timestamp)>>,
}

impl SecretTextCache {
    const MAX_AGE: Duration = Duration::from_mins(5);

    /// An empty cache. `previous_for` is how long the previous text counts after a change.
    pub fn new(client: Client, arn: impl Into<String>, previous_for: Duration) -> Self {
        let secret = StoredSecret::new(client, arn);
        Self { secret, previous_for, cached: Mutex::default() }
    }

    /// The current text, and the previous one for some time after a change. If the secret cannot be read again, the
    /// cached texts are used for another five minutes.
    ///
    /// # Errors
    ///
    /// [`SecretUnavailable`]: the secret cannot be read, or has no text.
    pub async fn texts(&self, now: Timestamp) -> Result<Vec<String>, SecretUnavailable> {
        let mut cached = self.cached.lock().await;
        if cached.as_ref().is_none_or(|(_, read_at)| now.since(*read_at) >= Self::MAX_AGE) {
            match self.secret.texts(self.previous_for, now).await {
                Ok(texts) => *cached = Some((texts, now)),
                Err(error) => match cached.as_mut() {
                    None => return Err(error),
                    // Otherwise each message would wait for another failing read.
                    Some((_, read_at)) => {
                        warn!(%error, "secret could not be read again");
                        *read_at = now;
                    }
                },
            }
        }
        let texts = cached.as_ref().map(|(texts, _)| texts.clone()).unwrap_or_default();
        let current = texts.current.ok_or(SecretUnavailable::Unset)?;
        let previous = texts.previous.filter(|(_, until)| now < *until);
        Ok([Some(current), previous.map(|(text, _)| text)].into_iter().flatten().collect())
    }
}
