//! Mono's webhooks: authentication, and interpretation of the events.

pub mod body;
pub mod event;
pub mod forwarding;
pub mod secret;
