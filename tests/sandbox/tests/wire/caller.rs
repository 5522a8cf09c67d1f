//! A caller of Mono's API.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use sandbox::{Sandbox, Settings};
use serde_json::Value;

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    async fn read(response: Response) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.json().await.expect("a JSON answer"),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A client that sends the key, follows no redirects and times out after ten seconds.
pub(crate) struct Caller {
    client: Client,
    url: String,
    key: String,
}

impl Caller {
    pub(crate) fn of(sandbox: &Sandbox) -> Self {
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(10));
        Self {
            client: client.build().expect("a client"),
            url: sandbox.url(),
            key: Settings::default().secret_key,
        }
    }

    pub(crate) fn with_key(self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        request.header("mono-sec-key", &self.key)
    }

    pub(crate) fn real_time(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path).header("x-realtime", "true")
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        read(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str) -> Reply {
        read(self.request(Method::POST, path)).await
    }

    /// A real-time call for the balance.
    pub(crate) async fn refresh(&self, account_id: &str) -> Reply {
        read(self.real_time(&balance(account_id))).await
    }

    /// A sync in v1.
    pub(crate) async fn sync(&self, account_id: &str) -> Reply {
        self.post(&format!("/accounts/{account_id}/sync")).await
    }

    pub(crate) async fn job(&self, account_id: &str, job_id: &str) -> Reply {
        self.get(&format!("/v2/accounts/{account_id}/jobs/{job_id}")).await
    }
}

pub(crate) fn balance(account_id: &str) -> String {
    format!("/v2/accounts/{account_id}/balance")
}

pub(crate) async fn read(request: RequestBuilder) -> Reply {
    Reply::read(request.send().await.expect("an answer")).await
}
