//! The webhook secrets as Secrets Manager holds them, read seldom.

use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use tokio::sync::Mutex;

use crate::aws::secrets::{MAX_AGE, SecretUnavailable, StoredSecret};
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::secret::{
    InvalidSecret, PREVIOUS_ACCEPTED_FOR, UnverifiedBody, VerifiedBody, WebhookSecrets,
};

/// Verifies bodies against the stored secret, and notices a rotation without a redeploy.
pub struct SecretCache {
    secret: StoredSecret,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    secrets: Option<(WebhookSecrets, Timestamp)>,
    /// The newest read, whatever came of it.
    asked_at: Option<Timestamp>,
}

/// Why a body was not confirmed_linked for.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// The secret presented is not right.
    #[error(transparent)]
    InvalidSecret(#[from] InvalidSecret),
    /// The secret could not be read, so nothing can be said.
    #[error(transparent)]
    SecretUnavailable(#[from] SecretUnavailable),
}

impl SecretCache {
    /// How often at most a wrong secret may cause a read: a rotation is noticed within a minute, and
    /// a stranger gains no calls.
    const MISMATCH_PAUSE: Duration = Duration::from_mins(1);
    /// How often at most a read that failed is tried again.
    const FAILURE_PAUSE: Duration = Duration::from_secs(1);

    /// A cache of one secret, with nothing read yet.
    pub fn new(client: Client, secret_arn: impl Into<String>) -> Self {
        Self { secret: StoredSecret::new(client, secret_arn), state: Mutex::default() }
    }

    /// Passes the body on if one of the presented values is right. Fails closed.
    pub async fn verify<'a>(
        &self,
        presented: &[&'a [u8]],
        body: UnverifiedBody<'a>,
        now: Timestamp,
    ) -> Result<VerifiedBody<'a>, VerificationError> {
        let mut state = self.state.lock().await;
        let secrets = self.at_most(MAX_AGE, &mut state, now).await?;
        let refused = match secrets.verify(presented.iter().copied(), body, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        let might_be_newer = presented.iter().any(|value| !value.is_empty());
        if !might_be_newer || state.asked_within(Self::MISMATCH_PAUSE, now) {
            return Err(refused.into());
        }
        let secrets = self.at_most(Duration::ZERO, &mut state, now).await?;
        Ok(secrets.verify(presented.iter().copied(), body, now)?)
    }

    /// The secrets, read no longer ago than `age`.
    async fn at_most(
        &self,
        age: Duration,
        state: &mut State,
        now: Timestamp,
    ) -> Result<WebhookSecrets, VerificationError> {
        if let Some((secrets, read_at)) = &state.secrets
            && now.since(*read_at) < age
        {
            return Ok(secrets.clone());
        }
        if state.asked_within(Self::FAILURE_PAUSE, now) {
            return Err(SecretUnavailable::FailedBefore.into());
        }
        state.asked_at = Some(now);
        let secrets = self.read(now).await?;
        state.secrets = Some((secrets.clone(), now));
        Ok(secrets)
    }

    async fn read(&self, now: Timestamp) -> Result<WebhookSecrets, SecretUnavailable> {
        let Some(current) = self.secret.version("AWSCURRENT").await? else {
            return Ok(WebhookSecrets::default());
        };
        let since = current.created_date().and_then(|date| date.to_millis().ok());
        let since = Timestamp::from_millis(since.and_then(|at| at.try_into().ok()).unwrap_or(0));
        // In the steady state one read does: the previous version matters for three days only.
        let previous = if now.since(since) < PREVIOUS_ACCEPTED_FOR {
            self.secret.version("AWSPREVIOUS").await?
        } else {
            None
        };
        let previous = previous.as_ref().and_then(|version| version.secret_string());
        Ok(WebhookSecrets::new(current.secret_string(), previous, since))
    }
}

impl State {
    fn asked_within(&self, pause: Duration, now: Timestamp) -> bool {
        self.asked_at.is_some_and(|asked_at| now.since(asked_at) < pause)
    }
}
