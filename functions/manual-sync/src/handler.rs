//! Makes one sync and answers with its outcome.

use lambda_http::{Body, Error, Request, Response};
use mono_sync::app::sync::{SyncError, SyncOptions, Synced, Syncer};
use mono_sync::domain::account::{Account, SyncData, SyncOutcome, SyncRefusal};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::http::problem::Problem;
use mono_sync::http::request::{account_id, caller, choice, principal};
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::telemetry;
use serde_json::json;
use tracing::{error, info};

pub(crate) struct ManualSync {
    pub(crate) syncer: Syncer,
    /// The claim of the token that names the owner. `None`: every caller may see every account.
    pub(crate) owner_claim: Option<String>,
}

impl ManualSync {
    pub(crate) async fn answer(&self, request: Request) -> Result<Response<Body>, Error> {
        let sync = async |invocation: &Invocation| self.sync(&request, invocation).await;
        Ok(response::answer(&request, sync).await)
    }

    async fn sync(
        &self,
        request: &Request,
        invocation: &Invocation,
    ) -> Result<Response<Body>, Problem> {
        let caller = caller(request, self.owner_claim.as_deref())?;
        let (account_id, options) = (account_id(request)?, options(request, caller)?);
        telemetry::audit(&invocation.request_id, &principal(request), "sync", Some(&account_id));
        let synced = self.syncer.sync(&account_id, &options, invocation).await;
        log(&invocation.request_id, &account_id, &synced);
        match synced.map_err(|_| Problem::StoreUnavailable)? {
            Synced::Done { outcome, account, .. } => {
                self.done(account_id, outcome, account.as_deref())
            }
            Synced::Refused(account, refusal) => self.refused(&account, refusal),
            Synced::NotVisible => Err(Problem::AccountNotFound),
        }
    }

    fn done(
        &self,
        account_id: AccountId,
        outcome: SyncOutcome,
        account: Option<&Account>,
    ) -> Result<Response<Body>, Problem> {
        match outcome {
            SyncOutcome::Successful { has_new_data, .. } => Ok(response::ok(&json!({
                "code": "SYNC_SUCCESSFUL",
                "has_new_data": has_new_data,
                "account": account.map(|account| self.view(account)),
            }))),
            SyncOutcome::Processing { job_id } => Ok(self.processing(job_id.as_deref(), account)),
            SyncOutcome::ReauthorisationRequired { .. } => {
                Err(Problem::ReauthorisationRequired { account_id })
            }
            SyncOutcome::Failed { error, .. } => Err(Problem::SyncFailed(error)),
            SyncOutcome::NotFound { .. } => Err(Problem::AccountNotFound),
            SyncOutcome::NoResult(call_error) => {
                let until = account.and_then(|account| account.cooldown_until);
                let wait = until.map(|until| until.since(Timestamp::now()));
                Err(Problem::of_call_error(call_error, wait))
            }
        }
    }

    fn refused(&self, account: &Account, refusal: SyncRefusal) -> Result<Response<Body>, Problem> {
        match refusal {
            SyncRefusal::Unlinked => Err(Problem::AccountUnlinked),
            SyncRefusal::NotVisible => Err(Problem::AccountNotFound),
            SyncRefusal::Running { job_id } => {
                Ok(self.processing(job_id.as_deref(), Some(account)))
            }
            SyncRefusal::CoolingDown { until } => Err(Problem::SyncCooldown {
                next_allowed_at: until,
                retry_after: until.since(Timestamp::now()),
            }),
        }
    }

    fn processing(&self, job_id: Option<&str>, account: Option<&Account>) -> Response<Body> {
        response::accepted(&json!({
            "code": "SYNC_PROCESSING",
            "job_id": job_id,
            "account": account.map(|account| self.view(account)),
        }))
    }

    fn view(&self, account: &Account) -> serde_json::Value {
        json!(account.view(Timestamp::now(), self.syncer.accounts.policy()))
    }
}

fn options(request: &Request, caller: Caller) -> Result<SyncOptions, Problem> {
    let data = [("transactions", SyncData::Transactions), ("balance", SyncData::Balance)];
    let flag = [("true", true), ("false", false)];
    let incomplete = choice(request, "allow_incomplete_statement", "true or false", &flag)?;
    Ok(SyncOptions {
        caller,
        data: choice(request, "data", "transactions or balance", &data)?,
        allow_incomplete_statement: incomplete.unwrap_or(false),
    })
}

/// Logs one line, without Mono's messages, which may contain personal data.
fn log(request_id: &str, account_id: &AccountId, synced: &Result<Synced, SyncError>) {
    let (outcome, error) = match synced {
        Ok(Synced::Done { outcome, .. }) => (outcome.as_str(), outcome.error()),
        Ok(Synced::Refused(_, SyncRefusal::Unlinked)) => ("unlinked", None),
        Ok(Synced::Refused(_, SyncRefusal::Running { .. })) => ("running", None),
        Ok(Synced::Refused(_, SyncRefusal::CoolingDown { .. })) => ("cooling_down", None),
        Ok(Synced::NotVisible | Synced::Refused(_, SyncRefusal::NotVisible)) => {
            ("not_visible", None)
        }
        Err(error) => {
            return error!(request_id, %account_id, %error, "sync failed");
        }
    };
    let mono_code = error.map(|error| &error.code);
    info!(request_id, %account_id, outcome, mono_code, "manual sync");
}
