//! The hourly plan. It scans the accounts, chooses those that the day's budget covers, marks them and queues them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use crate::aws::queues::{AccountQueue, Message};
use crate::aws::store::{AccountStore, Claim, Ledger, PlanStart, SEGMENTS, StoreError, Stored};
use crate::domain::account::{Candidate, Choice, Left, RefreshAction, Shortlist};
use crate::domain::business_day::BusinessDay;
use crate::domain::refresh_job::RefreshJob;
use crate::domain::spending::{BudgetKind, CallReason, Prices};
use crate::domain::timestamp::Timestamp;
use crate::lambda::invocation::Invocation;
use futures_util::stream::{self, StreamExt};
use serde::Serialize;
use tokio::time::Instant;
use tracing::{error, warn};

pub struct Planner {
    pub accounts: AccountStore,
    pub ledger: Ledger,
    pub prices: Prices,
    pub queue: AccountQueue,
}

/// The counts of a run: one line in the log, and the answer of the function.
#[derive(Clone, Copy, Default, Serialize)]
pub struct PlanCounts {
    scanned: u64,
    scheduled: u64,
    weak_evidence: u64,
    job_follow_up: u64,
    verification: u64,
    import: u64,
    /// Accounts to erase.
    erasure: u64,
    /// Due, but left to a later run: the remaining budget is too small, or the circuit breaker is open.
    left_out: u64,
    /// Left to the next run, because another writer changed the record first.
    changed: u64,
    /// Segments that were not scanned to their end in time. The next run starts with them.
    unreached: usize,
    /// Parts of the plan that failed.
    pub failed: u64,
}

/// Segments that are scanned concurrently.
const CONCURRENCY: usize = 4;
/// Accounts that are queued in one request.
const BATCH: usize = 10;
/// Messages that become visible per second, within the longest delay.
const RATE: u64 = 10;
/// The longest delay of a message in SQS, in seconds.
const LONGEST_DELAY: u64 = 900;
/// The most accounts of a run: [`RATE`] for one hour.
const MOST: usize = 36_000;
/// The most accounts of a run while the circuit breaker is open: one probe.
const PROBES: usize = 1;
/// Time reserved for queueing. With less time left, the run scans no further page.
const QUEUEING_TIME: Duration = Duration::from_mins(4);

/// An account as it was scanned, and the time of the scan.
struct Seen {
    claim: Claim,
    at: Timestamp,
}

struct Run<'a> {
    planner: &'a Planner,
    scan_until: Instant,
    plan: RefCell<PlanCounts>,
    found: RefCell<Shortlist<Seen>>,
    /// Refreshing is paused because Mono fails for all accounts. This run queues only probes.
    is_paused: bool,
    /// How many accounts were queued so far.
    queued: Cell<u64>,
}

impl Planner {
    /// Scans the table once, or as much of it as there is time for.
    pub async fn plan(&self, invocation: &Invocation) -> Result<PlanCounts, StoreError> {
        let PlanStart { first_segment, breaker } = self.accounts.begin_plan().await?;
        let left = invocation.deadline - Instant::now();
        let is_paused = breaker.pause.is_some();
        let run = Run {
            planner: self,
            scan_until: invocation.deadline - QUEUEING_TIME.min(left / 2),
            plan: RefCell::default(),
            found: RefCell::new(Shortlist::new(if is_paused { PROBES } else { MOST })),
            is_paused,
            queued: Cell::new(0),
        };
        let unreached = run.segments(first_segment).await;
        // In the order of this run, so that the next run starts where this one stopped.
        let order = (0..SEGMENTS).map(|number| (first_segment + number) % SEGMENTS);
        if let Some(next) = order.clone().find(|segment| unreached.contains(segment)) {
            self.accounts.begin_next_with(next).await?;
        }
        let found = run.found.replace(Shortlist::new(0));
        let (seen, left) = (found.seen(), self.left().await?);
        let Choice { chosen, is_short, unproven_left_out } = found.choose(left, &self.prices);
        if unproven_left_out > 0 {
            let code = "UNPROVEN_ACCOUNTS_WAIT";
            warn!(
                code,
                unproven_left_out, "accounts that only webhooks have named wait for a later plan"
            );
        }
        let left_out = (seen - chosen.len()) as u64;
        if is_short && left.all.is_some_and(|left| left < self.prices.realtime) {
            let code = "BUDGET_EXHAUSTED";
            warn!(code, left_out, "daily budget is too small for all due accounts");
        }
        run.plan.borrow_mut().left_out = left_out;
        for candidates in chosen.chunks(BATCH) {
            run.queue(candidates).await;
        }
        let plan = PlanCounts { unreached: unreached.len(), ..run.plan.into_inner() };
        if plan.unreached > 0 {
            let (code, unreached) = ("PLAN_INCOMPLETE", plan.unreached);
            warn!(code, unreached, "plan stopped before all segments were scanned");
        }
        Ok(plan)
    }

    /// What is left of today's budget for automatic calls.
    async fn left(&self) -> Result<Left, StoreError> {
        let budgets = self.ledger.budgets();
        if budgets.automatic.0.is_none() {
            return Ok(Left::default());
        }
        let today = BusinessDay::of(Timestamp::now());
        let spent = self.ledger.spent(today, BudgetKind::Automatic).await?;
        let verified = self.ledger.spent_on_verifications(today).await?;
        let verifications = budgets.left_for_verifications(verified);
        Ok(Left { all: budgets.automatic.rest(spent), verifications })
    }
}

impl Run<'_> {
    /// Returns the segments that were not scanned to their end.
    async fn segments(&self, first: u32) -> BTreeSet<u32> {
        let order = (0..SEGMENTS).map(|number| (first + number) % SEGMENTS);
        stream::iter(order)
            .map(async |segment| {
                let reached = self.segment(segment).await.unwrap_or_else(|error| {
                    self.plan.borrow_mut().failed += 1;
                    error!(segment, %error, "segment could not be scanned");
                    false
                });
                (!reached).then_some(segment)
            })
            .buffered(CONCURRENCY)
            .filter_map(async |unreached| unreached)
            .collect()
            .await
    }

    /// Returns whether the segment was scanned to its end.
    async fn segment(&self, segment: u32) -> Result<bool, StoreError> {
        let policy = self.planner.accounts.policy();
        let mut position = None;
        while Instant::now() < self.scan_until {
            // Each page has its own time. A sync that a worker started before this page must count as earlier.
            let at = Timestamp::now();
            let page = self.planner.accounts.scan(segment, position, at).await?;
            self.plan.borrow_mut().scanned += page.scanned;
            self.request_erasures(&page.accounts, at).await;
            self.found.borrow_mut().extend(page.accounts.iter().filter_map(|stored| {
                let action = stored.account.plan(at, policy)?;
                if self.is_paused && !is_probe(&action) {
                    return None;
                }
                let priority = stored.account.priority(&action);
                Some(Candidate { priority, action, account: Seen { claim: stored.into(), at } })
            }));
            position = match page.next {
                None => return Ok(true),
                more => more,
            };
        }
        Ok(false)
    }

    /// Requests the erasures that are due or not complete. They cost nothing at Mono, and do not wait for the budget or
    /// the circuit breaker. A second request for the same account does no harm.
    async fn request_erasures(&self, accounts: &[Stored], now: Timestamp) {
        let policy = self.planner.accounts.policy();
        let is_due =
            |stored: &&Stored| stored.account.erasure_due(policy).is_some_and(|due| due <= now);
        let jobs: Vec<_> = accounts
            .iter()
            .filter(is_due)
            .map(|Stored { account, .. }| Message::erasure(account.id.clone(), Duration::ZERO))
            .collect();
        let failed = self.planner.queue.send(&jobs).await;
        let mut plan = self.plan.borrow_mut();
        plan.failed += failed.len() as u64;
        plan.erasure += (jobs.len() - failed.len()) as u64;
        for (account_id, error) in failed {
            error!(%account_id, %error, "erasure could not be requested");
        }
    }

    /// Marks the accounts first, so that no other plan queues them. An account that cannot be queued is unmarked.
    async fn queue(&self, candidates: &[Candidate<Seen>]) {
        let marked = stream::iter(candidates)
            .map(async |candidate| self.mark(candidate).await.then_some(candidate))
            .buffer_unordered(BATCH)
            .filter_map(async |marked| marked)
            .collect::<Vec<_>>()
            .await;
        let jobs: Vec<_> = marked.iter().map(|candidate| self.job(&candidate.account)).collect();
        let failed = self.planner.queue.send(&jobs).await;
        for Candidate { action, account, .. } in marked {
            let id = &account.claim.account_id;
            let Some(error) = failed.get(id) else {
                self.plan.borrow_mut().count(action);
                continue;
            };
            error!(account_id = %id, %error, "due account could not be enqueued");
            self.plan.borrow_mut().failed += 1;
            if let Err(error) = self.planner.accounts.unmark_queued(id, account.at).await {
                error!(account_id = %id, %error, "queued mark could not be removed, account waits an interval");
            }
        }
    }

    async fn mark(&self, Candidate { action, account, .. }: &Candidate<Seen>) -> bool {
        let queued_at = Some(account.at).filter(|_| action.is_marked());
        match self.planner.accounts.mark_queued(&account.claim, queued_at).await {
            Ok(true) => true,
            Ok(false) => {
                self.plan.borrow_mut().changed += 1;
                false
            }
            Err(error) => {
                let account_id = &account.claim.account_id;
                error!(%account_id, %error, "due account could not be marked");
                self.plan.borrow_mut().failed += 1;
                false
            }
        }
    }

    /// Spreads the accounts of a run over 15 minutes, the longest delay in SQS.
    fn job(&self, Seen { claim, at }: &Seen) -> Message {
        let number = self.queued.replace(self.queued.get() + 1);
        let account_id = claim.account_id.clone();
        let body = RefreshJob::planned(account_id.clone(), *at).to_body();
        let delay = Duration::from_secs(number / RATE % (LONGEST_DELAY + 1));
        Message { account_id, body, delay }
    }
}

/// Only a call that Mono charges for can be a probe.
const fn is_probe(action: &RefreshAction) -> bool {
    matches!(action, RefreshAction::Sync(_) | RefreshAction::Verify { .. })
}

impl PlanCounts {
    fn count(&mut self, action: &RefreshAction) {
        *match action {
            RefreshAction::Sync(CallReason::WeakEvidence) => &mut self.weak_evidence,
            RefreshAction::Sync(_) => &mut self.scheduled,
            RefreshAction::Job { .. } => &mut self.job_follow_up,
            RefreshAction::Verify { .. } => &mut self.verification,
            RefreshAction::Import(_) => &mut self.import,
        } += 1;
    }
}
