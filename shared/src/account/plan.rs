//! What the automatic refresh does about an account, and when.

use std::time::Duration;

use super::{Account, Evidence, Job, JobState, RefreshPolicy, Register, Status};
use crate::timestamp::Timestamp;

/// What is to be done about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A sync, which is paid for.
    Sync(Reason),
    /// Mono is to be asked for the end of a job that no webhook has told. Free.
    Job {
        /// Mono's id of it.
        id: String,
    },
    /// Mono is to be asked whether the account is still linked. Free.
    Link,
}

impl Want {
    /// Whether Mono charges nothing for it. It may be done twice, so nothing notes that it was queued.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        !matches!(self, Self::Sync(_))
    }
}

/// Why Mono is asked to sync, and paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Somebody wants it.
    Manual,
    /// The account is due.
    Scheduled,
    /// Bad news of which only the receipt is known wants settling.
    WeakEvidence,
}

impl Reason {
    /// Its word in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::WeakEvidence => "weak_evidence",
        }
    }
}

/// How long a webhook is waited for before a job is asked for.
const JOB_PATIENCE: Duration = Duration::from_mins(5);
/// How often plans are made.
const PLANNING: Duration = Duration::from_hours(1);
/// For how long a job is asked for: by two plans, since a message can be lost.
const JOB_INTEREST: Duration = Duration::from_hours(2);

impl Account {
    /// What is to be queued for the account at this time. No sync is queued twice for one and the same
    /// due time within about an interval; should a message be lost, the account is queued again then.
    /// What is free is queued by each plan.
    #[must_use]
    pub fn plan(&self, now: Timestamp, policy: RefreshPolicy) -> Option<Want> {
        let interval = policy.interval?;
        if let Some((id, asked_from)) = self.job_to_follow(now)
            && now < asked_from + JOB_INTEREST
        {
            return Some(Want::Job { id });
        }
        let (want, due) = self.due(now, policy)?;
        // A lease that outlives its sync is that of one that died, whatever its echo made due since.
        let leased = self.lease.map(|lease| lease.started_at);
        let holds = |queued: &Timestamp| *queued >= due || leased >= Some(*queued);
        let queued = self.refresh_queued_at.filter(|queued| !want.is_free() && holds(queued));
        // Plans come to an account now some minutes earlier, now later.
        let again_from = |queued| queued + interval - PLANNING / 2;
        queued.is_none_or(|queued| again_from(queued) <= now).then_some(want)
    }

    /// What is still to be done of what was planned at a time. Nothing, if the account was attempted
    /// since: by somebody else, or by a delivery of the same message that died.
    #[must_use]
    pub fn still_wanted(
        &self,
        planned_at: Timestamp,
        now: Timestamp,
        policy: RefreshPolicy,
    ) -> Option<Want> {
        policy.interval?;
        // A job that Mono never ends must not stand in the way of a sync that is due long after it.
        if let Some((id, asked_from)) = self.job_to_follow(now)
            && planned_at < asked_from + JOB_INTEREST
        {
            return Some(Want::Job { id });
        }
        let attempt = self.registers.attempt.as_ref().map(|attempt| attempt.order.at);
        let leased = self.lease.map(|lease| lease.started_at);
        let attempted = attempt.max(leased).is_some_and(|at| at > planned_at);
        self.due(now, policy).filter(|_| !attempted).map(|(want, _)| want)
    }

    /// Why a sync that was planned is made.
    #[must_use]
    pub fn reason_to_refresh(&self) -> Reason {
        if self.weak_bad_news().is_some() { Reason::WeakEvidence } else { Reason::Scheduled }
    }

    /// What is due, and since when. Nothing while a pull is under way or the last sync too recent.
    fn due(&self, now: Timestamp, policy: RefreshPolicy) -> Option<(Want, Timestamp)> {
        let cooling_down = self.cooldown_until.is_some_and(|until| now < until);
        if cooling_down || self.is_syncing(now) {
            return None;
        }
        let due = self.next_refresh_at(policy).filter(|due| *due <= now)?;
        let want = match self.settled_standing().status {
            Status::Unlinked => Want::Link,
            _ => Want::Sync(self.reason_to_refresh()),
        };
        Some((want, due))
    }

    /// When the newest job was last heard of. Its end counts as of then, whenever it is learnt, since
    /// nobody says when it was: so it cannot outweigh anything that happened meanwhile.
    #[must_use]
    pub fn job_heard_at(&self) -> Option<Timestamp> {
        self.registers.job.as_ref().map(|job| job.order.at)
    }

    /// A job that nothing has settled although there was time, and since when it is to be asked for:
    /// one that was running when it was last heard of, or one that has finished without the update
    /// that is to follow.
    fn job_to_follow(&self, now: Timestamp) -> Option<(String, Timestamp)> {
        let open = |state: &JobState| matches!(state, JobState::Running | JobState::Finished);
        let job = self.unsettled_job().filter(|job| open(&job.value.state))?;
        if self.is_unlinked() || self.may_be_of_an_earlier_sync(job) {
            return None;
        }
        let asked_from = job.order.at + JOB_PATIENCE;
        let id = job.value.id.clone().filter(|_| asked_from <= now)?;
        Some((id, asked_from))
    }

    /// Whether all that is known of the job is when its event was received, which a retry can have
    /// brought two days late, and no sync of ours is open that it could be of. How an earlier sync
    /// ended says nothing of today.
    fn may_be_of_an_earlier_sync(&self, job: &Register<Job>) -> bool {
        let pull = self.registers.pull.as_ref().map(|pull| pull.order);
        let reached = self.registers.reached.as_ref().map(|reached| reached.order);
        job.order.evidence == Evidence::Weak && pull.is_some() && reached <= pull
    }
}
