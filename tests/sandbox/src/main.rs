//! The sandbox as a program. It serves until Ctrl-C or SIGTERM, and is driven under `/control/`.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use sandbox::{Dialect, Sandbox, Settings};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// A stand-in for Mono: links fictional bank accounts, sends Mono's webhooks and answers its API.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The address to serve on; port 0 takes a free port.
    #[arg(long, env = "SANDBOX_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The URL of the webhook; can be set later through PUT /control/webhook.
    #[arg(long, env = "SANDBOX_WEBHOOK_URL", default_value = "")]
    webhook_url: String,
    /// The value of the header mono-webhook-secret.
    #[arg(long, env = "SANDBOX_WEBHOOK_SECRET", default_value = "", hide_env_values = true)]
    webhook_secret: String,
    /// The value that calls need in the header mono-sec-key; default: test_sk_of_the_sandbox.
    #[arg(long, env = "SANDBOX_SECRET_KEY", hide_env_values = true)]
    secret_key: Option<String>,
    /// The factor by which Mono's waiting times are divided.
    #[arg(long, env = "SANDBOX_TIME_SCALE", default_value_t = 1.0)]
    time_scale: f64,
    /// The wording of Mono's webhooks: v1 or v2.
    #[arg(long, env = "SANDBOX_DIALECT", default_value_t = Dialect::V2)]
    dialect: Dialect,
    /// Serve the pages of hosted links and re-authorisations, instead of URLs that look like Mono's.
    #[arg(long, env = "SANDBOX_HOSTED_PAGES")]
    hosted_pages: bool,
    /// Determines every id and every network fault; random by default.
    #[arg(long, env = "SANDBOX_SEED")]
    seed: Option<u64>,
}

impl From<Arguments> for Settings {
    fn from(arguments: Arguments) -> Self {
        let defaults = Self::default();
        Self {
            listen: arguments.listen,
            webhook_url: arguments.webhook_url,
            webhook_secret: arguments.webhook_secret,
            secret_key: arguments.secret_key.unwrap_or(defaults.secret_key),
            time_scale: arguments.time_scale,
            dialect: arguments.dialect,
            hosted_pages: arguments.hosted_pages,
            seed: arguments.seed.unwrap_or(defaults.seed),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(Arguments::parse().into()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let sandbox = Sandbox::start(settings).await?;
    println!("{}", json!({ "url": sandbox.url(), "seed": sandbox.seed() }));
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    sandbox.stop().await;
    Ok(())
}
