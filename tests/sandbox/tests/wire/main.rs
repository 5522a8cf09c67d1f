//! The sandbox over real sockets, against a receiver that answers as it is told to.

mod caller;
mod control;
mod delivery;
mod history;
mod receiver;
mod rest;
mod scenario;
mod sync;
