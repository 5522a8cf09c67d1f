//! The HTTP client for posting webhooks.

use std::io;
use std::iter;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect};

/// Mono does not document its timeout. This one is in real time, because the receiver is real.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A client without redirects and without TLS.
pub(super) fn client() -> Client {
    Client::builder()
        .dns_resolver(Loopback)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(ANSWER_TIMEOUT)
        .build()
        .expect("a client without TLS needs nothing that could be missing")
}

/// Resolves every name below `.localhost` to this machine, as RFC 6761 requires. Not every system does
/// this. The AWS emulator gives each API such a name.
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
