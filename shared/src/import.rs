//! One import of one account's transactions: from the lease to the record.
//!
//! Mono is asked for the last days, the rows are compared with those that are stored, and what
//! differs is written. It goes slice by slice, each whole by itself, so that a history of any size
//! is never all in memory, and an import that has no time left is carried on by another message from
//! where it stopped. Whatever fails, the message comes again, and nothing is done that must not be
//! done twice.

mod compare;
mod job;
mod slices;

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{error, warn};

pub use job::{CarriedOn, ImportJob, UnreadableJob};
pub use slices::Rest;

use crate::account::{Import, ImportLease, ImportRefusal, Trouble};
use crate::account_id::AccountId;
use crate::business_day::{BusinessDay, Days};
use crate::invocation::Invocation;
use crate::mono::{Mono, NoTransactions, Session, TransactionPage};
use crate::queue::{ImportQueue, SendError};
use crate::random;
use crate::store::{AccountStore, StoreError, Stored, TransactionStore};
use crate::stored_secret::Unreadable;
use crate::timestamp::Timestamp;
use crate::transaction::Transaction;
use compare::{Changes, compare};
use slices::{MOST_ROWS, with_margins};

/// Imports transactions.
pub struct Importer {
    /// The records.
    pub accounts: AccountStore,
    /// The rows.
    pub transactions: TransactionStore,
    /// Who has them.
    pub mono: Mono,
    /// Where imports are asked for.
    pub queue: ImportQueue,
    /// How many days the first import of an account goes back.
    pub history: u32,
}

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// All of it is in the table.
    Done(Tally),
    /// A part of it is, and a message is queued that carries on.
    CarriedOn(Tally),
    /// It was in the table before.
    Satisfied,
    /// Another import is under way that sees to it.
    SeenTo,
    /// Another import is under way; a message is queued that comes after it.
    Postponed,
    /// Mono does not know the account any more.
    Gone,
}

/// What an import has done, by numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows that Mono told, those of the margins too.
    pub rows: usize,
    /// Rows put.
    pub put: usize,
    /// Rows deleted.
    pub deleted: usize,
    /// Pages that Mono was asked for.
    pub pages: usize,
    /// Slices done.
    pub slices: usize,
    /// Slices of which Mono's answer was not whole, so that nothing was deleted.
    pub not_whole: usize,
    /// Rows that Mono told and that cannot be stored.
    pub unreadable: usize,
}

/// The import is not done; the message must be given back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImportError {
    /// A table cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no key to ask Mono with.
    #[error(transparent)]
    Key(#[from] Unreadable),
    /// The queue cannot be reached.
    #[error(transparent)]
    Queue(#[from] SendError),
    /// Mono could not be asked.
    #[error("Mono cannot be asked: {}", .0.as_str())]
    Mono(Trouble),
    /// Mono does not know an account that is linked, as far as is known.
    #[error("Mono does not know the account")]
    NotFound,
    /// The record is not there yet: the job was faster.
    #[error("there is no such account yet")]
    Unknown,
    /// A single day takes longer than there is time.
    #[error("the time is up within a single day")]
    Late,
}

/// What a slice needs at most once it is fetched.
const WRITING_TIME: Duration = Duration::from_secs(15);
/// Without as much time left no further slice is begun.
const SLICE_TIME: Duration = Duration::from_mins(1);
/// How long a lease outlives the invocation that took it.
const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// How long a job waits for another import of its account.
const BUSY: Duration = Duration::from_secs(15);
/// How long the rest of an import waits after a failure, at most.
const PUT_OFF: Duration = Duration::from_mins(2);
/// How many stored rows of a slice are read at once: more than it may have by Mono's count.
const MOST_STORED: usize = 15_000;
/// How often a slice is fetched until all pages agree.
const TRIES: u32 = 3;

/// An import under way.
struct Run<'a> {
    importer: &'a Importer,
    mono: &'a Session<'a>,
    leased: Stored,
    lease: ImportLease,
    tally: Tally,
    /// From which day on it has to be done again: what Mono told of it did not add up, or was not all.
    again_from: Option<BusinessDay>,
    /// When work has to stop.
    deadline: Instant,
}

/// What became of a slice.
enum Slice {
    Done {
        rows: u64,
    },
    /// It would have had so many.
    TooLarge {
        rows: u64,
    },
}

/// Why there is nothing more of it now.
enum Stop {
    OutOfTime,
    Gone,
    Failed(ImportError),
}

impl<E: Into<ImportError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Who holds the lease of an import: the message that asked for it.
fn holder(message_id: &str) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(message_id.as_bytes()).into();
    digest.first_chunk().copied().unwrap_or_default()
}

impl Importer {
    /// Does a job, which this message has brought.
    ///
    /// # Errors
    ///
    /// [`ImportError`]: the message must be given back.
    pub async fn import(
        &self,
        job: &ImportJob,
        message_id: &str,
        invocation: &Invocation,
    ) -> Result<Imported, ImportError> {
        let now = Timestamp::now();
        let holder = job.holder.unwrap_or_else(|| holder(message_id));
        let mono = self.mono.sign_in(now).await?;
        let wanted =
            ImportLease { holder, pull: job.pull, until: invocation.ends_at + LEASE_MARGIN };
        let from = job.carried_on.as_ref().map(|carried_on| carried_on.from);
        let begun = self.accounts.begin_import(&job.account_id, wanted, from, now).await?;
        let (leased, lease) = match begun {
            Ok(begun) => begun,
            Err(ImportRefusal::Unknown) => return Err(ImportError::Unknown),
            Err(ImportRefusal::Satisfied) => return Ok(Imported::Satisfied),
            Err(ImportRefusal::SeenTo) => return Ok(Imported::SeenTo),
            Err(ImportRefusal::Busy) => {
                self.ask_for(&ImportJob { holder: Some(holder), ..job.clone() }, BUSY).await?;
                return Ok(Imported::Postponed);
            }
        };
        let rest = match &job.carried_on {
            Some(carried_on) => carried_on.rest.clone(),
            None => Rest::of(&leased.account, self.history, now),
        };
        let deadline = invocation.deadline;
        let tally = Tally::default();
        let again_from = job.carried_on.as_ref().and_then(|carried_on| carried_on.again_from);
        let run = Run { importer: self, mono: &mono, leased, lease, tally, again_from, deadline };
        run.run(rest).await
    }

    async fn ask_for(&self, job: &ImportJob, delay: Duration) -> Result<(), SendError> {
        let mut failed = self.queue.send(std::slice::from_ref(job), delay).await;
        failed.remove(&job.account_id).map_or(Ok(()), Err)
    }
}

impl Run<'_> {
    async fn run(mut self, mut rest: Rest) -> Result<Imported, ImportError> {
        let stopped = self.slices(&mut rest).await;
        // What is done is done: the rest is carried on, and has five tries of its own.
        let begun = self.tally.slices > 0;
        let outcome = match stopped {
            Ok(true) => return self.finish().await,
            Ok(false) => return self.carry_on(rest, Duration::ZERO).await,
            Err(Stop::OutOfTime) if begun => return self.carry_on(rest, Duration::ZERO).await,
            Err(Stop::Failed(error)) if begun => {
                warn!(account_id = %self.id(), %error, "the rest of an import is put off");
                return self.carry_on(rest, random::jittered(PUT_OFF)).await;
            }
            Err(Stop::Gone) => Ok(Imported::Gone),
            Err(Stop::OutOfTime) => match rest.smaller(2 * MOST_ROWS) {
                Some(smaller) => return self.carry_on(smaller, Duration::ZERO).await,
                None => Err(ImportError::Late),
            },
            Err(Stop::Failed(error)) => Err(error),
        };
        self.release().await;
        outcome
    }

    async fn finish(self) -> Result<Imported, ImportError> {
        let recorded = async {
            let through = self.importer.transactions.newest(self.id()).await?;
            let again_from = self.again_from.map(BusinessDay::begins_at);
            let done = Import { pull: self.lease.pull, through, again_from };
            self.importer.accounts.end_import(self.leased.clone(), self.lease, Some(done)).await
        };
        match recorded.await {
            Ok(()) => Ok(Imported::Done(self.tally)),
            Err(error) => {
                self.release().await;
                Err(error.into())
            }
        }
    }

    /// The lease stays for the message that carries on: it is queued before the lease ends.
    async fn carry_on(self, rest: Rest, delay: Duration) -> Result<Imported, ImportError> {
        let (from, again_from) = (self.lease.holder, self.again_from);
        let carried_on = Some(CarriedOn { from, rest, again_from });
        let job = ImportJob::new(self.id().clone(), self.lease.pull);
        let job = ImportJob { carried_on, ..job };
        match self.importer.ask_for(&job, delay).await {
            Ok(()) => Ok(Imported::CarriedOn(self.tally)),
            Err(error) => {
                self.release().await;
                Err(error.into())
            }
        }
    }

    /// So that whoever comes next need not wait for the lease to end by itself.
    async fn release(self) {
        let id = self.id().clone();
        let released = self.importer.accounts.end_import(self.leased, self.lease, None).await;
        if let Err(error) = released {
            warn!(account_id = %id, %error, "the lease of an import stays until it ends by itself");
        }
    }

    fn id(&self) -> &AccountId {
        &self.leased.account.id
    }

    /// Imports slice after slice, and keeps account of what is left. Answers whether that is nothing,
    /// when the time is up.
    async fn slices(&mut self, rest: &mut Rest) -> Result<bool, Stop> {
        loop {
            match self.slice(&rest.next()).await? {
                Slice::Done { rows } => match rest.after(rows) {
                    Some(left) => *rest = left,
                    None => return Ok(true),
                },
                Slice::TooLarge { rows } => {
                    *rest = rest.smaller(rows).ok_or(Stop::OutOfTime)?;
                    continue;
                }
            }
            if Instant::now() + SLICE_TIME >= self.deadline {
                return Ok(false);
            }
        }
    }

    /// Imports some days. What is stored is read first: so what is found to be gone was there
    /// before Mono was asked.
    async fn slice(&mut self, days: &Days) -> Result<Slice, Stop> {
        let reach = with_margins(days);
        let divisible = days.start() < days.end();
        let most = if divisible { MOST_STORED } else { usize::MAX };
        let Some(stored) = self.importer.transactions.of_days(self.id(), &reach, most).await?
        else {
            return Ok(Slice::TooLarge { rows: 2 * MOST_ROWS });
        };
        let Fetched { rows, whole, disagree } = match self.fetch(&reach, divisible).await? {
            Fetch::Rows(fetched) => fetched,
            Fetch::TooMany { rows } => return Ok(Slice::TooLarge { rows }),
        };
        let Changes { puts, moved, gone } = compare(days, &stored, &rows);
        let confirmed = whole && (gone.is_empty() || self.is_confirmed().await?);
        let gone = if confirmed { gone } else { Vec::new() };
        if disagree || !self.leased.account.has_whole_statement(Timestamp::now()) {
            self.again_from = self.again_from.into_iter().chain([*days.start()]).min();
        }
        let deletes = [moved, gone].concat();
        self.importer.transactions.write(self.id(), &puts, &deletes).await?;
        self.tally.rows += rows.len();
        self.tally.put += puts.len();
        self.tally.deleted += deletes.len();
        self.tally.slices += 1;
        self.tally.not_whole += usize::from(!whole);
        Ok(Slice::Done { rows: rows.len() as u64 })
    }

    /// Whether Mono served all it has, before it was asked and after.
    async fn is_confirmed(&self) -> Result<bool, StoreError> {
        let now = Timestamp::now();
        let newest = self.importer.accounts.get_newest(self.id()).await?;
        let accounts = [Some(&self.leased), newest.as_ref()];
        Ok(accounts
            .iter()
            .all(|stored| stored.is_some_and(|stored| stored.account.has_whole_statement(now))))
    }

    /// All rows of some days, unless there are too many to be worked on at once. Pages that do not
    /// agree, since rows came in between, are fetched again.
    async fn fetch(&mut self, days: &Days, divisible: bool) -> Result<Fetch, Stop> {
        let mut tries = 1;
        loop {
            match self.fetch_once(days, divisible).await? {
                Fetch::Rows(fetched) if fetched.disagree && tries < TRIES => tries += 1,
                fetched => return Ok(fetched),
            }
        }
    }

    async fn fetch_once(&mut self, days: &Days, divisible: bool) -> Result<Fetch, Stop> {
        let mut rows: HashMap<String, Transaction> = HashMap::new();
        let (mut total, mut told, mut unreadable, mut agree) = (None, 0, 0, true);
        for number in 1.. {
            let page = self.page(days, number).await?;
            if number == 1 {
                total = page.total;
            }
            let most = page.total.unwrap_or(rows.len() as u64);
            if divisible && most > MOST_ROWS {
                return Ok(Fetch::TooMany { rows: most });
            }
            agree &= page.total == total;
            unreadable += page.unreadable;
            told += (page.rows.len() + page.unreadable) as u64;
            let before = rows.len();
            rows.extend(page.rows.into_iter().map(|row| (row.position.id.clone(), row)));
            let brought_any = rows.len() > before
                || (page.unreadable > 0 && total.is_some_and(|total| told < total));
            // Mono may not know when to stop, or what is missing may not come.
            let more = page.has_next || total.is_some_and(|total| told < total);
            if !more || !brought_any {
                break;
            }
        }
        if unreadable > 0 {
            self.tally.unreadable += unreadable;
            let code = "TRANSACTIONS_UNREADABLE";
            error!(account_id = %self.id(), code, unreadable, "rows of Mono's cannot be stored");
        }
        let complete = agree && total == Some(rows.len() as u64);
        Ok(Fetch::Rows(Fetched {
            whole: complete && unreadable == 0,
            disagree: !complete && total.is_some() && unreadable == 0,
            rows: rows.into_values().collect(),
        }))
    }

    async fn page(&mut self, days: &Days, number: u32) -> Result<TransactionPage, Stop> {
        let by = self.deadline - WRITING_TIME;
        self.tally.pages += 1;
        let page = self.mono.transactions(self.id(), days, number, by).await;
        page.map_err(|none| match none {
            // Of an account that is linked, as far as is known, it may be another's fault.
            NoTransactions::NotFound if !self.leased.account.is_unlinked() => {
                Stop::Failed(ImportError::NotFound)
            }
            NoTransactions::NotFound => Stop::Gone,
            NoTransactions::Trouble(_) if Instant::now() >= by => Stop::OutOfTime,
            NoTransactions::Trouble(trouble) => Stop::Failed(ImportError::Mono(trouble)),
        })
    }
}

enum Fetch {
    Rows(Fetched),
    /// More than may be.
    TooMany {
        rows: u64,
    },
}

/// Rows of some days.
struct Fetched {
    rows: Vec<Transaction>,
    /// Every page arrived, and the totals agree.
    whole: bool,
    /// The totals do not, and may at another time.
    disagree: bool,
}
