//! What kinds of accounts there are, and what a sync of one comes to.

use std::time::Duration;

use fastrand::Rng;
use mono_sync::domain::account::{
    CallError, DataStatus, EventBody, Job, JobState, ProviderError, SyncData, SyncOutcome,
    SyncStatus, Update,
};

use crate::world::Accidents;

/// How an account's bank behaves, and Mono about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As most: it works but when the bank or Mono is down. Three calls in a hundred are told that Mono
    /// is still at it, and one in a thousand is not answered in time.
    Ordinary,
    /// The same, and every few weeks the bank wants an OTP; the customer comes after some days.
    AsksForOtp,
    /// The same, and every few weeks the customer ends the link and makes it anew within the hour.
    LinksAnew,
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
    /// Of the accounts of a rough world: one in fifty is asked for OTPs, one in a hundred is linked
    /// anew, one in two hundred each is for payments only or waits for a customer who never comes.
    pub fn of(number: u64) -> Self {
        match number % 200 {
            7 | 57 | 107 | 157 => Self::AsksForOtp,
            13 | 113 => Self::LinksAnew,
            31 => Self::PaymentOnly,
            61 => Self::Mfa,
            _ => Self::Ordinary,
        }
    }
}

/// What is the matter with an account at the moment of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    Works,
    BankDown,
    WantsCustomer,
    Unlinked,
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
    pub(crate) fn answer(
        self,
        truth: Truth,
        job_id: &str,
        accidents: Accidents,
        rng: &mut Rng,
    ) -> Answer {
        let job = || Some(job_id.to_owned());
        let took = Duration::from_millis(rng.u64(1_500..20_000));
        let at_once = |outcome| Answer { outcome, took, found: Some((truth, took)) };
        let late = |outcome, took, rng: &mut Rng| {
            let after = took + Duration::from_secs(rng.u64(20..1_200));
            Answer { outcome, took, found: Some((truth, after)) }
        };
        let untaught = |outcome| Answer { outcome, took, found: None };
        let limit = Duration::from_secs(45);
        let ordinary = matches!(self, Self::Ordinary | Self::AsksForOtp | Self::LinksAnew);
        if rng.f64() < accidents.rate_limited {
            return untaught(SyncOutcome::NoResult(CallError::RateLimited { retry_after: None }));
        }
        match (self, truth) {
            (_, Truth::Unlinked) => {
                let error = ProviderError { code: "HTTP_404".to_owned(), message: None };
                untaught(SyncOutcome::NotFound { error })
            }
            (Self::Hangs, _) => late(SyncOutcome::NoResult(CallError::TimedOut), limit, rng),
            _ if ordinary && rng.u32(..1_000) == 0 => {
                late(SyncOutcome::NoResult(CallError::TimedOut), limit, rng)
            }
            _ if ordinary && rng.u32(..100) < 3 => {
                let processing = SyncOutcome::Processing { job_id: job() };
                if rng.f64() < accidents.never_ending {
                    untaught(processing)
                } else {
                    late(processing, took, rng)
                }
            }
            (_, Truth::Works) => at_once(SyncOutcome::Successful {
                has_new_data: rng.u32(..100) < 60,
                data: SyncData::Transactions,
                balance: None,
                job_id: job(),
            }),
            (_, Truth::BankDown) => {
                let error = ProviderError { code: "JOB_FAILED".to_owned(), message: None };
                at_once(SyncOutcome::Failed { error, job_id: job() })
            }
            (_, Truth::WantsCustomer) => {
                at_once(SyncOutcome::ReauthorisationRequired { job_id: job() })
            }
        }
    }

    /// What Mono's webhooks tell of what it has found: that the job is over, and then the rest.
    pub(crate) fn echo(self, truth: Truth, job_id: &str) -> [EventBody; 2] {
        let truth = if self == Self::BadEcho { Truth::BankDown } else { truth };
        let (state, data_status, sync_status) = match truth {
            Truth::Works => (JobState::Finished, "AVAILABLE", SyncStatus::Successful),
            Truth::BankDown | Truth::Unlinked => {
                (JobState::Failed, "AVAILABLE", SyncStatus::Failed)
            }
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
        [EventBody::Job(job), EventBody::Updated(Box::new(update))]
    }
}
