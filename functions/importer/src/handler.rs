//! What the function does with a batch: each job by itself, and what failed again after a while.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent};
use mono_sync::account::CallError;
use mono_sync::account_id::AccountId;
use mono_sync::batch::Batch;
use mono_sync::import::{ImportJob, UnreadableJob};
use mono_sync::importer::{ImportError, ImportStats, Imported, Importer};
use mono_sync::invocation::Invocation;
use mono_sync::random;
use tracing::{info, warn};

/// The importer, and what it is wired to.
pub(crate) struct Function(pub(crate) Importer);

/// A job as it came.
struct Delivery {
    job: ImportJob,
    message_id: String,
    receipt_handle: String,
    /// How often it has come by now.
    times: u32,
}

/// How long a job waits after its first failure at Mono, at most; four times as long after each
/// other, so that its five tries outlast an hour.
const FIRST_WAIT: Duration = Duration::from_mins(1);
/// The same for one that was faster than the record it is about.
const FIRST_WAIT_FOR_RECORD: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_mins(64);

impl Function {
    /// Works through a batch. What could not be done is given back by its message id.
    pub(crate) async fn work(
        &self,
        event: LambdaEvent<SqsEvent>,
    ) -> Result<SqsBatchResponse, Error> {
        let (event, context) = event.into_parts();
        let invocation = Invocation::new(context.request_id, context.deadline);
        let import = async |delivery: &Delivery| self.import(delivery, &invocation).await;
        Ok(Batch::do_jobs(event, invocation.clone(), read, import).await?)
    }

    async fn import(
        &self,
        delivery: &Delivery,
        invocation: &Invocation,
    ) -> Result<(), ImportError> {
        let Delivery { job, message_id, .. } = delivery;
        match self.0.import(job, message_id, invocation).await {
            Ok(imported) => {
                log(&invocation.request_id, &job.account_id, &imported);
                Ok(())
            }
            Err(error) => {
                self.back_off(delivery, &error).await;
                Err(error)
            }
        }
    }

    async fn back_off(&self, delivery: &Delivery, error: &ImportError) {
        let wait = wait(error, delivery.times);
        if let Err(error) = self.0.queue.0.postpone(&delivery.receipt_handle, wait).await {
            warn!(message_id = delivery.message_id, %error, "it comes again after the queue's own time");
        }
    }
}

fn read(message: &SqsMessage) -> Result<(AccountId, Delivery), UnreadableJob> {
    let job = ImportJob::read(message.body.as_deref().unwrap_or_default())?;
    let times = message.attributes.get("ApproximateReceiveCount");
    let delivery = Delivery {
        message_id: message.message_id.clone().unwrap_or_default(),
        receipt_handle: message.receipt_handle.clone().unwrap_or_default(),
        times: times.and_then(|times| times.parse().ok()).unwrap_or(1),
        job,
    };
    Ok((delivery.job.account_id.clone(), delivery))
}

/// Grows with each time, and differs between jobs that failed together; not before Mono wants.
fn wait(error: &ImportError, times: u32) -> Duration {
    let (first, wanted) = match error {
        ImportError::Unknown => (FIRST_WAIT_FOR_RECORD, None),
        ImportError::Mono(CallError::RateLimited { retry_after }) => (FIRST_WAIT, *retry_after),
        _ => (FIRST_WAIT, None),
    };
    let longest = first.saturating_mul(4_u32.saturating_pow(times.saturating_sub(1)));
    let wait = random::jittered(longest.min(LONGEST_WAIT));
    wanted.map_or(wait, |wanted| wanted.min(LONGEST_WAIT) + wait)
}

/// One line a job.
fn log(request_id: &str, account_id: &AccountId, imported: &Imported) {
    let (outcome, stats) = match imported {
        Imported::Done(stats) => ("imported", Some(stats)),
        Imported::Continued(stats) => ("continuation", Some(stats)),
        Imported::TooLong(stats) => ("too_long", Some(stats)),
        Imported::UpToDate => ("satisfied", None),
        Imported::Covered => ("seen_to", None),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(error: &ImportError, times: u32) -> u64 {
        wait(error, times).as_secs()
    }

    #[test]
    fn each_failure_makes_the_wait_four_times_as_long_up_to_an_hour() {
        let failure = ImportError::Mono(CallError::Unavailable);
        for (times, longest) in [(0, 60), (1, 60), (2, 240), (3, 960), (4, 3840), (99, 3840)] {
            let wait = seconds(&failure, times);
            assert!((longest / 2..=longest).contains(&wait), "{times}: {wait}");
        }
    }

    #[test]
    fn mono_is_left_alone_for_as_long_as_it_wants() {
        let retry_after = Some(Duration::from_secs(100));
        let limited = ImportError::Mono(CallError::RateLimited { retry_after });
        assert!((130..=160).contains(&seconds(&limited, 1)));
    }

    #[test]
    fn a_record_that_is_not_there_yet_is_looked_for_soon() {
        assert!(seconds(&ImportError::Unknown, 1) <= 5);
    }
}
