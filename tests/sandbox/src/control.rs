//! The control API: what a test does by calling methods, a person does with curl.
//!
//! | route | body | does |
//! | --- | --- | --- |
//! | `POST /control/accounts` | `{"account_id"?, "ref"?, "dialect"?, "balance"?, "currency"?, "balance_only"?, "silent"?, "history"?}` | links one, see [`History`](crate::History); `{"account_id"}` |
//! | `GET /control/accounts` | | every account ever linked |
//! | `POST /control/accounts/{id}/refresh` | `{"outcome"}` | see [`Refresh`] |
//! | `POST /control/accounts/{id}/reauthorise` | | |
//! | `POST /control/accounts/{id}/unlink` | | |
//! | `POST /control/accounts/{id}/events` | `{"event", "event_id"?, "timestamp"?, "fate"?}` | sends one event, see [`Kind`] and [`NetworkFate`]; `{"number", "body"}` |
//! | `PUT /control/accounts/{id}/plans` | `[…]`, see [`Plan`] | what its next syncs come to |
//! | `PUT /control/accounts/{id}/default_plan` | see [`Plan`] | what all others come to |
//! | `PUT /control/accounts/{id}/free_faults` | `[…]`, see [`Fault`] | what its next free calls meet |
//! | `GET /control/accounts/{id}/transactions` | | its history, the newest row first |
//! | `POST /control/accounts/{id}/transactions` | some fields of a [`Transaction`] | adds one, of today; the row |
//! | `PATCH /control/accounts/{id}/transactions/{row}` | the fields to change | the row |
//! | `DELETE /control/accounts/{id}/transactions/{row}` | | |
//! | `PUT /control/accounts/{id}/page_faults` | `[[page, …], …]`, see [`PageFault`] | what goes wrong about its pages, once |
//! | `PUT /control/accounts/{id}/default_page_faults` | `[[page, …], …]` | every other time |
//! | `GET /control/calls` | | the calls to Mono's API |
//! | `GET /control/bill`, `GET /control/accounts/{id}/bill` | | what Mono charges for them |
//! | `PUT /control/key` | `{"secret_key"}` | what those calls must carry |
//! | `PUT /control/network` | see [`Network`] | what is left out is as in a good network |
//! | `PUT /control/webhook` | `{"url", "secret"}` | |
//! | `GET /control/deliveries` | | the log |
//! | `GET /control/settled` | | the log, once every delivery has ended |
//!
//! It is ours, not Mono's. Bodies are JSON whatever their content type says, and an empty one is
//! `{}`, so that `curl -d` works as it is. What is refused is answered 4xx and `{"error": "…"}`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::account::{Account, Link};
use crate::bill::Bill;
use crate::call::Call;
use crate::delivery::Delivery;
use crate::event::Kind;
use crate::history::Transaction;
use crate::network::{Network, NetworkFate};
use crate::plan::{Fault, PageFault, Plan};
use crate::refusal::Refusal;
use crate::scenario::{Mono, Refresh};

type Control = State<Arc<Mono>>;

pub(crate) fn routes(mono: Arc<Mono>) -> Router {
    Router::new()
        .route("/accounts", get(accounts).post(link))
        .route("/accounts/{account_id}/refresh", post(refresh))
        .route("/accounts/{account_id}/reauthorise", post(reauthorise))
        .route("/accounts/{account_id}/unlink", post(unlink))
        .route("/accounts/{account_id}/events", post(send_event))
        .route("/accounts/{account_id}/plans", put(set_plans))
        .route("/accounts/{account_id}/default_plan", put(set_default_plan))
        .route("/accounts/{account_id}/free_faults", put(set_free_faults))
        .route("/accounts/{account_id}/transactions", get(transactions).post(add_transaction))
        .route(
            "/accounts/{account_id}/transactions/{row}",
            patch(change_transaction).delete(remove_transaction),
        )
        .route("/accounts/{account_id}/page_faults", put(set_page_faults))
        .route("/accounts/{account_id}/default_page_faults", put(set_default_page_faults))
        .route("/calls", get(calls))
        .route("/bill", get(whole_bill))
        .route("/accounts/{account_id}/bill", get(bill))
        .route("/key", put(set_key))
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
    fate: Option<NetworkFate>,
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
    let number = match request.fate {
        Some(fate) => mono.send_with(&event, fate),
        None => mono.send(&event),
    };
    Ok(Json(json!({ "number": number, "body": event.body() })))
}

async fn set_plans(State(mono): Control, Path(account_id): Path<String>, body: Bytes) -> Answer {
    mono.plan(&account_id, parse::<Vec<Plan>>(&body)?)?;
    done()
}

async fn set_default_plan(
    State(mono): Control,
    Path(account_id): Path<String>,
    body: Bytes,
) -> Answer {
    mono.plan_always(&account_id, parse(&body)?)?;
    done()
}

async fn set_free_faults(
    State(mono): Control,
    Path(account_id): Path<String>,
    body: Bytes,
) -> Answer {
    mono.plan_free(&account_id, parse::<Vec<Fault>>(&body)?)?;
    done()
}

async fn transactions(
    State(mono): Control,
    Path(account_id): Path<String>,
) -> Result<Json<Vec<Transaction>>, Problem> {
    mono.linked(&account_id)?;
    Ok(Json(mono.transactions(&account_id)))
}

async fn add_transaction(
    State(mono): Control,
    Path(account_id): Path<String>,
    body: Bytes,
) -> Answer {
    let row = with(&mono.draft_transaction(&account_id)?, &body)?;
    mono.add_transactions(&account_id, [row.clone()])?;
    shown(&mono, &account_id, &row.id)
}

async fn change_transaction(
    State(mono): Control,
    Path((account_id, id)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    mono.linked(&account_id)?;
    let row = with(&row(&mono, &account_id, &id)?, &body)?;
    mono.change_transaction(&account_id, &id, |old| old.clone_from(&row))?;
    shown(&mono, &account_id, &row.id)
}

async fn remove_transaction(
    State(mono): Control,
    Path((account_id, id)): Path<(String, String)>,
) -> Answer {
    mono.remove_transaction(&account_id, &id)?;
    done()
}

/// A row with some of its fields set.
fn with(row: &Transaction, fields: &Bytes) -> Result<Transaction, Problem> {
    let mut fields: Map<String, Value> = parse(fields)?;
    let mut row = json!(row);
    if let Some(row) = row.as_object_mut() {
        row.append(&mut fields);
    }
    serde_json::from_value(row).map_err(|error| bad_request(&error))
}

fn row(mono: &Mono, account_id: &str, id: &str) -> Result<Transaction, Refusal> {
    let row = mono.transactions(account_id).into_iter().find(|row| row.id == id);
    row.ok_or_else(|| Refusal::UnknownTransaction(id.to_owned()))
}

/// As it has become: its balance follows from the others.
fn shown(mono: &Mono, account_id: &str, id: &str) -> Answer {
    Ok(Json(json!(row(mono, account_id, id)?)))
}

async fn set_page_faults(
    State(mono): Control,
    Path(account_id): Path<String>,
    body: Bytes,
) -> Answer {
    mono.plan_pages(&account_id, parse::<Vec<(usize, PageFault)>>(&body)?)?;
    done()
}

async fn set_default_page_faults(
    State(mono): Control,
    Path(account_id): Path<String>,
    body: Bytes,
) -> Answer {
    mono.plan_pages_always(&account_id, parse::<Vec<(usize, PageFault)>>(&body)?)?;
    done()
}

async fn bill(State(mono): Control, Path(account_id): Path<String>) -> Json<Bill> {
    Json(mono.bill(&account_id))
}

async fn whole_bill(State(mono): Control) -> Json<Bill> {
    Json(mono.whole_bill())
}

async fn calls(State(mono): Control) -> Json<Vec<Call>> {
    Json(mono.calls())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    secret_key: String,
}

async fn set_key(State(mono): Control, body: Bytes) -> Answer {
    let request: KeyRequest = parse(&body)?;
    mono.set_secret_key(&request.secret_key)?;
    done()
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

/// Answered as `{"error": "…"}`.
struct Problem(StatusCode, String);

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::UnknownAccount(_) | Refusal::UnknownTransaction(_) => StatusCode::NOT_FOUND,
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
