//! The Lambda runtime: how a function starts, and the events it receives.

pub mod environment;
pub mod http_api;
pub mod invocation;
pub mod sqs_batch;
pub mod startup;
pub mod telemetry;
