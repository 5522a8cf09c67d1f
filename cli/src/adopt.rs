//! `mono-sync adopt`: adopts accounts that are linked at Mono and that this system does not know.

mod state;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use mono_sync::app::adopt::Adopter;
use mono_sync::domain::account::{AdoptionStep, ListedAccount, Reported};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::spending::CallKind;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::mono::{AccountPage, LinkError, Mono};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::output::Output;
use crate::stack::Stack;
use crate::{Done, Result};
use state::State;

#[derive(Args)]
pub(crate) struct Options {
    /// Read account ids from this file, one on each line, instead of Mono's list. `-` is standard input. Mono is not
    /// called
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Request an import of the transactions that Mono already has. Mono charges each page of them
    #[arg(long)]
    transactions: bool,
    /// Write the progress to this file, and continue from it
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The largest number of accounts per second
    #[arg(long, value_name = "ACCOUNTS", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Write nothing. Only show the number of accounts, and the price with --transactions
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, thiserror::Error)]
enum AdoptFailure {
    #[error("Mono's API v1 has no list of accounts: give the ids with --ids")]
    NoList,
    #[error("Mono's list of accounts could not be read: {0:?}")]
    List(LinkError),
    #[error("{file}, line {line}: not an account id")]
    InvalidId { file: String, line: usize },
}

/// The time for a page of Mono's list, with all its attempts.
const MONO_TIME: Duration = Duration::from_secs(60);

/// The number of accounts for each result.
#[derive(Default, Serialize)]
struct Counts {
    /// Records that were created.
    created: u64,
    /// Records that got values that they did not have.
    completed: u64,
    /// Records that had all values already.
    unchanged: u64,
    /// Accounts that are unlinked here, or whose link a verification must confirm. They stay as they are.
    unlinked: u64,
    /// Erased accounts. They stay erased.
    erased: u64,
    /// Accounts that an earlier run with the same state file has adopted.
    done_before: u64,
    /// Accounts that could not be adopted.
    failed: u64,
    /// Rows of Mono's list without an account id.
    unreadable: u64,
    /// Requested imports.
    imports: u64,
}

pub(crate) async fn run(stack: &Stack, options: &Options, output: Output) -> Result<Done> {
    let imports = options.transactions.then(|| stack.startup.import_queue()).transpose()?;
    let is_dry_run = options.dry_run;
    let adopter = Adopter { accounts: stack.startup.accounts()?, imports, is_dry_run };
    let state = State::open(options.state.as_deref().filter(|_| !is_dry_run))?;
    let counts = Counts { done_before: state.done() as u64, ..Counts::default() };
    let mut run = Run { adopter, state, counts, rate: Rate::new(options.rate), bar: bar() };
    match &options.ids {
        Some(file) => run.adopt_ids(read_ids(file)?).await?,
        None => run.adopt_list(&stack.startup.mono(MONO_TIME)?).await?,
    }
    run.bar.finish_and_clear();
    let price = stack.startup.environment().mono_prices()?.of(CallKind::TransactionsPage);
    output.print(&summary(&run.counts, price.0, options))?;
    Ok(if run.counts.failed + run.counts.unreadable == 0 { Done::All } else { Done::Partly })
}

fn summary(counts: &Counts, price: u64, options: &Options) -> Value {
    let mut summary = json!({ "dry_run": options.dry_run, "accounts": counts });
    if options.transactions {
        // A page without rows is free, and a long history may have several pages.
        summary["naira_for_one_page_each"] = json!(counts.imports * price);
    }
    summary
}

struct Run {
    adopter: Adopter,
    state: State,
    counts: Counts,
    rate: Rate,
    bar: ProgressBar,
}

impl Run {
    /// Adopts Mono's list, page by page. If accounts are linked or unlinked meanwhile, the rows move between the pages.
    /// So if rows are missing at the end, the list is read once more.
    async fn adopt_list(&mut self, mono: &Mono) -> Result<()> {
        let session = mono.session(Timestamp::now()).await?;
        let (mut page, mut is_second_time) = (self.state.page(), false);
        loop {
            let read = session.accounts(page, Instant::now() + MONO_TIME).await;
            let AccountPage { accounts, unreadable, total, next } =
                read.map_err(|error| match error {
                    LinkError::Unsupported => AdoptFailure::NoList,
                    error => AdoptFailure::List(error),
                })?;
            self.counts.unreadable += unreadable as u64;
            self.bar.set_length(total.unwrap_or(0));
            for part in accounts.chunks(Adopter::MOST) {
                self.adopt(part.to_vec(), page).await?;
            }
            match next {
                Some(next) => page = next,
                None if is_second_time
                    || total.is_none_or(|total| self.state.done() as u64 >= total) =>
                {
                    return Ok(());
                }
                None => (page, is_second_time) = (1, true),
            }
        }
    }

    async fn adopt_ids(&mut self, ids: Vec<AccountId>) -> Result<()> {
        self.bar.set_length(ids.len() as u64);
        for ids in ids.chunks(Adopter::MOST) {
            let row =
                |id: &AccountId| ListedAccount { id: id.clone(), reported: Reported::default() };
            self.adopt(ids.iter().map(row).collect(), 1).await?;
        }
        Ok(())
    }

    async fn adopt(&mut self, mut rows: Vec<ListedAccount>, page: u32) -> Result<()> {
        rows.retain(|row| !self.state.is_done(&row.id));
        self.rate.wait(rows.len()).await;
        let mut done = Vec::new();
        for (id, adopted) in self.adopter.adopt(rows, Timestamp::now()).await {
            let count = match &adopted {
                Ok(adopted) => {
                    self.counts.imports += u64::from(adopted.is_import_requested);
                    match adopted.step {
                        AdoptionStep::Create => &mut self.counts.created,
                        AdoptionStep::Complete => &mut self.counts.completed,
                        AdoptionStep::Nothing => &mut self.counts.unchanged,
                        AdoptionStep::Unlinked => &mut self.counts.unlinked,
                        AdoptionStep::Erased => &mut self.counts.erased,
                    }
                }
                Err(_) => &mut self.counts.failed,
            };
            *count += 1;
            match adopted {
                Ok(_) => done.push(id),
                Err(error) => self.bar.suspend(|| eprintln!("{id}: {error}")),
            }
        }
        self.state.add(page, done)?;
        self.bar.set_position(self.state.done() as u64);
        Ok(())
    }
}

/// Limits the number of accounts per second.
struct Rate {
    per_second: u32,
    next: Instant,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        Self { per_second, next: Instant::now() }
    }

    async fn wait(&mut self, accounts: usize) {
        sleep_until(self.next).await;
        let accounts = u32::try_from(accounts).unwrap_or(u32::MAX);
        self.next = Instant::now() + Duration::from_secs(1) * accounts / self.per_second;
    }
}

/// A progress bar on standard error. It is hidden if standard error is not a terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} accounts, {eta} left");
    let bar = ProgressBar::new(0);
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

fn read_ids(file: &Path) -> Result<Vec<AccountId>> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        text
    } else {
        fs::read_to_string(file)?
    };
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, id)| !id.is_empty());
    let id = |(line, id): (usize, &str)| {
        let file = file.display().to_string();
        id.parse().map_err(|_| AdoptFailure::InvalidId { file, line: line + 1 }.into())
    };
    lines.map(id).collect()
}
