//! `PATCH /accounts/{account_id}`: the refresh rule of an account.

use lambda_http::{Body, Request, Response};
use mono_sync::domain::account::RefreshRule;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::http::account::unavailable;
use mono_sync::http::problem::Problem;
use mono_sync::http::request::account_id;
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use serde_json::Value;
use tracing::info;

use crate::body;
use crate::handler::{Links, audit};

impl Links {
    pub(crate) async fn set_refresh(
        &self,
        request: &Request,
        caller: &Caller,
        invocation: &Invocation,
    ) -> Result<Response<Body>, Problem> {
        let (account_id, request_id) = (account_id(request)?, &invocation.request_id);
        audit(request, "set_refresh", Some(&account_id), invocation);
        let rule = rule(request)?;
        let stored = self.account(request, caller, invocation).await?;
        let store = &self.accounts.store;
        let account = store.set_refresh(stored, caller, rule).await;
        let account =
            account.map_err(|error| unavailable(request_id, Some(&account_id), &error))?;
        let account = account.ok_or(Problem::AccountNotFound)?;
        let refresh = rule.map_or("default", RefreshRule::as_str);
        info!(request_id, %account_id, refresh, "refresh rule set");
        Ok(response::ok(&account.view(Timestamp::now(), store.policy())))
    }
}

/// Reads the body. `None`: the default rule.
fn rule(request: &Request) -> Result<Option<RefreshRule>, Problem> {
    let members = body::members(request, &["refresh"])?;
    let word = members.get("refresh").and_then(Value::as_str).unwrap_or_default();
    let expected = "default, off, 6h, 12h, 24h, weekly or on_read";
    RefreshRule::of_account(word).ok_or_else(|| Problem::request_invalid("refresh", expected))
}
