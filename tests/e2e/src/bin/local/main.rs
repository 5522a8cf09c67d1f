//! Runs mono-sync on this machine: `local run` shows the main job on the embedded AWS, and
//! `local watch` runs `cargo lambda watch` against it.

mod demonstration;
mod mono;
mod watch;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use e2e::emulator::{Emulator, LocalError, free_port, lasting_port};
use e2e::process::Companion;
use e2e::samples::{LOCAL_KEY, LOCAL_SECRET};
use e2e::stack::Stack;
use e2e::web_example;
use mono::Mono;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(name = "local", about = "mono-sync on this machine, without AWS")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the main job, step by step, then stay up until Ctrl-C.
    Run {
        /// End after the demonstration, with 0 only if every step succeeded.
        #[arg(long)]
        once: bool,
        /// The emulator's port. Default: any free port.
        #[arg(long)]
        port: Option<u16>,
    },
    /// Run `cargo lambda watch` with the functions wired to a deployed stack.
    Watch {
        /// The port of the functions. `cargo lambda invoke` uses 9000 by default.
        #[arg(long, default_value_t = 9000)]
        port: u16,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run { once, port } => demonstration::run(once, port).await,
        Command::Watch { port } => watch::run(port).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The local setup: an emulator of AWS with the real template, and the sandbox as Mono.
struct Local {
    _emulator: Emulator,
    _sandbox: Companion,
    stack: Stack,
    mono: Mono,
    /// A port for the server of `examples/web`. The stack allows redirects to it.
    web_port: u16,
}

async fn start(port: Option<u16>) -> Result<Local> {
    let port = match port {
        Some(port) => check_unused(Ipv4Addr::LOCALHOST.into(), port)?,
        None => free_port()?,
    };
    println!("Starting an embedded AWS and deploying template.yaml to it …");
    let emulator = Emulator::start(port, None).await?;
    let (sandbox, mono) = mono::start().await?;
    let web_port = lasting_port()?;
    let origins = format!("https://app.example,{}", web_example::origin(web_port));
    let parameters = [
        ("MonoSecretKey", LOCAL_KEY),
        ("MonoWebhookSecret", LOCAL_SECRET),
        ("MonoApiBaseUrl", &mono.url),
        ("RedirectOrigins", &origins),
    ];
    let stack = Stack::deploy(&emulator, "mono-sync", &parameters).await?;
    let webhook = json!({ "url": stack.webhook_url(), "secret": LOCAL_SECRET });
    mono.put("webhook", &webhook).await?;
    Ok(Local { _emulator: emulator, _sandbox: sandbox, stack, mono, web_port })
}

fn check_unused(address: IpAddr, port: u16) -> Result<u16> {
    match TcpListener::bind((address, port)) {
        Ok(_) => Ok(port),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(format!(
            "Port {port} is in use: end the program that uses it, or choose another port with --port."
        )
        .into()),
        Err(error) => Err(format!("Port {port} of {address} is not available: {error}.").into()),
    }
}

fn expect(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(format!("The step failed. Expected: {what}.").into()) }
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(LocalError::from)?,
        _ = terminated.recv() => {}
    }
    Ok(())
}
