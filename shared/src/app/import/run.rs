//! A running import: from the first slice to the write of the record, or to the message for the remaining range.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::slice::Slice;
use super::state::{Interruption, Run};
use super::{ImportError, Imported, WRITING_TIME};
use crate::aws::store::StoreError;
use crate::domain::account::{
    Answer, CallError, Fact, GapReason, Import, ImportEnd, ImportNotes, ImportState, OrderKey,
    Reading, RowCounts, SyncOutcome, Verification,
};
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::import::range::MOST_ROWS;
use crate::domain::import::{Continuation, ImportJob, RemainingRange};
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::SyncedPage;
use crate::random;

/// A write that failed here arrives at the table within this time, or never.
const WRITES_SETTLE: Duration = Duration::from_secs(10);
/// With less time left, no further slice starts.
const SLICE_TIME: Duration = Duration::from_mins(1);
/// The longest delay of the message for the remaining range after a failure.
const RETRY_DELAY: Duration = Duration::from_mins(2);
/// How long an import is deferred when its chain of messages is at the limit.
const TOO_LONG: Duration = Duration::from_hours(1);
/// How long an import is deferred when Mono refuses the key or the payment.
const REFUSED: Duration = Duration::from_hours(1);
/// After this many consecutive days that Mono does not serve, the import skips the remaining range.
const MOST_NOT_SERVED: u32 = 5;

impl Run<'_> {
    /// Imports the range. Then it writes the record or queues a message for the remaining range.
    pub(super) async fn run(
        mut self,
        mut rest: RemainingRange,
        look_back: Vec<Days>,
        page: Option<&SyncedPage>,
    ) -> Result<Imported, ImportError> {
        let result = self.import(&mut rest, look_back, page).await;
        // Finished slices stay stored. The remaining range gets another message, with five deliveries of its own.
        let has_progress = self.is_served && (self.stats.slices > 0 || self.stats.not_served > 0);
        let outcome = match result {
            Err(Interruption::Failed(ImportError::Mono(
                call_error @ (CallError::BudgetExhausted { .. } | CallError::Refused(_)),
            ))) => {
                let until = match call_error {
                    CallError::BudgetExhausted { until } => until,
                    _ => Timestamp::now() + REFUSED,
                };
                Box::pin(self.defer(&rest, until)).await?;
                return Ok(Imported::Deferred(call_error));
            }
            Ok(true) => return Box::pin(self.finish()).await,
            Ok(false) => return Box::pin(self.continue_later(rest, Duration::ZERO)).await,
            Err(Interruption::OutOfTime) if has_progress => {
                return Box::pin(self.continue_later(rest, Duration::ZERO)).await;
            }
            Err(Interruption::Failed(error)) if has_progress => {
                warn!(account_id = %self.id(), %error, "import continues later after a failure");
                return Box::pin(self.continue_later(rest, random::jittered(RETRY_DELAY))).await;
            }
            Err(Interruption::Gone) => self.record_gone().await,
            Err(Interruption::ReauthorisationRequired) => self.record_reauth_required().await,
            Err(Interruption::OutOfTime) => match rest.smaller(2 * MOST_ROWS) {
                Some(smaller) => {
                    return Box::pin(self.continue_later(smaller, Duration::ZERO)).await;
                }
                None => Err(ImportError::Late),
            },
            Err(Interruption::Failed(error)) => Err(error),
        };
        let written = self.stats.written;
        self.release(written).await;
        outcome
    }

    /// Records that the bank requires re-authorisation, as a sync would.
    async fn record_reauth_required(&self) -> Result<Imported, ImportError> {
        let outcome = SyncOutcome::ReauthorisationRequired { job_id: None };
        let fact = Fact::Answer(Answer { at: Timestamp::now(), outcome });
        self.importer.accounts.apply(self.id(), Some(self.leased.stored.clone()), &[&fact]).await?;
        Ok(Imported::ReauthorisationRequired)
    }

    /// Records that Mono denies an account that only webhooks have named. Then no sync and no import follows until a
    /// verification shows that Mono knows the account.
    async fn record_gone(&self) -> Result<Imported, ImportError> {
        if !self.account().registers.is_proven {
            let (at, found) = (Timestamp::now(), Reading::Gone);
            let fact = Fact::Verification(Verification { at, ending: None, found });
            let seen = self.leased.stored.clone();
            self.importer.accounts.apply(self.id(), Some(seen), &[&fact]).await?;
        }
        Ok(Imported::Gone)
    }

    /// Writes the finished part and the time of the next attempt into the record. At that time, the planner requests
    /// the remaining range. SQS cannot delay a message for as long.
    pub(super) async fn defer(
        mut self,
        rest: &RemainingRange,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let part = if self.is_served { Some(self.part_done(rest).await?) } else { None };
        self.end(&ImportEnd::Deferred { until, part }).await
    }

    /// Records the end of the import. If that fails, it releases the lease.
    async fn end(self, end: &ImportEnd) -> Result<(), StoreError> {
        let written = self.stats.written;
        let accounts = &self.importer.accounts;
        let settled_at = self.settled_at();
        let ended = accounts.end_import(self.leased.clone(), end, written, settled_at).await;
        if ended.is_err() {
            // The write may have succeeded, with the counts. So the counts are not written again.
            self.release(RowCounts::INTERRUPTED).await;
        }
        ended
    }

    /// The finished part. The remaining days are gaps, which the next import reads.
    async fn part_done(&mut self, rest: &RemainingRange) -> Result<Import, StoreError> {
        for days in &rest.ranges {
            self.note(days, Some(GapReason::NotWhole));
        }
        let first = self.first_kept_day();
        let through = self.importer.transactions.newest(self.id(), first).await?;
        let notes = ImportNotes { job: None, ..self.notes };
        let state = ImportState { through, gaps: self.gaps.clone(), notes };
        let before = Timestamp::from_millis(self.leased.lease.pull.at.millis().saturating_sub(1));
        Ok(Import { pull: OrderKey { at: before, ..self.leased.lease.pull }, state })
    }

    async fn finish(self) -> Result<Imported, ImportError> {
        self.delete_expired().await;
        let first = self.first_kept_day();
        let through = match self.importer.transactions.newest(self.id(), first).await {
            Ok(through) => through,
            Err(error) => {
                let written = self.stats.written;
                self.release(written).await;
                return Err(error.into());
            }
        };
        let state = ImportState { through, gaps: self.gaps.clone(), notes: self.notes };
        let (done, stats) = (Import { pull: self.leased.lease.pull, state }, self.stats);
        self.end(&ImportEnd::Done(done)).await?;
        Ok(Imported::Done(stats))
    }

    /// Deletes expired rows that DynamoDB keeps, if the retention is limited. A later import deletes what is left.
    async fn delete_expired(&self) {
        let (transactions, by) = (&self.importer.transactions, self.deadline - WRITING_TIME);
        if !transactions.retention().is_limited() || Instant::now() >= by {
            return;
        }
        let (first, now) = (self.first_kept_day(), Timestamp::now());
        let deleted = transactions.delete_before(self.id(), first, now, by).await;
        if let Err(error) = deleted {
            warn!(account_id = %self.id(), %error, "expired rows could not be deleted");
        }
    }

    /// Queues a message for the remaining range. The message takes over the lease.
    async fn continue_later(
        self,
        rest: RemainingRange,
        delay: Duration,
    ) -> Result<Imported, ImportError> {
        let (from, gaps, is_served) =
            (self.account().import_number, self.gaps.clone(), self.is_served);
        let (notes, written) = (self.notes, self.stats.written);
        let part = Continuation { from, rest: rest.clone(), gaps, is_served, notes, written };
        let job = ImportJob::new(self.id().clone(), self.leased.lease.pull);
        let job = ImportJob { continuation: Some(part), follows: self.follows, ..job };
        let Some(next) = job.next() else {
            let stats = self.stats;
            warn!(account_id = %self.id(), "import deferred: message chain is at the limit");
            Box::pin(self.defer(&rest, Timestamp::now() + TOO_LONG)).await?;
            return Ok(Imported::TooLong(stats));
        };
        match self.importer.enqueue(&next, delay).await {
            Ok(()) => Ok(Imported::Continued(self.stats)),
            // The message may be in the queue.
            Err(error) => {
                self.release(RowCounts::INTERRUPTED).await;
                Err(error.into())
            }
        }
    }

    /// Until when a failed write may arrive. Its rows must not become visible in the change feed before.
    fn settled_at(&self) -> Option<Timestamp> {
        self.has_failed_write.then(|| Timestamp::now() + WRITES_SETTLE)
    }

    /// Releases the lease, so that the next job need not wait until the lease expires.
    async fn release(self, written: RowCounts) {
        let id = self.id().clone();
        let (accounts, settled_at) = (&self.importer.accounts, self.settled_at());
        let released =
            accounts.end_import(self.leased, &ImportEnd::GivenUp, written, settled_at).await;
        if let Err(error) = released {
            warn!(account_id = %id, %error, "import lease could not be released, it will expire");
        }
    }

    /// Lists the look-back windows, and imports the remaining range slice by slice. Returns whether the range is
    /// finished.
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
        // The first import covers the whole window.
        if !look_back.is_empty() || self.account().registers.imported.is_none() {
            let pulled_on = BusinessDay::of(self.leased.lease.pull.at);
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
                    rest.slice = u32::MAX;
                    continue;
                }
                Err(Interruption::Failed(error)) if error.may_affect_only_some_days() => {
                    self.has_unserved_days = true;
                    match rest.smaller(u64::MAX) {
                        Some(single_day) => *rest = single_day,
                        None => *rest = self.leave_out(&days, error, rest)?,
                    }
                }
                Err(interruption) => return Err(interruption),
            }
            if Instant::now() + SLICE_TIME >= self.deadline {
                return Ok(rest.next().is_none());
            }
        }
        Ok(true)
    }

    /// Skips a day that Mono does not serve, and continues with the other days. After [`MOST_NOT_SERVED`] such days
    /// in a row, all remaining days are skipped. If Mono has served no day at all, the import fails instead.
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
        warn!(account_id = %self.id(), day = %day.start(), %error, "days skipped by an import");
        self.stats.not_served += 1;
        for days in &left_out {
            self.note(days, Some(GapReason::NotServed));
        }
        Ok(left_out.iter().fold(rest.after(MOST_ROWS), |rest, days| rest.but(days)))
    }
}
