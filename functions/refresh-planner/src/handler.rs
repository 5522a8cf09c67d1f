//! What the function does each time: scan, mark what is due, queue it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use lambda_runtime::{Context, Error};
use mono_sync::account::{Reason, Want};
use mono_sync::invocation::Invocation;
use mono_sync::queue::{Job, JobQueue};
use mono_sync::refresh_job::RefreshJob;
use mono_sync::store::{AccountStore, SEGMENTS, StoreError, Stored};
use mono_sync::telemetry;
use mono_sync::timestamp::Timestamp;
use serde::Serialize;
use tokio::time::Instant;
use tracing::error;

/// What the function is wired to.
pub(crate) struct Planner {
    pub(crate) accounts: AccountStore,
    pub(crate) queue: JobQueue,
}

/// What a run came to: one line in the log, and the answer to whoever invoked it.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Plan {
    scanned: u64,
    scheduled: u64,
    weak_evidence: u64,
    job_follow_up: u64,
    link_check: u64,
    /// Written by others in the meantime, and left to the next run.
    changed: u64,
    /// Segments that there was no time for: the next run begins with them.
    unreached: usize,
    failed: u64,
}

/// How many segments are scanned at once.
const CONCURRENCY: usize = 4;
/// How many accounts are queued in one request.
const BATCH: usize = 10;
/// How many accounts are to begin within a second, as long as SQS can hold them back.
const RATE: u64 = 10;
/// The longest that SQS holds a message back.
const LONGEST_DELAY: u64 = 900;
/// Without as much time left no further page is begun.
const PAGE_TIME: Duration = Duration::from_secs(20);

/// A run under way.
struct Run<'a> {
    planner: &'a Planner,
    stop_at: Instant,
    plan: RefCell<Plan>,
    /// How many accounts were queued so far.
    queued: Cell<u64>,
}

impl Planner {
    /// Goes through the table once, or through as much of it as there is time for.
    pub(crate) async fn plan(&self, context: &Context) -> Result<Plan, Error> {
        let invocation = Invocation::new(context.request_id.clone(), context.deadline);
        if self.accounts.policy().interval.is_none() {
            return Ok(Plan::default());
        }
        let first = self.accounts.first_segment().await?;
        let run = Run {
            planner: self,
            stop_at: invocation.deadline - PAGE_TIME,
            plan: RefCell::default(),
            queued: Cell::new(0),
        };
        let unreached = run.segments(first).await;
        // In the order of this run: what it has not reached the next one reaches first.
        let order = (0..SEGMENTS).map(|number| (first + number) % SEGMENTS);
        if let Some(next) = order.clone().find(|segment| unreached.contains(segment)) {
            self.accounts.begin_next_with(next).await?;
        }
        let plan = Plan { unreached: unreached.len(), ..run.plan.into_inner() };
        telemetry::summary(&context.request_id, &plan);
        if plan.failed > 0 {
            return Err(format!("{} parts of the plan failed", plan.failed).into());
        }
        Ok(plan)
    }
}

impl Run<'_> {
    /// Answers with the segments that were not gone through to their end.
    async fn segments(&self, first: u32) -> BTreeSet<u32> {
        let order = (0..SEGMENTS).map(|number| (first + number) % SEGMENTS);
        stream::iter(order)
            .map(async |segment| {
                let reached = self.segment(segment).await.unwrap_or_else(|error| {
                    self.plan.borrow_mut().failed += 1;
                    error!(segment, %error, "a segment cannot be scanned");
                    false
                });
                (!reached).then_some(segment)
            })
            .buffered(CONCURRENCY)
            .filter_map(async |unreached| unreached)
            .collect()
            .await
    }

    /// Whether it was gone through to its end.
    async fn segment(&self, segment: u32) -> Result<bool, StoreError> {
        let mut position = None;
        while Instant::now() < self.stop_at {
            // Of each page anew: an account that a worker attempts while the run goes on was attempted
            // before it is planned, not after.
            let now = Timestamp::now();
            let found = self.planner.accounts.scan(segment, position, now).await?;
            self.plan.borrow_mut().scanned += found.scanned;
            for accounts in self.wanted(found.accounts, now).chunks(BATCH) {
                self.queue(accounts, now).await;
            }
            position = match found.next {
                None => return Ok(true),
                more => more,
            };
        }
        Ok(false)
    }

    fn wanted(&self, accounts: Vec<Stored>, now: Timestamp) -> Vec<(Stored, Want)> {
        let policy = self.planner.accounts.policy();
        let want = |stored: Stored| {
            let want = stored.account.plan(now, policy)?;
            Some((stored, want))
        };
        accounts.into_iter().filter_map(want).collect()
    }

    /// Marks first, so that nobody queues them too; what then cannot be queued is unmarked.
    async fn queue(&self, accounts: &[(Stored, Want)], now: Timestamp) {
        let marked = stream::iter(accounts)
            .map(async |(stored, want)| {
                self.mark(stored, want, now).await.then_some((stored, want))
            })
            .buffer_unordered(BATCH)
            .filter_map(async |marked| marked)
            .collect::<Vec<_>>()
            .await;
        let jobs: Vec<_> = marked.iter().map(|(stored, _)| self.job(stored, now)).collect();
        let failed = self.planner.queue.send(&jobs).await;
        for (stored, want) in marked {
            let id = &stored.account.id;
            let Some(error) = failed.get(id) else {
                self.plan.borrow_mut().count(want);
                continue;
            };
            error!(account_id = %id, %error, "an account is due and not queued");
            self.plan.borrow_mut().failed += 1;
            if let Err(error) = self.planner.accounts.unmark_queued(id, now).await {
                error!(account_id = %id, %error, "it is queued after another interval");
            }
        }
    }

    async fn mark(&self, stored: &Stored, want: &Want, now: Timestamp) -> bool {
        let queued_at = Some(now).filter(|_| want.is_marked());
        match self.planner.accounts.mark_queued(stored, queued_at).await {
            Ok(true) => true,
            Ok(false) => {
                self.plan.borrow_mut().changed += 1;
                false
            }
            Err(error) => {
                error!(account_id = %stored.account.id, %error, "an account is due and not marked");
                self.plan.borrow_mut().failed += 1;
                false
            }
        }
    }

    /// Those of a run are spread over the quarter of an hour that SQS can hold a message back.
    fn job(&self, stored: &Stored, planned_at: Timestamp) -> Job {
        let number = self.queued.replace(self.queued.get() + 1);
        let account_id = stored.account.id.clone();
        let body = RefreshJob { account_id: account_id.clone(), planned_at }.to_body();
        let delay = Duration::from_secs(number / RATE % (LONGEST_DELAY + 1));
        Job { account_id, body, delay }
    }
}

impl Plan {
    fn count(&mut self, want: &Want) {
        *match want {
            Want::Sync(Reason::WeakEvidence) => &mut self.weak_evidence,
            Want::Sync(_) => &mut self.scheduled,
            Want::Job { .. } => &mut self.job_follow_up,
            Want::Link { .. } => &mut self.link_check,
        } += 1;
    }
}
