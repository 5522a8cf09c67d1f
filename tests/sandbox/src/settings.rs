//! How a sandbox is set up.

use std::net::{Ipv4Addr, SocketAddr};

use crate::event::Dialect;

/// How a sandbox is set up.
#[derive(Clone)]
pub struct Settings {
    /// Where to serve; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where webhooks go. Empty until the receiver exists: events sent before then are not
    /// delivered, and the log says so.
    pub webhook_url: String,
    /// What the webhooks' `mono-webhook-secret` header says.
    pub webhook_secret: String,
    /// What a call to Mono's API must carry in `mono-sec-key`.
    pub secret_key: String,
    /// Mono's waits are divided by this: at 1000 the 30 s before the first retry are 30 ms.
    pub time_scale: f64,
    /// Which wording accounts get that are linked without naming one.
    pub dialect: Dialect,
    /// Decides every id and every accident. Sandboxes with different seeds never share an account
    /// id, so the default is a fresh one.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            webhook_url: String::new(),
            webhook_secret: String::new(),
            secret_key: "test_sk_of_the_sandbox".to_owned(),
            time_scale: 1.0,
            dialect: Dialect::V2,
            seed: fastrand::u64(..),
        }
    }
}
