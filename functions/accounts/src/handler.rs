//! Parses a request, reads the data, and answers the request.

use lambda_http::{Body, Error, Request, RequestExt, Response};
use mono_sync::app::accounts::AccountReader;
use mono_sync::aws::store::{EventStore, Page, TransactionStore};
use mono_sync::domain::account::Account;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::http::account::{unavailable, visible_account};
use mono_sync::http::problem::Problem;
use mono_sync::http::request::{caller, cursor, limit};
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use serde_json::json;

pub(crate) struct Accounts {
    pub(crate) accounts: AccountReader,
    /// `None`: no history is kept.
    pub(crate) events: Option<EventStore>,
    pub(crate) transactions: TransactionStore,
    /// The claim of the token that names the owner. `None`: every caller may see every account.
    pub(crate) owner_claim: Option<String>,
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
}

impl Accounts {
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
        let request_id = &invocation.request_id;
        match route(request) {
            Route::List => self.list(request, &caller, request_id).await,
            Route::Account => {
                let account = self.read(request, &caller, request_id).await?;
                let policy = self.accounts.store.policy();
                Ok(response::ok(&account.view(Timestamp::now(), policy)))
            }
            Route::Events => self.events(request, &caller, request_id).await,
            Route::Transactions => self.transactions(request, &caller, request_id).await,
            Route::Changes => self.changes(request, &caller, request_id).await,
        }
    }

    pub(crate) async fn read(
        &self,
        request: &Request,
        caller: &Caller,
        request_id: &str,
    ) -> Result<Account, Problem> {
        let stored = visible_account(&self.accounts, request, caller, request_id).await?;
        let account = self.accounts.note_read(stored, caller, request_id).await;
        account.ok_or(Problem::AccountNotFound)
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
    if ends_in("events") {
        Route::Events
    } else if ends_in("transactions") {
        Route::Transactions
    } else if ends_in("transactions/changes") {
        Route::Changes
    } else {
        Route::Account
    }
}
