//! The control API, for use with curl. Tests call methods of the sandbox, which can do more.
//!
//! | route | body | effect or answer |
//! | --- | --- | --- |
//! | `POST /control/accounts` | `{"account_id"?, "ref"?, "dialect"?, "balance"?, "currency"?, "bank_code"?, "balance_only"?, "silent"?, "history"?}` | links an account, see [`History`](crate::History); answers `{"account_id"}` |
//! | `POST /control/links/{token}` | as above | logs in on a hosted page; `{token}` is the end of its URL |
//! | `POST /control/accounts/{id}/code` | | logs in through the widget; answers `{"code"}` |
//! | `GET /control/accounts` | | all accounts ever linked |
//! | `POST /control/accounts/{id}/refresh` | `{"outcome"}` | see [`Refresh`] |
//! | `POST /control/accounts/{id}/reauthorise` | | |
//! | `POST /control/accounts/{id}/unlink` | | |
//! | `POST /control/accounts/{id}/events` | `{"event", "event_id"?, "timestamp"?, "network_fault"?}` | sends one event, see [`Kind`] and [`NetworkFault`]; answers `{"number", "body"}` |
//! | `PUT /control/accounts/{id}/plans` | `[…]`, see [`Plan`] | plans the account's next syncs |
//! | `GET /control/accounts/{id}/transactions` | | the account's transactions, the newest first |
//! | `PUT /control/accounts/{id}/transactions/{id}` | a transaction as it is listed | changes a transaction at the bank |
//! | `DELETE /control/accounts/{id}/transactions/{id}` | | removes a transaction at the bank |
//! | `GET /control/calls` | | the calls to Mono's API |
//! | `PUT /control/network` | see [`Network`] | sets the network faults; missing fields have their defaults |
//! | `PUT /control/webhook` | `{"url", "secret"}` | sets the webhook's URL and secret |
//! | `GET /control/deliveries` | | the log of the deliveries |
//! | `GET /control/settled` | | the same log, as soon as every delivery has ended |
//!
//! Mono does not have this API. Bodies are read as JSON for every content type, and an empty body is
//! `{}`, so that `curl -d` works without options. Errors are answered with 4xx and `{"error": "…"}`.

use std::mem;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::account::{Account, Link};
use crate::call::Call;
use crate::delivery::Delivery;
use crate::event::Kind;
use crate::history::Transaction;
use crate::network::{Network, NetworkFault};
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::scenario::{Mono, Refresh};

type Control = State<Arc<Mono>>;

pub(crate) fn routes(mono: Arc<Mono>) -> Router {
    Router::new()
        .route("/accounts", get(accounts).post(link))
        .route("/links/{token}", post(complete_link))
        .route("/accounts/{account_id}/code", post(code))
        .route("/accounts/{account_id}/refresh", post(refresh))
        .route("/accounts/{account_id}/reauthorise", post(reauthorise))
        .route("/accounts/{account_id}/unlink", post(unlink))
        .route("/accounts/{account_id}/events", post(send_event))
        .route("/accounts/{account_id}/plans", put(set_plans))
        .route("/accounts/{account_id}/transactions", get(transactions))
        .route(
            "/accounts/{account_id}/transactions/{transaction_id}",
            put(change_transaction).delete(remove_transaction),
        )
        .route("/calls", get(calls))
        .route("/network", put(set_network))
        .route("/webhook", put(set_webhook))
        .route("/deliveries", get(deliveries))
        .route("/settled", get(settled))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(mono)
}

async fn accounts(State(mono): Control) -> Json<Vec<Account>> {
    Json(mono.accounts())
}

async fn link(State(mono): Control, body: Bytes) -> Answer {
    let link: Link = parse(&body)?;
    Ok(Json(json!({ "account_id": mono.link(link) })))
}

async fn complete_link(State(mono): Control, Path(token): Path<String>, body: Bytes) -> Answer {
    let link: Link = parse(&body)?;
    Ok(Json(json!({ "account_id": mono.complete_link(&token, link)? })))
}

async fn code(State(mono): Control, Path(account_id): Path<String>) -> Answer {
    Ok(Json(json!({ "code": mono.code(&account_id)? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefreshRequest {
    outcome: Refresh,
}

async fn refresh(State(mono): Control, Path(account_id): Path<String>, body: Bytes) -> Answer {
    let request: RefreshRequest = parse(&body)?;
    mono.refresh(&account_id, request.outcome)?;
    done()
}

async fn reauthorise(State(mono): Control, Path(account_id): Path<String>) -> Answer {
    mono.reauthorise(&account_id)?;
    done()
}

async fn unlink(State(mono): Control, Path(account_id): Path<String>) -> Answer {
    mono.unlink(&account_id)?;
    done()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventRequest {
    event: Kind,
    event_id: Option<String>,
    timestamp: Option<String>,
    network_fault: Option<NetworkFault>,
}

async fn send_event(State(mono): Control, Path(account_id): Path<String>, body: Bytes) -> Answer {
    let request: EventRequest = parse(&body)?;
    let mut event = mono.event(request.event, &account_id)?;
    if let Some(event_id) = request.event_id {
        event = event.with_event_id(&event_id);
    }
    if let Some(timestamp) = request.timestamp {
        event = event.with_timestamp(&timestamp);
    }
    let number = match request.network_fault {
        Some(network_fault) => mono.send_with(&event, network_fault),
        None => mono.send(&event),
    };
    Ok(Json(json!({ "number": number, "body": event.body() })))
}

async fn set_plans(State(mono): Control, Path(account_id): Path<String>, body: Bytes) -> Answer {
    mono.plan(&account_id, parse::<Vec<Plan>>(&body)?)?;
    done()
}

async fn transactions(
    State(mono): Control,
    Path(account_id): Path<String>,
) -> Result<Json<Vec<Transaction>>, Problem> {
    mono.linked(&account_id)?;
    Ok(Json(mono.transactions(&account_id)))
}

async fn change_transaction(
    State(mono): Control,
    Path((account_id, transaction_id)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let changed: Transaction = parse(&body)?;
    mono.change_transaction(&account_id, &transaction_id, |row| {
        *row = Transaction { id: mem::take(&mut row.id), ..changed };
    })?;
    done()
}

async fn remove_transaction(
    State(mono): Control,
    Path((account_id, transaction_id)): Path<(String, String)>,
) -> Answer {
    mono.remove_transaction(&account_id, &transaction_id)?;
    done()
}

async fn calls(State(mono): Control) -> Json<Vec<Call>> {
    Json(mono.calls())
}

async fn set_network(State(mono): Control, body: Bytes) -> Answer {
    let network: Network = parse(&body)?;
    mono.set_network(network)?;
    Ok(Json(json!(network)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookRequest {
    url: String,
    secret: String,
}

async fn set_webhook(State(mono): Control, body: Bytes) -> Answer {
    let request: WebhookRequest = parse(&body)?;
    mono.set_webhook(&request.url, &request.secret)?;
    done()
}

async fn deliveries(State(mono): Control) -> Json<Vec<Delivery>> {
    Json(mono.deliveries())
}

async fn settled(State(mono): Control) -> Json<Vec<Delivery>> {
    Json(mono.settled().await)
}

async fn no_such_route() -> Problem {
    Problem(StatusCode::NOT_FOUND, "no such route".to_owned())
}

async fn no_such_method() -> Problem {
    let message = "no such method on this route".to_owned();
    Problem(StatusCode::METHOD_NOT_ALLOWED, message)
}

type Answer = Result<Json<Value>, Problem>;

#[expect(clippy::unnecessary_wraps, reason = "it ends handlers that can fail")]
fn done() -> Answer {
    Ok(Json(json!({})))
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| bad_request(&error))
}

fn bad_request(error: &serde_json::Error) -> Problem {
    Problem(StatusCode::BAD_REQUEST, error.to_string())
}

/// An error, answered as `{"error": "…"}`.
struct Problem(StatusCode, String);

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::UnknownAccount(_)
            | Refusal::UnknownTransaction(_)
            | Refusal::UnknownLink(_) => StatusCode::NOT_FOUND,
            Refusal::Unlinked(_) => StatusCode::CONFLICT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self(status, refusal.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}
