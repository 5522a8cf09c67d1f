//! `mono-sync`: the command-line tool for operators of a stack. It adopts accounts that were already linked at Mono,
//! shows the state of the stack and of single accounts, exports all data of an account, and replays dead letters.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong usage, 3 some accounts or dead letters are left.

mod account;
mod adopt;
mod output;
mod replay;
mod stack;
mod status;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use mono_sync::aws::sdk::error_chain;
use mono_sync::domain::account_id::AccountId;
use tracing_subscriber::filter::LevelFilter;

use output::Output;
use stack::Stack;

#[derive(Parser)]
#[command(name = "mono-sync", version, about = "Operates a stack of mono-sync")]
struct Arguments {
    /// The name of the CloudFormation stack. Credentials, region and endpoint come from the environment and the
    /// profile, as for every AWS tool
    #[arg(long, global = true, default_value = "mono-sync", env = "MONO_SYNC_STACK")]
    stack: String,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Adopt accounts that were linked at Mono before: from Mono's list of accounts, or from ids
    Adopt(adopt::Options),
    /// Show the number of accounts in each status, the account with the oldest sync, and the messages in each queue
    Status,
    /// Show an account
    Account { account_id: AccountId },
    /// Show the history of an account, the newest event first
    Events {
        account_id: AccountId,
        /// The largest number of events
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Print the record, the history and the transactions of an account as JSON Lines
    Export { account_id: AccountId },
    /// Move dead letters back to their queue. Without --execute, only show them
    Replay(replay::Options),
    /// Print the completions for a shell
    Completions { shell: Shell },
}

/// The result of a command that did not fail.
enum Done {
    All,
    /// Some accounts could not be adopted, or some dead letters are left.
    Partly,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(LevelFilter::WARN)
        .without_time()
        .with_target(false)
        .init();
    match Box::pin(run(Arguments::parse())).await {
        Ok(Done::All) => ExitCode::SUCCESS,
        Ok(Done::Partly) => ExitCode::from(3),
        Err(error) => {
            eprintln!("mono-sync: {}", error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(Arguments { stack, json, command }: Arguments) -> Result<Done> {
    if let Command::Completions { shell } = command {
        clap_complete::generate(shell, &mut Arguments::command(), "mono-sync", &mut io::stdout());
        return Ok(Done::All);
    }
    let output = Output { json };
    let stack = Stack::find(&stack).await?;
    match command {
        Command::Adopt(options) => Box::pin(adopt::run(&stack, &options, output)).await,
        Command::Status => status::show(&stack, output).await,
        Command::Account { account_id } => account::show(&stack, &account_id, output).await,
        Command::Events { account_id, limit } => {
            account::events(&stack, &account_id, limit, output).await
        }
        Command::Export { account_id } => account::export(&stack, &account_id).await,
        Command::Replay(options) => replay::run(&stack, &options, output).await,
        Command::Completions { .. } => Ok(Done::All),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
