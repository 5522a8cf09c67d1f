//! A proxy in front of the API. It checks every answer against the HTTP contract.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Client;
use tokio::net::TcpListener;

use crate::openapi::{Answer, Contract};
use crate::upstream::Upstream;

/// A running proxy. It lives as long as the runtime on which it was started.
#[derive(Clone, Copy, Debug)]
pub struct ContractProxy {
    port: u16,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    host: HeaderValue,
    contract: &'static Contract,
}

impl ContractProxy {
    /// Starts a proxy in front of an emulator at `upstream`, which distinguishes its APIs by their host names.
    ///
    /// # Errors
    ///
    /// If no port is free, the contract cannot be read, or the name is invalid.
    pub async fn start(upstream: String, host: &str) -> io::Result<Self> {
        let contract = Contract::of_project().map_err(io::Error::other)?;
        // Without a connection pool. A pooled connection that the emulator has closed would make the
        // next request fail.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap_or_default();
        let host = HeaderValue::from_str(host).map_err(io::Error::other)?;
        let shared = Shared { upstream: Upstream::new(upstream, client), host, contract };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let router = Router::new().fallback(check).with_state(Arc::new(shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { port })
    }

    /// The proxy's URL.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// The answer, or 599 with the violations of the contract. So the test that caused it fails.
async fn check(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    parts.headers.insert(header::HOST, shared.host.clone());
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let (status, headers, body) = match shared.upstream.send(parts, body).await {
        Ok(answer) => answer,
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let answer = Answer { status: status.as_u16(), headers: &headers, body: &body };
    let violations = shared.contract.violations(&method, &path, &answer);
    if violations.is_empty() {
        return (status, headers, body).into_response();
    }
    let report = format!("the answer violates openapi.yaml:\n{}\n", violations.join("\n"));
    // For tests that look only at the status.
    eprintln!("{report}");
    let status = StatusCode::from_u16(599).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, report).into_response()
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    /// A proxy in front of this API.
    async fn proxy_before(api: Router) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, api).await });
        ContractProxy::start(address, "api.localhost").await.unwrap().endpoint()
    }

    async fn get_through_proxy(api: Router, path: &str) -> (u16, String) {
        let request = Client::new().get(format!("{}{path}", proxy_before(api).await));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn allowed_answer_passes_unchanged() {
        let refusal = r#"{"message":"Forbidden"}"#;
        let headers = [("content-type", "application/json"), ("apigw-requestid", "Zy=")];
        let api = Router::new().fallback(async move |request: Request| {
            assert_eq!(request.headers()["host"], "api.localhost");
            assert_eq!(request.uri(), "/accounts/a?limit=1");
            (StatusCode::FORBIDDEN, headers, refusal)
        });
        assert_eq!(get_through_proxy(api, "/accounts/a?limit=1").await, (403, refusal.to_owned()));
    }

    #[tokio::test]
    async fn answer_outside_the_contract_is_599_with_the_reasons() {
        let api = Router::new().route("/accounts/{account_id}", get("not JSON"));
        let (status, report) = get_through_proxy(api, "/accounts/a").await;
        assert_eq!(status, 599);
        for reason in ["the body is not JSON", "text/plain", "header x-request-id is missing"] {
            assert!(report.contains(reason), "{report}");
        }
    }

    #[tokio::test]
    async fn unreachable_api_is_502() {
        let unreachable = "http://127.0.0.1:9".to_owned();
        let proxy = ContractProxy::start(unreachable, "api.localhost").await.unwrap();
        let answer = Client::new().get(proxy.endpoint()).send().await.unwrap();
        assert_eq!(answer.status(), 502);
    }
}
