//! What a request to the API asks for, read and checked.

use std::borrow::Cow;
use std::str::FromStr;

use lambda_http::{Request, RequestExt};

use crate::account_id::AccountId;
use crate::problem::Problem;

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
