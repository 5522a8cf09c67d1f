//! Who may speak for Mono: the webhook secret, and the body it vouches for.
//!
//! Mono sends a static secret with each call, in `mono-webhook-secret`, and signs nothing
//! [docs.mono.co/docs/webhooks]. Its article of 2021 names the header `mono-web-secret`; both are
//! accepted. HTTP APIs hand over header names in lower case, and `http` compares them so anyway.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::domain::timestamp::Timestamp;

/// The headers that may carry the secret.
pub const SECRET_HEADERS: [&str; 2] = ["mono-webhook-secret", "mono-web-secret"];

/// How long the secret before the current one is accepted after a rotation: Mono retries a call for
/// 48 hours, and repeats the secret it was first sent with.
pub const PREVIOUS_ACCEPTED_FOR: Duration = Duration::from_hours(72);

/// The value of the template's parameter until Mono has shown the real one.
const UNSET: &str = "unset";

/// A body that nobody has confirmed_linked for. There is no way to its bytes but
/// [`WebhookSecrets::verify`].
#[derive(Clone, Copy)]
pub struct UnverifiedBody<'a>(&'a [u8]);

/// A body that came with the right secret. Only [`WebhookSecrets::verify`] makes one.
pub struct VerifiedBody<'a>(&'a [u8]);

/// The secrets that are accepted at present. Holds digests only, so that there is nothing to leak
/// and all are of one length.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebhookSecrets {
    current: Option<[u8; 32]>,
    previous: Option<[u8; 32]>,
    current_since: Option<Timestamp>,
}

/// The secret is missing, empty or wrong, or none is configured: deliberately one and the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook secret is missing or wrong")]
pub struct InvalidSecret;

impl<'a> UnverifiedBody<'a> {
    /// Marks bytes that came from outside.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> VerifiedBody<'a> {
    /// The body as it came.
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl WebhookSecrets {
    /// The secrets as stored. A value that is blank or `unset` is no secret: it matches nothing.
    /// `current_since` is when `current` took the place of `previous`.
    pub fn new(current: Option<&str>, previous: Option<&str>, current_since: Timestamp) -> Self {
        Self {
            current: digest_of_secret(current),
            previous: digest_of_secret(previous),
            current_since: Some(current_since),
        }
    }

    /// Taking the current secret away closes the door at once, for the previous one too.
    fn previous_counts(&self, now: Timestamp) -> bool {
        let recent = |since| now.since(since) < PREVIOUS_ACCEPTED_FOR;
        self.current.is_some() && self.current_since.is_some_and(recent)
    }

    /// Passes the body on if one of the presented values is the current secret, or the previous one
    /// within [`PREVIOUS_ACCEPTED_FOR`] of the rotation. Takes the same time for every value.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`], whatever was wrong.
    pub fn verify<'a>(
        &self,
        presented: impl IntoIterator<Item = &'a [u8]>,
        body: UnverifiedBody<'a>,
        now: Timestamp,
    ) -> Result<VerifiedBody<'a>, InvalidSecret> {
        let previous = self.previous.filter(|_| self.previous_counts(now));
        let mut right = Choice::from(0);
        for value in presented {
            let digest: [u8; 32] = Sha256::digest(value).into();
            for accepted in [self.current, previous].into_iter().flatten() {
                right |= digest.ct_eq(&accepted);
            }
        }
        if bool::from(right) { Ok(VerifiedBody(body.0)) } else { Err(InvalidSecret) }
    }
}

/// A line end that came along when the secret was pasted is not part of it: no header can carry it.
fn digest_of_secret(value: Option<&str>) -> Option<[u8; 32]> {
    let value = value?.trim();
    (!value.is_empty() && value != UNSET).then(|| Sha256::digest(value).into())
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecrets([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATED: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn accepts(secrets: &WebhookSecrets, presented: &[&str], now: Timestamp) -> bool {
        let presented = presented.iter().map(|value| value.as_bytes());
        secrets.verify(presented, UnverifiedBody::new(b"{}"), now).is_ok()
    }

    #[test]
    fn current_secret_is_accepted_and_hands_the_body_over_unchanged() {
        let secrets = WebhookSecrets::new(Some("sec_current"), None, ROTATED);
        let verified = secrets
            .verify([&b"sec_current"[..]], UnverifiedBody::new(b"\x00 as it came"), ROTATED)
            .ok();
        assert_eq!(verified.unwrap().bytes(), b"\x00 as it came");
    }

    #[test]
    fn wrong_missing_and_empty_are_refused() {
        let secrets = WebhookSecrets::new(Some("sec_current"), None, ROTATED);
        for presented in
            [&["wrong"][..], &[], &[""], &["sec_curren"], &["sec_current "], &["SEC_CURRENT"]]
        {
            assert!(!accepts(&secrets, presented, ROTATED), "{presented:?}");
        }
    }

    #[test]
    fn any_of_several_presented_values_may_be_the_right_one() {
        let secrets = WebhookSecrets::new(Some("sec_current"), None, ROTATED);
        assert!(accepts(&secrets, &["wrong", "sec_current"], ROTATED));
        assert!(accepts(&secrets, &["sec_current", "wrong"], ROTATED));
    }

    #[test]
    fn previous_secret_is_accepted_for_72_hours_after_the_rotation() {
        let secrets = WebhookSecrets::new(Some("sec_current"), Some("sec_previous"), ROTATED);
        let end = ROTATED + PREVIOUS_ACCEPTED_FOR;
        assert!(accepts(&secrets, &["sec_previous"], ROTATED));
        assert!(accepts(&secrets, &["sec_previous"], end - Duration::from_millis(1)));
        assert!(!accepts(&secrets, &["sec_previous"], end));
        assert!(accepts(&secrets, &["sec_current"], end));
    }

    #[test]
    fn secret_that_is_unset_blank_or_missing_refuses_everything() {
        for stored in [None, Some(""), Some("  \n"), Some("unset"), Some(" unset\n")] {
            let secrets = WebhookSecrets::new(stored, None, ROTATED);
            for presented in [&[][..], &[""], &["unset"], &[" "], &["  \n"]] {
                assert!(!accepts(&secrets, presented, ROTATED), "{stored:?} {presented:?}");
            }
        }
        let secrets = WebhookSecrets::new(Some("sec_current"), Some("unset"), ROTATED);
        assert!(!accepts(&secrets, &["unset"], ROTATED), "nor does it as the previous one");
        let shut = WebhookSecrets::new(Some("unset"), Some("sec_previous"), ROTATED);
        assert!(!accepts(&shut, &["sec_previous"], ROTATED), "nor is the previous one left open");
    }

    #[test]
    fn pasted_line_end_is_not_part_of_the_secret() {
        let secrets = WebhookSecrets::new(Some("sec_current\n"), None, ROTATED);
        assert!(accepts(&secrets, &["sec_current"], ROTATED));
    }

    #[test]
    fn secrets_cannot_be_printed() {
        let secrets = WebhookSecrets::new(Some("sec_current"), Some("sec_previous"), ROTATED);
        assert_eq!(format!("{secrets:?}"), "WebhookSecrets([redacted])");
    }
}
