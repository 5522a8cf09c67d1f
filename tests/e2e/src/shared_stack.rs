//! One emulator with a proxy in front of it, and one deployed stack, for all tests of a program.

use std::sync::OnceLock;
use std::sync::mpsc::channel;

use mono_sync::aws::sdk::Timeouts;
use sandbox::{Dialect, Sandbox, Settings};
use tokio::runtime::Runtime;

use crate::emulator::{Emulator, LocalError, free_port, sdk_config};
use crate::proxy::Proxy;
use crate::samples::{LOCAL_KEY, LOCAL_SECRET};
use crate::stack::Stack;

/// An emulator, and the proxy through which the functions reach it.
#[derive(Debug)]
pub struct Local {
    pub emulator: Emulator,
    /// The proxy in front of the emulator.
    pub proxy: Proxy,
}

impl Local {
    pub async fn start() -> Result<Self, LocalError> {
        let port = free_port()?;
        let proxy = Proxy::start(format!("http://127.0.0.1:{port}")).await?;
        let emulator = Emulator::start(port, Some(&proxy.endpoint())).await?;
        Ok(Self { emulator, proxy })
    }

    /// The SDK's configuration for a client whose requests go through the proxy.
    pub fn sdk(&self) -> aws_config::SdkConfig {
        sdk_config(&self.proxy.endpoint(), Timeouts::SHORT)
    }
}

/// The local AWS of this program's tests. The first test starts it, and it ends with the program.
///
/// # Panics
///
/// If it cannot be started.
pub fn local() -> &'static Local {
    static LOCAL: OnceLock<Local> = OnceLock::new();
    LOCAL.get_or_init(|| aside(Local::start()).unwrap_or_else(|error| panic!("{error}")))
}

/// A deployed stack and the sandbox that stands in for Mono. Each calls the other.
pub struct World {
    /// The stack, with [`LOCAL_SECRET`] and [`LOCAL_KEY`].
    pub stack: Stack,
    /// The stand-in for Mono. Its waiting times are a thousand times shorter than Mono's.
    pub mono: Sandbox,
}

impl World {
    async fn start(emulator: &Emulator, dialect: Dialect) -> Result<Self, LocalError> {
        let mono = start_mono(dialect).await?;
        let parameters = &[
            ("MonoSecretKey", LOCAL_KEY),
            ("MonoWebhookSecret", LOCAL_SECRET),
            ("MonoApiBaseUrl", &mono.url()),
            ("MonoDailyBudget", "0"),
            ("ManualDailyBudget", "0"),
            ("MonoApiVersion", &dialect.to_string()),
            ("RedirectOrigins", "https://app.example"),
        ];
        let stack = Stack::deploy(emulator, &format!("mono-{dialect}"), parameters).await?;
        stack.redeliver_soon().await;
        mono.set_webhook(&stack.webhook_url(), LOCAL_SECRET).map_err(std::io::Error::from)?;
        Ok(Self { stack, mono })
    }
}

/// The stand-in for Mono, with waiting times a thousand times shorter, and without a webhook URL.
///
/// # Errors
///
/// If no port is free.
pub async fn start_mono(dialect: Dialect) -> std::io::Result<Sandbox> {
    let secret_key = LOCAL_KEY.to_owned();
    Sandbox::start(Settings { secret_key, time_scale: 1000.0, dialect, ..Settings::default() })
        .await
}

/// The world of this program's tests with this version of Mono's API. The first test starts it.
///
/// # Panics
///
/// If it cannot be started.
pub fn world(dialect: Dialect) -> &'static World {
    static V1: OnceLock<World> = OnceLock::new();
    static V2: OnceLock<World> = OnceLock::new();
    let world = match dialect {
        Dialect::V1 => &V1,
        Dialect::V2 => &V2,
    };
    world.get_or_init(|| {
        let emulator = &local().emulator;
        aside(World::start(emulator, dialect)).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// The stack of this program's tests, with Mono's current API.
///
/// # Panics
///
/// If it cannot be deployed.
pub fn stack() -> &'static Stack {
    &world(Dialect::V2).stack
}

/// Runs a future on a runtime that lives as long as the program. Each test has its own runtime, and
/// tasks that are spawned there end with the test.
///
/// # Panics
///
/// If the future panics.
pub fn aside<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().expect("a runtime can be created"));
    let (done, result) = channel();
    runtime.spawn(async move {
        let _ = done.send(future.await);
    });
    result.recv().expect("the future does not panic")
}
