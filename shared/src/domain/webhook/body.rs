//! The check of a verified webhook body before it is queued. The check is lenient, because no authentic webhook may
//! be lost. A BVN is masked, so no queue holds one, unless the event is forwarded.

mod mask;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::domain::webhook::forwarding::ForwardEvents;
use crate::domain::webhook::secret::VerifiedBody;

/// The maximum size of a body: 256 KiB. This is over a hundred times Mono's largest known event.
pub const LARGEST_BODY: usize = 256 * 1024;

/// The text of an authentic webhook, a JSON object.
#[derive(Debug)]
pub struct WebhookBody<'a>(Cow<'a, str>);

/// An authentic body that cannot be an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableBody {
    /// Over [`LARGEST_BODY`].
    #[error("the body is larger than 256 KiB")]
    TooLarge,
    /// Not a JSON object in UTF-8.
    #[error("the body is not a JSON object")]
    NotAJsonObject,
}

impl WebhookBody<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> WebhookBody<'a> {
    /// Accepts a body. An event that is forwarded stays unchanged. In any other event, a BVN is masked.
    ///
    /// # Errors
    ///
    /// [`UnusableBody`]: the body cannot be an event.
    pub fn accept(
        verified: &VerifiedBody<'a>,
        forwarded: ForwardEvents,
    ) -> Result<Self, UnusableBody> {
        let bytes = verified.bytes();
        if bytes.len() > LARGEST_BODY {
            return Err(UnusableBody::TooLarge);
        }
        let text = str::from_utf8(bytes).map_err(|_| UnusableBody::NotAJsonObject)?;
        // The parser skips the values and builds nothing, so the nesting depth has no limit here.
        serde_json::from_str::<AnyObject>(text).map_err(|_| UnusableBody::NotAJsonObject)?;
        Ok(Self(if forwarded.include_text(text) { Cow::Borrowed(text) } else { mask::bvn(text) }))
    }
}

/// A JSON object with any content.
struct AnyObject;

impl<'de> Deserialize<'de> for AnyObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for AnyObject {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::timestamp::Timestamp;
    use crate::domain::webhook::secret::{UnverifiedBody, WebhookSecrets};

    fn accept(bytes: &[u8]) -> Result<String, UnusableBody> {
        accept_and_forward(bytes, ForwardEvents::None)
    }

    fn accept_and_forward(bytes: &[u8], forwarded: ForwardEvents) -> Result<String, UnusableBody> {
        let now = Timestamp::from_millis(0);
        let verified = WebhookSecrets::new(Some("sec_0123456789ab"))
            .verify([&b"sec_0123456789ab"[..]], UnverifiedBody::new(bytes), now)
            .unwrap();
        WebhookBody::accept(&verified, forwarded).map(|body| body.as_str().to_owned())
    }

    #[test]
    fn json_object_is_accepted_unchanged() {
        for body in ["{}", " {\"event\": 7}\n", "{\"event\":\"direct_debit.x\",\"data\":[1,null]}"]
        {
            assert_eq!(accept(body.as_bytes()).as_deref(), Ok(body));
        }
    }

    #[test]
    fn body_that_is_not_a_json_object_is_rejected() {
        let bodies = [
            "",
            "null",
            "[]",
            "\"{}\"",
            "{",
            "{}{}",
            "{\"a\":}",
            "a=b",
            "\u{feff}{}",
            "{\"a\":\"\n\"}",
        ];
        for body in bodies {
            assert_eq!(accept(body.as_bytes()), Err(UnusableBody::NotAJsonObject), "{body}");
        }
        assert_eq!(accept(b"{\"a\":\"\xff\"}"), Err(UnusableBody::NotAJsonObject));
    }

    #[test]
    fn body_of_256_kib_is_accepted_and_a_larger_body_is_rejected() {
        let body = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
        assert!(accept(body(LARGEST_BODY).as_bytes()).is_ok());
        assert_eq!(accept(body(LARGEST_BODY + 1).as_bytes()), Err(UnusableBody::TooLarge));
    }

    #[test]
    fn body_nested_ten_thousand_deep_is_accepted() {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(accept(body.as_bytes()), Ok(body));
    }

    #[test]
    fn bvn_is_masked_unless_the_event_is_forwarded() {
        let applied =
            r#"{"event":"mono.events.account_unlinked","data":"a1b2c3d4e5f6","bvn":"22"}"#;
        let masked = applied.replace("22", "**");
        let unhandled = r#"{"event":"mono.events.account_income","bvn":"22"}"#;
        let accept =
            |body: &str, forwarded| accept_and_forward(body.as_bytes(), forwarded).unwrap();
        assert_eq!(accept(applied, ForwardEvents::None), masked);
        assert_eq!(accept(applied, ForwardEvents::Unhandled), masked);
        assert_eq!(accept(applied, ForwardEvents::All), applied);
        assert_eq!(accept(unhandled, ForwardEvents::None), unhandled.replace("22", "**"));
        assert_eq!(accept(unhandled, ForwardEvents::Unhandled), unhandled);
    }
}
