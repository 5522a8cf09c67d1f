//! What the function does with a request: one read, one view.

use lambda_http::{Body, Error, Request, RequestExt, Response};
use mono_sync::problem::{self, Problem};
use mono_sync::request::account_id;
use mono_sync::store::AccountStore;
use mono_sync::timestamp::Timestamp;
use tracing::{debug, error};

/// What the function is wired to.
pub(crate) struct Accounts {
    pub(crate) store: AccountStore,
}

impl Accounts {
    /// Answers a request with the account as it stands.
    pub(crate) async fn answer(&self, request: Request) -> Result<Response<Body>, Error> {
        let request_id = request.lambda_context().request_id;
        let response = self.account(&request, &request_id).await.unwrap_or_else(|problem| {
            debug!(request_id, code = problem.code(), "answered with a problem");
            Response::from(&problem)
        });
        Ok(problem::with_request_id(response, &request_id))
    }

    async fn account(
        &self,
        request: &Request,
        request_id: &str,
    ) -> Result<Response<Body>, Problem> {
        let account_id = account_id(request)?;
        let stored = self.store.get(&account_id).await.map_err(|error| {
            error!(request_id, %account_id, %error, "the record cannot be read");
            Problem::StoreUnavailable
        })?;
        let stored = stored.ok_or(Problem::AccountNotFound)?;
        Ok(problem::ok(&stored.account.view(Timestamp::now(), self.store.policy())))
    }
}
