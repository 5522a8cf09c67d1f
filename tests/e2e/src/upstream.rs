//! The upstream server of a proxy.

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use reqwest::Client;

/// A server that requests are forwarded to.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: String,
    client: Client,
}

impl Upstream {
    pub(crate) const fn new(address: String, client: Client) -> Self {
        Self { address, client }
    }

    /// Forwards a request and keeps its `host` header. The signature covers this header, and the
    /// emulator distinguishes APIs by it.
    pub(crate) async fn send(
        &self,
        parts: Parts,
        body: Bytes,
    ) -> reqwest::Result<(StatusCode, HeaderMap, Bytes)> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.address);
        let request = self.client.request(parts.method, url).body(body);
        let answer = request.headers(without_framing(parts.headers)).send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok((status, without_framing(headers), answer.bytes().await?))
    }
}

/// Removes the headers about the body's transfer. The next connection may transfer it differently.
fn without_framing(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    headers
}
