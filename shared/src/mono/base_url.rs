//! Where Mono's API is.

use std::str::FromStr;

use lambda_http::http::Uri;

/// The address of Mono's API: an origin, and a path if there is one in front of Mono's own.
///
/// The key is sent to it, so it is https, or http on the machine itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

/// The text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an https:// URL without query, or http:// on a loopback host")]
pub struct InvalidBaseUrl;

impl BaseUrl {
    /// The URI of a path below it, query included. The parts are ids and words that are safe in a
    /// URI.
    pub(super) fn join(&self, path: &str) -> Uri {
        format!("{}{path}", self.0).parse().expect("a base URL and safe parts are a URI")
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let text = text.trim().trim_end_matches('/');
        let uri: Uri = text.parse().map_err(|_| InvalidBaseUrl)?;
        let host = uri.host().unwrap_or_default();
        let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let private = match uri.scheme_str() {
            Some("https") => !host.is_empty(),
            Some("http") => ["localhost", "127.0.0.1", "[::1]"].contains(&host),
            _ => false,
        };
        let plain = uri.query().is_none() && !text.contains('#') && !user;
        if private && plain { Ok(Self(text.to_owned())) } else { Err(InvalidBaseUrl) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_put_behind_the_address() {
        for (text, uri) in [
            ("https://api.withmono.com", "https://api.withmono.com/v2/accounts/a"),
            ("https://api.withmono.com/", "https://api.withmono.com/v2/accounts/a"),
            ("https://proxy.example/mono", "https://proxy.example/mono/v2/accounts/a"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v2/accounts/a"),
        ] {
            let base: BaseUrl = text.parse().unwrap();
            assert_eq!(base.join("/v2/accounts/a").to_string(), uri);
        }
    }

    #[test]
    fn key_is_sent_in_the_clear_to_nobody_but_the_machine_itself() {
        for text in [
            "",
            "api.withmono.com",
            "http://api.withmono.com",
            "http://localhost.example",
            "ftp://api.withmono.com",
            "https://api.withmono.com/?a=b",
            "https://api.withmono.com/#a",
            "https://user:password@api.withmono.com",
            "https://",
        ] {
            assert_eq!(text.parse::<BaseUrl>(), Err(InvalidBaseUrl), "{text}");
        }
    }
}
