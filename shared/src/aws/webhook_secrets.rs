//! The webhook secrets in Secrets Manager, cached.

use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use tokio::sync::Mutex;

use crate::aws::secrets::{SecretTexts, SecretUnavailable, StoredSecret};
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::secret::{InvalidSecret, UnverifiedBody, VerifiedBody, WebhookSecrets};

/// Verifies webhook bodies against the stored secret. A rotated secret is picked up without a redeploy.
pub struct SecretCache {
    secret: StoredSecret,
    /// How long the previous secret is accepted after a rotation. Zero: not at all.
    previous_for: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    secrets: Option<(WebhookSecrets, Timestamp)>,
    /// The time of the latest read attempt, also of a failed one.
    attempted_at: Option<Timestamp>,
}

/// Why a webhook body was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// The presented secret is wrong.
    #[error(transparent)]
    InvalidSecret(#[from] InvalidSecret),
    /// The stored secret could not be read, so the body can be neither accepted nor rejected.
    #[error(transparent)]
    SecretUnavailable(#[from] SecretUnavailable),
}

impl SecretCache {
    /// The maximum age of a cached secret. So every instance follows a change within five minutes.
    const MAX_AGE: Duration = Duration::from_mins(5);
    /// The minimum time between reads that wrong secrets cause. A rotation is noticed within a minute, and a sender
    /// of wrong secrets cannot cause more calls.
    const MISMATCH_PAUSE: Duration = Duration::from_mins(1);
    /// The minimum time before a failed read is retried.
    const FAILURE_PAUSE: Duration = Duration::from_secs(1);

    /// An empty cache of one secret. The first verification reads the secret.
    pub fn new(client: Client, secret_arn: impl Into<String>, previous_for: Duration) -> Self {
        let secret = StoredSecret::new(client, secret_arn);
        Self { secret, previous_for, state: Mutex::default() }
    }

    /// Returns the verified body if one of the presented values is correct. Fails closed: without a readable secret,
    /// no body is accepted.
    pub async fn verify<'a>(
        &self,
        presented: &[&'a [u8]],
        body: UnverifiedBody<'a>,
        now: Timestamp,
    ) -> Result<VerifiedBody<'a>, VerificationError> {
        let mut state = self.state.lock().await;
        let secrets = self.secrets_within(Self::MAX_AGE, &mut state, now).await?;
        let rejected = match secrets.verify(presented.iter().copied(), body, now) {
            Ok(verified) => return Ok(verified),
            Err(rejected) => rejected,
        };
        let may_be_rotated = presented.iter().any(|value| !value.is_empty());
        if !may_be_rotated || state.attempted_within(Self::MISMATCH_PAUSE, now) {
            return Err(rejected.into());
        }
        let secrets = self.secrets_within(Duration::ZERO, &mut state, now).await?;
        Ok(secrets.verify(presented.iter().copied(), body, now)?)
    }

    /// The secrets, read at most `age` ago.
    async fn secrets_within(
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
        if state.attempted_within(Self::FAILURE_PAUSE, now) {
            return Err(SecretUnavailable::FailedBefore.into());
        }
        state.attempted_at = Some(now);
        let secrets = self.read(now).await?;
        state.secrets = Some((secrets.clone(), now));
        Ok(secrets)
    }

    async fn read(&self, now: Timestamp) -> Result<WebhookSecrets, SecretUnavailable> {
        let SecretTexts { current, previous } = self.secret.texts(self.previous_for, now).await?;
        let secrets = WebhookSecrets::new(current.as_deref());
        Ok(match previous {
            Some((previous, until)) => secrets.with_previous(Some(&previous), until),
            None => secrets,
        })
    }
}

impl State {
    fn attempted_within(&self, pause: Duration, now: Timestamp) -> bool {
        self.attempted_at.is_some_and(|attempted_at| now.since(attempted_at) < pause)
    }
}
