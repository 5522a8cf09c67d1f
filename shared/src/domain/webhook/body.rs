//! What a verified call must look like to be queued: little, since nothing authentic may be lost.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::domain::webhook::secret::VerifiedBody;

/// The largest body that is taken: 256 KiB, over a hundred times Mono's largest known event.
pub const LARGEST_BODY: usize = 256 * 1024;

/// The text of an authentic call, a JSON object.
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
    /// The text to be queued.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> TryFrom<VerifiedBody<'a>> for WebhookBody<'a> {
    type Error = UnusableBody;

    fn try_from(verified: VerifiedBody<'a>) -> Result<Self, UnusableBody> {
        let bytes = verified.bytes();
        if bytes.len() > LARGEST_BODY {
            return Err(UnusableBody::TooLarge);
        }
        let text = str::from_utf8(bytes).map_err(|_| UnusableBody::NotAJsonObject)?;
        // Reads past the values without building or nesting anything, so depth is no limit here.
        serde_json::from_str::<AnyObject>(text).map_err(|_| UnusableBody::NotAJsonObject)?;
        Ok(Self(sendable(text)))
    }
}

/// A JSON object with anything in it.
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

/// SQS refuses U+FFFE and U+FFFF. In JSON they can only stand in a string, where an escape means
/// the same.
fn sendable(text: &str) -> Cow<'_, str> {
    if text.contains(['\u{fffe}', '\u{ffff}']) {
        Cow::Owned(text.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::timestamp::Timestamp;
    use crate::domain::webhook::secret::{UnverifiedBody, WebhookSecrets};

    fn accept(bytes: &[u8]) -> Result<String, UnusableBody> {
        let now = Timestamp::from_millis(0);
        let verified = WebhookSecrets::new(Some("s"), None, now)
            .verify([&b"s"[..]], UnverifiedBody::new(bytes), now)
            .unwrap();
        WebhookBody::try_from(verified).map(|body| body.as_str().to_owned())
    }

    #[test]
    fn any_json_object_is_taken_as_it_came() {
        for body in ["{}", " {\"event\": 7}\n", "{\"event\":\"direct_debit.x\",\"data\":[1,null]}"]
        {
            assert_eq!(accept(body.as_bytes()).as_deref(), Ok(body));
        }
    }

    #[test]
    fn body_that_is_not_a_json_object_is_refused() {
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
    fn exactly_256_kib_is_taken_and_a_byte_more_is_not() {
        let body = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
        assert!(accept(body(LARGEST_BODY).as_bytes()).is_ok());
        assert_eq!(accept(body(LARGEST_BODY + 1).as_bytes()), Err(UnusableBody::TooLarge));
    }

    #[test]
    fn nesting_of_ten_thousand_is_taken() {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(accept(body.as_bytes()), Ok(body));
    }

    #[test]
    fn characters_that_sqs_refuses_are_escaped_without_a_change_of_meaning() {
        let body = "{\"name\":\"a\u{fffe}b\u{ffff}\"}";
        let sent = accept(body.as_bytes()).unwrap();
        assert_eq!(sent, "{\"name\":\"a\\ufffeb\\uffff\"}");
        let meaning = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(meaning(&sent), meaning(body));
    }
}
