//! Mono's REST API, v1 and v2: syncs, jobs, account details, balances, transactions and
//! re-authorisation.
//!
//! Both versions serve every account. A call is decided first, then logged, then answered. So the log is
//! right even if the answer never comes.

mod fault;
mod history;
mod v1;
mod v2;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::bill::Charge;
use crate::call::{Answer, Call};
use crate::history::Page;
use crate::id_generator::iso;
use crate::plan::{Fault, Plan, Webhooks};
use crate::refusal::Refusal;
use crate::scenario::Mono;

const KEY_HEADER: &str = "mono-sec-key";
/// The maximum size of a request body. Calls to Mono are smaller.
const MOST_BYTES: usize = 1 << 20;

type Api = State<Arc<Mono>>;

pub(crate) fn routes(mono: Arc<Mono>) -> Router {
    v1::routes()
        .merge(v2::routes())
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&mono), handle))
        .with_state(mono)
}

/// Checks the key, logs the call, and answers as decided.
async fn handle(State(mono): Api, request: Request, next: Next) -> Response {
    let signed_in = mono.is_key(request.headers().get(KEY_HEADER));
    let sync = v1::requests_sync(&request) || v2::requests_sync(&request);
    let method = request.method().to_string();
    let uri = request.uri().clone();
    let headers = request.headers().keys().map(ToString::to_string).collect();
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MOST_BYTES).await.unwrap_or_default();
    let request = Request::from_parts(parts, Body::from(body.clone()));
    let mut response = if signed_in {
        next.run(request).await
    } else {
        error(StatusCode::UNAUTHORIZED, "No valid key")
    };
    let decision: Decision = response.extensions_mut().remove().unwrap_or_default();
    let account_id = decision.account_id.clone().or_else(|| account_in(uri.path()));
    let fault = match &account_id {
        Some(account_id) if signed_in && !sync => mono.next_free_fault(account_id),
        _ => None,
    };
    let fault = fault.or_else(|| decision.fault.clone());
    mono.log_call(Call {
        method,
        path: uri.path().to_owned(),
        query: uri.query().map(str::to_owned),
        headers,
        body: serde_json::from_slice(&body).ok(),
        account_id: account_id.clone(),
        signed_in,
        sync,
        begun: decision.begun,
        charge: decision.charge.filter(|_| sync || fault.is_none()),
        answer: match &fault {
            Some(fault) => Answer::Fault(fault.clone()),
            None => Answer::Status(response.status().as_u16()),
        },
    });
    decision.wait(&mono, &account_id.unwrap_or_default()).await;
    match fault {
        Some(fault) => fault::respond(fault).await,
        None => response,
    }
}

/// The waits and the fault before an answer, and its data for the log. It is an extension of the answer.
#[derive(Clone, Default)]
struct Decision {
    /// The account, if the path does not name it.
    account_id: Option<String>,
    /// Whether the call began a sync.
    begun: bool,
    charge: Option<Charge>,
    fault: Option<Fault>,
    /// The job whose end the answer waits for.
    job_id: Option<String>,
    /// Whether the answer also waits for the webhooks.
    webhooks_first: bool,
    delay: Duration,
}

impl Decision {
    /// The decision for a call that requested a sync with this plan.
    fn planned(plan: Plan) -> Self {
        Self {
            begun: !plan.is_prevented(),
            charge: plan.brings_new_data().then_some(Charge::Realtime),
            webhooks_first: plan.webhooks == Webhooks::First,
            delay: Duration::from_millis(plan.delay_millis),
            fault: plan.fault,
            ..Self::default()
        }
    }

    /// The decision for a plain read, which is charged unless it has a fault.
    fn charged(charge: Charge) -> Self {
        Self { charge: Some(charge), ..Self::default() }
    }

    /// The decision for a page of transactions.
    fn for_page(page: &Page) -> Self {
        let charge = (!page.rows.is_empty()).then_some(Charge::TransactionsPage);
        Self { charge, fault: page.fault.clone(), ..Self::default() }
    }

    fn before(self, answer: impl IntoResponse) -> Response {
        let mut response = answer.into_response();
        response.extensions_mut().insert(self);
        response
    }

    async fn wait(&self, mono: &Mono, account_id: &str) {
        if let Some(job_id) = &self.job_id {
            mono.job_ended(job_id).await;
        }
        if self.webhooks_first {
            mono.settled_about(account_id).await;
        }
        sleep(self.delay).await;
    }
}

fn account_in(path: &str) -> Option<String> {
    let account_id = path.split('/').skip_while(|segment| *segment != "accounts").nth(1)?;
    (!["initiate", "auth"].contains(&account_id)).then(|| account_id.to_owned())
}

/// An error in Mono's format.
struct Problem(StatusCode, &'static str);

impl From<Refusal> for Problem {
    fn from(_: Refusal) -> Self {
        Self(StatusCode::NOT_FOUND, "No such account")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        error(self.0, self.1)
    }
}

async fn no_such_route() -> Problem {
    Problem(StatusCode::NOT_FOUND, "No such route")
}

async fn no_such_method() -> Problem {
    Problem(StatusCode::METHOD_NOT_ALLOWED, "No such method on this route")
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(envelope("failed", message, &Value::Null))).into_response()
}

/// The envelope of every v2 answer and every error.
fn envelope(status: &str, message: &str, data: &Value) -> Value {
    let timestamp = iso(OffsetDateTime::now_utc());
    json!({ "status": status, "message": message, "timestamp": timestamp, "data": data })
}

#[derive(Deserialize)]
struct CodeRequest {
    code: String,
}

/// Exchanges the code in the body.
fn exchange(mono: &Mono, body: &Bytes, refusal: &'static str) -> Result<String, Problem> {
    let refused = Problem(StatusCode::BAD_REQUEST, refusal);
    let Ok(CodeRequest { code }) = serde_json::from_slice(body) else {
        return Err(refused);
    };
    mono.exchange(&code).ok_or(refused)
}

/// The status in a plan. It is already checked.
fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::OK)
}
