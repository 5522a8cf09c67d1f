//! The HTTP client that webhooks are posted with.

use std::io;
use std::iter;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};

/// Mono does not say how long it waits for an answer. Never scaled: the receiver is real.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Only the first answer counts, and only plain HTTP is spoken.
pub(super) fn client() -> Client {
    Client::builder()
        .dns_resolver(Loopback)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(ANSWER_TIMEOUT)
        .build()
        .expect("a client without TLS needs nothing that could be missing")
}

/// Every name below `.localhost` is this machine, as RFC 6761 has it and not every system does. A
/// local AWS gives each of its APIs such a name.
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move { Ok(addresses(name.as_str()).await?) })
    }
}

async fn addresses(name: &str) -> io::Result<Addrs> {
    if name.ends_with(".localhost") {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        return Ok(Box::new(iter::once(loopback)));
    }
    let found: Vec<_> = tokio::net::lookup_host((name, 0)).await?.collect();
    Ok(Box::new(found.into_iter()))
}
