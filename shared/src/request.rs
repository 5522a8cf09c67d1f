//! What a request to the API asks for, read and checked.

use std::borrow::Cow;
use std::str::FromStr;

use lambda_http::{Request, RequestExt};

use crate::account_id::AccountId;
use crate::business_day::BusinessDay;
use crate::problem::Problem;
use crate::timestamp::Timestamp;

/// The `{account_id}` of the route.
///
/// # Errors
///
/// [`Problem::RequestInvalid`].
pub fn account_id(request: &Request) -> Result<AccountId, Problem> {
    let parameters = request.path_parameters();
    let text = parameters.first("account_id").unwrap_or_default();
    let expected = "1 to 64 letters, digits, hyphens or underscores";
    text.parse().map_err(|_| Problem::request_invalid("account_id", expected))
}

/// A parameter of the query that is one of a few words. `None` if it is not there.
///
/// # Errors
///
/// [`Problem::RequestInvalid`].
pub fn choice<T: Copy>(
    request: &Request,
    name: &'static str,
    expected: &'static str,
    words: &[(&str, T)],
) -> Result<Option<T>, Problem> {
    let known = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    parameter(request, name, expected, known)
}

/// `limit`: how many there may be in an answer, from 1 to `most`.
///
/// # Errors
///
/// [`Problem::RequestInvalid`].
pub fn limit(request: &Request, default: usize, most: usize) -> Result<usize, Problem> {
    let read = |text: &str| {
        let limit = text.parse().ok().filter(|limit| (1..=most).contains(limit));
        limit.filter(|limit| limit.to_string() == text)
    };
    let expected = format!("a whole number from 1 to {most}");
    Ok(parameter(request, "limit", expected, read)?.unwrap_or(default))
}

/// `cursor`: the position that an earlier answer ended at.
///
/// # Errors
///
/// [`Problem::RequestInvalid`].
pub fn cursor<T: FromStr>(request: &Request) -> Result<Option<T>, Problem> {
    let expected = "the `next_cursor` of an answer to the same request";
    parameter(request, "cursor", expected, |text| text.parse().ok())
}

/// A time, as RFC 3339; or a date, which is a whole business day: `of_day` says which end of it is
/// meant. `None` if it is not there.
///
/// # Errors
///
/// [`Problem::RequestInvalid`].
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
