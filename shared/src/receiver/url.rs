//! The URL of a receiver.

use std::net::IpAddr;
use std::str::FromStr;

use lambda_http::http::Uri;

use super::address::is_public;

/// An https URL with a public host, or an http or https URL of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverUrl(Uri);

/// The text is not a valid URL of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an https:// URL of a public host, and not http:// on localhost")]
pub struct InvalidReceiverUrl;

/// The names of this machine.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl ReceiverUrl {
    pub(super) const fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether the host is this machine.
    pub(super) fn is_local(&self) -> bool {
        self.0.host().is_some_and(|host| LOCAL.contains(&host))
    }
}

impl FromStr for ReceiverUrl {
    type Err = InvalidReceiverUrl;

    fn from_str(text: &str) -> Result<Self, InvalidReceiverUrl> {
        let url = Self(text.parse().map_err(|_| InvalidReceiverUrl)?);
        let host = url.0.host().unwrap_or_default();
        let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
        let is_public_host = !host.is_empty() && address.map_or(true, is_public);
        let is_reachable = match url.0.scheme_str() {
            Some("https") => url.is_local() || is_public_host,
            Some("http") => url.is_local(),
            _ => false,
        };
        let has_user = url.0.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let is_valid = is_reachable && !has_user && !text.contains('#');
        if is_valid { Ok(url) } else { Err(InvalidReceiverUrl) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_url_of_a_public_host_and_url_of_this_machine_are_accepted() {
        for text in [
            "https://example.com",
            "https://hooks.example.com:8443/mono?key=a%20b",
            "https://93.184.215.14/mono",
            "https://localhost/mono",
            "http://localhost:3000/mono",
            "http://127.0.0.1:3000",
            "http://[::1]:3000/mono",
        ] {
            assert_eq!(text.parse::<ReceiverUrl>().unwrap().uri(), &text.parse::<Uri>().unwrap());
        }
    }

    #[test]
    fn url_of_a_private_host_or_over_plain_http_is_rejected() {
        for text in [
            "",
            "example.com",
            "http://example.com",
            "http://localhost.example.com",
            "ftp://example.com",
            "https://",
            "https://user:password@example.com",
            "https://example.com/#a",
            "https://10.0.0.1/mono",
            "https://169.254.169.254/latest/meta-data",
            "https://127.0.0.2/",
            "https://[fd00::1]/",
            "https://[::ffff:10.0.0.1]/",
            "/mono",
        ] {
            assert_eq!(text.parse::<ReceiverUrl>(), Err(InvalidReceiverUrl), "{text}");
        }
    }
}
