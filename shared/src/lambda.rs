//! The Lambda runtime: the start of a function, and the events that the function receives.

pub mod environment;
pub mod http_api;
pub mod invocation;
pub mod sqs_batch;
pub mod startup;
pub mod telemetry;
