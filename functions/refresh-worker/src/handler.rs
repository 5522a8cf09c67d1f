//! What the function does with a message: put it off while Mono is to be left alone, else do what was planned, if it
//! is still wanted.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::account::{CallError, SyncOutcome};
use mono_sync::account_id::AccountId;
use mono_sync::batch::Batch;
use mono_sync::breaker::{Admission, Breaker};
use mono_sync::invocation::Invocation;
use mono_sync::queue::JobQueue;
use mono_sync::random;
use mono_sync::refresh_job::{RefreshJob, UnreadableJob};
use mono_sync::store::StoreError;
use mono_sync::sync::{Refreshed, SyncError, Syncer};
use mono_sync::timestamp::Timestamp;
use tracing::{error, info, warn};

/// What the function is wired to.
pub(crate) struct Worker {
    pub(crate) syncer: Syncer,
    pub(crate) queue: JobQueue,
}

/// A message.
struct Delivery {
    job: RefreshJob,
    receipt_handle: String,
    /// How often it has come by now.
    times: u32,
}

/// Why a message is returned to the queue. No sync was begun at Mono.
#[derive(Debug, thiserror::Error)]
enum GivenBack {
    #[error(transparent)]
    Sync(#[from] SyncError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("Mono is left alone until {0}")]
    Paused(Timestamp),
}

/// Mono wants to be left alone for as long, where it does not say (429).
const PAUSE: Duration = Duration::from_mins(1);
/// So long at most, whatever it says.
const LONGEST_PAUSE: Duration = Duration::from_mins(3);
/// Those who have waited do not all begin in one moment.
const SPREAD: Duration = Duration::from_secs(10);
/// The last time that a message may come before it is put among the dead letters.
const LAST_TIME: u32 = 5;

impl Worker {
    /// Works through a batch, of one message as it is deployed.
    pub(crate) async fn work(
        &self,
        event: LambdaEvent<SqsEvent>,
    ) -> Result<SqsBatchResponse, Error> {
        let (event, context) = event.into_parts();
        let invocation = Invocation::new(context.request_id, context.deadline);
        let refresh =
            async |delivery: &Delivery| Box::pin(self.refresh(delivery, &invocation)).await;
        Ok(Batch::do_jobs(event, invocation.clone(), read, refresh).await?)
    }

    async fn refresh(&self, delivery: &Delivery, invocation: &Invocation) -> Result<(), GivenBack> {
        let RefreshJob { account_id, planned_at } = &delivery.job;
        let request_id = &invocation.request_id;
        let (admission, breaker) = self.admission().await?;
        if let Admission::PausedUntil(until) = admission {
            return self.put_off(delivery, until, request_id).await;
        }
        let is_probe = admission == Admission::Probe;
        match self.syncer.refresh(account_id, *planned_at, invocation).await {
            Ok(refreshed) => {
                self.record_result(&refreshed, breaker, is_probe).await;
                log(request_id, account_id, &refreshed);
                Ok(())
            }
            // Mono may have charged it: the webhook settles it, or the next plan.
            Err(error @ SyncError::Unrecorded { .. }) => {
                error!(request_id, %account_id, %error, "the sync went wrong");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the breaker. If several workers could probe, one of them gets the probe.
    async fn admission(&self) -> Result<(Admission, Breaker), StoreError> {
        let accounts = &self.syncer.accounts;
        let (now, breaker) = (Timestamp::now(), accounts.breaker().await?);
        let admission = breaker.admit(now);
        let claimed = breaker.claimed(now);
        if admission == Admission::Probe && !accounts.swap_breaker(breaker, claimed).await? {
            return Ok((claimed.admit(now), breaker));
        }
        Ok((admission, breaker))
    }

    /// Has the message come again when Mono may be asked, unless it would end among the dead letters: then its account
    /// is left to the next plan.
    async fn put_off(
        &self,
        delivery: &Delivery,
        until: Timestamp,
        request_id: &str,
    ) -> Result<(), GivenBack> {
        let RefreshJob { account_id, planned_at } = &delivery.job;
        if delivery.times >= LAST_TIME {
            self.syncer.accounts.unmark_queued(account_id, *planned_at).await?;
            info!(request_id, %account_id, outcome = "paused", "refresh");
            return Ok(());
        }
        let wait = until.since(Timestamp::now()) + random::jittered(SPREAD);
        if let Err(error) = self.queue.postpone(&delivery.receipt_handle, wait).await {
            warn!(%account_id, %error, "it comes again after the queue's own time");
        }
        Err(GivenBack::Paused(until))
    }

    /// What Mono's answer means for all accounts.
    async fn record_result(&self, refreshed: &Refreshed, seen: Breaker, is_probe: bool) {
        let now = Timestamp::now();
        let accounts = &self.syncer.accounts;
        let heeded = match refreshed.trouble() {
            Some(CallError::RateLimited { retry_after }) => {
                let until = now + retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE);
                accounts.change_breaker(|breaker| breaker.after_wish(until)).await
            }
            Some(call_error) if call_error.may_affect_all_accounts() => {
                let failed = |breaker: Breaker| {
                    if is_probe {
                        breaker.after_failed_probe(now)
                    } else {
                        breaker.after_failure(now)
                    }
                };
                accounts.change_breaker(failed).await
            }
            _ if refreshed.is_answered() && (is_probe || seen.failures > 0) => {
                accounts.change_breaker(Breaker::after_success).await
            }
            _ if is_probe => accounts.change_breaker(Breaker::unclaimed).await,
            _ => Ok(()),
        };
        if let Err(error) = heeded {
            error!(%error, "the breaker stays as it is");
        }
    }
}

fn read(message: &SqsMessage) -> Result<(AccountId, Delivery), UnreadableJob> {
    let job = RefreshJob::read(message.body.as_deref().unwrap_or_default())?;
    let times = message.attributes.get("ApproximateReceiveCount");
    let delivery = Delivery {
        receipt_handle: message.receipt_handle.clone().unwrap_or_default(),
        times: times.and_then(|times| times.parse().ok()).unwrap_or(1),
        job,
    };
    Ok((delivery.job.account_id.clone(), delivery))
}

/// One line a job, with what Mono was asked.
fn log(request_id: &str, account_id: &AccountId, refreshed: &Refreshed) {
    let (outcome, question) = match refreshed {
        Refreshed::Synced(outcome) => (outcome.as_str(), Some("sync")),
        Refreshed::Followed(outcome) => {
            let outcome = outcome.as_ref().map_or("not_over", SyncOutcome::as_str);
            (outcome, Some("job_follow_up"))
        }
        Refreshed::Checked => ("checked", Some("link_check")),
        Refreshed::Unanswered(call_error) => (call_error.as_str(), Some("unanswered")),
        Refreshed::ImportAskedFor => ("import", None),
        Refreshed::Unwanted => ("unwanted", None),
    };
    let error = match refreshed {
        Refreshed::Synced(outcome) => outcome.error(),
        _ => None,
    };
    let mono_code = error.map(|error| &error.code);
    info!(request_id, %account_id, outcome, mono_code, question, "refresh");
}
