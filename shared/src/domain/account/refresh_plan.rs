//! What the automatic refresh does about an account, and when.

use std::time::Duration;

use super::{Account, Link, OrderKey, RefreshPolicy};
use crate::domain::spending::CallReason;
use crate::domain::timestamp::Timestamp;

/// What is to be done about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshAction {
    /// A sync, which Mono charges when it brings new data.
    Sync(CallReason),
    /// A poll of a job at Mono: no webhook has reported its end.
    Job {
        /// Mono's id of it.
        id: String,
    },
    /// Mono is to be asked whether the account is still linked, by a plain read.
    Link {
        /// The unlinking that is in question.
        ending: OrderKey,
    },
    /// An import of this pull that was deferred is to be asked for again.
    Import(OrderKey),
}

impl RefreshAction {
    /// Whether the account is marked as queued. Only a sync is: all else settles itself when it is done,
    /// and a mark could stand in the way of the next sync.
    pub const fn is_marked(&self) -> bool {
        matches!(self, Self::Sync(_))
    }
}

/// How long a webhook is waited for, from the start of the sync, before its job is asked for.
const JOB_PATIENCE: Duration = Duration::from_mins(6);
/// How often plans are made.
const PLANNING: Duration = Duration::from_hours(1);
/// For how long a job is asked for: by two plans, since a message can be lost.
const JOB_INTEREST: Duration = Duration::from_hours(2);

impl Account {
    /// What is to be queued for the account at this time. No sync is queued twice for one and the same
    /// due time within about an interval; should a message be lost, the account is queued again then.
    /// What is not [marked](RefreshAction::is_marked) is queued by each plan.
    pub fn plan(&self, now: Timestamp, policy: RefreshPolicy) -> Option<RefreshAction> {
        if let Some(import) = self.deferred_import(now) {
            return Some(import);
        }
        let interval = self.interval(policy).or(policy.interval)?;
        if let Some((id, asked_from)) = self.job_to_follow(now)
            && now < asked_from + JOB_INTEREST
        {
            return Some(RefreshAction::Job { id });
        }
        let (want, due) = self.due(now, policy)?;
        let queued = self.refresh_queued_at.filter(|queued| want.is_marked() && *queued >= due);
        // Plans come to an account now some minutes earlier, now later.
        let again_from = |queued| queued + interval - PLANNING / 2;
        queued.is_none_or(|queued| again_from(queued) <= now).then_some(want)
    }

    /// What is still to be done of what was planned at a time. Nothing, if the account was attempted
    /// since: by somebody else, or by a delivery of the same message that died.
    pub fn still_wanted(
        &self,
        planned_at: Timestamp,
        now: Timestamp,
        policy: RefreshPolicy,
    ) -> Option<RefreshAction> {
        if let Some(import) = self.deferred_import(now) {
            return Some(import);
        }
        policy.interval?;
        // A job that Mono never ends must not stand in the way of a sync that is due long after it.
        if let Some((id, asked_from)) = self.job_to_follow(now)
            && planned_at < asked_from + JOB_INTEREST
        {
            return Some(RefreshAction::Job { id });
        }
        let attempted = self.is_attempted_since(planned_at);
        self.due(now, policy).filter(|_| !attempted).map(|(want, _)| want)
    }

    /// Whether a sync of ours began after this time, whatever became of it.
    pub fn is_attempted_since(&self, at: Timestamp) -> bool {
        let attempt = self.registers.attempt.as_ref().map(|attempt| attempt.order.at);
        let leased = self.lease.map(|lease| lease.started_at);
        attempt.max(leased).is_some_and(|attempted| attempted > at)
    }

    /// The account without the queued mark of this plan, unless a sync was attempted since: then the mark holds, so that
    /// an account whose sync crashes is not paid for once an hour.
    pub fn unqueued(&self, planned_at: Timestamp) -> Self {
        let is_attempted = self.is_attempted_since(planned_at);
        let kept = self.refresh_queued_at.filter(|queued| *queued != planned_at || is_attempted);
        Self { refresh_queued_at: kept, ..self.clone() }
    }

    /// Why a sync that was planned is made.
    pub fn reason_to_refresh(&self) -> CallReason {
        if self.weak_fact_to_verify().is_some() {
            CallReason::WeakEvidence
        } else {
            CallReason::Scheduled
        }
    }

    fn deferred_import(&self, now: Timestamp) -> Option<RefreshAction> {
        self.import_deferred_until.filter(|until| *until <= now)?;
        self.import_due().map(RefreshAction::Import)
    }

    /// What is due, and since when. Nothing while a pull is under way or the last sync too recent.
    fn due(&self, now: Timestamp, policy: RefreshPolicy) -> Option<(RefreshAction, Timestamp)> {
        let cooling_down = self.cooldown_until.is_some_and(|until| now < until);
        if cooling_down || self.is_syncing(now) {
            return None;
        }
        let due = self.next_refresh_at(policy).filter(|due| *due <= now)?;
        let want = match self.link_check_due() {
            Some((ending, _)) => RefreshAction::Link { ending },
            None => RefreshAction::Sync(self.reason_to_refresh()),
        };
        Some((want, due))
    }

    /// When the job of the newest sync of ours began. Its end counts as of then, whenever it is learnt,
    /// since nobody says when it was: so it cannot outweigh anything that happened meanwhile.
    pub fn followed_since(&self) -> Option<Timestamp> {
        self.registers.attempt.as_ref().map(|attempt| attempt.order.at)
    }

    /// The job of the newest sync of ours, if Mono was still at it and nothing has told how it ended,
    /// and since when it is to be asked for. Other jobs are not followed: how an earlier one ended says
    /// nothing of today.
    fn job_to_follow(&self, now: Timestamp) -> Option<(String, Timestamp)> {
        let attempt = self.registers.attempt.as_ref()?;
        let id = attempt.value.job_id.as_ref()?;
        let pull = self.registers.pull.as_ref();
        let job = self.registers.job.as_ref();
        let is_told = pull.is_some_and(|pull| {
            pull.value.job_id.as_ref() == Some(id) || pull.order.at > attempt.order.at
        }) || job
            .is_some_and(|job| job.value.id.as_ref() == Some(id) && job.value.state.is_failure());
        let asked_from = attempt.order.at + JOB_PATIENCE;
        (!is_told && !self.is_unlinked() && asked_from <= now).then(|| (id.clone(), asked_from))
    }

    /// No [plan](Self::plan) before this time has anything for the account, if no fact comes in between.
    pub fn nothing_planned_before(&self, policy: RefreshPolicy) -> Option<Timestamp> {
        let interval = policy.interval?;
        let job = self.job_to_follow(Timestamp::from_millis(u64::MAX));
        let followed = job.map(|(_, asked_from)| asked_from);
        let due = self.next_refresh_at(policy).map(|due| {
            let is_sync = self.link() == Link::Linked;
            let queued = self.refresh_queued_at.filter(|queued| is_sync && *queued >= due);
            queued.map_or(due, |queued| due.max(queued + interval - PLANNING / 2))
        });
        followed.into_iter().chain(due).chain(self.import_deferred_until).min()
    }
}
