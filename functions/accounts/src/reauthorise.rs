//! The way to a customer's re-authorisation: asked of Mono when it is wanted, and kept nowhere.

use std::time::Duration;

use lambda_http::http::header;
use lambda_http::{Body, Request, Response};
use mono_sync::account::{Account, Link};
use mono_sync::caller::Caller;
use mono_sync::invocation::Invocation;
use mono_sync::mono::{Mono, Reauthorisation, ReauthorisationRequest, ReauthoriseError};
use mono_sync::problem::Problem;
use mono_sync::response;
use mono_sync::timestamp::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tracing::{error, info};
use url::Url;

/// When to try again where Mono does not say.
const RETRY_AFTER: Duration = Duration::from_secs(30);
const LONGEST: usize = 2048;

#[derive(Serialize)]
struct Answer {
    status: &'static str,
    #[serde(flatten)]
    reauthorisation: Reauthorisation,
}

/// What the body asks for. An empty one asks for nothing in particular.
pub(crate) fn wanted(request: &Request) -> Result<ReauthorisationRequest, Problem> {
    let body: &[u8] = request.body();
    let mut wanted = ReauthorisationRequest::default();
    if body.is_empty() {
        return Ok(wanted);
    }
    let media_type = request.headers().get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Problem::request_invalid("content-type", "application/json"));
    }
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return Err(Problem::request_invalid("body", "a JSON object"));
    };
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("redirect_url" | "ref", Value::Null) => {}
            ("redirect_url", value) => {
                let expected = "an https:// URL (http:// for localhost) of at most 2048 characters";
                let url = value.as_str().and_then(safe_url);
                let url = url.ok_or_else(|| Problem::request_invalid("redirect_url", expected))?;
                wanted.redirect_url = Some(url.into());
            }
            ("ref", Value::String(text)) if (1..=LONGEST).contains(&text.chars().count()) => {
                wanted.reference = Some(text);
            }
            ("ref", _) => {
                return Err(Problem::request_invalid("ref", "a text of 1 to 2048 characters"));
            }
            _ => return Err(Problem::request_invalid("body", "made of `redirect_url` and `ref`")),
        }
    }
    Ok(wanted)
}

/// A customer comes back by it from the bank: over TLS to a named host, or on the developer's own
/// machine. Mono is given what was read and checked, lest it reads something else.
fn safe_url(text: &str) -> Option<Url> {
    // The parser is lenient with what is no part of a URL.
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

/// Labels of letters, digits and hyphens, the last of which is no number.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let named = host.rsplit('.').next().is_some_and(|last| last.starts_with(char::is_alphabetic));
    named && host.split('.').all(is_label)
}

/// Asks Mono, and answers with what the customer is to be sent through. An account that needs none
/// gets it all the same: the status tells.
pub(crate) async fn answer(
    mono: &Mono,
    account: &Account,
    wanted: ReauthorisationRequest,
    caller: &Caller,
    invocation: &Invocation,
) -> Result<Response<Body>, Problem> {
    if matches!(account.link(), Link::Ended { .. }) {
        return Err(Problem::AccountUnlinked);
    }
    let wanted = of_account(account, wanted, caller)?;
    let request_id = &invocation.request_id;
    let session = mono.session(Timestamp::now()).await.map_err(|error| {
        error!(request_id, %error, "there is no key to ask Mono with");
        Problem::StoreUnavailable
    })?;
    let reauthorisation = session.reauthorise(&account.id, &wanted, invocation.deadline).await;
    let account_id = &account.id;
    match reauthorisation {
        Ok(reauthorisation) => {
            info!(request_id, %account_id, "a re-authorisation is prepared");
            let status = account.status_since(Timestamp::now()).status.as_str();
            Ok(response::ok(&Answer { status, reauthorisation }))
        }
        Err(ReauthoriseError::NotFound) if account.is_unlinked() => Err(Problem::AccountUnlinked),
        Err(ReauthoriseError::NotFound) => Err(Problem::AccountNotFound),
        Err(ReauthoriseError::Failed(error)) => {
            info!(request_id, %account_id, mono_code = error.code, "no re-authorisation");
            Err(Problem::SyncFailed(error.without_name_of(account)))
        }
        Err(ReauthoriseError::Call(call_error)) => {
            info!(request_id, %account_id, call_error = call_error.as_str(), "no re-authorisation");
            Err(Problem::of_call_error(call_error.without_name_of(account), RETRY_AFTER))
        }
    }
}

/// The record's own reference goes with it, so that Mono's events tell whose account it is. Whoever
/// owns an account cannot give it to another.
fn of_account(
    account: &Account,
    wanted: ReauthorisationRequest,
    caller: &Caller,
) -> Result<ReauthorisationRequest, Problem> {
    let own = account.registers.reference.as_ref().map(|held| held.value.clone());
    let foreign = wanted.reference.is_some() && wanted.reference != own;
    if foreign && *caller != Caller::Trusted {
        return Err(Problem::request_invalid("ref", "the account's own, or left out"));
    }
    Ok(ReauthorisationRequest { reference: wanted.reference.or(own), ..wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, media_type: Option<&str>) -> Result<ReauthorisationRequest, String> {
        let mut request = lambda_http::http::Request::new(Body::from(body));
        if let Some(media_type) = media_type {
            request.headers_mut().insert(header::CONTENT_TYPE, media_type.parse().unwrap());
        }
        wanted(&request).map_err(|problem| match problem {
            Problem::RequestInvalid { name, .. } => name.into_owned(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn nothing_in_particular_is_asked_for_by_an_empty_body() {
        for body in ["", "{}", "{\"redirect_url\":null,\"ref\":null}"] {
            assert_eq!(read(body, None), Ok(ReauthorisationRequest::default()), "{body}");
        }
    }

    #[test]
    fn a_customer_is_only_sent_back_over_tls_or_to_the_developers_machine() {
        for url in [
            "https://app.example/done?a=b#c",
            "http://localhost:3000/done",
            "http://127.0.0.1/",
            "http://[::1]:8080/",
        ] {
            let wanted = read(&format!("{{\"redirect_url\":\"{url}\"}}"), None).unwrap();
            assert_eq!(wanted.redirect_url.as_deref(), Some(url));
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
            "https://app.exa\\tmple/",
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
            r"https:\\\\app.example",
            r"https://app.example\\\\evil",
            "HTTPS://app.example",
            "",
            &long,
        ] {
            let answer = read(&format!("{{\"redirect_url\":\"{url}\"}}"), None);
            assert_eq!(answer, Err("redirect_url".to_owned()), "{url}");
        }
    }

    #[test]
    fn what_is_not_as_it_should_be_is_named() {
        for (body, part) in [
            ("not json", "body"),
            ("[]", "body"),
            ("{\"novelty\":1}", "body"),
            ("{\"redirect_url\":1}", "redirect_url"),
            ("{\"ref\":\"\"}", "ref"),
            ("{\"ref\":7}", "ref"),
        ] {
            assert_eq!(read(body, None), Err(part.to_owned()), "{body}");
        }
        assert_eq!(read("{}", Some("text/plain")), Err("content-type".to_owned()));
        assert!(read("{}", Some("Application/JSON; charset=utf-8")).is_ok());
    }
}
