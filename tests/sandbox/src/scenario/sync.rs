//! What Mono does when a sync is asked for: what is planned, or else a success.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::time::sleep;

use super::{Mono, Refresh, unknown};
use crate::account::Account;
use crate::bill::Bill;
use crate::call::Call;
use crate::job::{Job, JobName, JobStatus};
use crate::lock;
use crate::plan::{Fault, Pace, Plan, Script, Webhooks};
use crate::refusal::Refusal;

/// How a sync was asked for.
#[derive(Clone, Copy)]
pub(crate) enum Trigger {
    V1 { allow_incomplete_statement: bool },
    Balance,
    Transactions,
}

impl Trigger {
    fn job_name(self) -> JobName {
        match self {
            Self::V1 { .. } | Self::Transactions => JobName::Statement,
            Self::Balance => JobName::Balance,
        }
    }

    /// Whether it takes fewer transactions than there were for a success.
    fn accepts(self, planned: Refresh) -> bool {
        matches!(self, Self::V1 { allow_incomplete_statement: true }) && planned == Refresh::Partial
    }

    /// What a planned outcome becomes when it is asked for in this way.
    fn outcome(self, planned: Refresh, account: &Account) -> Refresh {
        match (self, planned) {
            _ if self.accepts(planned) => Refresh::NewData,
            (Self::Transactions, Refresh::NewData | Refresh::NothingNew | Refresh::Partial)
                if account.balance_only =>
            {
                Refresh::Failed
            }
            _ => planned,
        }
    }
}

/// What came of asking for a sync.
pub(crate) enum Sync {
    /// It has begun, and ended already if its pace is at once.
    Begun(Plan, Job),
    /// There is a session already: one at a time.
    UnderWay(Job),
    /// A fault came first.
    Prevented(Plan),
}

impl Mono {
    /// Has the calls signed in with another key from now on, and with no other.
    ///
    /// # Errors
    ///
    /// When the key is blank or no header value.
    pub fn set_secret_key(&self, key: &str) -> Result<(), Refusal> {
        *lock(&self.secret_key) = secret_key(key)?;
        Ok(())
    }

    /// Plans the next syncs of an account, one plan for each, instead of what was planned before.
    /// Afterwards they come to what they always do.
    ///
    /// # Errors
    ///
    /// When the account is unknown, or a plan cannot be carried out.
    pub fn plan(
        &self,
        account_id: &str,
        plans: impl IntoIterator<Item = Plan>,
    ) -> Result<(), Refusal> {
        let plans = plans.into_iter().map(Plan::checked).collect::<Result<_, _>>()?;
        self.rewrite(account_id, |script| script.plans = plans)
    }

    /// Plans every sync of an account for which nothing else is planned.
    ///
    /// # Errors
    ///
    /// When the account is unknown, or the plan cannot be carried out.
    pub fn plan_always(&self, account_id: &str, plan: Plan) -> Result<(), Refusal> {
        let plan = plan.checked()?;
        self.rewrite(account_id, |script| script.always = plan)
    }

    /// Has the next calls about an account that cost nothing meet these, one each, instead of what
    /// they were to meet before.
    ///
    /// # Errors
    ///
    /// When the account is unknown, or a fault cannot be carried out.
    pub fn plan_free(
        &self,
        account_id: &str,
        faults: impl IntoIterator<Item = Fault>,
    ) -> Result<(), Refusal> {
        let faults = faults.into_iter().map(Fault::checked).collect::<Result<_, _>>()?;
        self.rewrite(account_id, |script| script.free_faults = faults)
    }

    /// Every call to Mono's API so far, in the order they came.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// How many syncs of this account were begun.
    pub fn begun_syncs(&self, account_id: &str) -> usize {
        let about = |call: &&Call| call.begun && call.account_id.as_deref() == Some(account_id);
        lock(&self.calls).iter().filter(about).count()
    }

    /// What Mono charges for the calls about this account so far.
    pub fn bill(&self, account_id: &str) -> Bill {
        let about = |call: &&Call| call.account_id.as_deref() == Some(account_id);
        lock(&self.calls).iter().filter(about).filter_map(|call| call.charge).collect()
    }

    /// What Mono charges for all calls so far.
    pub fn whole_bill(&self) -> Bill {
        lock(&self.calls).iter().filter_map(|call| call.charge).collect()
    }

    /// Whether this proves the caller.
    pub(crate) fn is_key(&self, key: Option<&HeaderValue>) -> bool {
        key == Some(&*lock(&self.secret_key))
    }

    pub(crate) fn note(&self, call: Call) {
        lock(&self.calls).push(call);
    }

    pub(crate) fn job(&self, account_id: &str, job_id: &str) -> Option<Job> {
        self.jobs.get(job_id).filter(|job| job.account_id == account_id)
    }

    pub(crate) async fn job_ended(&self, job_id: &str) {
        self.jobs.ended(job_id).await;
    }

    pub(crate) async fn settled_about(&self, account_id: &str) {
        self.webhook_sender.settled_about(account_id).await;
    }

    pub(crate) fn next_free_fault(&self, account_id: &str) -> Option<Fault> {
        lock(&self.scripts).get_mut(account_id)?.free_faults.pop_front()
    }

    /// Syncs as the account's script has it.
    pub(crate) fn sync(
        self: &Arc<Self>,
        account_id: &str,
        trigger: Trigger,
    ) -> Result<Sync, Refusal> {
        let account = self.linked(account_id)?;
        // Held until the sync has begun: two calls must not both be the first.
        let mut scripts = lock(&self.scripts);
        if let Some(job) = self.jobs.under_way(account_id) {
            return Ok(Sync::UnderWay(job));
        }
        let mut plan = scripts.entry(account_id.to_owned()).or_default().next_plan();
        if plan.is_prevented() {
            return Ok(Sync::Prevented(plan));
        }
        let incomplete = trigger.accepts(plan.outcome);
        plan.outcome = trigger.outcome(plan.outcome, &account);
        let job = self.new_job(account_id, trigger.job_name(), plan.pace);
        let job = self.begin(Job { incomplete, ..job }, &plan);
        Ok(Sync::Begun(plan, job))
    }

    fn begin(self: &Arc<Self>, job: Job, plan: &Plan) -> Job {
        if plan.pace == Pace::AtOnce {
            return self.end(job, plan);
        }
        self.jobs.keep(job.clone(), || ());
        if let Pace::Slow(wait) = plan.pace {
            self.end_after(wait, job.clone(), plan.clone());
        }
        job
    }

    pub(super) fn new_job(&self, account_id: &str, name: JobName, pace: Pace) -> Job {
        Job {
            id: lock(&self.id_generator).object_id(),
            account_id: account_id.to_owned(),
            name,
            status: JobStatus::Processing,
            ends: pace != Pace::NeverEnding,
            incomplete: false,
        }
    }

    pub(super) fn end(&self, mut job: Job, plan: &Plan) -> Job {
        job.status = JobStatus::at_the_end_of(plan);
        self.jobs.keep(job.clone(), || {
            // It can have been unlinked meanwhile: nobody is told then.
            let _ = self.fetched(&job, plan.outcome, plan.webhooks != Webhooks::Lost);
        });
        job
    }

    fn end_after(self: &Arc<Self>, wait: Duration, job: Job, plan: Plan) {
        let mono = Arc::clone(self);
        let wait = self.webhook_sender.scaled(wait);
        let mut slow_jobs = lock(&self.slow_jobs);
        slow_jobs.spawn(async move {
            sleep(wait).await;
            mono.end(job, &plan);
        });
        // Ended tasks would pile up otherwise.
        while slow_jobs.try_join_next().is_some() {}
    }

    pub(super) fn rewrite(
        &self,
        account_id: &str,
        change: impl FnOnce(&mut Script),
    ) -> Result<(), Refusal> {
        if self.account(account_id).is_none() {
            return Err(unknown(account_id));
        }
        change(lock(&self.scripts).entry(account_id.to_owned()).or_default());
        Ok(())
    }
}

/// A key that can be compared with a header, and that no missing or empty one can equal.
pub(super) fn secret_key(key: &str) -> Result<HeaderValue, Refusal> {
    let value = HeaderValue::from_str(key).map_err(|_| Refusal::SecretKey)?;
    if key.trim().is_empty() { Err(Refusal::SecretKey) } else { Ok(value) }
}
