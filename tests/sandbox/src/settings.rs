//! The settings of a sandbox.

use std::net::{Ipv4Addr, SocketAddr};

use crate::event::Dialect;

#[derive(Clone)]
pub struct Settings {
    /// The address to serve on. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// The URL of the webhook. It may be empty until the receiver exists. Events that are sent before
    /// then are not delivered, and the log has them as [`Unaddressed`](crate::Outcome::Unaddressed).
    pub webhook_url: String,
    /// The value of the webhooks' header `mono-webhook-secret`.
    pub webhook_secret: String,
    /// The value that calls to Mono's API need in the header `mono-sec-key`.
    pub secret_key: String,
    /// Mono's waiting times are divided by this. At 1000, the 30 s before the first retry become 30 ms.
    pub time_scale: f64,
    /// The wording for accounts that are linked without a dialect.
    pub dialect: Dialect,
    /// Whether the URL of a hosted link or of a re-authorisation is a page of the sandbox. By default, the URL looks
    /// like Mono's and leads nowhere.
    pub hosted_pages: bool,
    /// Determines every id and every network fault. Sandboxes with different seeds never share an
    /// account id, so the default is random.
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
            hosted_pages: false,
            seed: fastrand::u64(..),
        }
    }
}
