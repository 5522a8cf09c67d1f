//! A stand-in for Mono. It links fictional bank accounts, sends Mono's webhooks and serves Mono's
//! API. Tests choose how reliable it is.
//!
//! | module | contents |
//! | --- | --- |
//! | [`account`] | fictional linked accounts |
//! | `hosted` | the page on which a customer logs in at the bank |
//! | [`history`] | an account's transactions, and the pages that calls get |
//! | [`event`] | every webhook body, in Mono's old and new wording |
//! | [`scenario`] | the webhooks for a link, a refresh, a re-authorisation and an unlink |
//! | [`plan`] | the outcomes of syncs, and the faults of calls |
//! | [`job`] | the jobs that fetch an account |
//! | [`call`] | the log of the calls to Mono's API |
//! | [`bill`] | Mono's charges for the calls |
//! | [`network`] | the losses, duplicates and delays of webhooks |
//! | [`delivery`] | posting and retrying webhooks, and the log of the deliveries |
//! | [`schedule`] | the times of Mono's retries |
//! | [`refusal`] | the errors of the sandbox |
//!
//! Mono's API has the same paths as at Mono: v1 at `/accounts` and v2 at `/v2/accounts`. In process, a
//! test starts a [`Sandbox`] and calls its methods. The program is driven over HTTP, under `/control/`.

pub mod account;
pub mod bill;
pub mod call;
mod control;
pub mod delivery;
pub mod event;
pub mod history;
mod hosted;
mod id_generator;
pub mod job;
pub mod network;
pub mod plan;
pub mod refusal;
mod rest;
pub mod scenario;
pub mod schedule;
mod settings;

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use account::{Account, Link};
pub use bill::{Bill, Charge};
pub use call::{Answer, Call};
pub use delivery::{Attempt, Delivery, Outcome};
pub use event::{Dialect, Event, Kind};
pub use history::{Direction, History, Transaction};
pub use network::{Network, NetworkFault, Order};
pub use plan::{Fault, Pace, PageFault, Plan, ReauthSignal, SuccessCode, Webhooks};
pub use refusal::Refusal;
pub use scenario::{Mono, Refresh};
pub use settings::Settings;

/// A running sandbox: [`Mono`], to which it derefs, and the server in front of it.
///
/// If it is dropped, the server and all deliveries in progress end.
pub struct Sandbox {
    mono: Arc<Mono>,
    address: SocketAddr,
    server: JoinHandle<io::Result<()>>,
}

impl Sandbox {
    /// Starts serving. The call needs a Tokio runtime.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound, or the settings are invalid (`InvalidInput`).
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let mono = Arc::new(Mono::new(&settings)?);
        let server = axum::serve(listener, router(Arc::clone(&mono)));
        let server = tokio::spawn(server.into_future());
        Ok(Self { mono, address, server })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the server and every delivery, and returns when the port is free.
    pub async fn stop(mut self) {
        self.server.abort();
        // The only possible error is the cancellation above.
        let _ = (&mut self.server).await;
    }
}

impl Deref for Sandbox {
    type Target = Mono;

    fn deref(&self) -> &Mono {
        &self.mono
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
        self.mono.abandon();
    }
}

/// Mono's own routes, the stand-in's hosted pages, and `/control`, which Mono does not have.
fn router(mono: Arc<Mono>) -> Router {
    Router::new()
        .nest("/control", control::routes(Arc::clone(&mono)))
        .merge(hosted::routes(Arc::clone(&mono)))
        .merge(rest::routes(mono))
}

/// Ignores poisoning. A panic in one test's task must not cause a second, misleading panic here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
