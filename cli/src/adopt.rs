//! `mono-sync adopt`: adopts accounts that are linked at Mono and that this system does not know.

mod state;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use mono_sync::app::adopt::{AdoptError, Adopted, Adopter};
use mono_sync::domain::account::{AdoptionStep, ListedAccount, Reported};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::spending::CallKind;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::mono::{AccountPage, LinkError, Mono};
use serde::Serialize;
use serde_json::json;
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

/// The most passes over Mono's list.
const MOST_PASSES: u32 = 5;

/// The number of accounts for each result.
#[derive(Default, Serialize)]
struct Counts {
    /// Records that were created.
    created: u64,
    /// Records that got something that they did not have.
    completed: u64,
    /// Records that had everything already, or whose owner is contested.
    unchanged: u64,
    /// Accounts that are unlinked here, or whose link is in doubt. They stay as they are.
    unlinked: u64,
    /// Erased accounts. They stay erased.
    erased: u64,
    /// Accounts that an earlier run with the same state file has adopted.
    done_before: usize,
    /// Accounts that could not be adopted.
    failed: usize,
    /// Rows of Mono's list without an account id.
    unreadable: usize,
    /// Whether Mono's list changed in each pass, so that accounts may be missing.
    incomplete: bool,
    /// Requested imports.
    imports: u64,
}

pub(crate) async fn run(stack: &Stack, options: &Options, output: Output) -> Result<Done> {
    let imports = options.transactions.then(|| stack.startup.import_queue()).transpose()?;
    let is_dry_run = options.dry_run;
    let adopter = Adopter { accounts: stack.startup.accounts()?, imports, is_dry_run };
    let table = stack.startup.environment().required("ACCOUNTS_TABLE")?;
    let header = state::Header { table: table.to_owned(), transactions: options.transactions };
    let state = State::open(options.state.as_deref().filter(|_| !is_dry_run), &header)?;
    let counts = Counts { done_before: state.done(), ..Counts::default() };
    let (rate, failed) = (Rate::new(options.rate), HashMap::new());
    let mut run = Run { adopter, state, counts, failed, rate, bar: bar() };
    match &options.ids {
        Some(file) => run.adopt_ids(read_ids(file)?).await?,
        None => run.adopt_list(&stack.startup.mono(MONO_TIME)?).await?,
    }
    run.bar.finish_and_clear();
    for (id, error) in &run.failed {
        eprintln!("{id}: {error}");
    }
    run.counts.failed = run.failed.len();
    let Counts { failed, unreadable, incomplete, imports, .. } = run.counts;
    let price = stack.startup.environment().mono_prices()?.of(CallKind::TransactionsPage);
    output.print(&json!({
        "dry_run": is_dry_run,
        "total": run.state.done() + failed,
        "accounts": run.counts,
        // A page without rows is free, and a long history may have several pages.
        "naira_for_one_page_each": imports * price.0,
    }))?;
    Ok(if failed + unreadable == 0 && !incomplete { Done::All } else { Done::Partly })
}

struct Run {
    adopter: Adopter,
    state: State,
    counts: Counts,
    /// The accounts that the last attempt could not adopt.
    failed: HashMap<AccountId, AdoptError>,
    rate: Rate,
    bar: ProgressBar,
}

impl Run {
    /// Adopts Mono's list. If accounts are linked or unlinked meanwhile, the rows move between the pages, and a pass can
    /// miss some. So passes are repeated until one has seen all accounts: as many as Mono's list has throughout the pass.
    /// If Mono's answers do not contain this number, a pass without a new account is the last.
    async fn adopt_list(&mut self, mono: &Mono) -> Result<()> {
        let mut first_page = self.state.page();
        let mut quiet_passes = 0;
        for _ in 0..MOST_PASSES {
            let done = self.state.done();
            let pass = self.pass(mono, first_page).await?;
            let is_full = first_page == 1;
            quiet_passes = if is_full && self.state.done() == done { quiet_passes + 1 } else { 0 };
            let is_whole = match pass.totals[..] {
                [] => quiet_passes > 0,
                [total] => pass.seen.len() + pass.unreadable == total,
                _ => false,
            };
            self.counts.unreadable = pass.unreadable;
            // Rows that Mono lists twice are no reason to read on.
            if ((is_whole && is_full) || quiet_passes > 1) && self.failed.is_empty() {
                return Ok(());
            }
            first_page = 1;
        }
        self.counts.incomplete = self.failed.is_empty();
        Ok(())
    }

    /// Adopts the list once, from this page on.
    async fn pass(&mut self, mono: &Mono, first_page: u32) -> Result<Pass> {
        let session = mono.session(Timestamp::now()).await?;
        let (mut pass, mut page) = (Pass::default(), first_page);
        loop {
            let read = session.accounts(page, Instant::now() + MONO_TIME).await;
            let read = read.map_err(|error| match error {
                LinkError::Unsupported => AdoptFailure::NoList,
                error => AdoptFailure::List(error),
            })?;
            let AccountPage { accounts, unreadable, total, next } = read;
            let seen = pass.seen.len();
            pass.seen.extend(accounts.iter().map(|account| account.id.clone()));
            let is_repeated = !accounts.is_empty() && pass.seen.len() == seen;
            pass.unreadable += unreadable;
            if let Some(total) = total.filter(|total| !pass.totals.contains(total)) {
                pass.totals.push(total);
                self.bar.set_length(total as u64);
            }
            self.adopt(accounts, page).await?;
            match next {
                Some(next) if !is_repeated => page = next,
                _ => return Ok(pass),
            }
        }
    }

    async fn adopt_ids(&mut self, ids: Vec<AccountId>) -> Result<()> {
        self.bar.set_length(ids.len() as u64);
        let row = |id| ListedAccount { id, reported: Reported::default() };
        self.adopt(ids.into_iter().map(row).collect(), 1).await
    }

    async fn adopt(&mut self, mut rows: Vec<ListedAccount>, page: u32) -> Result<()> {
        rows.retain(|row| !self.state.is_done(&row.id));
        if rows.is_empty() {
            return Ok(self.state.add(page, Vec::new())?);
        }
        for rows in rows.chunks(self.rate.chunk()) {
            self.rate.wait(rows.len()).await;
            let adopted = self.adopter.adopt(rows.to_vec(), Timestamp::now()).await;
            let mut done = Vec::new();
            for (id, adopted) in adopted {
                match adopted {
                    Ok(adopted) => {
                        self.failed.remove(&id);
                        self.counts.add(&adopted);
                        done.push(id);
                    }
                    Err(error) => {
                        self.failed.insert(id, error);
                    }
                }
            }
            self.state.add(page, done)?;
            self.bar.set_position(self.state.done() as u64);
        }
        Ok(())
    }
}

/// What one pass over Mono's list has seen.
#[derive(Default)]
struct Pass {
    seen: HashSet<AccountId>,
    unreadable: usize,
    /// The different numbers of accounts that the pages have reported.
    totals: Vec<usize>,
}

impl Counts {
    fn add(&mut self, adopted: &Adopted) {
        self.imports += u64::from(adopted.is_import_requested);
        *match adopted.step {
            AdoptionStep::Create => &mut self.created,
            AdoptionStep::Complete => &mut self.completed,
            AdoptionStep::Nothing => &mut self.unchanged,
            AdoptionStep::Unlinked => &mut self.unlinked,
            AdoptionStep::Erased => &mut self.erased,
        } += 1;
    }
}

/// Lets at most a number of accounts pass in a second.
struct Rate {
    per_second: u32,
    next: Instant,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        Self { per_second, next: Instant::now() }
    }

    /// The number of accounts that may pass together.
    fn chunk(&self) -> usize {
        Adopter::MOST.min(usize::try_from(self.per_second).unwrap_or(Adopter::MOST))
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
