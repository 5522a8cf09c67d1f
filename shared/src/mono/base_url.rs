//! The base URL of Mono's API.

use std::str::FromStr;

use lambda_http::http::Uri;
use url::Url;

/// The base URL of Mono's API: an origin, and an optional path prefix.
///
/// The secret key is sent to this URL. The URL must therefore be https, or http on a loopback host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

/// The text is not a valid base URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an https:// URL without query, and not http:// on a loopback host")]
pub struct InvalidBaseUrl;

impl BaseUrl {
    /// The URI of a path, which may include a query, below the base URL. All parts of the path must be safe in a URI.
    pub(super) fn join(&self, path: &str) -> Uri {
        format!("{}{path}", self.0).parse().expect("a base URL and safe parts are a URI")
    }

    /// Whether a URL has the origin of the base URL, which is `http` and therefore on a loopback host. So it is a page
    /// of a stand-in for Mono on this machine.
    pub(super) fn is_local_origin_of(&self, url: &Url) -> bool {
        let base = Url::parse(&self.0);
        url.scheme() == "http" && base.is_ok_and(|base| base.origin() == url.origin())
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let text = text.trim().trim_end_matches('/');
        let uri: Uri = text.parse().map_err(|_| InvalidBaseUrl)?;
        let host = uri.host().unwrap_or_default();
        let user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let is_safe = match uri.scheme_str() {
            Some("https") => !host.is_empty(),
            Some("http") => ["localhost", "127.0.0.1", "[::1]"].contains(&host),
            _ => false,
        };
        let is_plain = uri.query().is_none() && !text.contains('#') && !user;
        if is_safe && is_plain { Ok(Self(text.to_owned())) } else { Err(InvalidBaseUrl) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_appended_to_the_base_url() {
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
    fn unencrypted_or_malformed_base_url_is_rejected() {
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
