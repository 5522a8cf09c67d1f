//! `POST /accounts/{account_id}/reauthorise`: the body of the request, and the answer.

use lambda_http::http::header;
use lambda_http::{Body, Request, Response};
use mono_sync::app::reauthorise::{self, Refusal};
use mono_sync::domain::account::{Account, Status};
use mono_sync::domain::caller::Caller;
use mono_sync::domain::redirect_url::RedirectOrigins;
use mono_sync::http::problem::Problem;
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::mono::{Mono, Reauthorisation, ReauthorisationRequest};
use serde::Serialize;
use serde_json::Value;
use tracing::error;

#[derive(Serialize)]
struct Answer {
    status: Status,
    #[serde(flatten)]
    reauthorisation: Reauthorisation,
}

/// Parses the body of the request. It may be empty.
pub(crate) fn parse(
    request: &Request,
    origins: &RedirectOrigins,
) -> Result<ReauthorisationRequest, Problem> {
    let body: &[u8] = request.body();
    let mut parsed = ReauthorisationRequest::default();
    if body.is_empty() {
        return Ok(parsed);
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
                let expected =
                    "a URL of one of the stack's RedirectOrigins, at most 2048 characters";
                let url = value.as_str().and_then(|url| origins.parse(url));
                let url = url.ok_or_else(|| Problem::request_invalid("redirect_url", expected))?;
                parsed.redirect_url = Some(url.into());
            }
            ("ref", Value::String(text)) if ReauthorisationRequest::may_refer_to(&text) => {
                parsed.reference = Some(text);
            }
            ("ref", _) => {
                return Err(Problem::request_invalid("ref", "a text of 1 to 2048 characters"));
            }
            _ => return Err(Problem::request_invalid("body", "made of `redirect_url` and `ref`")),
        }
    }
    Ok(parsed)
}

pub(crate) async fn answer(
    mono: &Mono,
    account: &Account,
    request: ReauthorisationRequest,
    caller: &Caller,
    invocation: &Invocation,
) -> Result<Response<Body>, Problem> {
    match reauthorise::start(mono, account, request, caller, invocation).await {
        Ok((status, reauthorisation)) => Ok(response::ok(&Answer { status, reauthorisation })),
        Err(Refusal::Unlinked) => Err(Problem::AccountUnlinked),
        Err(Refusal::NotFound) => Err(Problem::AccountNotFound),
        Err(Refusal::ForeignReference) => {
            Err(Problem::request_invalid("ref", "the account's own, or left out"))
        }
        Err(Refusal::Failed(error)) => Err(Problem::SyncFailed(error)),
        Err(Refusal::Call(error)) => Err(Problem::of_call_error(error, None)),
        Err(Refusal::Key(error)) => {
            error!(invocation.request_id, %error, "Mono key could not be read");
            Err(Problem::StoreUnavailable)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, media_type: Option<&str>) -> Result<ReauthorisationRequest, String> {
        let mut request = lambda_http::http::Request::new(Body::from(body));
        if let Some(media_type) = media_type {
            request.headers_mut().insert(header::CONTENT_TYPE, media_type.parse().unwrap());
        }
        let origins = "https://app.example".parse().unwrap();
        parse(&request, &origins).map_err(|problem| match problem {
            Problem::RequestInvalid { name, .. } => name.into_owned(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn empty_body_gives_the_default_request() {
        for body in ["", "{}", "{\"redirect_url\":null,\"ref\":null}"] {
            assert_eq!(read(body, None), Ok(ReauthorisationRequest::default()), "{body}");
        }
    }

    #[test]
    fn error_names_the_invalid_part_of_the_request() {
        for (body, part) in [
            ("not json", "body"),
            ("[]", "body"),
            ("{\"novelty\":1}", "body"),
            ("{\"redirect_url\":1}", "redirect_url"),
            ("{\"redirect_url\":\"http://app.example/done\"}", "redirect_url"),
            ("{\"redirect_url\":\"https://evil.example/done\"}", "redirect_url"),
            ("{\"ref\":\"\"}", "ref"),
            ("{\"ref\":7}", "ref"),
        ] {
            assert_eq!(read(body, None), Err(part.to_owned()), "{body}");
        }
        assert_eq!(read("{}", Some("text/plain")), Err("content-type".to_owned()));
        assert!(read("{}", Some("Application/JSON; charset=utf-8")).is_ok());
    }
}
