//! Parses and checks the parameters and the caller of a request.

use std::borrow::Cow;
use std::str::FromStr;

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

use crate::domain::account_id::AccountId;
use crate::domain::business_day::BusinessDay;
use crate::domain::caller::Caller;
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;
use crate::http::problem::Problem;

/// The caller's name in API Gateway: the ARN of the principal that signed the request, or the claim `sub` of the
/// token.
/// `unknown` if the request has neither.
pub fn principal(request: &Request) -> String {
    let named = || {
        let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
            return None;
        };
        let authorizer = context.authorizer.as_ref()?;
        let subject = authorizer.jwt.as_ref().and_then(|token| token.claims.get("sub"));
        let signer = || authorizer.iam.as_ref()?.user_arn.as_ref();
        subject.or_else(signer).cloned()
    };
    named().unwrap_or_else(|| "unknown".to_owned())
}

/// The caller of a request. `owner_claim` is the claim of the token that names the owner. If it is `None`, every
/// caller may see every account.
pub fn caller(request: &Request, owner_claim: Option<&str>) -> Result<Caller, Problem> {
    let Some(claim) = owner_claim else {
        return Ok(Caller::Trusted);
    };
    let context = request.request_context_ref();
    let Some(RequestContext::ApiGatewayV2(context)) = context else {
        return Err(Problem::OwnerClaimMissing);
    };
    let token = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref());
    let owner = token.and_then(|token| token.claims.get(claim));
    let owner = owner.filter(|owner| !owner.trim().is_empty());
    owner.cloned().map(Caller::Owner).ok_or(Problem::OwnerClaimMissing)
}

/// The `{account_id}` of the route.
pub fn account_id(request: &Request) -> Result<AccountId, Problem> {
    let parameters = request.path_parameters();
    let text = parameters.first("account_id").unwrap_or_default();
    let expected = "1 to 64 letters, digits, hyphens or underscores";
    text.parse().map_err(|_| Problem::request_invalid("account_id", expected))
}

/// A query parameter whose value is one of a fixed set of words. `None` if the parameter is missing.
pub fn choice<T: Copy>(
    request: &Request,
    name: &'static str,
    expected: &'static str,
    words: &[(&str, T)],
) -> Result<Option<T>, Problem> {
    let known = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    parameter(request, name, expected, known)
}

/// `limit`: the number of items in an answer, from 1 to `most`.
pub fn limit(request: &Request, default: usize, most: usize) -> Result<usize, Problem> {
    let read = |text: &str| {
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.filter(|limit| limit.to_string() == text)
    };
    let expected = format!("a whole number from 1 to {most}");
    Ok(parameter(request, "limit", expected, read)?.unwrap_or(default))
}

/// `cursor`: the position where an earlier answer ended.
pub fn cursor<T: FromStr>(request: &Request) -> Result<Option<T>, Problem> {
    let expected = "the `next_cursor` of an answer to the same request";
    parameter(request, "cursor", expected, |text| text.parse().ok())
}

/// A time in RFC 3339 format, or a date. A date is a whole business day, and `of_day` selects the start or the end of
/// the day. `None` if the parameter is missing.
pub fn time(
    request: &Request,
    name: &'static str,
    of_day: impl Fn(BusinessDay) -> Timestamp,
) -> Result<Option<Timestamp>, Problem> {
    let expected = "a time such as 2026-01-27T21:00:38Z, or a date such as 2026-01-27, since 1970";
    parameter(request, name, expected, |text| {
        Timestamp::parse_rfc3339(text).or_else(|| BusinessDay::parse(text).map(&of_day))
    })
}

/// A text of at most `longest` bytes that is not blank. `None` if the parameter is missing.
pub fn text(
    request: &Request,
    name: &'static str,
    longest: usize,
) -> Result<Option<String>, Problem> {
    let expected = format!("a text of at most {longest} bytes that is not blank");
    let is_valid = |text: &str| !text.trim().is_empty() && text.len() <= longest;
    parameter(request, name, expected, |text| is_valid(text).then(|| text.to_owned()))
}

/// An amount in minor units. `None` if the parameter is missing.
pub fn amount(request: &Request, name: &'static str) -> Result<Option<MinorUnits>, Problem> {
    let read = |text: &str| {
        let amount = text.parse().ok().map(MinorUnits);
        amount.filter(|amount| amount.0.to_string() == text)
    };
    parameter(request, name, "a whole number of minor units", read)
}

fn parameter<T>(
    request: &Request,
    name: &'static str,
    expected: impl Into<Cow<'static, str>>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let parameters = request.query_string_parameters();
    let Some(text) = parameters.first(name) else {
        return Ok(None);
    };
    read(text).map(Some).ok_or_else(|| Problem::request_invalid(name, expected))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(authorizer: &Value) -> Request {
        let event = json!({
            "version": "2.0", "routeKey": "GET /accounts", "rawPath": "/accounts", "rawQueryString": "",
            "headers": {}, "isBase64Encoded": false,
            "requestContext": {
                "accountId": "1", "apiId": "api", "authorizer": authorizer, "domainName": "localhost",
                "http": { "method": "GET", "path": "/accounts", "protocol": "HTTP/1.1", "sourceIp": "::1",
                          "userAgent": "" },
                "requestId": "1", "routeKey": "GET /accounts", "stage": "$default", "timeEpoch": 1,
            },
        });
        lambda_http::request::from_str(&event.to_string()).expect("a valid event of API Gateway")
    }

    #[test]
    fn principal_is_the_signer_or_the_token_subject_or_unknown() {
        let arn = "arn:aws:iam::111122223333:user/app";
        let signed = json!({ "iam": { "userArn": arn } });
        let token = json!({ "jwt": { "claims": { "sub": "user-1" }, "scopes": null } });
        let nameless = json!({ "jwt": { "claims": {}, "scopes": null } });
        for (authorizer, expected) in
            [(signed, arn), (token, "user-1"), (nameless, "unknown"), (Value::Null, "unknown")]
        {
            assert_eq!(principal(&request(&authorizer)), expected);
        }
    }
}
