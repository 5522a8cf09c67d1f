//! One emulator with a proxy in front, and one deployed stack on it, for all tests of a program.

use std::sync::OnceLock;
use std::sync::mpsc::channel;

use tokio::runtime::Runtime;

use crate::emulator::{Emulator, LocalError, free_port, sdk_config};
use crate::proxy::Proxy;
use crate::samples::LOCAL_SECRET;
use crate::stack::Stack;

/// An emulator, and the proxy through which the functions reach it.
#[derive(Debug)]
pub struct Local {
    /// The emulator itself.
    pub emulator: Emulator,
    /// In front of it.
    pub proxy: Proxy,
}

impl Local {
    /// Starts both.
    ///
    /// # Errors
    ///
    /// [`LocalError`].
    pub async fn start() -> Result<Self, LocalError> {
        let port = free_port()?;
        let proxy = Proxy::start(format!("http://127.0.0.1:{port}")).await?;
        let emulator = Emulator::start(port, Some(&proxy.endpoint())).await?;
        Ok(Self { emulator, proxy })
    }

    /// The SDK's configuration for a client whose requests go through the proxy.
    #[must_use]
    pub fn sdk(&self) -> aws_config::SdkConfig {
        sdk_config(&self.proxy.endpoint())
    }
}

/// The local AWS of this program's tests. Started by the first of them, ended with the program.
///
/// # Panics
///
/// When it cannot be started.
pub fn local() -> &'static Local {
    static LOCAL: OnceLock<Local> = OnceLock::new();
    LOCAL.get_or_init(|| aside(Local::start()).unwrap_or_else(|error| panic!("{error}")))
}

/// The stack of this program's tests, with [`LOCAL_SECRET`]. Deployed by the first of them.
///
/// # Panics
///
/// When it cannot be deployed.
pub fn stack() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| {
        let parameters = &[("MonoWebhookSecret", LOCAL_SECRET)];
        let emulator = &local().emulator;
        aside(async {
            let stack = Stack::deploy(emulator, "mono-sync", parameters).await?;
            stack.redeliver_soon().await;
            Ok::<_, LocalError>(stack)
        })
        .unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Runs something on a runtime that lives as long as the program: each test has its own, and what
/// one of them spawned would end with it.
///
/// # Panics
///
/// When it panics.
pub fn aside<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().expect("a runtime can be had"));
    let (done, result) = channel();
    runtime.spawn(async move {
        let _ = done.send(future.await);
    });
    result.recv().expect("it does not panic")
}
