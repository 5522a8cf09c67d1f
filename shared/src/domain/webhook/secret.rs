//! Authentication of Mono's webhooks: the webhook secret, and the body that was sent with it.
//!
//! Mono sends a static secret with each webhook, in `mono-webhook-secret`, and signs nothing
//! [docs.mono.co/docs/webhooks]. Mono's article of 2021 names the header `mono-web-secret`. Both names are accepted.
//! HTTP APIs pass header names in lower case, and the `http` crate compares them without regard to case.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::domain::timestamp::Timestamp;

/// The headers that may carry the secret.
pub const SECRET_HEADERS: [&str; 2] = ["mono-webhook-secret", "mono-web-secret"];

/// The minimum length of a secret in bytes. `unset`, the default of the template's parameter, is shorter, so it
/// matches nothing.
const MIN_LENGTH: usize = 16;

/// A body that is not authenticated yet. Only [`WebhookSecrets::verify`] gives access to its bytes.
#[derive(Clone, Copy)]
pub struct UnverifiedBody<'a>(&'a [u8]);

/// A body that was sent with an accepted secret. Only [`WebhookSecrets::verify`] creates it.
pub struct VerifiedBody<'a>(&'a [u8]);

/// The secrets that are accepted at present. Only their digests are held: a digest cannot leak a secret, and all
/// digests have the same length.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebhookSecrets {
    current: Option<[u8; 32]>,
    /// The previous secret, and the time from which it is rejected.
    previous: Option<([u8; 32], Timestamp)>,
}

/// The secret is missing, empty or wrong, or no secret is configured. The error deliberately does not say which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook secret is missing or wrong")]
pub struct InvalidSecret;

impl<'a> UnverifiedBody<'a> {
    /// Wraps the bytes of a request's body.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> VerifiedBody<'a> {
    /// The unchanged body.
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl WebhookSecrets {
    /// Reads the stored values. A value that is blank or shorter than 16 characters is not a secret, and matches
    /// nothing.
    pub fn new(current: Option<&str>) -> Self {
        Self { current: digest_of_secret(current), previous: None }
    }

    /// Accepts the previous secret too, until this time. If an operator removes the current secret, the previous one
    /// is rejected at once.
    #[must_use]
    pub fn with_previous(self, previous: Option<&str>, until: Timestamp) -> Self {
        let digest = digest_of_secret(previous).filter(|_| self.current.is_some());
        Self { previous: digest.map(|digest| (digest, until)), ..self }
    }

    /// Returns the verified body if one of the presented values is an accepted secret. The comparison takes the same
    /// time for every value.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`]: no presented value is an accepted secret.
    pub fn verify<'a>(
        &self,
        presented: impl IntoIterator<Item = &'a [u8]>,
        body: UnverifiedBody<'a>,
        now: Timestamp,
    ) -> Result<VerifiedBody<'a>, InvalidSecret> {
        let previous = self.previous.filter(|(_, until)| now < *until).map(|(digest, _)| digest);
        let mut is_accepted = Choice::from(0);
        for value in presented {
            let digest: [u8; 32] = Sha256::digest(value).into();
            for accepted in [self.current, previous].into_iter().flatten() {
                is_accepted |= digest.ct_eq(&accepted);
            }
        }
        if bool::from(is_accepted) { Ok(VerifiedBody(body.0)) } else { Err(InvalidSecret) }
    }
}

/// Trims white space, such as a line end that was pasted with the secret. No header can contain a line end.
fn digest_of_secret(value: Option<&str>) -> Option<[u8; 32]> {
    let value = value?.trim();
    (value.len() >= MIN_LENGTH).then(|| Sha256::digest(value).into())
}

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecrets([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CURRENT: &str = "sec_0123456789ab";
    const PREVIOUS: &str = "sec_fedcba987654";
    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn accepts(secrets: &WebhookSecrets, presented: &[&str], now: Timestamp) -> bool {
        let presented = presented.iter().map(|value| value.as_bytes());
        secrets.verify(presented, UnverifiedBody::new(b"{}"), now).is_ok()
    }

    #[test]
    fn current_secret_is_accepted_and_the_body_is_unchanged() {
        let verified = WebhookSecrets::new(Some(CURRENT))
            .verify([CURRENT.as_bytes()], UnverifiedBody::new(b"\x00 as it came"), NOW)
            .ok();
        assert_eq!(verified.unwrap().bytes(), b"\x00 as it came");
    }

    #[test]
    fn wrong_missing_or_empty_secret_is_rejected() {
        let secrets = WebhookSecrets::new(Some(CURRENT));
        let (shorter, longer, upper) =
            (&CURRENT[1..], format!("{CURRENT} "), CURRENT.to_uppercase());
        for presented in [&["wrong"][..], &[], &[""], &[shorter], &[&longer], &[&upper]] {
            assert!(!accepts(&secrets, presented, NOW), "{presented:?}");
        }
    }

    #[test]
    fn one_accepted_secret_among_several_values_is_enough() {
        let secrets = WebhookSecrets::new(Some(CURRENT));
        assert!(accepts(&secrets, &["wrong", CURRENT], NOW));
        assert!(accepts(&secrets, &[CURRENT, "wrong"], NOW));
    }

    #[test]
    fn previous_secret_is_accepted_until_its_end() {
        let end = NOW + Duration::from_hours(72);
        let secrets = WebhookSecrets::new(Some(CURRENT)).with_previous(Some(PREVIOUS), end);
        assert!(accepts(&secrets, &[PREVIOUS], end - Duration::from_millis(1)));
        assert!(!accepts(&secrets, &[PREVIOUS], end));
        assert!(accepts(&secrets, &[CURRENT], end));
    }

    #[test]
    fn blank_short_or_missing_stored_secret_accepts_no_value() {
        let short = &CURRENT[1..];
        for stored in [None, Some(""), Some("  \n"), Some("unset"), Some(" unset\n"), Some(short)] {
            let secrets = WebhookSecrets::new(stored);
            for presented in [&[][..], &[""], &["unset"], &[" "], &["  \n"], &[short]] {
                assert!(!accepts(&secrets, presented, NOW), "{stored:?} {presented:?}");
            }
        }
        let end = NOW + Duration::from_hours(1);
        let secrets = WebhookSecrets::new(Some(CURRENT)).with_previous(Some("unset"), end);
        assert!(!accepts(&secrets, &["unset"], NOW), "an unset previous secret matches nothing");
        let closed = WebhookSecrets::new(Some("unset")).with_previous(Some(PREVIOUS), end);
        assert!(!accepts(&closed, &[PREVIOUS], NOW), "without a current secret, no value matches");
    }

    #[test]
    fn line_end_is_removed_from_the_stored_secret() {
        let secrets = WebhookSecrets::new(Some(&format!("{CURRENT}\n")));
        assert!(accepts(&secrets, &[CURRENT], NOW));
    }

    #[test]
    fn debug_output_redacts_the_secrets() {
        let secrets = WebhookSecrets::new(Some(CURRENT)).with_previous(Some(PREVIOUS), NOW);
        assert_eq!(format!("{secrets:?}"), "WebhookSecrets([redacted])");
    }
}
