//! Runs a batch of import jobs and logs one line for each job.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::app::import::{ImportError, ImportStats, Imported, Importer};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::import::ImportJob;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::sqs_batch::{Batch, Delivery};
use tracing::{info, warn};

pub(crate) async fn import(
    importer: &Importer,
    event: LambdaEvent<SqsEvent>,
) -> Result<SqsBatchResponse, Error> {
    let (event, context) = event.into_parts();
    let invocation = Invocation::new(context.request_id, context.deadline);
    let read = |body: &str| ImportJob::read(body).map(|job| (job.account_id.clone(), job));
    let handle = async |delivery: &Delivery<ImportJob>| {
        let imported = importer.import(&delivery.job, &delivery.message_id, &invocation).await;
        if let Err(error) = &imported {
            back_off(importer, delivery, error).await;
        }
        log(&invocation.request_id, &delivery.job.account_id, &imported?);
        Ok::<_, ImportError>(())
    };
    Ok(Batch::handle_jobs(event, invocation.clone(), read, handle).await?)
}

async fn back_off(importer: &Importer, delivery: &Delivery<ImportJob>, error: &ImportError) {
    let wait = error.back_off(delivery.times);
    if let Err(error) = importer.queue.0.postpone(&delivery.receipt_handle, wait).await {
        let message_id = &delivery.message_id;
        warn!(message_id, %error, "visibility timeout could not be changed");
    }
}

fn log(request_id: &str, account_id: &AccountId, imported: &Imported) {
    let (outcome, stats) = match imported {
        Imported::Done(stats) => ("imported", Some(stats)),
        Imported::Continued(stats) => ("continued", Some(stats)),
        Imported::TooLong(stats) => ("too_long", Some(stats)),
        Imported::UpToDate => ("up_to_date", None),
        Imported::Covered => ("covered", None),
        Imported::Postponed => ("postponed", None),
        Imported::Gone => ("gone", None),
        Imported::ReauthorisationRequired => ("reauthorisation_required", None),
        Imported::Deferred(call_error) => {
            let (outcome, call_error) = ("deferred", call_error.as_str());
            return info!(request_id, %account_id, outcome, call_error, "import");
        }
    };
    let Some(stats) = stats else {
        return info!(request_id, %account_id, outcome, "import");
    };
    let ImportStats { rows, put, deleted, pages, slices, not_whole, not_served, kept, .. } = stats;
    info!(
        request_id, %account_id, outcome, rows, put, deleted, pages, slices, not_whole, not_served, kept,
        "import"
    );
}
