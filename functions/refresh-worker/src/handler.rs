//! What the function does with a message: wait while Mono wants to be left alone, then do what was
//! planned, if it is still wanted.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::account::{Reason, SyncOutcome, Trouble};
use mono_sync::account_id::AccountId;
use mono_sync::batch::Batch;
use mono_sync::invocation::Invocation;
use mono_sync::random;
use mono_sync::refresh_job::{RefreshJob, UnreadableJob};
use mono_sync::store::StoreError;
use mono_sync::sync::{Refreshed, SyncError, Syncer};
use mono_sync::timestamp::Timestamp;
use tokio::time::{Instant, sleep};
use tracing::{error, info};

/// What the function is wired to.
pub(crate) struct Worker {
    pub(crate) syncer: Syncer,
}

/// Why a message is returned to the queue. No sync was begun at Mono.
#[derive(Debug, thiserror::Error)]
enum GivenBack {
    #[error(transparent)]
    Sync(#[from] SyncError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Mono wants to be left alone for as long, where it does not say (429).
const PAUSE: Duration = Duration::from_mins(1);
/// So long that whoever waits from its beginning has the time to; then Mono is tried again.
const LONGEST_PAUSE: Duration = Duration::from_mins(3);
/// What a sync takes at most: as much is left when the wait for Mono ends.
const SYNC_TIME: Duration = Duration::from_secs(65);
/// Those who have waited do not all begin in one moment.
const SPREAD: Duration = Duration::from_secs(10);

impl Worker {
    /// Works through a batch, of one message as it is deployed.
    pub(crate) async fn work(
        &self,
        event: LambdaEvent<SqsEvent>,
    ) -> Result<SqsBatchResponse, Error> {
        let (event, context) = event.into_parts();
        let invocation = Invocation::new(context.request_id, context.deadline);
        let refresh = async |job: &RefreshJob| self.refresh(job, &invocation).await;
        Ok(Batch::do_jobs(event, invocation.clone(), read, refresh).await?)
    }

    async fn refresh(&self, job: &RefreshJob, invocation: &Invocation) -> Result<(), GivenBack> {
        let RefreshJob { account_id, planned_at } = job;
        let request_id = &invocation.request_id;
        if !self.wait_for_mono(invocation).await? {
            // Given back, the message would end among the dead letters after five pauses, and its
            // account would wait for an interval.
            self.syncer.accounts.unmark_queued(account_id, *planned_at).await?;
            info!(request_id, %account_id, outcome = "paused", "refresh");
            return Ok(());
        }
        // A lease is to outlive a sync that dies, and not the time there was to wait.
        let invocation = invocation.at_most(SYNC_TIME);
        match self.syncer.refresh(account_id, *planned_at, &invocation).await {
            Ok(refreshed) => {
                self.heed(&refreshed).await;
                log(request_id, account_id, &refreshed);
                Ok(())
            }
            // Paid for: the webhook settles it, or the next plan.
            Err(error @ SyncError::Unrecorded { .. }) => {
                let paid_call = error.paid_call().map(Reason::as_str);
                error!(request_id, %account_id, %error, paid_call, "the sync went wrong");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Read before every call that is paid for. Who waits here holds back what is queued behind it,
    /// since only so many run at once. `false` if Mono wants to be left alone for longer than there is
    /// time to wait.
    async fn wait_for_mono(&self, invocation: &Invocation) -> Result<bool, GivenBack> {
        loop {
            let now = Timestamp::now();
            let paused_until = self.syncer.accounts.refresh_paused_until().await?;
            let Some(pause) = paused_until.map(|until| until.since(now)).filter(|p| !p.is_zero())
            else {
                return Ok(true);
            };
            let wait = pause + random::jittered(SPREAD);
            if Instant::now() + wait + SYNC_TIME > invocation.deadline {
                return Ok(false);
            }
            sleep(wait).await;
        }
    }

    /// Mono's 429 is meant for all of us. The account itself is planned anew.
    async fn heed(&self, refreshed: &Refreshed) {
        let (Refreshed::Synced(_, SyncOutcome::Trouble(trouble)) | Refreshed::Unanswered(trouble)) =
            refreshed
        else {
            return;
        };
        let Trouble::RateLimited { retry_after } = trouble else {
            return;
        };
        let pause = retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE);
        let paused = self.syncer.accounts.pause_refresh(Timestamp::now() + pause).await;
        if let Err(error) = paused {
            error!(%error, "the refresh goes on although Mono wants to be left alone");
        }
    }
}

fn read(message: &SqsMessage) -> Result<(AccountId, RefreshJob), UnreadableJob> {
    let job = RefreshJob::read(message.body.as_deref().unwrap_or_default())?;
    Ok((job.account_id.clone(), job))
}

/// One line a job. Why Mono was asked to sync, or what else it was asked, is what counts calls.
fn log(request_id: &str, account_id: &AccountId, refreshed: &Refreshed) {
    let (outcome, paid_call, question) = match refreshed {
        Refreshed::Synced(reason, outcome) => {
            let paid = outcome.reached_mono().then(|| reason.as_str());
            (outcome.as_str(), paid, None)
        }
        Refreshed::Followed(outcome) => {
            let outcome = outcome.as_ref().map_or("not_over", SyncOutcome::as_str);
            (outcome, None, Some("job_follow_up"))
        }
        Refreshed::Checked => ("checked", None, Some("link_check")),
        Refreshed::Unanswered(trouble) => (trouble.as_str(), None, Some("unanswered")),
        Refreshed::Unwanted => ("unwanted", None, None),
    };
    let error = match refreshed {
        Refreshed::Synced(_, outcome) => outcome.error(),
        _ => None,
    };
    let mono_code = error.map(|error| &error.code);
    info!(request_id, %account_id, outcome, mono_code, paid_call, question, "refresh");
}
