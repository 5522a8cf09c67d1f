//! Adapters to AWS.

pub mod queues;
pub mod sdk;
pub mod secrets;
pub mod store;
pub mod webhook_secrets;
