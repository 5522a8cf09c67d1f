//! Tests the sandbox over real sockets. A receiver of webhooks answers with the statuses that a test
//! chooses.

mod caller;
mod control;
mod delivery;
mod history;
mod hosted;
mod receiver;
mod rest;
mod scenario;
mod sync;
