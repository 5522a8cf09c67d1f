//! The URL that a customer is redirected to after re-authorisation.

use url::Url;

/// The longest URL, in characters.
const LONGEST: usize = 2048;

/// Reads a URL that a customer's browser may be redirected to: `https` to a host name, or `http` to the developer's own
/// machine. `None` for anything else. Mono gets the parsed URL, so it cannot read it differently.
pub fn parse(text: &str) -> Option<Url> {
    // The parser accepts characters that are not part of a URL.
    let written = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic());
    let (scheme, rest) = text.split_once("://").filter(|_| written && !text.contains('\\'))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let port_at = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let (host, port) = authority.split_at(port_at.unwrap_or(authority.len()));
    let right = match scheme {
        "https" => is_host_name(host),
        "http" => ["localhost", "127.0.0.1", "[::1]"].contains(&host),
        _ => false,
    };
    Url::parse(text).ok().filter(|_| right && port != ":")
}

/// Labels of letters, digits and hyphens. The last one is not a number.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let named = host.rsplit('.').next().is_some_and(|last| last.starts_with(char::is_alphabetic));
    named && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customer_is_only_sent_back_over_tls_or_to_the_developers_machine() {
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
