//! The HTTP API: requests, answers and errors.

pub mod account;
pub mod problem;
pub mod request;
pub mod response;
