//! What a request to the API asks for, read and checked.

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
    text.parse().map_err(|_| Problem::RequestInvalid {
        name: "account_id",
        expected: "1 to 64 letters, digits, hyphens or underscores",
    })
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
    let parameters = request.query_string_parameters();
    let Some(text) = parameters.first(name) else {
        return Ok(None);
    };
    let known = words.iter().find(|(word, _)| *word == text);
    known.map(|(_, value)| Some(*value)).ok_or(Problem::RequestInvalid { name, expected })
}
