//! Parses a request, reads or writes the data, and answers the request.

use lambda_http::http::Method;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use mono_sync::app::accounts::AccountReader;
use mono_sync::aws::store::{EventStore, Page, StoreError, Stored, TransactionStore};
use mono_sync::domain::account::{Account, RefreshRule};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::redirect_url::RedirectOrigins;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::http::problem::Problem;
use mono_sync::http::request::{account_id, caller, cursor, limit, principal};
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::telemetry;
use mono_sync::mono::Mono;
use serde_json::{Map, Value, json};
use tracing::{debug, error, info};

use crate::reauthorise;

pub(crate) struct Accounts {
    pub(crate) accounts: AccountReader,
    /// `None`: no history is kept.
    pub(crate) events: Option<EventStore>,
    pub(crate) transactions: TransactionStore,
    pub(crate) mono: Mono,
    /// The claim of the token that names the owner. `None`: every caller may see every account.
    pub(crate) owner_claim: Option<String>,
    pub(crate) redirect_origins: RedirectOrigins,
}

/// The default number of items on a page.
pub(crate) const DEFAULT_LIMIT: usize = 25;
/// The most items on a page.
pub(crate) const MOST: usize = 100;

enum Route {
    List,
    Account,
    Events,
    Transactions,
    Changes,
    Refresh,
    Reauthorise,
}

impl Accounts {
    pub(crate) async fn answer(&self, request: Request) -> Result<Response<Body>, Error> {
        let context = request.lambda_context();
        let invocation = Invocation::new(context.request_id, context.deadline);
        let request_id = &invocation.request_id;
        let response = self.respond(&request, &invocation).await.unwrap_or_else(|problem| {
            debug!(request_id, code = problem.code(), "request answered with a problem");
            Response::from(&problem)
        });
        Ok(response::with_request_id(response, request_id))
    }

    async fn respond(
        &self,
        request: &Request,
        invocation: &Invocation,
    ) -> Result<Response<Body>, Problem> {
        let caller = caller(request, self.owner_claim.as_deref())?;
        let request_id = &invocation.request_id;
        match route(request) {
            Route::List => self.list(request, &caller, request_id).await,
            Route::Account => {
                let account = self.read(request, &caller, request_id).await?;
                Ok(self.shown(&account))
            }
            Route::Refresh => {
                let principal = principal(request);
                telemetry::audit(request_id, &principal, "set_refresh", &account_id(request)?);
                self.set_refresh(request, &caller, request_id).await
            }
            Route::Events => self.events(request, &caller, request_id).await,
            Route::Transactions => self.transactions(request, &caller, request_id).await,
            Route::Changes => self.changes(request, &caller, request_id).await,
            Route::Reauthorise => {
                let body = reauthorise::parse(request, &self.redirect_origins)?;
                let principal = principal(request);
                telemetry::audit(request_id, &principal, "reauthorise", &account_id(request)?);
                let account = self.account(request, &caller, request_id).await?.account;
                reauthorise::answer(&self.mono, &account, body, &caller, invocation).await
            }
        }
    }

    /// Reads the account of the route, if the caller may see it. One request to DynamoDB.
    async fn account(
        &self,
        request: &Request,
        caller: &Caller,
        request_id: &str,
    ) -> Result<Stored, Problem> {
        let account_id = account_id(request)?;
        let stored = self.accounts.visible(&account_id, caller).await;
        let stored = stored.map_err(|error| unavailable(request_id, Some(&account_id), &error))?;
        stored.ok_or(Problem::AccountNotFound)
    }

    pub(crate) async fn read(
        &self,
        request: &Request,
        caller: &Caller,
        request_id: &str,
    ) -> Result<Account, Problem> {
        let stored = self.account(request, caller, request_id).await?;
        Ok(self.accounts.note_read(stored, request_id).await)
    }

    fn shown(&self, account: &Account) -> Response<Body> {
        response::ok(&account.view(Timestamp::now(), self.accounts.store.policy()))
    }

    async fn set_refresh(
        &self,
        request: &Request,
        caller: &Caller,
        request_id: &str,
    ) -> Result<Response<Body>, Problem> {
        let rule = refresh_rule(request)?;
        let stored = self.account(request, caller, request_id).await?;
        let account_id = stored.account.id.clone();
        let account = self.accounts.store.set_refresh(stored, rule).await;
        let account =
            account.map_err(|error| unavailable(request_id, Some(&account_id), &error))?;
        let refresh = rule.map_or("default", RefreshRule::as_str);
        info!(request_id, %account_id, refresh, "refresh rule set");
        Ok(self.shown(&account))
    }

    async fn events(
        &self,
        request: &Request,
        caller: &Caller,
        request_id: &str,
    ) -> Result<Response<Body>, Problem> {
        let (limit, before) = (limit(request, DEFAULT_LIMIT, MOST)?, cursor(request)?);
        let account = self.read(request, caller, request_id).await?;
        let page = match &self.events {
            Some(events) => events.page(&account.id, limit, before, Timestamp::now()).await,
            None => Ok(Page { items: Vec::new(), next: None }),
        };
        let page = page.map_err(|error| unavailable(request_id, Some(&account.id), &error))?;
        Ok(response::ok(&json!({
            "events": page.items,
            "next_cursor": page.next.map(|next| next.to_string()),
        })))
    }
}

/// Matches the end of the path, because a custom domain may add a prefix.
fn route(request: &Request) -> Route {
    let parameters = request.path_parameters();
    let Some(id) = parameters.first("account_id") else {
        return Route::List;
    };
    let ends_in = |word| request.raw_http_path().ends_with(&format!("/{id}/{word}"));
    match *request.method() {
        Method::POST => Route::Reauthorise,
        Method::PATCH => Route::Refresh,
        _ if ends_in("events") => Route::Events,
        _ if ends_in("transactions") => Route::Transactions,
        _ if ends_in("transactions/changes") => Route::Changes,
        _ => Route::Account,
    }
}

/// Reads the body, which must be `{"refresh": …}` without other members. `None`: the default rule.
fn refresh_rule(request: &Request) -> Result<Option<RefreshRule>, Problem> {
    let body: Result<Map<String, Value>, _> = serde_json::from_slice(request.body());
    let body = body.map_err(|_| Problem::request_invalid("body", "a JSON object"))?;
    if let Some(other) = body.keys().find(|key| *key != "refresh") {
        return Err(Problem::request_invalid(other.clone(), "left out: only `refresh` can be set"));
    }
    let word = body.get("refresh").and_then(Value::as_str).unwrap_or_default();
    let expected = "default, off, 6h, 12h, 24h, weekly or on_read";
    RefreshRule::of_account(word).ok_or_else(|| Problem::request_invalid("refresh", expected))
}

pub(crate) fn unavailable(
    request_id: &str,
    account_id: Option<&AccountId>,
    error: &StoreError,
) -> Problem {
    let account_id = account_id.map(AccountId::as_str);
    error!(request_id, account_id, %error, "account data is unavailable");
    Problem::StoreUnavailable
}
