//! The URL that a customer is redirected to after re-authorisation.

use std::str::FromStr;

use url::{Origin, Url};

/// The maximum length of a URL in characters.
const MAX_LENGTH: usize = 2048;

/// The origins to which a caller may redirect customers.
#[derive(Clone, Debug, Default)]
pub struct RedirectOrigins(Vec<Origin>);

/// A part of the list is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a comma-separated list of origins, such as https://app.example")]
pub struct InvalidOrigins;

impl FromStr for RedirectOrigins {
    type Err = InvalidOrigins;

    fn from_str(text: &str) -> Result<Self, InvalidOrigins> {
        let origin = |text: &str| {
            let url = parse(text.trim()).filter(|url| url.path() == "/" && url.query().is_none());
            url.filter(|url| url.fragment().is_none()).map(|url| url.origin()).ok_or(InvalidOrigins)
        };
        text.split(',').map(origin).collect::<Result<_, _>>().map(Self)
    }
}

impl RedirectOrigins {
    /// Parses a URL of one of these origins. `None` for any other URL.
    pub fn parse(&self, text: &str) -> Option<Url> {
        parse(text).filter(|url| self.0.contains(&url.origin()))
    }
}

/// Parses a URL to which a customer's browser may be redirected: `https` with a host name, or `http` with a loopback
/// host for local development. `None` for any other URL. Mono receives the parsed URL, so Mono cannot parse it
/// differently.
fn parse(text: &str) -> Option<Url> {
    // The parser of `url` accepts characters that are not valid in a URL.
    let is_ascii = text.len() <= MAX_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic());
    let (scheme, rest) = text.split_once("://").filter(|_| is_ascii && !text.contains('\\'))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let (host, port) = authority.split_at(port_at.unwrap_or(authority.len()));
    let is_allowed = match scheme {
        "https" => is_host_name(host),
        "http" => ["localhost", "127.0.0.1", "[::1]"].contains(&host),
        _ => false,
    };
    Url::parse(text).ok().filter(|_| is_allowed && port != ":")
}

/// Labels of letters, digits and hyphens. The last label starts with a letter.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_name = host.rsplit('.').next().is_some_and(|last| last.starts_with(char::is_alphabetic));
    is_name && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_url_is_accepted_only_if_its_origin_is_listed() {
        let origins: RedirectOrigins =
            "https://app.example, http://localhost:3000/".parse().unwrap();
        for url in [
            "https://app.example/done?a=b#c",
            "https://app.example:443/",
            "http://localhost:3000/x",
        ] {
            assert!(origins.parse(url).is_some(), "{url}");
        }
        for url in [
            "https://app.example.com/",
            "https://evil.example/https://app.example",
            "https://app.example:8443/",
            "http://localhost/",
            "http://app.example/",
        ] {
            assert_eq!(origins.parse(url), None, "{url}");
        }
        assert_eq!(RedirectOrigins::default().parse("https://app.example/"), None);
        for list in ["", "app.example", "https://app.example/done", "https://app.example,", "*"] {
            assert!(list.parse::<RedirectOrigins>().is_err(), "{list}");
        }
    }

    #[test]
    fn redirect_url_is_accepted_only_with_https_or_a_loopback_host() {
        for url in [
            "https://app.example/done?a=b#c",
            "http://localhost:3000/done",
            "http://127.0.0.1/",
            "http://[::1]:8080/",
        ] {
            assert_eq!(parse(url).map(String::from).as_deref(), Some(url));
        }
        let long = format!("https://app.example/{}", "x".repeat(2048));
        for url in [
            "http://app.example/done",
            "http://localhost.example/",
            "javascript:alert(1)",
            "ftp://app.example",
            "app.example",
            "https://",
            "https://bank@app.example/",
            "https://app.example/a b",
            "https://app.example/?\u{af}n",
            "https://app.exa\tmple/",
            "https:app.example",
            "https://app.example*",
            "https://app_1.example",
            "https://app..example",
            "https://app.example.",
            "https://app.example:",
            "https://app.example:99999",
            "https://192.0.2.1/",
            "https://[::1]/",
            "http://127.0.0.2/",
            r"https:\\app.example",
            r"https://app.example\\evil",
            "HTTPS://app.example",
            "",
            &long,
        ] {
            assert_eq!(parse(url), None, "{url}");
        }
    }
}
