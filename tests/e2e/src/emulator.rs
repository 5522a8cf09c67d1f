//! The AWS emulator, `ministack`, on loopback and a free port.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use mono_sync::aws::sdk::{self, Timeouts};
use reqwest::Client;
use tokio::time::sleep;

use crate::process::Companion;
use crate::project;

/// The region of all deployments.
pub const REGION: &str = "eu-west-1";

/// The access key with all permissions.
pub(crate) const OPERATOR: &str = "test";

/// A running emulator. It ends with this handle.
#[derive(Debug)]
pub struct Emulator {
    port: u16,
    process: Companion,
}

/// The reason why the local AWS is not available.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A tool that `make` installs is missing.
    #[error("{0} is not installed: run `make tools`")]
    NotInstalled(PathBuf),
    /// `sam build` has not been run.
    #[error("the functions are not built: run `make build`")]
    NotBuilt,
    #[error("the emulator did not start, see {0}")]
    NotStarted(PathBuf),
    #[error("the stack was not deployed:\n{0}")]
    NotDeployed(String),
    /// A port, a file or a process is not available.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Emulator {
    /// Starts an emulator. The deployed functions reach it at `endpoint`, or directly if there is none.
    pub async fn start(port: u16, endpoint: Option<&str>) -> Result<Self, LocalError> {
        let environment = project().join(".venv/emulator/bin");
        let program = environment.join("ministack");
        if !program.exists() {
            return Err(LocalError::NotInstalled(program));
        }
        let log = project().join(format!("target/local/emulator-{port}.log"));
        let direct = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(environment.join("python"));
        command
            .arg(project().join("tests/e2e/emulator/server.py"))
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("AWS_ENDPOINT_URL", endpoint.unwrap_or(&direct))
            // Functions have only the permissions of their roles, as in AWS.
            .env("AUTH", "true")
            // These protocols are not needed, and other programs may use their ports.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0");
        let mut emulator = Self { port, process: Companion::start(&mut command, &log)? };
        if emulator.answers().await { Ok(emulator) } else { Err(LocalError::NotStarted(log)) }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    async fn answers(&mut self) -> bool {
        let (client, end) = (Client::new(), Instant::now() + Duration::from_mins(1));
        while Instant::now() < end && !self.process.has_ended() {
            if client.get(format!("{}/_ministack/health", self.endpoint())).send().await.is_ok() {
                return true;
            }
            sleep(Duration::from_millis(100)).await;
        }
        false
    }
}

/// The SDK's configuration for an emulator at this address, with the same HTTP client as the functions.
pub fn sdk_config(endpoint: &str, timeouts: Timeouts) -> SdkConfig {
    let credentials = Credentials::new(OPERATOR, OPERATOR, None, None, "local");
    sdk::config(REGION, Some(endpoint), timeouts)
        .into_builder()
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// A port that is free at this moment.
///
/// # Errors
///
/// If the system has no free port.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A free port that no outgoing connection takes. So a server can stop and start again on it.
///
/// # Errors
///
/// If no such port is free.
pub fn lasting_port() -> io::Result<u16> {
    /// Linux takes the ports of outgoing connections from 32768 on.
    const PORTS: std::ops::Range<u16> = 20_000..30_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = u16::try_from(std::process::id() % 10_000).unwrap_or_default();
    for _ in PORTS {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (offset + number % 10_000) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
