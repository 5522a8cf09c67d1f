//! A proxy between the functions and the emulator. It records requests and can make them fail.
//!
//! The AWS services that are used here name the operation in the header `x-amz-target`, for example
//! `DynamoDB_20120810.PutItem`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::notifications::check_published;
use crate::peer;
use crate::upstream::Upstream;

#[derive(Clone, Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    state: Mutex<Traffic>,
}

#[derive(Debug, Default)]
struct Traffic {
    requests: Vec<Call>,
    faults: VecDeque<Fault>,
}

/// A request that passed the proxy.
#[derive(Clone, Debug)]
pub struct Call {
    /// The operation, such as `PutItem`.
    pub operation: String,
    pub body: String,
}

/// A failure of the next matching request. It happens once.
#[derive(Debug)]
struct Fault {
    operation: &'static str,
    containing: String,
    failure: Failure,
}

/// The ways in which a request can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Refused: too many requests (400 `ThrottlingException`).
    Throttle,
    /// Refused: an internal error of the service (500).
    ServerError,
    /// Refused: no permission.
    AccessDenied,
    /// Executed, but answered with an internal error (500), as after a crash of the service.
    AnswerLost,
    /// Answered as if nothing had been processed (`BatchGetItem`, `BatchWriteItem`).
    Unprocessed,
    /// Executed for all keys except the first, which stays unprocessed (`BatchGetItem`).
    FirstUnprocessed,
    /// Executed without the first entry, which is refused for a reason that passes (`PutEvents`).
    FirstEntryThrottled,
    /// Executed without the first entry, which is refused as invalid (`PutEvents`).
    FirstEntryInvalid,
    /// Not answered before the client gives up.
    Hang,
    /// Refused: the condition does not hold (`PutItem`, `DeleteItem`).
    Conflict,
    /// Not executed. The process that sent the request is killed (on Linux).
    Crash,
    /// Executed. The process that sent the request is killed before it gets the answer (on Linux).
    CrashAfter,
    /// No failure. In a list of failures, the next failure is for a later request.
    Pass,
}

impl Proxy {
    /// Starts a proxy in front of an emulator at `upstream`.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn start(upstream: String) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let upstream = Upstream::new(upstream, Client::new());
        let shared = Arc::new(Shared { upstream, state: Mutex::default() });
        let router = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Ok(Self { port, shared })
    }

    /// The proxy's URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes the next requests for this operation (such as `PutItem`) fail whose body contains this
    /// text: one request for each failure. Tests that share a stack pass the id of their account.
    pub fn fail(&self, operation: &'static str, containing: &str, failures: &[Failure]) {
        let fault = |failure: &Failure| Fault {
            operation,
            containing: containing.to_owned(),
            failure: *failure,
        };
        self.shared.traffic().faults.extend(failures.iter().map(fault));
    }

    /// The requests so far whose body contains this text.
    pub fn calls(&self, containing: &str) -> Vec<Call> {
        let traffic = self.shared.traffic();
        traffic.requests.iter().filter(|call| call.body.contains(containing)).cloned().collect()
    }

    /// The number of requests for this operation whose body contained this text.
    pub fn count(&self, operation: &str, containing: &str) -> usize {
        self.calls(containing).iter().filter(|call| call.operation == operation).count()
    }

    /// The number of planned failures that have not happened yet.
    pub fn pending_faults(&self, containing: &str) -> usize {
        let traffic = self.shared.traffic();
        traffic.faults.iter().filter(|fault| fault.containing == containing).count()
    }
}

impl Shared {
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the call, and removes and returns the first matching fault.
    fn record(&self, call: Call) -> Option<Failure> {
        let mut traffic = self.traffic();
        let fits = |fault: &Fault| {
            fault.operation == call.operation && call.body.contains(&fault.containing)
        };
        let fault = traffic.faults.iter().position(fits);
        let fault = fault.and_then(|index| traffic.faults.remove(index));
        traffic.requests.push(call);
        fault.map(|fault| fault.failure)
    }
}

async fn forward(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let text = String::from_utf8_lossy(&body).into_owned();
    let operation = operation(&parts.headers);
    if operation == "PutEvents" {
        check_published(&text);
    }
    let failure = shared.record(Call { operation, body: text.clone() });
    match failure {
        Some(Failure::Throttle) => return failing(400, "ThrottlingException"),
        Some(Failure::AccessDenied) => return failing(400, "AccessDeniedException"),
        Some(Failure::ServerError) => return failing(500, "InternalServerError"),
        Some(Failure::Unprocessed) => return unprocessed(&text),
        Some(Failure::Hang) => tokio::time::sleep(Duration::from_mins(1)).await,
        Some(Failure::Crash) => return killed(peer),
        Some(Failure::CrashAfter) => {
            let _executed = shared.upstream.send(parts, body).await;
            return killed(peer);
        }
        Some(Failure::Conflict) => return failing(400, "ConditionalCheckFailedException"),
        Some(Failure::FirstEntryThrottled) => {
            return without_first_entry(&shared, parts, &text, "ThrottlingException").await;
        }
        Some(Failure::FirstEntryInvalid) => {
            return without_first_entry(&shared, parts, &text, "MalformedDetail").await;
        }
        Some(Failure::FirstUnprocessed | Failure::AnswerLost | Failure::Pass) | None => {}
    }
    let left = (failure == Some(Failure::FirstUnprocessed)).then(|| without_first_key(&text));
    let body = left.as_ref().map_or(body, |(request, _)| Bytes::from(request.clone()));
    match shared.upstream.send(parts, body).await {
        Ok(_) if failure == Some(Failure::AnswerLost) => failing(500, "InternalServerError"),
        Ok(answer) => relay(answer, left.map(|(_, left)| left)),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

fn killed(peer: SocketAddr) -> Response {
    if let Err(error) = peer::kill(peer) {
        eprintln!("the process was not killed: {error}");
    }
    StatusCode::BAD_GATEWAY.into_response()
}

fn relay(answer: (StatusCode, HeaderMap, Bytes), unprocessed: Option<Value>) -> Response {
    let (status, mut headers, mut body) = answer;
    if let Some(unprocessed) = unprocessed {
        let mut answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        answer["UnprocessedKeys"] = unprocessed;
        // The checksum is that of the original body.
        headers.remove("x-amz-crc32");
        body = answer.to_string().into();
    }
    (status, headers, body).into_response()
}

/// Sends a `PutEvents` request without its first entry, and adds the refusal of that entry to the answer.
async fn without_first_entry(shared: &Shared, parts: Parts, request: &str, code: &str) -> Response {
    let mut request: Value = serde_json::from_str(request).unwrap_or_default();
    let entries = request["Entries"].as_array_mut();
    let rest = entries.map(|entries| entries.split_off(1)).unwrap_or_default();
    let mut answer = json!({ "Entries": [] });
    if !rest.is_empty() {
        request["Entries"] = rest.into();
        let body = Bytes::from(request.to_string());
        match shared.upstream.send(parts, body).await {
            Ok((_, _, body)) => answer = serde_json::from_slice(&body).unwrap_or_default(),
            Err(_) => return StatusCode::BAD_GATEWAY.into_response(),
        }
    }
    let refused = json!({ "ErrorCode": code, "ErrorMessage": "made to fail by a test" });
    if let Some(entries) = answer["Entries"].as_array_mut() {
        entries.insert(0, refused);
    }
    answer["FailedEntryCount"] = json!(1);
    let body = answer.to_string();
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body).into_response()
}

/// A `BatchGetItem` request without its first key, and the `UnprocessedKeys` of its answer.
fn without_first_key(request: &str) -> (String, Value) {
    let mut request: Value = serde_json::from_str(request).unwrap_or_default();
    let mut left = request["RequestItems"].clone();
    for (table, requested) in request["RequestItems"].as_object_mut().into_iter().flatten() {
        if let Some(keys) = requested["Keys"].as_array_mut().filter(|keys| !keys.is_empty()) {
            left[table]["Keys"] = json!([keys.remove(0)]);
        }
    }
    (request.to_string(), left)
}

fn operation(headers: &HeaderMap) -> String {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    target.and_then(|target| target.rsplit('.').next()).unwrap_or_default().to_owned()
}

fn failing(status: u16, error: &str) -> Response {
    let body = json!({ "__type": error, "message": "made to fail by a test" }).to_string();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], body).into_response()
}

fn unprocessed(request: &str) -> Response {
    let request: Value = serde_json::from_str(request).unwrap_or_default();
    let left = &request["RequestItems"];
    let body = json!({ "Responses": {}, "UnprocessedKeys": left, "UnprocessedItems": left });
    let body = body.to_string();
    ([(header::CONTENT_TYPE, "application/x-amz-json-1.0")], body).into_response()
}
