//! Adapters to AWS.

pub mod event_bus;
pub mod queues;
pub mod sdk;
pub mod secrets;
pub mod store;
pub mod stream;
pub mod webhook_secrets;
