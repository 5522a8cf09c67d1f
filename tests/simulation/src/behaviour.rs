//! The kinds of accounts, and the outcomes of their syncs.

use std::time::Duration;

use fastrand::Rng;
use mono_sync::domain::account::{
    CallError, DataStatus, EventBody, Job, JobState, ProviderError, SyncData, SyncOutcome,
    SyncStatus, Update,
};

use crate::world::Accidents;

/// The behaviour of an account's bank, its customer and Mono.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Syncs work unless the bank or Mono is down. Three in a hundred calls are answered with *still
    /// processing*, and one in a thousand times out.
    Ordinary,
    /// As `Ordinary`, but every few weeks the bank requires an OTP, and the customer needs some days.
    AsksForOtp,
    /// As `Ordinary`, but every few weeks the customer unlinks the account and links it again within an
    /// hour.
    LinksAnew,
    /// Syncs always work at once.
    Healthy,
    /// Calls time out, but Mono syncs nevertheless.
    Hangs,
    /// Calls succeed, but the webhook reports a failure.
    BadEcho,
    /// The account is linked for payments and has no data.
    PaymentOnly,
    /// The bank is permanently down.
    FailingBank,
    /// The bank requires re-authorisation, and the customer never does it.
    Mfa,
}

impl Behaviour {
    /// The behaviours in a rough world. One in fifty accounts is asked for OTPs, and one in a hundred is
    /// linked again. One in two hundred is for payments only. Another one in two hundred waits for a
    /// customer who never authenticates.
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

/// The real state of an account at the time of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Truth {
    Works,
    BankDown,
    WantsCustomer,
    Unlinked,
}

/// Mono's reaction to a sync request.
pub(crate) struct Answer {
    /// The answer to the caller.
    pub(crate) outcome: SyncOutcome,
    /// The duration of the call.
    pub(crate) took: Duration,
    /// The result of the sync and its time after the call, if Mono syncs.
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
        let no_result = |outcome| Answer { outcome, took, found: None };
        let limit = Duration::from_secs(45);
        let ordinary = matches!(self, Self::Ordinary | Self::AsksForOtp | Self::LinksAnew);
        if rng.f64() < accidents.rate_limited {
            return no_result(SyncOutcome::NoResult(CallError::RateLimited { retry_after: None }));
        }
        match (self, truth) {
            (_, Truth::Unlinked) => {
                let error = ProviderError { code: "HTTP_404".to_owned(), message: None };
                no_result(SyncOutcome::NotFound { error })
            }
            (Self::Hangs, _) => late(SyncOutcome::NoResult(CallError::TimedOut), limit, rng),
            _ if ordinary && rng.u32(..1_000) == 0 => {
                late(SyncOutcome::NoResult(CallError::TimedOut), limit, rng)
            }
            _ if ordinary && rng.u32(..100) < 3 => {
                let processing = SyncOutcome::Processing { job_id: job() };
                if rng.f64() < accidents.never_ending {
                    no_result(processing)
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

    /// Mono's webhooks about a result: first the end of the job, then the update.
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
