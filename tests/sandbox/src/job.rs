//! Mono's jobs: each fetches one account once.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::watch;

use crate::plan::{Plan, ReauthSignal};
use crate::scenario::Refresh;

/// What a job fetches, by the name Mono has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum JobName {
    /// Transactions and balance.
    #[serde(rename = "jobs.accounts.sync_statement")]
    Statement,
    /// The balance.
    #[serde(rename = "jobs.accounts.sync_balance")]
    Balance,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JobStatus {
    Processing,
    Finished,
    Failed,
    ReauthorisationRequired,
}

impl JobStatus {
    pub(crate) fn at_the_end_of(plan: &Plan) -> Self {
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

/// One job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) account_id: String,
    pub(crate) name: JobName,
    pub(crate) status: JobStatus,
    /// Whether it ever ends.
    pub(crate) ends: bool,
    /// Whether it took fewer transactions than there were for a success.
    pub(crate) incomplete: bool,
}

impl Job {
    fn is_under_way(&self) -> bool {
        self.status == JobStatus::Processing
    }
}

/// Every job there ever was, by its id.
#[derive(Default)]
pub(crate) struct Jobs(watch::Sender<BTreeMap<String, Job>>);

impl Jobs {
    /// Keeps a job as it is now. What follows from it is done before anyone can see it.
    pub(crate) fn keep(&self, job: Job, follows: impl FnOnce()) {
        self.0.send_modify(|jobs| {
            jobs.insert(job.id.clone(), job);
            follows();
        });
    }

    pub(crate) fn get(&self, job_id: &str) -> Option<Job> {
        self.0.borrow().get(job_id).cloned()
    }

    pub(crate) fn under_way(&self, account_id: &str) -> Option<Job> {
        let under_way = |job: &&Job| job.account_id == account_id && job.is_under_way();
        self.0.borrow().values().find(under_way).cloned()
    }

    pub(crate) async fn ended(&self, job_id: &str) {
        self.until(|jobs| jobs.get(job_id).is_some_and(|job| !job.is_under_way())).await;
    }

    /// Waits for all but those that never end.
    pub(crate) async fn settled(&self) {
        self.until(|jobs| !jobs.values().any(|job| job.ends && job.is_under_way())).await;
    }

    async fn until(&self, condition: impl FnMut(&BTreeMap<String, Job>) -> bool) {
        // The sender lives as long as self does.
        let _ = self.0.subscribe().wait_for(condition).await;
    }
}
