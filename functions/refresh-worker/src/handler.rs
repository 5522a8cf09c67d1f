//! Runs a batch of refresh jobs and logs one line for each job. The deployed batch size is one.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::app::erase::Erased;
use mono_sync::app::refresh::{Refreshed, Refresher};
use mono_sync::domain::account::SyncOutcome;
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::refresh_job::RefreshJob;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::sqs_batch::{Batch, Delivery};
use tracing::{error, info};

pub(crate) async fn refresh(
    refresher: &Refresher,
    event: LambdaEvent<SqsEvent>,
) -> Result<SqsBatchResponse, Error> {
    let (event, context) = event.into_parts();
    let invocation = Invocation::new(context.request_id, context.deadline);
    let read = |body: &str| RefreshJob::read(body).map(|job| (job.account_id.clone(), job));
    let handle = async |delivery: &Delivery<RefreshJob>| {
        let (request_id, account_id) = (&invocation.request_id, &delivery.job.account_id);
        match refresher.refresh(delivery, &invocation).await {
            Ok(refreshed) => log(request_id, account_id, &refreshed),
            Err(error) if error.is_retried() => return Err(error),
            Err(error) => {
                error!(request_id, %account_id, %error, "sync outcome could not be recorded");
            }
        }
        Ok(())
    };
    Ok(Batch::handle_jobs(event, invocation.clone(), read, handle).await?)
}

/// Logs one line. `step` names what the worker did.
fn log(request_id: &str, account_id: &AccountId, refreshed: &Refreshed) {
    let (outcome, step) = match refreshed {
        Refreshed::Synced(outcome) => (outcome.as_str(), Some("sync")),
        Refreshed::Followed(outcome) => {
            let outcome = outcome.as_ref().map_or("not_over", SyncOutcome::as_str);
            (outcome, Some("job_follow_up"))
        }
        Refreshed::Verified => ("verified", Some("verification")),
        Refreshed::Unanswered(error) => (error.as_str(), Some("unanswered")),
        Refreshed::ImportQueued => ("import", None),
        Refreshed::UpToDate => ("up_to_date", None),
        Refreshed::Paused => ("paused", None),
        Refreshed::Erased(erased) => {
            let outcome = match erased {
                Erased::Done => "erased",
                Erased::Continued => "erasing",
                Erased::NotUnlinked(_) => "not_unlinked",
                Erased::LinkedAgain => "linked_again",
                Erased::Unconfirmed => "unconfirmed",
                Erased::NotDue => "up_to_date",
            };
            (outcome, Some("erasure"))
        }
    };
    let error = match refreshed {
        Refreshed::Synced(outcome) => outcome.error(),
        _ => None,
    };
    let mono_code = error.map(|error| &error.code);
    info!(request_id, %account_id, outcome, mono_code, step, "refresh");
}
