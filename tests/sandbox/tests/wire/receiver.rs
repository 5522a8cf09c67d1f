//! A receiver of webhooks. It answers with the chosen statuses and keeps all posts.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use sandbox::{Sandbox, Settings};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) const SECRET: &str = "an-invented-webhook-secret";

#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Post {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[derive(Clone)]
pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<ReceiverState>,
}

struct ReceiverState {
    answers: Mutex<VecDeque<u16>>,
    /// The answer after the list is used up.
    last_answer: Mutex<u16>,
    posts: watch::Sender<Vec<Post>>,
}

impl Receiver {
    /// A receiver that answers with each of these statuses once, then with 200.
    pub(crate) async fn answering(answers: impl Into<VecDeque<u16>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(ReceiverState {
            answers: Mutex::new(answers.into()),
            last_answer: Mutex::new(200),
            posts: watch::Sender::default(),
        });
        let router = Router::new().fallback(receive).with_state(Arc::clone(&state));
        tokio::spawn(axum::serve(listener, router).into_future());
        Self { address, state }
    }

    pub(crate) async fn answering_200() -> Self {
        Self::answering([]).await
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhooks/mono", self.address)
    }

    pub(crate) fn answer_always(&self, status: u16) {
        *self.state.last_answer.lock().expect("no panic") = status;
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.state.posts.borrow().clone()
    }

    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.posts().iter().map(Post::json).collect()
    }

    /// Waits for this number of posts.
    pub(crate) async fn received(&self, count: usize) -> Vec<Post> {
        let mut posts = self.state.posts.subscribe();
        let enough = posts.wait_for(|posts| posts.len() >= count).await;
        enough.expect("the receiver is alive").clone()
    }

    /// A sandbox that sends its webhooks here.
    pub(crate) async fn sandbox(&self, settings: Settings) -> Sandbox {
        let settings =
            Settings { webhook_url: self.url(), webhook_secret: SECRET.to_owned(), ..settings };
        Sandbox::start(settings).await.expect("a sandbox")
    }
}

/// Settings with which the sandbox is a hundred thousand times as fast as Mono.
pub(crate) fn fast() -> Settings {
    Settings { time_scale: 1e5, seed: 1, ..Settings::default() }
}

async fn receive(
    State(state): State<Arc<ReceiverState>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let planned = state.answers.lock().expect("no panic").pop_front();
    let status = planned.unwrap_or(*state.last_answer.lock().expect("no panic"));
    state.posts.send_modify(|posts| posts.push(Post { headers, body }));
    StatusCode::from_u16(status).expect("a status")
}
