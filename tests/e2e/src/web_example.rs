//! The server of `examples/web`, on this machine.

use std::io;
use std::process::Command;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::emulator::REGION;
use crate::process::Companion;
use crate::project;
use crate::stack::Stack;

/// A running server. It stops when this handle is dropped.
#[derive(Debug)]
pub struct WebExample {
    process: Companion,
    url: String,
}

/// The origin of the page of a server on this port. The stack must allow redirects to it.
pub fn origin(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

impl WebExample {
    /// Starts the server for this signed-in customer, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If the server does not answer. Its libraries must be in `.venv/web`.
    pub async fn start(stack: &Stack, port: u16, customer: &str) -> io::Result<Self> {
        let log = project().join("target/local/web.log");
        let mut command = Command::new(project().join(".venv/web/bin/python"));
        command
            .arg(project().join("examples/web/server.py"))
            .env("API_URL", stack.api_address())
            .env("PORT", port.to_string())
            .env("CUSTOMER_REF", customer)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("ORIGIN");
        let process = Companion::start(&mut command, &log)?;
        let mut example = Self { process, url: origin(port) };
        let end = Instant::now() + Duration::from_secs(30);
        while reqwest::get(example.url()).await.is_err() {
            if example.process.has_ended() || Instant::now() > end {
                let reason = format!("examples/web/server.py did not start, see {}", log.display());
                return Err(io::Error::other(reason));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(example)
    }

    /// The URL of the page, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }
}
