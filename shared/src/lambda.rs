//! Lambda: how a function starts, and what it is handed.

pub mod environment;
pub mod http_api;
pub mod invocation;
pub mod sqs_batch;
pub mod startup;
pub mod telemetry;
