//! `DELETE /accounts/{account_id}`: the erasure of an account.

use std::time::Duration;

use lambda_http::{Body, Request, Response};
use mono_sync::aws::queues::Message;
use mono_sync::domain::account::Account;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::http::account::unavailable;
use mono_sync::http::problem::Problem;
use mono_sync::http::request::account_id;
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use serde_json::json;
use tracing::error;

use crate::handler::{Links, audit};

impl Links {
    /// Begins the erasure, and requests its first step. If the request cannot be enqueued, the caller repeats it, or
    /// the hourly plan makes it.
    pub(crate) async fn erase(
        &self,
        request: &Request,
        caller: &Caller,
        invocation: &Invocation,
    ) -> Result<Response<Body>, Problem> {
        let (account_id, request_id) = (account_id(request)?, &invocation.request_id);
        audit(request, "erase", Some(&account_id), invocation);
        let store = &self.accounts.store;
        let failed = |error| unavailable(request_id, Some(&account_id), &error);
        let stored = store.get_newest(&account_id).await.map_err(failed)?;
        let stored = stored.filter(|stored| caller.is_responsible_for(&stored.account));
        let stored = stored.ok_or(Problem::AccountNotFound)?;
        let is_due = |account: &Account| {
            let may_begin = |erasure| caller.may_erase_again(erasure);
            caller.is_responsible_for(account) && account.erasure.as_ref().is_none_or(may_begin)
        };
        let erasing = store.begin_erasure(stored, Timestamp::now(), is_due);
        let erasing = erasing.await.map_err(failed)?;
        erasing
            .filter(|stored| stored.account.erasure.is_some())
            .ok_or(Problem::AccountNotFound)?;
        let message = Message::erasure(account_id.clone(), Duration::ZERO);
        let failed = self.linker.refreshes.send(&[message]).await;
        if let Some(error) = failed.into_values().next() {
            error!(request_id, %account_id, %error, "erasure could not be requested");
            return Err(Problem::StoreUnavailable);
        }
        Ok(response::accepted(&json!({ "status": "erasing" })))
    }
}
