//! `GET /accounts`: a list of accounts.

use lambda_http::{Body, Request, Response};
use mono_sync::app::accounts::{AccountFilter, StatusFilter};
use mono_sync::domain::account::{Account, Status};
use mono_sync::domain::caller::Caller;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::webhook::event::{MAX_REFERENCE, MAX_TEXT};
use mono_sync::http::account::unavailable;
use mono_sync::http::problem::Problem;
use mono_sync::http::request::{choice, cursor, limit, text};
use mono_sync::http::response;
use serde_json::json;

use crate::handler::{Accounts, DEFAULT_LIMIT, MOST};

impl Accounts {
    pub(crate) async fn list(
        &self,
        request: &Request,
        caller: &Caller,
        request_id: &str,
    ) -> Result<Response<Body>, Problem> {
        let filter = filter(request)?;
        let limit = limit(request, DEFAULT_LIMIT, MOST)?;
        let (accounts, next) = if filter.is_by_attention() {
            let page = self.accounts.attention(caller, &filter, limit, cursor(request)?).await;
            page.map(|page| (page.items, page.next.map(|next| next.to_string())))
        } else {
            let after = cursor(request)?;
            let page = self.accounts.list(caller, &filter, limit, after.as_ref()).await;
            page.map(|page| (page.items, page.next.map(|next| next.to_string())))
        }
        .map_err(|error| unavailable(request_id, None, &error))?;
        let (now, policy) = (Timestamp::now(), self.accounts.store.policy());
        let views: Vec<_> =
            accounts.iter().map(|account| Account::view(account, now, policy)).collect();
        Ok(response::ok(&json!({ "accounts": views, "next_cursor": next })))
    }
}

fn filter(request: &Request) -> Result<AccountFilter, Problem> {
    let statuses = Status::all_that_need_attention();
    let mut statuses: Vec<_> =
        statuses.map(|status| (status.as_str(), StatusFilter::Only(status))).collect();
    statuses.push(("attention", StatusFilter::Attention));
    let expected =
        "attention, reauthorisation_required, reauthorisation_pending, bank_unavailable or failed";
    Ok(AccountFilter {
        reference: text(request, "ref", MAX_REFERENCE)?,
        customer: text(request, "customer_id", MAX_TEXT)?,
        status: choice(request, "status", expected, &statuses)?,
    })
}
