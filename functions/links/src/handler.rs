//! Parses a request, does one step of a life cycle, and answers the request.

use lambda_http::http::Method;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use mono_sync::app::accounts::AccountReader;
use mono_sync::app::links::{Failure, Linker};
use mono_sync::aws::store::Stored;
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::redirect_url::RedirectOrigins;
use mono_sync::http::account::{unavailable, visible_account};
use mono_sync::http::problem::Problem;
use mono_sync::http::request::{account_id, caller, principal};
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::telemetry;
use mono_sync::mono::LinkError;
use serde_json::json;
use tracing::error;

pub(crate) struct Links {
    pub(crate) accounts: AccountReader,
    pub(crate) linker: Linker,
    /// The claim of the token that names the owner. `None`: every caller may see every account.
    pub(crate) owner_claim: Option<String>,
    pub(crate) redirect_origins: RedirectOrigins,
}

enum Route {
    Start,
    Exchange,
    SetRefresh,
    Reauthorise,
    Unlink,
    Erase,
}

impl Links {
    pub(crate) async fn answer(&self, request: Request) -> Result<Response<Body>, Error> {
        let respond = async |invocation: &Invocation| self.respond(&request, invocation).await;
        Ok(response::answer(&request, respond).await)
    }

    async fn respond(
        &self,
        request: &Request,
        invocation: &Invocation,
    ) -> Result<Response<Body>, Problem> {
        let caller = caller(request, self.owner_claim.as_deref())?;
        match route(request) {
            Route::Start => self.start(request, caller, invocation).await,
            Route::Exchange => self.exchange(request, caller, invocation).await,
            Route::SetRefresh => self.set_refresh(request, &caller, invocation).await,
            Route::Reauthorise => self.reauthorise(request, &caller, invocation).await,
            Route::Unlink => self.unlink(request, &caller, invocation).await,
            Route::Erase => self.erase(request, &caller, invocation).await,
        }
    }

    async fn unlink(
        &self,
        request: &Request,
        caller: &Caller,
        invocation: &Invocation,
    ) -> Result<Response<Body>, Problem> {
        audit(request, "unlink", Some(&account_id(request)?), invocation);
        let stored = self.account(request, caller, invocation).await?;
        let unlinked = self.linker.unlink(stored, invocation).await;
        unlinked.map_err(|failure| problem(failure, invocation))?;
        Ok(response::ok(&json!({ "status": "unlinked" })))
    }

    /// The account of the route, if the caller may see it.
    pub(crate) async fn account(
        &self,
        request: &Request,
        caller: &Caller,
        invocation: &Invocation,
    ) -> Result<Stored, Problem> {
        visible_account(&self.accounts, request, caller, &invocation.request_id).await
    }
}

/// Logs who asked for a step.
pub(crate) fn audit(
    request: &Request,
    action: &'static str,
    account_id: Option<&AccountId>,
    invocation: &Invocation,
) {
    telemetry::audit(&invocation.request_id, &principal(request), action, account_id);
}

pub(crate) fn problem(failure: Failure, invocation: &Invocation) -> Problem {
    match failure {
        Failure::Store(error) => unavailable(&invocation.request_id, None, &error),
        Failure::Key(error) => {
            error!(invocation.request_id, %error, "Mono key could not be read");
            Problem::StoreUnavailable
        }
        Failure::Mono(LinkError::Unsupported) => Problem::NotSupportedByMonoApi,
        Failure::Mono(LinkError::Refused(error)) => Problem::SyncFailed(error),
        Failure::Mono(LinkError::Call(error)) => Problem::of_call_error(error, None),
        Failure::ForeignCode | Failure::Erased => Problem::LinkCodeInvalid,
    }
}

/// Matches the end of the path, because a custom domain may add a prefix.
fn route(request: &Request) -> Route {
    let path = request.raw_http_path();
    let has_account = request.path_parameters().first("account_id").is_some();
    match *request.method() {
        Method::PATCH => Route::SetRefresh,
        Method::DELETE => Route::Erase,
        _ if has_account && path.ends_with("/unlink") => Route::Unlink,
        _ if has_account => Route::Reauthorise,
        _ if path.ends_with("/exchange") => Route::Exchange,
        _ => Route::Start,
    }
}
