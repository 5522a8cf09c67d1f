//! v2: a read with a real-time header is a sync. Headers of the answer have its outcome.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::history::{TransactionsQuery, base_url, position};
use super::{Api, Decision, Problem, envelope, exchange, status};
use crate::account::Account;
use crate::bill::Charge;
use crate::event::{self, AUTH_METHOD};
use crate::history::Page;
use crate::id_generator::iso;
use crate::job::{Job, JobStatus};
use crate::plan::{Plan, ReauthSignal};
use crate::scenario::{HostedPage, Mono, Refresh, Sync, Trigger};

const REAUTHORISATION_REQUIRED: &str = "REAUTHORISATION_REQUIRED";
const COMPLETED: &str = "Request completed";

/// Mono's guide has the first name, its reference the second.
const REAL_TIME_HEADERS: [&str; 2] = ["x-realtime", "x-real-time"];

pub(super) fn routes() -> Router<Arc<Mono>> {
    Router::new()
        .route("/v2/accounts", get(list))
        .route("/v2/accounts/initiate", post(initiate))
        .route("/v2/accounts/auth", post(auth))
        .route("/v2/accounts/{account_id}/unlink", post(unlink))
        .route("/v2/accounts/{account_id}", get(details))
        .route("/v2/accounts/{account_id}/balance", get(balance))
        .route("/v2/accounts/{account_id}/transactions", get(history))
        .route("/v2/accounts/{account_id}/jobs/{job_id}", get(job))
}

#[derive(Deserialize)]
struct ListQuery {
    page: Option<usize>,
    limit: Option<usize>,
}

/// The linked accounts, in pages of 20 unless the query has a limit.
async fn list(State(mono): Api, Query(query): Query<ListQuery>, headers: HeaderMap) -> Json<Value> {
    let (page, limit) = (query.page.unwrap_or(1).max(1), query.limit.unwrap_or(20).clamp(1, 100));
    let (accounts, total) = mono.linked_accounts((page - 1) * limit, limit);
    let next = (page * limit < total)
        .then(|| format!("{}/v2/accounts?page={}", base_url(&headers), page + 1));
    let row = |account: &Account| {
        json!({
            "id": account.account_id,
            "name": account.name,
            "account_number": account.account_number,
            "currency": account.currency,
            "balance": account.balance,
            "auth_method": AUTH_METHOD,
            "status": account.data_status,
            "institution": {
                "name": account.institution.name,
                "bank_code": account.institution.bank_code,
            },
            "customer": account.customer_id,
        })
    };
    let rows: Vec<_> = accounts.iter().map(row).collect();
    let mut body = envelope("successful", "Data retrieved successfully", &json!(rows));
    body["meta"] = json!({ "total": total, "page": page, "previous": null, "next": next });
    Json(body)
}

async fn details(State(mono): Api, Path(account_id): Path<String>) -> Result<Response, Problem> {
    let account = mono.linked(&account_id)?;
    let data = json!({
        "account": {
            "id": account.account_id,
            "name": account.name,
            "account_number": account.account_number,
            "currency": account.currency,
            "balance": account.balance,
            "type": "SAVINGS",
            "bvn": account.bvn_ending(),
            "institution": {
                "name": account.institution.name,
                "bank_code": account.institution.bank_code,
                "type": "PERSONAL_BANKING",
            },
        },
        "customer": { "id": account.customer_id },
        "meta": {
            "data_status": account.data_status,
            "auth_method": AUTH_METHOD,
            "data_request_id": account.data_request_id,
            "retrieved_data": account.data_status.retrieved_data(),
            "ref": account.reference,
        },
    });
    let body = Json(envelope("successful", COMPLETED, &data));
    Ok(Decision::charged(Charge::Details).before(body))
}

async fn balance(
    State(mono): Api,
    Path(account_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if is_real_time(&headers) {
        return real_time(&mono, &account_id, Trigger::Balance, balance_of);
    }
    let body = Json(balance_of(&mono.linked(&account_id)?));
    Ok(Decision::charged(Charge::Balance).before(body))
}

async fn history(
    State(mono): Api,
    Path(account_id): Path<String>,
    Query(query): Query<TransactionsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let selection = query.selection()?;
    // Without /accounts/, as in Mono's sample. No route has this path.
    let url = format!("{}/v2/{account_id}/transactions", base_url(&headers));
    if is_real_time(&headers) {
        let body = |account: &Account| history_of(&account.page(&selection), &url);
        return real_time(&mono, &account_id, Trigger::Transactions, body);
    }
    let page = mono.page(&account_id, &selection)?;
    let body = history_of(&page, &url);
    Ok(Decision::for_page(&page).before(Json(body)))
}

async fn job(
    State(mono): Api,
    Path((account_id, job_id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    mono.linked(&account_id)?;
    let job = mono.job(&account_id, &job_id);
    let job = job.ok_or(Problem(StatusCode::NOT_FOUND, "No such job"))?;
    let message = match job.status {
        JobStatus::Processing => "The job is under way",
        _ => "The job has ended",
    };
    let data = event::job(&job.account_id, &job.id, job.name, job.status.wire_name());
    Ok(Json(envelope("successful", message, &data)))
}

#[derive(Deserialize)]
struct Initiation {
    scope: String,
    /// Only for a re-authorisation.
    account: Option<String>,
    /// Only for a link.
    customer: Option<Value>,
    #[serde(default)]
    meta: Value,
    #[serde(default)]
    redirect_url: Value,
}

/// Missing fields are null. Tests then call [`Mono::reauthorise`] or [`Mono::complete_link`] in place of the customer.
async fn initiate(State(mono): Api, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(initiation) = serde_json::from_slice::<Initiation>(&body) else {
        return Problem(StatusCode::BAD_REQUEST, "scope is required").into_response();
    };
    let decision = Decision { account_id: initiation.account.clone(), ..Decision::default() };
    match (initiation.scope.as_str(), &initiation.account, &initiation.customer) {
        ("reauth", Some(account_id), _) => {
            decision.before(reauthorisation(&mono, account_id, &initiation, &headers))
        }
        ("auth", None, Some(customer)) => {
            decision.before(hosted_link(&mono, customer, &initiation, &headers))
        }
        _ => Problem(StatusCode::BAD_REQUEST, "account or customer is required").into_response(),
    }
}

fn hosted_link(
    mono: &Mono,
    customer: &Value,
    initiation: &Initiation,
    headers: &HeaderMap,
) -> Result<Json<Value>, Problem> {
    let has = |name| customer[name].is_string();
    if !has("id") && (!has("name") || !has("email")) {
        return Err(Problem(StatusCode::BAD_REQUEST, "name and email are required"));
    }
    if !initiation.redirect_url.is_string() {
        return Err(Problem(StatusCode::BAD_REQUEST, "redirect_url is required"));
    }
    let reference = initiation.meta["ref"].as_str();
    if reference.is_some_and(|reference| !(10..=24).contains(&reference.len())) {
        return Err(Problem(StatusCode::BAD_REQUEST, "ref must have 10 to 24 characters"));
    }
    let customer_id = customer["id"].as_str().map_or_else(|| mono.object_id(), str::to_owned);
    let page = HostedPage {
        account_id: None,
        reference: reference.map(str::to_owned),
        redirect_url: initiation.redirect_url.as_str().map(str::to_owned),
    };
    let data = json!({
        "mono_url": mono.host(page, &base_url(headers)),
        "customer": customer_id,
        "meta": initiation.meta,
        "scope": initiation.scope,
        "redirect_url": initiation.redirect_url,
        "created_at": iso(OffsetDateTime::now_utc()),
    });
    Ok(Json(envelope("successful", COMPLETED, &data)))
}

async fn auth(State(mono): Api, body: Bytes) -> Response {
    match exchange(&mono, &body, "Invalid authorization code") {
        Ok(account_id) => {
            let decision = Decision { account_id: Some(account_id.clone()), ..Decision::default() };
            let data = json!({ "id": account_id });
            decision.before(Json(envelope("successful", COMPLETED, &data)))
        }
        Err(problem) => problem.into_response(),
    }
}

async fn unlink(State(mono): Api, Path(account_id): Path<String>) -> Result<Json<Value>, Problem> {
    mono.unlink(&account_id)?;
    Ok(Json(envelope("successful", COMPLETED, &Value::Null)))
}

fn reauthorisation(
    mono: &Mono,
    account_id: &str,
    initiation: &Initiation,
    headers: &HeaderMap,
) -> Result<Json<Value>, Problem> {
    let account = mono.linked(account_id)?;
    let institution = format!("{:0>24}", account.institution.bank_code);
    let page = HostedPage {
        account_id: Some(account.account_id.clone()),
        reference: None,
        redirect_url: initiation.redirect_url.as_str().map(str::to_owned),
    };
    let data = json!({
        "mono_url": mono.host(page, &base_url(headers)),
        "customer": account.customer_id,
        "account": account.account_id,
        "meta": initiation.meta,
        "scope": initiation.scope,
        "institution": institution,
        "auth_method": AUTH_METHOD,
        "redirect_url": initiation.redirect_url,
        "created_at": iso(OffsetDateTime::now_utc()),
    });
    Ok(Json(envelope("successful", COMPLETED, &data)))
}

fn balance_of(account: &Account) -> Value {
    let data = json!({
        "id": account.account_id,
        "name": account.name,
        "account_number": account.account_number,
        "balance": account.balance,
        "currency": account.currency,
    });
    envelope("successful", COMPLETED, &data)
}

fn history_of(page: &Page, url: &str) -> Value {
    let mut body = envelope("successful", "Transactions retrieved", &json!(page.rows));
    body["meta"] = position(page, url);
    body
}

/// An answer with new data from the bank, not with the data that Mono already has.
fn real_time(
    mono: &Arc<Mono>,
    account_id: &str,
    trigger: Trigger,
    body: impl Fn(&Account) -> Value,
) -> Result<Response, Problem> {
    Ok(match mono.sync(account_id, trigger)? {
        Sync::Begun(plan, job) => {
            let answer = outcome(&plan, &job, body(&mono.linked(account_id)?));
            Decision::planned(plan).before(answer)
        }
        Sync::UnderWay(job) => with_job(&Plan::default(), &job, enqueued()),
        Sync::Prevented(plan) => Decision::planned(plan).before(()),
    })
}

pub(super) fn requests_sync(request: &Request) -> bool {
    let path = request.uri().path();
    path.starts_with("/v2/")
        && (path.ends_with("/balance") || path.ends_with("/transactions"))
        && is_real_time(request.headers())
}

fn is_real_time(headers: &HeaderMap) -> bool {
    REAL_TIME_HEADERS
        .iter()
        .filter_map(|name| headers.get(*name))
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// The answer to a real-time call. If the job succeeded, it has the body of a plain read.
fn outcome(plan: &Plan, job: &Job, body: Value) -> Response {
    match job.status {
        JobStatus::Processing => with_job(plan, job, enqueued()),
        JobStatus::Finished => {
            let mut response = with_job(plan, job, Json(body).into_response());
            if plan.outcome == Refresh::NewData {
                response.headers_mut().insert("x-has-new-data", HeaderValue::from_static("true"));
            }
            response
        }
        JobStatus::Failed | JobStatus::ReauthorisationRequired => failure(plan, job, body),
    }
}

fn enqueued() -> Response {
    let message = "The sync is enqueued; a webhook will tell when it has ended";
    Json(envelope("successful", message, &Value::Null)).into_response()
}

fn failure(plan: &Plan, job: &Job, old_data: Value) -> Response {
    let mut body = if plan.old_data {
        old_data
    } else {
        envelope("failed", "The account could not be synced", &Value::Null)
    };
    let signal = (plan.outcome == Refresh::ReauthorisationRequired).then_some(plan.reauth_signal);
    match signal {
        Some(ReauthSignal::Code) => body["code"] = json!(REAUTHORISATION_REQUIRED),
        Some(ReauthSignal::Status) => body["status"] = json!(REAUTHORISATION_REQUIRED),
        _ => {}
    }
    let response = (status(plan.failure_status), Json(body)).into_response();
    if signal == Some(ReauthSignal::ReauthHeader) {
        ([("x-reauth-required", "true")], response).into_response()
    } else {
        with_job(plan, job, response)
    }
}

fn with_job(plan: &Plan, job: &Job, response: Response) -> Response {
    let status = match job.status {
        JobStatus::ReauthorisationRequired if plan.reauth_signal == ReauthSignal::JobLookup => {
            JobStatus::Failed
        }
        status => status,
    };
    let status = status.wire_name();
    let status = if plan.capitals { status.to_uppercase() } else { status.to_lowercase() };
    ([("x-job-id", job.id.clone()), ("x-job-status", status)], response).into_response()
}
