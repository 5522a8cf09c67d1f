//! Mono's jobs. Each job fetches one account once.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::watch;

use crate::plan::{Plan, ReauthSignal};
use crate::scenario::Refresh;

/// The data that a job fetches, with Mono's name for the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum JobName {
    /// Transactions and balance.
    #[serde(rename = "jobs.accounts.sync_statement")]
    Statement,
    /// The balance.
    #[serde(rename = "jobs.accounts.sync_balance")]
    Balance,
}

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobStatus {
    Processing,
    Finished,
    Failed,
    ReauthorisationRequired,
}

impl JobStatus {
    pub(crate) fn after(plan: &Plan) -> Self {
        match (plan.outcome, plan.reauth_signal) {
            (Refresh::NewData | Refresh::NothingNew | Refresh::Partial, _) => Self::Finished,
            (
                Refresh::ReauthorisationRequired,
                ReauthSignal::JobStatus | ReauthSignal::JobLookup,
            ) => Self::ReauthorisationRequired,
            _ => Self::Failed,
        }
    }

    pub(crate) fn wire_name(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::ReauthorisationRequired => "REAUTHORISATION_REQUIRED",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) name: JobName,
    pub(crate) status: JobStatus,
    /// False for a job that never ends.
    pub(crate) ends: bool,
    /// Whether it succeeds with an incomplete statement.
    pub(crate) incomplete: bool,
}

impl Job {
    fn is_running(&self) -> bool {
        self.status == JobStatus::Processing
    }
}

/// All jobs by id.
#[derive(Default)]
pub(crate) struct Jobs(watch::Sender<BTreeMap<String, Job>>);

impl Jobs {
    /// Stores the present state of a job. Its effects are applied before any reader sees the new state.
    pub(crate) fn keep(&self, job: Job, effects: impl FnOnce()) {
        self.0.send_modify(|jobs| {
            jobs.insert(job.id.clone(), job);
            effects();
        });
    }

    pub(crate) fn get(&self, job_id: &str) -> Option<Job> {
        self.0.borrow().get(job_id).cloned()
    }

    pub(crate) fn running(&self, account_id: &str) -> Option<Job> {
        let running = |job: &&Job| job.account_id == account_id && job.is_running();
        self.0.borrow().values().find(running).cloned()
    }

    pub(crate) async fn ended(&self, job_id: &str) {
        self.until(|jobs| jobs.get(job_id).is_some_and(|job| !job.is_running())).await;
    }

    /// Waits until all jobs have ended, except those that never end.
    pub(crate) async fn settled(&self) {
        self.until(|jobs| !jobs.values().any(|job| job.ends && job.is_running())).await;
    }

    async fn until(&self, condition: impl FnMut(&BTreeMap<String, Job>) -> bool) {
        // No error is possible: the sender lives as long as self.
        let _ = self.0.subscribe().wait_for(condition).await;
    }
}
