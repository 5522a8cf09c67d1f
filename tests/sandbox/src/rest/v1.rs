//! v1: a sync is answered when it has ended. A code in the answer is its outcome.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::history::{TransactionsQuery, base_url, position};
use super::{Api, Decision, Problem, exchange, status};
use crate::account::Account;
use crate::bill::Charge;
use crate::event::{AUTH_METHOD, institution};
use crate::history::Transaction;
use crate::plan::Plan;
use crate::scenario::{Mono, Refresh, Sync, Trigger};

pub(super) fn routes() -> Router<Arc<Mono>> {
    Router::new()
        .route("/accounts/{account_id}", get(details))
        .route("/accounts/{account_id}/transactions", get(history))
        .route("/accounts/{account_id}/sync", post(sync))
        .route("/accounts/{account_id}/reauthorise", post(reauthorise))
        .route("/account/auth", post(auth))
        .route("/accounts/{account_id}/unlink", post(unlink))
}

async fn details(State(mono): Api, Path(account_id): Path<String>) -> Result<Response, Problem> {
    let account = mono.linked(&account_id)?;
    let body = Json(json!({
        "meta": { "data_status": account.data_status, "auth_method": AUTH_METHOD },
        "account": {
            "_id": account.account_id,
            "name": account.name,
            "accountNumber": account.account_number,
            "type": "SAVINGS_ACCOUNT",
            "balance": account.balance,
            "currency": account.currency,
            "bvn": account.bvn_ending(),
            "institution": institution(&account),
        },
    }));
    Ok(Decision::charged(Charge::Details).before(body))
}

async fn history(
    State(mono): Api,
    Path(account_id): Path<String>,
    Query(query): Query<TransactionsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let selection = query.selection()?;
    let account = mono.linked(&account_id)?;
    let page = mono.page(&account_id, &selection)?;
    let url = format!("{}/accounts/{account_id}/transactions", base_url(&headers));
    let body = json!({
        "paging": position(&page, &url),
        "data": page.rows.iter().map(|row| row_json(row, &account)).collect::<Vec<_>>(),
    });
    Ok(Decision::for_page(&page).before(Json(body)))
}

/// A row as in v2, but with another name for the id, and with the currency.
fn row_json(row: &Transaction, account: &Account) -> Value {
    let mut row = json!(row);
    row["_id"] = row["id"].take();
    row["currency"] = json!(account.currency);
    row.as_object_mut().map(|fields| fields.remove("id"));
    row
}

pub(super) fn requests_sync(request: &Request) -> bool {
    let path = request.uri().path();
    request.method() == Method::POST && path.starts_with("/accounts/") && path.ends_with("/sync")
}

#[derive(Deserialize)]
struct SyncQuery {
    allow_incomplete_statement: Option<String>,
}

async fn sync(
    State(mono): Api,
    Path(account_id): Path<String>,
    Query(query): Query<SyncQuery>,
) -> Result<Response, Problem> {
    let allow_incomplete_statement = query.allow_incomplete_statement.as_deref() == Some("true");
    Ok(match mono.sync(&account_id, Trigger::V1 { allow_incomplete_statement })? {
        Sync::Begun(plan, job) => {
            let answer = outcome(&plan);
            let job_id = plan.fault.is_none().then_some(job.id);
            Decision { job_id, ..Decision::planned(plan) }.before(answer)
        }
        Sync::Prevented(plan) => Decision::planned(plan).before(()),
        Sync::UnderWay(_) => {
            let busy = Plan { outcome: Refresh::Failed, ..Plan::default() };
            outcome(&busy)
        }
    })
}

fn outcome(plan: &Plan) -> Response {
    let code = match plan.outcome {
        Refresh::NewData | Refresh::NothingNew => return success(plan).into_response(),
        Refresh::ReauthorisationRequired => "REAUTHORISATION_REQUIRED",
        Refresh::Failed | Refresh::BankUnavailable => "SYNC_ERROR",
        Refresh::Partial => "INCOMPLETE_STATEMENT_ERROR",
    };
    let body = json!({ "status": "failed", "code": code });
    (status(plan.failure_status), Json(body)).into_response()
}

fn success(plan: &Plan) -> Json<Value> {
    Json(json!({
        "status": "successful",
        "hasNewData": plan.outcome == Refresh::NewData,
        "code": plan.success_code,
        "message": null,
    }))
}

async fn auth(State(mono): Api, body: Bytes) -> Result<Json<Value>, Problem> {
    let account_id = exchange(&mono, &body, "You are using an invalid or expired code.")?;
    Ok(Json(json!({ "id": account_id })))
}

async fn unlink(State(mono): Api, Path(account_id): Path<String>) -> Result<Json<Value>, Problem> {
    mono.unlink(&account_id)?;
    Ok(Json(json!({ "message": "Account successfully unlinked" })))
}

/// Tests then call [`Mono::reauthorise`] in place of the customer.
async fn reauthorise(
    State(mono): Api,
    Path(account_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    mono.linked(&account_id)?;
    Ok(Json(json!({ "token": mono.token() })))
}
