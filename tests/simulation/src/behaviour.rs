//! What kinds of accounts there are, and what a sync of one comes to.

use std::time::Duration;

use fastrand::Rng;
use mono_sync::account::{
    DataStatus, Job, JobDemand, JobState, MonoError, News, SyncData, SyncOutcome, SyncStatus,
    Trouble, Update,
};

/// How an account's bank behaves, and Mono about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As most: it works but when the bank or Mono is down. Three calls in a hundred are told that Mono
    /// is still at it, and one in a thousand is not answered in time.
    Ordinary,
    /// The same, and every few weeks the bank wants an OTP; the customer comes after some days.
    AsksForOtp,
    /// It always works, at once.
    Healthy,
    /// Calls are not answered in time; Mono does it all the same.
    Hangs,
    /// Calls succeed, and the webhook says that they failed.
    BadEcho,
    /// Linked for payments: there is nothing to be had.
    PaymentOnly,
    /// The bank is down for good.
    FailingBank,
    /// The bank wants the customer, who never comes.
    Mfa,
}

impl Behaviour {
    /// Of the accounts of a rough world: one in fifty is asked for OTPs.
    #[must_use]
    pub fn of(number: u64) -> Self {
        if number % 50 == 7 { Self::AsksForOtp } else { Self::Ordinary }
    }
}

/// What is the matter with an account at the moment of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Works,
    BankDown,
    WantsCustomer,
}

/// What Mono does when it is asked to sync.
pub(crate) struct Answer {
    /// What the caller is told.
    pub(crate) outcome: SyncOutcome,
    /// How long the caller waits.
    pub(crate) took: Duration,
    /// What Mono finds out, if it does it, and how long after the call.
    pub(crate) found: Option<(Truth, Duration)>,
}

impl Behaviour {
    pub(crate) fn answer(self, truth: Truth, job_id: &str, rng: &mut Rng) -> Answer {
        let job = || Some(job_id.to_owned());
        let took = Duration::from_millis(rng.u64(1_500..20_000));
        let at_once = |outcome| Answer { outcome, took, found: Some((truth, took)) };
        let late = |outcome, took, rng: &mut Rng| {
            let after = took + Duration::from_secs(rng.u64(20..1_200));
            Answer { outcome, took, found: Some((truth, after)) }
        };
        let limit = Duration::from_secs(45);
        match (self, truth) {
            (Self::Hangs, _) => late(SyncOutcome::Trouble(Trouble::TimedOut), limit, rng),
            (Self::Ordinary | Self::AsksForOtp, _) if rng.u32(..1_000) == 0 => {
                late(SyncOutcome::Trouble(Trouble::TimedOut), limit, rng)
            }
            (Self::Ordinary | Self::AsksForOtp, _) if rng.u32(..100) < 3 => {
                late(SyncOutcome::Processing { job_id: job() }, took, rng)
            }
            (_, Truth::Works) => at_once(SyncOutcome::Successful {
                has_new_data: rng.u32(..100) < 60,
                data: SyncData::Transactions,
                balance: None,
                job_id: job(),
            }),
            (_, Truth::BankDown) => {
                let error = MonoError { code: "JOB_FAILED".to_owned(), message: None };
                at_once(SyncOutcome::Failed { error, job_id: job() })
            }
            (_, Truth::WantsCustomer) => {
                at_once(SyncOutcome::ReauthorisationRequired { job_id: job() })
            }
        }
    }

    /// What Mono's webhooks tell of what it has found: that the job is over, and then the rest.
    pub(crate) fn echo(self, truth: Truth, job_id: &str) -> [News; 2] {
        let truth = if self == Self::BadEcho { Truth::BankDown } else { truth };
        let (state, data_status, sync_status) = match truth {
            Truth::Works => (JobState::Finished, "AVAILABLE", SyncStatus::Successful),
            Truth::BankDown => (JobState::Failed, "AVAILABLE", SyncStatus::Failed),
            Truth::WantsCustomer => {
                (JobState::Failed, "AVAILABLE", SyncStatus::ReauthorisationRequired)
            }
        };
        let job_id = Some(job_id.to_owned());
        let job = Job { id: job_id.clone(), state };
        let update = Update {
            data_status: Some(DataStatus::from_word(data_status)),
            sync_status: Some(sync_status),
            job_id,
            ..Update::default()
        };
        [News::Job(job, JobDemand::Nothing), News::Updated(Box::new(update))]
    }
}
