//! The next action of the automatic refresh for an account, and its time.

use std::time::Duration;

use super::{Account, Fact, Lease, OrderKey, Reading, RefreshPolicy, Verification};
use crate::domain::spending::CallReason;
use crate::domain::timestamp::Timestamp;

/// An action of the automatic refresh for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshAction {
    /// A sync, which Mono charges when it brings new data.
    Sync(CallReason),
    /// A poll of a job at Mono, because no webhook has reported the end of the job.
    Job {
        /// Mono's id of the job.
        id: String,
    },
    /// A plain read of the account at Mono, which verifies its link and its identity.
    Verify {
        /// The unlinking to verify, if there is one.
        ending: Option<OrderKey>,
    },
    /// A new request for a deferred import of this pull.
    Import(OrderKey),
}

impl RefreshAction {
    /// Whether the action marks the account as queued. Only a sync does. Another action needs no mark, because its
    /// result shows that it is done. A mark of another action could block the next sync.
    pub const fn is_marked(&self) -> bool {
        matches!(self, Self::Sync(_))
    }
}

/// How long to wait for a webhook, from the start of the sync, before the job is polled.
const JOB_WEBHOOK_WAIT: Duration = Duration::from_mins(6);
const PLAN_INTERVAL: Duration = Duration::from_hours(1);
/// How long a job is polled. Two plans poll it, because a message can be lost.
const JOB_POLL_PERIOD: Duration = Duration::from_hours(2);

impl Account {
    /// The action to queue for the account at this time. For one due time, a sync is queued at most once per refresh
    /// interval (approximately). If the message of the sync is lost, the sync is queued again after that interval.
    /// An action that is not [marked](RefreshAction::is_marked) is queued by each plan while it is due.
    pub fn plan(&self, now: Timestamp, policy: RefreshPolicy) -> Option<RefreshAction> {
        if self.erasure.is_some() {
            return None;
        }
        if let Some(action) = self.deferred_import(now).or_else(|| self.verification(now)) {
            return Some(action);
        }
        let interval = self.interval(policy).or(policy.interval)?;
        if let Some((id, poll_from)) = self.job_to_follow(now)
            && now < poll_from + JOB_POLL_PERIOD
        {
            return Some(RefreshAction::Job { id });
        }
        let due = self.sync_due(now, policy)?;
        let queued = self.refresh_queued_at.filter(|queued| *queued >= due);
        // The time at which a plan reads an account varies by a few minutes.
        let queue_again_at = |queued| queued + interval - PLAN_INTERVAL / 2;
        let is_planned = queued.is_none_or(|queued| queue_again_at(queued) <= now);
        is_planned.then(|| RefreshAction::Sync(self.reason_to_refresh()))
    }

    /// The action of a plan from `planned_at` that is still due. No sync is due if one was attempted after the plan,
    /// by another caller or by a crashed delivery of the same message. Without a plan, only a verification is due.
    pub fn remaining_action(
        &self,
        planned_at: Option<Timestamp>,
        now: Timestamp,
        policy: RefreshPolicy,
    ) -> Option<RefreshAction> {
        if let Some(verification) = self.verification(now) {
            return Some(verification);
        }
        let planned_at = planned_at?;
        if let Some(import) = self.deferred_import(now) {
            return Some(import);
        }
        policy.interval?;
        // A job that Mono never ends must not block a sync that is due long after it.
        if let Some((id, poll_from)) = self.job_to_follow(now)
            && planned_at < poll_from + JOB_POLL_PERIOD
        {
            return Some(RefreshAction::Job { id });
        }
        let attempted = self.is_attempted_since(planned_at);
        let due = self.sync_due(now, policy).filter(|_| !attempted);
        due.map(|_| RefreshAction::Sync(self.reason_to_refresh()))
    }

    /// Whether this system began a sync after this time. Any outcome counts.
    pub fn is_attempted_since(&self, at: Timestamp) -> bool {
        let attempt = self.registers.attempt.as_ref().map(|attempt| attempt.order.at);
        let leased = self.lease.map(|lease| lease.started_at);
        attempt.max(leased).is_some_and(|attempted| attempted > at)
    }

    /// The next step of a refresh, and the record to write for it. A sync takes the lease. A verification is recorded
    /// before the read, so that concurrent workers make one read. If no action is needed and no sync was attempted
    /// since the plan, the queued mark of the plan is removed. The next plan then evaluates the account again.
    pub fn begin_refresh(
        &self,
        planned_at: Option<Timestamp>,
        lease: Lease,
        policy: RefreshPolicy,
    ) -> (Option<Self>, Option<RefreshAction>) {
        // The response to the write was lost, and this is the record that it wrote.
        if self.lease == Some(lease) {
            return (None, Some(RefreshAction::Sync(self.reason_to_refresh())));
        }
        if self.is_unknown() || self.erasure.is_some() {
            return (None, None);
        }
        match self.remaining_action(planned_at, lease.started_at, policy) {
            Some(action @ RefreshAction::Verify { ending }) => {
                let (at, found) = (lease.started_at, Reading::Unknown);
                let begun = Fact::Verification(Verification { at, ending, found });
                let begun = self.apply(&begun);
                // The message of a planned sync ends here, so the next plan evaluates the account again.
                let begun = match planned_at {
                    Some(planned_at) => begun.unqueued(planned_at),
                    None => begun,
                };
                return (Some(begun), Some(action));
            }
            Some(action @ RefreshAction::Sync(_)) => {
                if let Ok(begun) = self.begin_sync(lease, policy.cooldown) {
                    return (Some(begun), Some(action));
                }
            }
            Some(action) => return (None, Some(action)),
            None => {}
        }
        (planned_at.map(|planned_at| self.unqueued(planned_at)), None)
    }

    /// Removes the queued mark of this plan. The mark stays if a sync was attempted after the plan. Otherwise each
    /// plan would pay for a sync that always crashes.
    pub fn unqueued(&self, planned_at: Timestamp) -> Self {
        let is_attempted = self.is_attempted_since(planned_at);
        let kept = self.refresh_queued_at.filter(|queued| *queued != planned_at || is_attempted);
        Self { refresh_queued_at: kept, ..self.clone() }
    }

    /// The reason for a planned sync.
    pub fn reason_to_refresh(&self) -> CallReason {
        if self.weak_fact_to_verify().is_some() {
            CallReason::WeakEvidence
        } else {
            CallReason::Scheduled
        }
    }

    pub(super) fn deferred_import(&self, now: Timestamp) -> Option<RefreshAction> {
        self.import_deferred_until.filter(|until| *until <= now)?;
        self.next_import().map(RefreshAction::Import)
    }

    fn verification(&self, now: Timestamp) -> Option<RefreshAction> {
        let (ending, _) = self.verification_due().filter(|(_, due)| *due <= now)?;
        Some(RefreshAction::Verify { ending })
    }

    /// When the sync that is due became due. `None` while a pull runs or the cooldown lasts.
    fn sync_due(&self, now: Timestamp, policy: RefreshPolicy) -> Option<Timestamp> {
        let cooling_down = self.cooldown_until.is_some_and(|until| now < until);
        if cooling_down || self.is_syncing(now) {
            return None;
        }
        self.next_sync_at(policy).filter(|due| *due <= now)
    }

    /// When the job of this system's newest sync began. Mono does not report when a job ended. So the end of the job
    /// counts from this time and cannot override later facts.
    pub fn followed_since(&self) -> Option<Timestamp> {
        self.registers.attempt.as_ref().map(|attempt| attempt.order.at)
    }

    /// The job of this system's newest sync, and the time from which it is polled. `None` if Mono was not processing
    /// the sync, or if a fact reported the end of the job. Other jobs are not polled, because the end of an earlier
    /// job says nothing about the current state.
    fn job_to_follow(&self, now: Timestamp) -> Option<(String, Timestamp)> {
        let attempt = self.registers.attempt.as_ref()?;
        let id = attempt.value.job_id.as_ref()?;
        let pull = self.registers.pull.as_ref();
        let job = self.registers.job.as_ref();
        let is_end_reported = pull.is_some_and(|pull| {
            pull.value.job_id.as_ref() == Some(id) || pull.order.at > attempt.order.at
        }) || job
            .is_some_and(|job| job.value.id.as_ref() == Some(id) && job.value.state.is_failure());
        let poll_from = attempt.order.at + JOB_WEBHOOK_WAIT;
        (!is_end_reported && !self.is_unlinked() && poll_from <= now)
            .then(|| (id.clone(), poll_from))
    }

    /// The earliest time at which a [plan](Self::plan) can have an action for the account, if no new fact arrives.
    pub fn nothing_planned_before(&self, policy: RefreshPolicy) -> Option<Timestamp> {
        let verification = self.verification_due().map(|(_, due)| due);
        let refresh = policy.interval.into_iter().flat_map(|interval| {
            let job = self.job_to_follow(Timestamp::from_millis(u64::MAX));
            let due = self.next_sync_at(policy).map(|due| {
                let queued = self.refresh_queued_at.filter(|queued| *queued >= due);
                queued.map_or(due, |queued| due.max(queued + interval - PLAN_INTERVAL / 2))
            });
            job.map(|(_, poll_from)| poll_from).into_iter().chain(due)
        });
        refresh.chain(verification).chain(self.import_deferred_until).min()
    }
}
