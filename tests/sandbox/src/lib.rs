//! A stand-in for Mono: it links fictional bank accounts, sends the webhooks Mono would send and
//! answers its API, as reliably or as badly as a test asks for.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`account`] | fictional linked accounts |
//! | [`history`] | an account's transactions, and which of them a call gets |
//! | [`event`] | every webhook body, in Mono's old and new wording |
//! | [`scenario`] | what Mono sends when an account is linked, refreshed, re-authorised, unlinked |
//! | [`plan`] | what a sync comes to, and what goes wrong about a call |
//! | [`job`] | what a sync fetches |
//! | [`call`] | the log of the calls to Mono's API |
//! | [`bill`] | what Mono charges for them |
//! | [`network`] | what can happen to a webhook on its way |
//! | [`delivery`] | posting, retrying, and the log of it |
//! | [`schedule`] | when Mono tries again |
//! | [`refusal`] | what the sandbox will not do |
//!
//! Mono's API is served as Mono has it, v1 at `/accounts` and v2 at `/v2/accounts`. In process, a
//! test starts a [`Sandbox`] and calls its methods. As a program it is driven over HTTP, under
//! `/control/`.

pub mod account;
pub mod bill;
pub mod call;
mod control;
pub mod delivery;
pub mod event;
pub mod history;
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
pub use network::{Network, NetworkFate, Order};
pub use plan::{Fault, Pace, PageFault, Plan, ReauthSignal, SuccessCode, Webhooks};
pub use refusal::Refusal;
pub use scenario::{Mono, Refresh};
pub use settings::Settings;

/// A running sandbox: [`Mono`], which it derefs to, and the server in front of it.
///
/// Dropping it ends the server and every delivery still under way.
pub struct Sandbox {
    mono: Arc<Mono>,
    address: SocketAddr,
    server: JoinHandle<io::Result<()>>,
}

impl Sandbox {
    /// Starts serving; must be called inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, or the settings make no sense (`InvalidInput`).
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let mono = Arc::new(Mono::new(&settings)?);
        let server = axum::serve(listener, router(Arc::clone(&mono)));
        let server = tokio::spawn(server.into_future());
        Ok(Self { mono, address, server })
    }

    /// Where the server listens.
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
        // The one possible error is the cancellation just asked for.
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

/// Mono's own routes, and `/control` beside them, which is no part of Mono.
fn router(mono: Arc<Mono>) -> Router {
    Router::new().nest("/control", control::routes(Arc::clone(&mono))).merge(rest::routes(mono))
}

/// A panic in one test's task must not turn into a second, misleading one here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
