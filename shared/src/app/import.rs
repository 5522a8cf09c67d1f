//! One import of one account's transactions: from the lease to the record.
//!
//! Mono is asked for the last days, the rows are compared with those that are stored, and what
//! differs is written. It goes slice by slice, each whole by itself, so that a history of any size
//! is never all in memory, and an import that has no time left is carried on by another message from
//! where it stopped. Whatever fails, the message comes again, and nothing is done that must not be
//! done twice.

use std::collections::HashSet;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use crate::aws::queues::{ImportQueue, SendError};
use crate::aws::secrets::SecretUnavailable;
use crate::aws::store::{AccountStore, Leased, StoreError, Stored, TransactionStore};
use crate::domain::account::{
    Answer, CallError, Fact, Gap, GapReason, Import, ImportEnd, ImportLease, ImportNotes,
    ImportRefusal, ImportState, OrderKey, SyncOutcome,
};
use crate::domain::account_id::AccountId;
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::circuit_breaker::Breaker;
use crate::domain::import::diff::{Changes, compare};
use crate::domain::import::listing::Listing;
use crate::domain::import::range::{MOST_ROWS, Plan, window, with_margins, without_margin};
use crate::domain::import::{Continuation, ImportJob, RemainingRange, gaps, sync_page};
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{Position, SyncedPage, Transaction, TransactionPage};
use crate::lambda::invocation::Invocation;
use crate::mono::{Mono, Part, Session, TransactionsError};
use crate::random;

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
    /// How many days the history window has.
    pub history: u32,
    /// How many slices can be in memory at once.
    pub room: Semaphore,
}

/// How many slices of `Importer::room` a function has memory for.
pub const ROOM: usize = 4;

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// All of it is in the table.
    Done(ImportStats),
    /// A part of it is, and a message is queued that carries on.
    Continued(ImportStats),
    /// It was in the table before.
    UpToDate,
    /// Another import is under way that sees to it.
    Covered,
    /// Another import is under way; a message is queued that comes after it.
    Postponed,
    /// Mono does not know the account any more.
    Gone,
    /// The bank wants the customer: the record says so.
    ReauthorisationRequired,
    /// A part of it is stored. Its chain of messages is at the limit, so the rest is deferred.
    TooLong(ImportStats),
    /// It cannot be paid today, or Mono is left alone or refuses the key or the payment: it is asked for again later.
    Deferred(CallError),
}

/// What an import has done, by numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportStats {
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
    /// Days that Mono did not serve.
    pub not_served: usize,
    /// Rows that are missing in Mono's answer and wait for another to say so again.
    pub kept: usize,
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
    Key(#[from] SecretUnavailable),
    /// The queue cannot be reached.
    #[error(transparent)]
    Queue(#[from] SendError),
    /// Mono could not be asked.
    #[error("Mono cannot be asked: {}", .0.as_str())]
    Mono(CallError),
    /// Mono does not know an account that is linked, as far as is known.
    #[error("Mono does not know the account")]
    NotFound,
    /// Another import still holds the lease at the end of this job's chain of messages.
    #[error("another import of the account is still running")]
    Busy,
    /// The record is not there yet: the job was faster.
    #[error("there is no such account yet")]
    Unknown,
    /// A single day takes longer than there is time.
    #[error("the time is up within a single day")]
    Late,
    /// A single day has more rows than there is memory for.
    #[error("a single day has more than {MOST_OF_A_DAY} rows")]
    TooManyRows,
    /// An answer of Mono's is larger than there is memory for.
    #[error("an answer of Mono's is too large")]
    TooLarge,
}

/// What a slice needs at most once it is fetched.
const WRITING_TIME: Duration = Duration::from_secs(15);
/// Time reserved at the end to write the record and to queue a message.
const RECORDING_TIME: Duration = Duration::from_secs(5);
/// Without as much time left no further slice is begun.
const SLICE_TIME: Duration = Duration::from_mins(1);
/// How long a lease outlives the invocation that took it.
const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// How long a job waits for another import of its account.
const BUSY: Duration = Duration::from_secs(15);
/// How long the rest of an import waits after a failure, at most.
const PUT_OFF: Duration = Duration::from_mins(2);
/// How long an import is deferred when its chain of messages is at the limit.
const TOO_LONG: Duration = Duration::from_hours(1);
/// How long an import waits when Mono refuses the key or the payment.
const REFUSED: Duration = Duration::from_hours(1);
/// How many stored rows of a slice are read at once: more than it may have by Mono's count.
const MOST_STORED: usize = 15_000;
/// The most rows of a single day. More than any account has, and few enough for the memory where no other
/// slice is in it.
const MOST_OF_A_DAY: usize = 50_000;
/// How many pages a slice of several days has at most.
const MOST_PAGES: u64 = 30;
/// How often a slice is fetched until no page disturbs another.
const TRIES: u32 = 3;
/// How many days one after the other Mono may not serve, before it is taken to serve nothing at all.
const MOST_NOT_SERVED: u32 = 5;

/// An import under way.
struct Run<'a> {
    importer: &'a Importer,
    mono: &'a Session<'a>,
    leased: Stored,
    lease: ImportLease,
    stats: ImportStats,
    /// Days that are in reason by now.
    gaps: Vec<Gap>,
    /// What was found out of Mono's answers by now.
    notes: ImportNotes,
    /// How many rows there are in all, if the sync's own answer has told.
    told_total: Option<u32>,
    today: BusinessDay,
    /// A total that did not shrink with the days that were asked for.
    same_total: Option<u64>,
    /// Totals do not count the days that are asked for.
    total_misleads: bool,
    /// Days one after the other that Mono did not serve.
    not_served: u32,
    /// Whether it has served any, by this message or one before.
    is_served: bool,
    /// Whether some days cannot be listed: then none is asked for that is not compared.
    is_troubled: bool,
    /// How many messages came before in the chain, as in [`ImportJob::follows`].
    follows: u32,
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
    /// Mono's totals say nothing of the days, so as many can be asked for as there are.
    TotalMisleads,
}

/// Why there is nothing more of it now.
enum Interruption {
    OutOfTime,
    Gone,
    ReauthorisationRequired,
    Failed(ImportError),
}

impl<E: Into<ImportError>> From<E> for Interruption {
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
        let mono = self.mono.session(now).await?;
        let wanted =
            ImportLease { holder, pull: job.pull, until: invocation.ends_at + LEASE_MARGIN };
        let from = job.continuation.as_ref().map(|continuation| continuation.from);
        let begun = self.accounts.begin_import(&job.account_id, wanted, from, now).await?;
        let Leased { stored: leased, lease } = match begun {
            Ok(leased) => leased,
            Err((_, ImportRefusal::Unknown)) => return Err(ImportError::Unknown),
            Err((_, ImportRefusal::UpToDate)) => return Ok(Imported::UpToDate),
            Err((_, ImportRefusal::Covered)) => return Ok(Imported::Covered),
            Err((_, ImportRefusal::Busy)) => {
                let next = ImportJob { holder: Some(holder), ..job.clone() }.next();
                self.ask_for(&next.ok_or(ImportError::Busy)?, BUSY).await?;
                return Ok(Imported::Postponed);
            }
        };
        let (plan, notes) = match &job.continuation {
            Some(Continuation { rest, gaps, notes, .. }) => {
                let (look_back, window) = (Vec::new(), Vec::new());
                (Plan { rest: rest.clone(), look_back, window, gaps: gaps.clone() }, *notes)
            }
            None => {
                (Plan::of(&leased.account, self.history, now), ImportNotes::of(&leased, lease, now))
            }
        };
        let run = Run {
            importer: self,
            mono: &mono,
            leased,
            lease,
            stats: ImportStats::default(),
            is_troubled: plan.gaps.iter().any(|gap| gap.reason == GapReason::NotServed),
            gaps: plan.gaps,
            notes,
            told_total: job.page.as_ref().map(|page| page.total),
            today: BusinessDay::of(now),
            same_total: None,
            total_misleads: false,
            not_served: 0,
            is_served: job.continuation.as_ref().is_some_and(|continuation| continuation.is_served),
            follows: job.follows,
            deadline: invocation.deadline,
        };
        let breaker = self.accounts.breaker().await?;
        if breaker.pause.is_some() {
            let until = breaker.paused_until.max(Some(now)).unwrap_or(now);
            run.defer(&plan.rest, until).await?;
            return Ok(Imported::Deferred(CallError::Unavailable));
        }
        // Where the page does not show all that is new, it may be anywhere.
        let look_back = if job.page.is_some() { plan.window } else { plan.look_back };
        let imported = Box::pin(run.run(plan.rest, look_back, job.page.as_ref())).await;
        self.record_result(&imported, breaker, now).await;
        imported
    }

    /// Lets the breaker know whether Mono works.
    async fn record_result(
        &self,
        imported: &Result<Imported, ImportError>,
        seen: Breaker,
        now: Timestamp,
    ) {
        let heeded = match imported {
            Ok(Imported::Deferred(call_error)) | Err(ImportError::Mono(call_error))
                if call_error.may_affect_all_accounts() =>
            {
                self.accounts.change_breaker(|breaker| breaker.after_failure(now)).await
            }
            Ok(Imported::Done(_)) if seen.failures > 0 => {
                self.accounts.change_breaker(Breaker::after_success).await
            }
            _ => Ok(()),
        };
        if let Err(error) = heeded {
            error!(%error, "the breaker stays as it is");
        }
    }

    /// Waits until there is memory for so many slices.
    async fn room(
        &self,
        slices: usize,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, Interruption> {
        let permits = u32::try_from(slices).unwrap_or(u32::MAX);
        let room = timeout_at(deadline - WRITING_TIME, self.room.acquire_many(permits)).await;
        room.ok().and_then(Result::ok).ok_or(Interruption::OutOfTime)
    }

    async fn ask_for(&self, job: &ImportJob, delay: Duration) -> Result<(), SendError> {
        let mut failed = self.queue.send(std::slice::from_ref(job), delay).await;
        failed.remove(&job.account_id).map_or(Ok(()), Err)
    }
}

impl Run<'_> {
    async fn run(
        mut self,
        mut rest: RemainingRange,
        look_back: Vec<Days>,
        page: Option<&SyncedPage>,
    ) -> Result<Imported, ImportError> {
        let stopped = self.import(&mut rest, look_back, page).await;
        // What is done is done: the rest is carried on, and has five tries of its own.
        let begun = self.is_served && (self.stats.slices > 0 || self.stats.not_served > 0);
        let outcome = match stopped {
            Err(Interruption::Failed(ImportError::Mono(
                call_error @ (CallError::BudgetExhausted { .. } | CallError::Refused(_)),
            ))) => {
                let until = match call_error {
                    CallError::BudgetExhausted { until } => until,
                    _ => Timestamp::now() + REFUSED,
                };
                self.defer(&rest, until).await?;
                return Ok(Imported::Deferred(call_error));
            }
            Ok(true) => return self.finish().await,
            Ok(false) => return self.carry_on(rest, Duration::ZERO).await,
            Err(Interruption::OutOfTime) if begun => {
                return self.carry_on(rest, Duration::ZERO).await;
            }
            Err(Interruption::Failed(error)) if begun => {
                warn!(account_id = %self.id(), %error, "the rest of an import is put off");
                return self.carry_on(rest, random::jittered(PUT_OFF)).await;
            }
            Err(Interruption::Gone) => Ok(Imported::Gone),
            Err(Interruption::ReauthorisationRequired) => self.record_reauth_required().await,
            Err(Interruption::OutOfTime) => match rest.smaller(2 * MOST_ROWS) {
                Some(smaller) => return self.carry_on(smaller, Duration::ZERO).await,
                None => Err(ImportError::Late),
            },
            Err(Interruption::Failed(error)) => Err(error),
        };
        self.release().await;
        outcome
    }

    /// That the bank wants the customer is a fact about the account, whoever learns it.
    async fn record_reauth_required(&self) -> Result<Imported, ImportError> {
        let outcome = SyncOutcome::ReauthorisationRequired { job_id: None };
        let fact = Fact::Answer(Answer { at: Timestamp::now(), outcome });
        self.importer.accounts.apply(self.id(), Some(self.leased.clone()), &[&fact]).await?;
        Ok(Imported::ReauthorisationRequired)
    }

    /// No message outlives a day's wait: the record says that the import is due and what is done of it, and the planner
    /// asks for the rest.
    async fn defer(mut self, rest: &RemainingRange, until: Timestamp) -> Result<(), StoreError> {
        let part = if self.is_served { Some(self.part_done(rest).await?) } else { None };
        let deferred = ImportEnd::Deferred { until, part };
        self.importer.accounts.end_import(self.leased(), &deferred).await
    }

    /// What is done by now. The days that are not are gaps, which the next import reads.
    async fn part_done(&mut self, rest: &RemainingRange) -> Result<Import, StoreError> {
        for days in &rest.ranges {
            self.note(days, Some(GapReason::NotWhole));
        }
        let through = self.importer.transactions.newest(self.id()).await?;
        let notes = ImportNotes { job: None, ..self.notes };
        let state = ImportState { through, gaps: self.gaps.clone(), notes };
        let before = Timestamp::from_millis(self.lease.pull.at.millis().saturating_sub(1));
        Ok(Import { pull: OrderKey { at: before, ..self.lease.pull }, state })
    }

    async fn finish(self) -> Result<Imported, ImportError> {
        let recorded = async {
            let through = self.importer.transactions.newest(self.id()).await?;
            let state = ImportState { through, gaps: self.gaps.clone(), notes: self.notes };
            let done = Import { pull: self.lease.pull, state };
            let done = ImportEnd::Done(done);
            self.importer.accounts.end_import(self.leased(), &done).await
        };
        match recorded.await {
            Ok(()) => Ok(Imported::Done(self.stats)),
            Err(error) => {
                self.release().await;
                Err(error.into())
            }
        }
    }

    /// The lease stays for the message that carries on: it is queued before the lease ends.
    async fn carry_on(
        self,
        rest: RemainingRange,
        delay: Duration,
    ) -> Result<Imported, ImportError> {
        let (from, gaps, is_served) = (self.lease.holder, self.gaps.clone(), self.is_served);
        let part = Continuation { from, rest: rest.clone(), gaps, is_served, notes: self.notes };
        let job = ImportJob::new(self.id().clone(), self.lease.pull);
        let job = ImportJob { continuation: Some(part), follows: self.follows, ..job };
        let Some(next) = job.next() else {
            let stats = self.stats;
            warn!(account_id = %self.id(), "import deferred: message chain is at the limit");
            self.defer(&rest, Timestamp::now() + TOO_LONG).await?;
            return Ok(Imported::TooLong(stats));
        };
        match self.importer.ask_for(&next, delay).await {
            Ok(()) => Ok(Imported::Continued(self.stats)),
            Err(error) => {
                self.release().await;
                Err(error.into())
            }
        }
    }

    /// So that whoever comes next need not wait for the lease to end by itself.
    async fn release(self) {
        let id = self.id().clone();
        let accounts = &self.importer.accounts;
        let released = accounts.end_import(self.leased(), &ImportEnd::GivenUp).await;
        if let Err(error) = released {
            warn!(account_id = %id, %error, "the lease of an import stays until it ends by itself");
        }
    }

    fn id(&self) -> &AccountId {
        &self.leased.account.id
    }

    fn leased(&self) -> Leased<ImportLease> {
        Leased { stored: self.leased.clone(), lease: self.lease }
    }

    /// Looks back, and imports what is left then, slice after slice. Answers whether all of it is done, when
    /// the time is up.
    async fn import(
        &mut self,
        rest: &mut RemainingRange,
        look_back: Vec<Days>,
        page: Option<&SyncedPage>,
    ) -> Result<bool, Interruption> {
        if let Some(page) = page
            && self.is_done_by(page, rest).await?
        {
            return Ok(true);
        }
        // The first import is of the whole window.
        if !look_back.is_empty() || self.leased.account.registers.imported.is_none() {
            let pulled_on = BusinessDay::of(self.lease.pull.at);
            self.notes.looked_back_on = Some(pulled_on.min(self.today));
        }
        for window in look_back {
            if self.look_back(&window).await? {
                *rest = rest.but(&window);
            }
        }
        while let Some(days) = rest.next() {
            match self.slice(&days).await {
                Ok(Slice::Done { rows }) => {
                    (self.not_served, self.is_served) = (0, true);
                    *rest = rest.after(rows);
                }
                Ok(Slice::TooLarge { rows }) => {
                    *rest = rest.smaller(rows).ok_or(Interruption::OutOfTime)?;
                    continue;
                }
                Ok(Slice::TotalMisleads) => {
                    *rest = rest.widest();
                    continue;
                }
                Err(Interruption::Failed(error)) if error.may_affect_only_some_days() => {
                    self.is_troubled = true;
                    match rest.smaller(u64::MAX) {
                        Some(single_day) => *rest = single_day,
                        None => *rest = self.leave_out(&days, error, rest)?,
                    }
                }
                Err(stop) => return Err(stop),
            }
            if Instant::now() + SLICE_TIME >= self.deadline {
                return Ok(rest.next().is_none());
            }
        }
        Ok(true)
    }

    /// Skips a day that Mono does not serve and continues with the others. After [`MOST_NOT_SERVED`] such days in
    /// a row, the import fails if Mono has served no day at all; otherwise all remaining days are skipped.
    fn leave_out(
        &mut self,
        day: &Days,
        error: ImportError,
        rest: &RemainingRange,
    ) -> Result<RemainingRange, Interruption> {
        self.not_served += 1;
        let serves_none = self.not_served >= MOST_NOT_SERVED;
        if serves_none && !self.is_served {
            return Err(Interruption::Failed(error));
        }
        let left_out = if serves_none { rest.ranges.clone() } else { vec![day.clone()] };
        warn!(account_id = %self.id(), day = %day.start(), %error, "days are left out of an import");
        self.stats.not_served += 1;
        for days in &left_out {
            self.note(days, Some(GapReason::NotServed));
        }
        Ok(left_out.iter().fold(rest.after(MOST_ROWS), |rest, days| rest.but(days)))
    }

    /// Whether the page that the sync's own answer was shows all that is new: then its rows are written, and
    /// nothing is asked for. It takes no row away.
    async fn is_done_by(
        &mut self,
        page: &SyncedPage,
        rest: &RemainingRange,
    ) -> Result<bool, Interruption> {
        let before = sync_page::total_before(&self.leased.account, Timestamp::now());
        self.notes.total = Some(page.total);
        let Ok(mut listed) = TransactionPage::of_rows(&page.rows) else {
            return Ok(false);
        };
        let (Some(before), [days]) = (before, &rest.ranges[..]) else {
            return Ok(false);
        };
        let importer = self.importer;
        let window = window(importer.history, self.today);
        listed.rows.retain(|row| window.contains(&row.business_day()));
        let span = sync_page::span(&listed.rows, days);
        let _room = importer.room(1, self.deadline).await?;
        let Some(stored) = importer.transactions.of_days(self.id(), &span, MOST_STORED).await?
        else {
            return Ok(false);
        };
        let totals = (before, page.total);
        if !listed.unreadable.is_empty()
            || !sync_page::shows_all_news(&listed.rows, totals, days, &stored)
        {
            return Ok(false);
        }
        let Changes { puts, moved, .. } = compare(&span, &stored, &listed.rows, &HashSet::new());
        self.write(&puts, &moved).await?;
        self.stats.rows += listed.rows.len();
        self.stats.put += puts.len();
        self.stats.deleted += moved.len();
        Ok(true)
    }

    /// Compares a part of the history window with one unpaged answer. Returns whether that worked; if not, the
    /// caller imports the usual days.
    async fn look_back(&mut self, window: &Days) -> Result<bool, Interruption> {
        if self.notes.is_paged {
            return Ok(false);
        }
        let importer = self.importer;
        let _room = importer.room(1, self.deadline).await?;
        let most = usize::try_from(MOST_ROWS).unwrap_or(usize::MAX);
        let Some(stored) = importer.transactions.of_days(self.id(), window, most).await? else {
            return Ok(false);
        };
        let page = match self.part(window, Part::All).await {
            Ok(page) => page,
            // The usual days tell whether it is all that fails.
            Err(Interruption::Failed(error)) if error.may_affect_only_some_days() => {
                return Ok(false);
            }
            Err(stop) => return Err(stop),
        };
        self.is_served = true;
        if page.has_next {
            self.notes.is_paged = true;
            return Ok(false);
        }
        let mut listing = Listing::default();
        listing.add(page);
        self.note_total(window, &listing);
        let unexplained = listing.unexplained();
        let is_known = unexplained != 0 && unexplained == self.notes.unexplained;
        self.notes.unexplained = unexplained;
        self.settle(&without_margin(window), &stored, &listing, is_known).await?;
        Ok(true)
    }

    /// Imports some days. What is stored is read first: so what is found to be gone was there
    /// before Mono was asked.
    async fn slice(&mut self, days: &Days) -> Result<Slice, Interruption> {
        match self.slice_in(days, 1).await? {
            // A day cannot be divided, so it has all the room to itself.
            Slice::TooLarge { .. } if days.start() == days.end() => self.slice_in(days, ROOM).await,
            slice => Ok(slice),
        }
    }

    async fn slice_in(&mut self, days: &Days, room: usize) -> Result<Slice, Interruption> {
        let importer = self.importer;
        let _room = importer.room(room, self.deadline).await?;
        let is_single_day = days.start() == days.end();
        let reach = if self.is_troubled || is_single_day {
            days.clone()
        } else {
            with_margins(days, importer.history, self.today)
        };
        let most = if room > 1 { MOST_OF_A_DAY } else { MOST_STORED };
        let Some(stored) = importer.transactions.of_days(self.id(), &reach, most).await? else {
            return too_large(room, 2 * MOST_ROWS);
        };
        let listing = match self.fetch(&reach, days, room).await? {
            Fetch::Listing(listing) => listing,
            Fetch::TooMany { rows } => return too_large(room, rows),
            Fetch::TotalMisleads => return Ok(Slice::TotalMisleads),
        };
        self.settle(days, &stored, &listing, false).await?;
        Ok(Slice::Done { rows: listing.rows.len() as u64 })
    }

    /// Writes what Mono's answer makes of some days, and notes whether they have to be looked at again: not if
    /// it lacks as many rows as the last time, which is known and unexplained.
    async fn settle(
        &mut self,
        days: &Days,
        stored: &[Transaction],
        listing: &Listing,
        is_known: bool,
    ) -> Result<(), Interruption> {
        let Changes { puts, moved, gone } =
            compare(days, stored, &listing.rows, &listing.unreadable_ids);
        let is_whole = listing.is_whole() && self.has_whole_statement();
        let is_doubtful = (!is_whole && !is_known) || listing.unreadable > 0;
        let mut reason = is_doubtful.then_some(GapReason::NotWhole);
        let of_days = stored.iter().filter(|row| days.contains(&row.business_day())).count();
        let mut removed = if is_whole { gone } else { Vec::new() };
        if removed.len() * 2 > of_days {
            let missing = removed.len();
            removed.retain(|row| self.was_said_before(BusinessDay::of(row.date)));
            if removed.len() < missing {
                let kept = missing - removed.len();
                self.stats.kept += kept;
                warn!(account_id = %self.id(), kept, "most rows are missing: they are kept for now");
                reason = Some(GapReason::MostRowsGone);
            }
        }
        if !removed.is_empty() && !self.is_confirmed().await? {
            reason = Some(GapReason::NotWhole);
            removed.clear();
        }
        if listing.unreadable > 0 {
            self.stats.unreadable += listing.unreadable;
            let (code, unreadable) = ("TRANSACTIONS_UNREADABLE", listing.unreadable);
            error!(account_id = %self.id(), code, unreadable, "rows of Mono's cannot be stored");
        }
        let deletes = [moved, removed].concat();
        self.write(&puts, &deletes).await?;
        self.note(days, reason);
        self.stats.rows += listing.rows.len();
        self.stats.put += puts.len();
        self.stats.deleted += deletes.len();
        self.stats.slices += 1;
        self.stats.not_whole += usize::from(!is_whole);
        Ok(())
    }

    /// A listing of the whole history window has the rows that Mono holds in all, unless it holds older ones: then
    /// the next sync's total does not follow from it, and another listing is asked for.
    fn note_total(&mut self, days: &Days, listing: &Listing) {
        let window = window(self.importer.history, self.today);
        if self.told_total.is_none() && days.start() <= window.start() {
            self.notes.total = listing.total().and_then(|total| total.try_into().ok());
        }
    }

    fn note(&mut self, days: &Days, reason: Option<GapReason>) {
        gaps::note(&mut self.gaps, days, reason, Timestamp::now());
    }

    fn has_whole_statement(&self) -> bool {
        self.leased.account.has_whole_statement(Timestamp::now())
    }

    /// Whether an earlier import found most rows gone when it looked at this day.
    fn was_said_before(&self, day: BusinessDay) -> bool {
        let imported = self.leased.account.registers.imported.as_ref();
        let mut gaps = imported.into_iter().flat_map(|imported| &imported.value.gaps);
        gaps.any(|gap| gap.reason == GapReason::MostRowsGone && gap.days().contains(&day))
    }

    async fn write(&self, puts: &[Transaction], deletes: &[Position]) -> Result<(), StoreError> {
        let deadline = self.deadline - RECORDING_TIME;
        self.importer.transactions.write(self.id(), puts, deletes, deadline).await
    }

    /// Whether Mono serves all it has, now that it was asked as before.
    async fn is_confirmed(&self) -> Result<bool, StoreError> {
        let newest = self.importer.accounts.get_newest(self.id()).await?;
        let now = Timestamp::now();
        Ok(newest.is_some_and(|newest| newest.account.has_whole_statement(now)))
    }

    /// All rows of some days, unless there are too many to be worked on at once. Pages that disturb each
    /// other, since rows came in between, are fetched again.
    async fn fetch(
        &mut self,
        reach: &Days,
        days: &Days,
        room: usize,
    ) -> Result<Fetch, Interruption> {
        let mut tries = 1;
        loop {
            match self.fetch_once(reach, days, room).await? {
                Fetch::Listing(listing) if listing.is_disturbed() && tries < TRIES => tries += 1,
                fetched => return Ok(fetched),
            }
        }
    }

    /// In one answer, if Mono gives it. If it answers with a page, pages are asked for from the first one on, so
    /// that all have one size. So they are if the answer is too large: the first page then tells how many rows
    /// there are.
    async fn fetch_once(
        &mut self,
        reach: &Days,
        days: &Days,
        room: usize,
    ) -> Result<Fetch, Interruption> {
        if !self.notes.is_paged {
            match self.part(reach, Part::All).await {
                Ok(page) if !page.has_next => {
                    let mut listing = Listing::default();
                    listing.add(page);
                    self.note_total(reach, &listing);
                    return Ok(Fetch::Listing(listing));
                }
                Ok(_) => self.notes.is_paged = true,
                Err(Interruption::Failed(ImportError::TooLarge)) => {}
                Err(stop) => return Err(stop),
            }
        }
        self.fetch_pages(reach, days, room).await
    }

    async fn fetch_pages(
        &mut self,
        reach: &Days,
        days: &Days,
        room: usize,
    ) -> Result<Fetch, Interruption> {
        let is_single_day = days.start() == days.end();
        let most = if room > 1 { MOST_OF_A_DAY as u64 } else { MOST_ROWS };
        let mut listing = Listing::default();
        for number in 1.. {
            let page = match self.part(reach, Part::Page(number)).await {
                Err(Interruption::Failed(ImportError::TooLarge)) => {
                    return Ok(Fetch::TooMany { rows: 2 * most });
                }
                page => page?,
            };
            // A slice has few enough pages for a day's budget, so that what is paid for is kept.
            let of_pages = MOST_PAGES * page.rows.len().max(1) as u64;
            let is_divided = self.notes.is_paged && !is_single_day;
            let limit = if is_divided { most.min(of_pages) } else { most };
            let total = page.total.filter(|total| page.has_next && *total > limit);
            let wants_more = listing.add(page);
            if let Some(total) = total.filter(|_| number == 1 && !self.total_misleads) {
                let is_same = self.same_total.replace(total) == Some(total);
                // Should it count the days, it shrinks with them; of a single day, its pages tell.
                if !is_single_day || room == 1 {
                    // As if the limit were the usual one.
                    let rows = total.saturating_mul(MOST_ROWS) / limit.min(MOST_ROWS);
                    return Ok(Fetch::TooMany { rows: if is_same { u64::MAX } else { rows } });
                }
            }
            if listing.rows.len() as u64 > most {
                return Ok(Fetch::TooMany { rows: 2 * most });
            }
            if !wants_more {
                break;
            }
        }
        if is_single_day && !self.total_misleads && listing.disproves_total() {
            self.total_misleads = self.same_total.is_some() && self.same_total == listing.total();
            if self.total_misleads {
                return Ok(Fetch::TotalMisleads);
            }
        }
        Ok(Fetch::Listing(listing))
    }

    async fn part(&mut self, days: &Days, part: Part) -> Result<TransactionPage, Interruption> {
        let by = self.deadline - WRITING_TIME;
        self.stats.pages += 1;
        let page = self.mono.transactions(self.id(), days, part, by).await;
        page.map_err(|none| match none {
            TransactionsError::ReauthorisationRequired => Interruption::ReauthorisationRequired,
            // Of an account that is linked, as far as is known, it may be another's fault.
            TransactionsError::NotFound if !self.leased.account.is_unlinked() => {
                Interruption::Failed(ImportError::NotFound)
            }
            TransactionsError::NotFound => Interruption::Gone,
            TransactionsError::TooLarge => Interruption::Failed(ImportError::TooLarge),
            TransactionsError::Call(_) if Instant::now() >= by => Interruption::OutOfTime,
            TransactionsError::Call(call_error) => {
                Interruption::Failed(ImportError::Mono(call_error))
            }
        })
    }
}

impl ImportNotes {
    /// What earlier imports have found out, and the job of the pull that this one is for. Whether Mono pages its answers
    /// is found out anew once a week.
    fn of(leased: &Stored, lease: ImportLease, now: Timestamp) -> Self {
        let account = &leased.account;
        let imported = account.registers.imported.as_ref();
        let notes = imported.map(|imported| imported.value.notes).unwrap_or_default();
        let age = notes.looked_back_on.map(|day| BusinessDay::of(now).days_after(day));
        let is_paged =
            notes.is_paged && age.is_some_and(|age| age < sync_page::MOST_DAYS_WITHOUT_LISTING);
        Self { is_paged, job: account.job_of_pull(lease.pull), ..notes }
    }
}

/// How long a job waits after its first failure at Mono, at most; four times as long after each
/// other, so that its five tries outlast an hour.
const FIRST_WAIT: Duration = Duration::from_mins(1);
/// The same for one that was faster than the record it is about.
const FIRST_WAIT_FOR_RECORD: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(64);

impl ImportError {
    /// How long the message waits before its next delivery: exponential back-off with jitter, and not before Mono's
    /// `Retry-After`.
    pub fn back_off(&self, times: u32) -> Duration {
        let (first, wanted) = match self {
            Self::Unknown => (FIRST_WAIT_FOR_RECORD, None),
            Self::Mono(CallError::RateLimited { retry_after }) => (FIRST_WAIT, *retry_after),
            _ => (FIRST_WAIT, None),
        };
        let longest = first.saturating_mul(4_u32.saturating_pow(times.saturating_sub(1)));
        let wait = random::jittered(longest.min(LONGEST_WAIT));
        wanted.map_or(wait, |wanted| wanted.min(LONGEST_WAIT) + wait)
    }

    /// Whether other days may be served all the same.
    fn may_affect_only_some_days(&self) -> bool {
        matches!(
            self,
            Self::Mono(CallError::TimedOut | CallError::Unavailable | CallError::Unusable(_))
                | Self::TooManyRows
                | Self::TooLarge
        )
    }
}

fn too_large(room: usize, rows: u64) -> Result<Slice, Interruption> {
    if room > 1 { Err(ImportError::TooManyRows.into()) } else { Ok(Slice::TooLarge { rows }) }
}

enum Fetch {
    Listing(Listing),
    /// More than may be.
    TooMany {
        rows: u64,
    },
    TotalMisleads,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(error: &ImportError, times: u32) -> u64 {
        error.back_off(times).as_secs()
    }

    #[test]
    fn each_failure_makes_the_wait_four_times_as_long_up_to_an_hour() {
        let failure = ImportError::Mono(CallError::Unavailable);
        for (times, longest) in [(0, 60), (1, 60), (2, 240), (3, 960), (4, 3840), (99, 3840)] {
            let wait = seconds(&failure, times);
            assert!((longest / 2..=longest).contains(&wait), "{times}: {wait}");
        }
    }

    #[test]
    fn back_off_respects_retry_after() {
        let retry_after = Some(Duration::from_secs(100));
        let limited = ImportError::Mono(CallError::RateLimited { retry_after });
        assert!((130..=160).contains(&seconds(&limited, 1)));
    }

    #[test]
    fn record_that_is_not_there_yet_is_looked_for_soon() {
        assert!(seconds(&ImportError::Unknown, 1) <= 5);
    }
}
