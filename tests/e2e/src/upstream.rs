//! The far side of a proxy.

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

    /// Sends a request on, with the host that was asked for: its signature covers that, and the
    /// emulator tells APIs apart by it.
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

/// Without what tells how the body is transferred, which may be otherwise on the next connection.
fn without_framing(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    headers
}
