//! Syncs on request. A sync has its planned outcome, or else it succeeds.

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

/// The call that requests a sync.
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

    /// Whether an incomplete statement counts as a success.
    fn accepts(self, planned: Refresh) -> bool {
        matches!(self, Self::V1 { allow_incomplete_statement: true }) && planned == Refresh::Partial
    }

    /// The outcome of a plan for this call.
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

/// The result of a request for a sync.
pub(crate) enum Sync {
    /// The sync has begun. It has already ended if its pace is at once.
    Begun(Plan, Job),
    /// Another sync of the account is running. There is only one at a time.
    UnderWay(Job),
    /// A fault prevented the sync.
    Prevented(Plan),
}

impl Mono {
    /// Replaces the key that calls need.
    ///
    /// # Errors
    ///
    /// If the key is blank or not a header value.
    pub fn set_secret_key(&self, key: &str) -> Result<(), Refusal> {
        *lock(&self.secret_key) = secret_key(key)?;
        Ok(())
    }

    /// Plans the next syncs of an account, one plan for each, replacing earlier plans. Later syncs follow
    /// [`plan_always`](Mono::plan_always).
    ///
    /// # Errors
    ///
    /// If the account is unknown, or a plan is invalid.
    pub fn plan(
        &self,
        account_id: &str,
        plans: impl IntoIterator<Item = Plan>,
    ) -> Result<(), Refusal> {
        let plans = plans.into_iter().map(Plan::checked).collect::<Result<_, _>>()?;
        self.change_script(account_id, |script| script.plans = plans)
    }

    /// Plans all syncs of an account for which [`plan`](Mono::plan) plans nothing.
    ///
    /// # Errors
    ///
    /// If the account is unknown, or the plan is invalid.
    pub fn plan_always(&self, account_id: &str, plan: Plan) -> Result<(), Refusal> {
        let plan = plan.checked()?;
        self.change_script(account_id, |script| script.always = plan)
    }

    /// Plans the faults of the next calls about an account that are no syncs, one fault for each call,
    /// replacing earlier plans.
    ///
    /// # Errors
    ///
    /// If the account is unknown, or a fault is invalid.
    pub fn plan_free(
        &self,
        account_id: &str,
        faults: impl IntoIterator<Item = Fault>,
    ) -> Result<(), Refusal> {
        let faults = faults.into_iter().map(Fault::checked).collect::<Result<_, _>>()?;
        self.change_script(account_id, |script| script.free_faults = faults)
    }

    /// All calls to Mono's API so far, in the order of their arrival.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// The number of begun syncs of this account.
    pub fn begun_syncs(&self, account_id: &str) -> usize {
        let about = |call: &&Call| call.begun && call.account_id.as_deref() == Some(account_id);
        lock(&self.calls).iter().filter(about).count()
    }

    /// Mono's charges for the calls about this account so far.
    pub fn bill(&self, account_id: &str) -> Bill {
        let about = |call: &&Call| call.account_id.as_deref() == Some(account_id);
        lock(&self.calls).iter().filter(about).filter_map(|call| call.charge).collect()
    }

    /// Mono's charges for all calls so far.
    pub fn whole_bill(&self) -> Bill {
        lock(&self.calls).iter().filter_map(|call| call.charge).collect()
    }

    /// Whether this is the secret key.
    pub(crate) fn is_key(&self, key: Option<&HeaderValue>) -> bool {
        key == Some(&*lock(&self.secret_key))
    }

    pub(crate) fn log_call(&self, call: Call) {
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

    /// Begins a sync with the account's next plan.
    pub(crate) fn sync(
        self: &Arc<Self>,
        account_id: &str,
        trigger: Trigger,
    ) -> Result<Sync, Refusal> {
        let account = self.linked(account_id)?;
        // Locked until the sync has begun, so that two concurrent calls do not both begin one.
        let mut scripts = lock(&self.scripts);
        if let Some(job) = self.jobs.running(account_id) {
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
        job.status = JobStatus::after(plan);
        self.jobs.keep(job.clone(), || {
            // The account may have been unlinked meanwhile. Then no webhook is sent.
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
        // Removes ended tasks, which would otherwise accumulate.
        while slow_jobs.try_join_next().is_some() {}
    }

    pub(super) fn change_script(
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

/// A key in the form of a header value. It is not blank, so that no empty header equals it.
pub(super) fn secret_key(key: &str) -> Result<HeaderValue, Refusal> {
    let value = HeaderValue::from_str(key).map_err(|_| Refusal::SecretKey)?;
    if key.trim().is_empty() { Err(Refusal::SecretKey) } else { Ok(value) }
}
