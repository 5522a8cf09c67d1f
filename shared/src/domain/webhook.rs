//! Mono's webhooks: who may send them, and what they say.

pub mod body;
pub mod event;
pub mod secret;
