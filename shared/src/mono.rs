//! Mono's API, in both versions: v2, the current one ("Real-Time Data"), and v1 ("Data Sync").
//!
//! Calls are made [signed in](Mono::session), and end before a deadline. A sync is paid for and sent
//! at most once, whatever happens; plain reads are repeated. Facts about Mono here are from
//! docs.mono.co (realtime-data, manual-data-sync, data-sync, errors, connect-link) as of April 2026;
//! what was seen only in the code of Mono's users says so.

mod answer;
mod base_url;
mod key;
mod meter;
mod transport;

use std::time::Duration;

use lambda_http::http::{HeaderValue, Method, Request};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use key::{KeyCache, MonoKey};
pub use meter::Meter;

use crate::aws::secrets::SecretUnavailable;
use crate::domain::account::{
    CallError, JobState, LinkState, ProviderError, SyncData, SyncOutcome,
};
use crate::domain::account_id::AccountId;
use crate::domain::business_day::Days;
use crate::domain::spending::{CallKind, CallReason};
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{SyncedPage, TransactionPage};
use crate::random;
use answer::Answer;
use meter::Purpose;
use transport::Transport;

/// How many transactions are asked for at once. Mono documents no limit; it may serve fewer.
const PAGE: u32 = 5_000;

/// Which of Mono's APIs is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// The old one: `POST /accounts/{id}/sync`.
    V1,
    /// The current one: a read with `x-realtime: true`.
    V2,
}

/// Mono's API.
pub struct Mono {
    version: ApiVersion,
    keys: KeyCache,
    meter: Meter,
    transport: Transport,
}

/// Mono's API, with a key at hand.
pub struct Session<'a> {
    mono: &'a Mono,
    key: MonoKey,
}

/// What a sync is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// What to refresh. v1 always refreshes all.
    pub data: SyncData,
    /// Whether fewer transactions than Mono already holds will do. v2 does not know of it.
    pub allow_incomplete_statement: bool,
}

/// What a re-authorisation is prepared with. v1 knows of neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReauthorisationRequest {
    /// Where Mono's page sends the customer afterwards.
    pub redirect_url: Option<String>,
    /// The fintech's own reference.
    pub reference: Option<String>,
}

/// What the front end sends a customer through.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reauthorisation {
    /// v2: a page of Mono's to redirect to. How long it lives is not documented.
    Link {
        /// Its address.
        url: String,
    },
    /// v1: what Mono's widget is opened with.
    Token {
        /// The token.
        token: String,
        /// Mono takes it for ten minutes.
        expires_at: Timestamp,
    },
}

/// Why there is no re-authorisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReauthoriseError {
    /// Mono does not know the account.
    NotFound,
    /// Mono says that it cannot be done.
    Failed(ProviderError),
    /// Mono could not be asked.
    Call(CallError),
}

/// How far a job of v2 is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReport {
    /// How far.
    pub state: JobState,
    /// What it fetches.
    pub data: SyncData,
}

impl JobReport {
    /// What the sync that the job is of came to; `None` while it is under way, as far as can be told.
    pub fn outcome(self, job_id: String) -> Option<SyncOutcome> {
        let job_id = Some(job_id);
        match self.state {
            JobState::ReauthorisationRequired => {
                Some(SyncOutcome::ReauthorisationRequired { job_id })
            }
            // Whether there is anything new, the job does not say.
            JobState::Finished => Some(SyncOutcome::Successful {
                has_new_data: true,
                data: self.data,
                balance: None,
                job_id,
            }),
            JobState::Failed => {
                let error = ProviderError { code: "JOB_FAILED".to_owned(), message: None };
                Some(SyncOutcome::Failed { error, job_id })
            }
            JobState::Running | JobState::Linking | JobState::Other(_) => None,
        }
    }
}

/// Which part of the rows of some days is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them in one answer. Mono may give the first page all the same.
    All,
    /// The page of this number, from 1.
    Page(u32),
}

/// Why there are no transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionsError {
    /// The bank wants the customer.
    ReauthorisationRequired,
    /// Mono does not know the account.
    NotFound,
    /// The answer is larger than this system reads.
    TooLarge,
    /// Mono could not be asked.
    Call(CallError),
}

impl Mono {
    /// Mono's API at this address. No call takes longer than `limit`.
    pub fn new(
        version: ApiVersion,
        base_url: BaseUrl,
        keys: KeyCache,
        meter: Meter,
        limit: Duration,
    ) -> Self {
        Self { version, keys, meter, transport: Transport::new(base_url, limit) }
    }

    /// Gets hold of the key. Costs a read of the secret once an hour.
    ///
    /// # Errors
    ///
    /// [`SecretUnavailable`]: nothing can be asked of Mono.
    pub async fn session(&self, now: Timestamp) -> Result<Session<'_>, SecretUnavailable> {
        Ok(Session { mono: self, key: self.keys.current(now).await? })
    }
}

impl Session<'_> {
    /// How often a call that begins no sync is made, all in all.
    const TRIES: u32 = 3;
    /// How long one try of such a call may take, so that there can be another.
    const TRY_LIMIT: Duration = Duration::from_secs(8);
    /// How long a failed job may be asked for its reason: the failure itself waits to be recorded.
    const REASON_LIMIT: Duration = Duration::from_secs(3);

    /// Has an account refreshed. Sent once. Mono charges it when it brings new data.
    ///
    /// Where v2 says no more than that the job has failed, the job is asked for the reason: it may be that the
    /// bank wants the customer.
    pub async fn sync(
        &self,
        id: &AccountId,
        wanted: SyncRequest,
        reason: CallReason,
        deadline: Instant,
    ) -> (SyncOutcome, Option<SyncedPage>) {
        let request = match self.mono.version {
            ApiVersion::V1 => {
                let incomplete = wanted.allow_incomplete_statement;
                let query = format!("allow_incomplete_statement={incomplete}");
                self.request(Method::POST, &format!("/accounts/{id}/sync?{query}"))
            }
            ApiVersion::V2 => {
                let data = match wanted.data {
                    SyncData::Transactions => "transactions",
                    SyncData::Balance => "balance",
                };
                let mut request = self.request(Method::GET, &format!("/v2/accounts/{id}/{data}"));
                // Mono's guide and its API reference spell it differently. Under the wrong name the
                // answer would be Mono's cache, and pass for fresh.
                for name in ["x-realtime", "x-real-time"] {
                    request.headers_mut().insert(name, HeaderValue::from_static("true"));
                }
                request
            }
        };
        let purpose = Purpose { kind: CallKind::Realtime, reason, account_id: id };
        let outcome = match self.send(purpose, request.map(|()| None), deadline).await {
            Ok(answer) => {
                if answer.has_unreadable_balance() {
                    let code = "BALANCE_UNREADABLE";
                    warn!(account_id = %id, code, "a balance is no whole number of minor units");
                }
                let outcome = answer.of_sync(self.mono.version, wanted.data);
                let has_page = outcome.brought_transactions();
                (outcome, has_page.then(|| answer.synced_page()).flatten())
            }
            Err(call_error) => (SyncOutcome::NoResult(call_error), None),
        };
        let (SyncOutcome::Failed { job_id: Some(job_id), .. }, _) = &outcome else {
            return outcome;
        };
        let reason_by = deadline.min(Instant::now() + Self::REASON_LIMIT);
        match self.job(id, job_id, reason, reason_by).await {
            Ok(Some(JobReport { state: JobState::ReauthorisationRequired, .. })) => {
                (SyncOutcome::ReauthorisationRequired { job_id: Some(job_id.clone()) }, None)
            }
            _ => outcome,
        }
    }

    /// How far a job of v2 is, and whether it ended because the bank wants the customer. `None` if
    /// Mono does not say. Mono's price list does not name this call.
    pub async fn job(
        &self,
        id: &AccountId,
        job_id: &str,
        reason: CallReason,
        deadline: Instant,
    ) -> Result<Option<JobReport>, CallError> {
        if !answer::is_part_of_path(job_id) {
            return Ok(None);
        }
        let path = format!("/v2/accounts/{id}/jobs/{job_id}");
        let purpose = Purpose { kind: CallKind::Job, reason, account_id: id };
        Ok(self.read(purpose, &path, deadline).await?.of_job())
    }

    /// Whether Mono shows the account, by a plain read of it. Mono charges it as account details, where it
    /// answers with them.
    ///
    /// # Errors
    ///
    /// [`CallError`]: it cannot be told.
    pub async fn link_state(
        &self,
        id: &AccountId,
        reason: CallReason,
        deadline: Instant,
    ) -> Result<LinkState, CallError> {
        let path = match self.mono.version {
            ApiVersion::V1 => format!("/accounts/{id}"),
            ApiVersion::V2 => format!("/v2/accounts/{id}"),
        };
        let purpose = Purpose { kind: CallKind::Details, reason, account_id: id };
        self.read(purpose, &path, deadline).await?.of_account()
    }

    /// A part of the account's transactions of these days, the newest first, from what Mono has fetched
    /// already. Mono charges each page that holds rows, so all rows in one answer are the cheapest.
    ///
    /// Mono reads `start` and `end` as DD-MM-YYYY; which clock it counts days by, and how many rows a
    /// page may have at most, it does not document. A page has 20 rows where no limit is given [seen once].
    pub async fn transactions(
        &self,
        id: &AccountId,
        days: &Days,
        part: Part,
        deadline: Instant,
    ) -> Result<TransactionPage, TransactionsError> {
        let version = match self.mono.version {
            ApiVersion::V1 => "",
            ApiVersion::V2 => "/v2",
        };
        let (start, end) = (days.start().for_mono(), days.end().for_mono());
        let part = match part {
            Part::All => format!("paginate=false&limit={PAGE}"),
            Part::Page(page) => format!("paginate=true&limit={PAGE}&page={page}"),
        };
        let query = format!("start={start}&end={end}&{part}");
        let path = format!("{version}/accounts/{id}/transactions?{query}");
        let (kind, reason) = (CallKind::TransactionsPage, CallReason::Import);
        let purpose = Purpose { kind, reason, account_id: id };
        match self.read(purpose, &path, deadline).await {
            Ok(answer) => answer.of_transactions(),
            Err(CallError::Unusable(error)) if error.is_too_large() => {
                Err(TransactionsError::TooLarge)
            }
            Err(call_error) => Err(TransactionsError::Call(call_error)),
        }
    }

    /// Has Mono prepare for its customer to re-authorise. Sent once.
    pub async fn reauthorise(
        &self,
        id: &AccountId,
        wanted: &ReauthorisationRequest,
        deadline: Instant,
    ) -> Result<Reauthorisation, ReauthoriseError> {
        let asked_at = Timestamp::now();
        let (path, body) = match self.mono.version {
            ApiVersion::V1 => (format!("/accounts/{id}/reauthorise"), None),
            ApiVersion::V2 => {
                let mut body = json!({ "scope": "reauth", "account": id });
                if let Some(reference) = &wanted.reference {
                    body["meta"] = json!({ "ref": reference });
                }
                if let Some(redirect_url) = &wanted.redirect_url {
                    body["redirect_url"] = json!(redirect_url);
                }
                ("/v2/accounts/initiate".to_owned(), Some(body))
            }
        };
        let request = self.request(Method::POST, &path).map(|()| body.map(|body| body.to_string()));
        let (kind, reason) = (CallKind::Reauthorisation, CallReason::Manual);
        let purpose = Purpose { kind, reason, account_id: id };
        let answer = self.send(purpose, request, deadline).await;
        let answer = answer.map_err(ReauthoriseError::Call)?;
        answer.of_reauthorisation(self.mono.version, asked_at)
    }

    /// A read, repeated after trouble that may pass. Each try is metered by itself.
    async fn read(
        &self,
        purpose: Purpose<'_>,
        path: &str,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let mut tries = 1;
        loop {
            let limit = deadline.min(Instant::now() + Self::TRY_LIMIT);
            let request = self.request(Method::GET, path).map(|()| None);
            let answer = self.send(purpose, request, limit).await;
            let call_error = match &answer {
                Ok(answer) => answer.trouble(),
                Err(call_error) => Some(call_error.clone()),
            };
            let passes = call_error.is_some_and(|call_error| call_error.is_transient());
            let pause = random::jittered(Duration::from_millis(200) * 2_u32.pow(tries));
            if !passes || tries == Self::TRIES || Instant::now() + pause >= deadline {
                return answer;
            }
            sleep(pause).await;
            tries += 1;
        }
    }

    fn request(&self, method: Method, path: &str) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = self.mono.transport.uri(path);
        let headers = request.headers_mut();
        headers.insert("mono-sec-key", self.key.header());
        headers.insert("accept", HeaderValue::from_static("application/json"));
        request
    }

    /// Sends a request, once, if the budget has room for it.
    async fn send(
        &self,
        purpose: Purpose<'_>,
        request: Request<Option<String>>,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let admitted = self.mono.meter.admit(purpose).await?;
        let answer = self.mono.transport.send(request, deadline).await;
        self.mono.meter.settle(admitted, self.is_charged(purpose.kind, &answer)).await;
        let call_error = match &answer {
            Ok(answer) => answer.trouble(),
            Err(call_error) => Some(call_error.clone()),
        };
        if matches!(call_error, Some(CallError::Unavailable | CallError::NotConnected)) {
            warn!(code = "MONO_UNAVAILABLE", "Mono is down or cannot be reached");
        }
        let answer = answer?;
        if answer.refuses_the_key() {
            error!(code = "MONO_KEY_REFUSED", "Mono refuses the key");
            self.mono.keys.refused(&self.key).await;
        } else if answer.refuses_the_payment() {
            let code = "MONO_PAYMENT_REQUIRED";
            error!(code, "Mono refuses a call: the wallet may be empty, or the plan not cover it");
        }
        Ok(answer)
    }

    /// Whether Mono charges a call that came to this, as far as it documents it. What cannot be told counts as
    /// charged.
    fn is_charged(&self, kind: CallKind, answer: &Result<Answer, CallError>) -> bool {
        match (kind, answer) {
            (CallKind::Job | CallKind::Reauthorisation, _) | (_, Err(CallError::NotConnected)) => {
                false
            }
            (_, Err(_)) => true,
            (CallKind::Realtime, Ok(answer)) => answer.may_bring_new_data(self.mono.version),
            (CallKind::TransactionsPage, Ok(answer)) => answer.holds_rows(),
            (CallKind::Details, Ok(answer)) => answer.holds_data(),
        }
    }
}
