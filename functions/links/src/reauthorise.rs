//! `POST /accounts/{account_id}/reauthorise`: the body of the request, and the answer.

use lambda_http::{Body, Request, Response};
use mono_sync::app::reauthorise::{self, Refusal};
use mono_sync::domain::account::Status;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::redirect_url::RedirectOrigins;
use mono_sync::http::problem::Problem;
use mono_sync::http::request::account_id;
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::mono::{Reauthorisation, ReauthorisationRequest};
use serde::Serialize;
use serde_json::Value;
use tracing::error;

use crate::body;
use crate::handler::{Links, audit};

#[derive(Serialize)]
struct Answer {
    status: Status,
    #[serde(flatten)]
    reauthorisation: Reauthorisation,
}

impl Links {
    pub(crate) async fn reauthorise(
        &self,
        request: &Request,
        caller: &Caller,
        invocation: &Invocation,
    ) -> Result<Response<Body>, Problem> {
        let body = parse(request, &self.redirect_origins)?;
        audit(request, "reauthorise", Some(&account_id(request)?), invocation);
        let account = self.account(request, caller, invocation).await?.account;
        match reauthorise::start(&self.linker.mono, &account, body, caller, invocation).await {
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
}

/// Parses the body of the request. It may be empty.
fn parse(request: &Request, origins: &RedirectOrigins) -> Result<ReauthorisationRequest, Problem> {
    let members = body::members(request, &["redirect_url", "ref"])?;
    let reference = match members.get("ref") {
        None => None,
        Some(Value::String(text)) if ReauthorisationRequest::may_refer_to(text) => {
            Some(text.clone())
        }
        Some(_) => return Err(Problem::request_invalid("ref", "a text of 1 to 2048 characters")),
    };
    Ok(ReauthorisationRequest { redirect_url: body::redirect_url(&members, origins)?, reference })
}

#[cfg(test)]
mod tests {
    use lambda_http::http::header;

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
            ("{\"novelty\":1}", "novelty"),
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
