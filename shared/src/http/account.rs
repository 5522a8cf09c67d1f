//! The account of a request.

use lambda_http::Request;
use tracing::error;

use crate::app::accounts::AccountReader;
use crate::aws::store::{StoreError, Stored};
use crate::domain::account_id::AccountId;
use crate::domain::caller::Caller;
use crate::http::problem::Problem;
use crate::http::request::account_id;

/// Reads the account of the route, if the caller may see it. One request to DynamoDB.
///
/// # Errors
///
/// The problem to answer with.
pub async fn visible_account(
    accounts: &AccountReader,
    request: &Request,
    caller: &Caller,
    request_id: &str,
) -> Result<Stored, Problem> {
    let account_id = account_id(request)?;
    let stored = accounts.visible(&account_id, caller).await;
    let stored = stored.map_err(|error| unavailable(request_id, Some(&account_id), &error))?;
    stored.ok_or(Problem::AccountNotFound)
}

/// Logs why the data is unavailable. Returns the problem to answer with.
pub fn unavailable(
    request_id: &str,
    account_id: Option<&AccountId>,
    error: &StoreError,
) -> Problem {
    let account_id = account_id.map(AccountId::as_str);
    error!(request_id, account_id, %error, "account data is unavailable");
    Problem::StoreUnavailable
}
