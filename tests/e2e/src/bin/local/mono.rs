//! The stand-in for Mono: a separate program that is driven through its control API.

use std::process::Command;
use std::time::Duration;

use e2e::process::Companion;
use e2e::project;
use e2e::samples::LOCAL_KEY;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Result, expect};

/// A client of the sandbox's control API.
pub(crate) struct Mono {
    pub(crate) url: String,
    http: Client,
}

/// Starts the sandbox, with pages on which a customer logs in at the bank.
pub(crate) async fn start() -> Result<(Companion, Mono)> {
    let program = std::env::current_exe()?.with_file_name("sandbox");
    let log = project().join("target/local/sandbox.log");
    let mut command = Command::new(program);
    // Mono's first retry comes after thirty seconds. Here that is half a second.
    command.args(["--secret-key", LOCAL_KEY, "--time-scale", "60", "--hosted-pages"]);
    let mut sandbox = Companion::start(&mut command, &log)?;
    while !sandbox.has_ended() {
        let line = std::fs::read_to_string(&log)?;
        let ready = line.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(url) = ready.and_then(|ready| Some(ready["url"].as_str()?.to_owned())) {
            return Ok((sandbox, Mono { url, http: Client::new() }));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(format!("The sandbox did not start, see {}.", log.display()).into())
}

impl Mono {
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.control(Method::POST, path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.control(Method::PUT, path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        self.control(Method::DELETE, path, &json!({})).await.map(drop)
    }

    async fn control(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/control/{path}", self.url);
        let answer = self.http.request(method, url).json(body).send().await?;
        expect(answer.status().is_success(), &format!("the sandbox accepts {path}"))?;
        Ok(answer.json().await.unwrap_or_default())
    }

    /// The number of syncs of an account that Mono has begun.
    pub(crate) async fn begun_syncs(&self, account_id: &str) -> Result<usize> {
        let answer = self.http.get(format!("{}/control/calls", self.url)).send().await?;
        let calls: Vec<Value> = answer.json().await?;
        let paid = |call: &&Value| call["begun"] == true && call["account_id"] == account_id;
        Ok(calls.iter().filter(paid).count())
    }

    /// An account's transactions at Mono.
    pub(crate) async fn transactions(&self, account_id: &str) -> Result<Vec<Value>> {
        let url = format!("{}/control/accounts/{account_id}/transactions", self.url);
        Ok(self.http.get(url).send().await?.json().await?)
    }

    /// All deliveries, as soon as every one of them has ended.
    pub(crate) async fn settled(&self) -> Result<Vec<Value>> {
        let settled = self.http.get(format!("{}/control/settled", self.url));
        // Mono itself would retry for two days.
        let answer = settled.timeout(Duration::from_mins(1)).send().await;
        expect(answer.is_ok(), "the webhooks are delivered")?;
        Ok(answer?.json().await?)
    }
}
