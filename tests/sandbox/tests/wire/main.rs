//! The sandbox over real sockets, against a receiver that answers as it is told to.

mod control;
mod delivery;
mod receiver;
mod scenario;
