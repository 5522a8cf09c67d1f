//! Client of Mono's API, in both versions: v2, the current one ("Real-Time Data"), and v1 ("Data Sync").
//!
//! Each call needs a [session](Mono::session), and ends before a deadline. A sync costs money, so it is sent at most
//! once. Plain reads are retried. Statements about Mono in this module are from docs.mono.co (realtime-data,
//! manual-data-sync, data-sync, errors, connect-link) as of April 2026. A statement that comes only from the code of
//! Mono's users says so.

mod answer;
mod base_url;
mod key;
mod meter;
mod transport;

use std::fmt;
use std::time::Duration;

use lambda_http::http::{HeaderValue, Method, Request};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use key::{KeyCache, MonoKey};
pub use meter::Meter;

use crate::aws::secrets::SecretUnavailable;
use crate::domain::account::{
    Account, CallError, JobState, ListedAccount, ProviderError, Reading, SyncData, SyncOutcome,
};
use crate::domain::account_id::AccountId;
use crate::domain::business_day::Days;
use crate::domain::link_token::LinkToken;
use crate::domain::spending::{CallKind, CallReason};
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{SyncedPage, TransactionPage};
use crate::random;
use answer::Answer;
use meter::Purpose;
use transport::Transport;

/// The requested page size. Mono documents no limit, and may return fewer transactions.
const PAGE: u32 = 5_000;

/// The requested number of accounts on a page of the list. Mono documents no limit.
const ACCOUNTS_PAGE: u32 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// The old version. A sync is `POST /accounts/{id}/sync`.
    V1,
    /// The current version. A sync is a read with `x-realtime: true`.
    V2,
}

/// A client of Mono's API.
pub struct Mono {
    version: ApiVersion,
    keys: KeyCache,
    meter: Meter,
    transport: Transport,
}

/// A client of Mono's API that has read the secret key.
pub struct Session<'a> {
    mono: &'a Mono,
    key: MonoKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncRequest {
    /// The data to refresh. v1 always refreshes all data.
    pub data: SyncData,
    /// Whether Mono may accept fewer transactions than it already holds. v2 does not have this parameter.
    pub allow_incomplete_statement: bool,
}

/// The parameters of a re-authorisation. v1 has neither parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReauthorisationRequest {
    /// The URL to which Mono's page redirects the customer afterwards.
    pub redirect_url: Option<String>,
    /// The fintech's own reference.
    pub reference: Option<String>,
}

impl ReauthorisationRequest {
    /// Whether the text can be a reference: 1 to 2048 characters.
    pub fn may_refer_to(text: &str) -> bool {
        (1..=2048).contains(&text.chars().count())
    }
}

/// The link or token with which the front end starts a customer's re-authorisation.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reauthorisation {
    /// v2: Mono's page, to which the front end redirects the customer. Mono does not document how long the link is
    /// valid.
    Link { url: String },
    /// v1: the token that opens Mono's widget.
    Token {
        token: String,
        /// Mono accepts the token for ten minutes.
        expires_at: Timestamp,
    },
}

/// Why a re-authorisation could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReauthoriseError {
    /// Mono does not know the account.
    NotFound,
    /// Mono reports that the account cannot be re-authorised.
    Failed(ProviderError),
    /// The call to Mono had no usable result.
    Call(CallError),
}

/// The parameters of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRequest {
    pub customer: Customer,
    /// The URL to which Mono's page redirects the customer afterwards. Mono requires it.
    pub redirect_url: String,
}

/// The customer of a link. Never logged.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Customer {
    /// A new customer.
    New { name: String, email: String },
    /// Mono's id of a customer.
    Known { id: String },
}

impl fmt::Debug for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Customer")
    }
}

/// Mono's page for a link. Mono documents neither how long the page is valid nor whether it can be used twice.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkPage {
    pub url: String,
    /// Mono's id of the customer.
    pub customer_id: Option<String>,
}

/// A page of the list of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPage {
    pub accounts: Vec<ListedAccount>,
    /// Rows without a valid account id.
    pub unreadable: usize,
    /// The number of accounts on all pages, if Mono reports it.
    pub total: Option<usize>,
    /// The number of the next page. `None` on the last page.
    pub next: Option<u32>,
}

/// Why a link was not started, a code not exchanged, or an account not unlinked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// This version of Mono's API cannot do it.
    Unsupported,
    /// Mono refused the request.
    Refused(ProviderError),
    /// The call to Mono had no usable result.
    Call(CallError),
}

impl LinkError {
    /// Removes the holder's name from Mono's message.
    pub fn without_name_of(self, account: &Account) -> Self {
        match self {
            Self::Unsupported => Self::Unsupported,
            Self::Refused(error) => Self::Refused(error.without_name_of(account)),
            Self::Call(error) => Self::Call(error.without_name_of(account)),
        }
    }
}

/// The state of a v2 job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReport {
    pub state: JobState,
    /// The data that the job fetches.
    pub data: SyncData,
}

impl JobReport {
    /// The outcome of the job's sync. `None` if the job is still running, or if its state is unknown.
    pub fn outcome(self, job_id: String) -> Option<SyncOutcome> {
        let job_id = Some(job_id);
        match self.state {
            JobState::ReauthorisationRequired => {
                Some(SyncOutcome::ReauthorisationRequired { job_id })
            }
            // The job does not report whether there is new data, so new data is assumed.
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

/// Which rows of a range of days are requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All rows in one response. Mono may still return only the first page.
    All,
    /// The page with this number. The first page is 1.
    Page(u32),
}

/// Why no transactions could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionsError {
    /// The bank requires re-authorisation.
    ReauthorisationRequired,
    /// Mono does not know the account.
    NotFound,
    /// The response is larger than the limit of this system.
    TooLarge,
    /// The call to Mono had no usable result.
    Call(CallError),
}

impl Mono {
    /// No call takes longer than `limit`.
    pub fn new(
        version: ApiVersion,
        base_url: BaseUrl,
        keys: KeyCache,
        meter: Meter,
        limit: Duration,
    ) -> Self {
        Self { version, keys, meter, transport: Transport::new(base_url, limit) }
    }

    /// Opens a session with the cached secret key. Reads the secret once an hour.
    ///
    /// # Errors
    ///
    /// [`SecretUnavailable`]: no call to Mono is possible.
    pub async fn session(&self, now: Timestamp) -> Result<Session<'_>, SecretUnavailable> {
        Ok(Session { mono: self, key: self.keys.current(now).await? })
    }
}

impl Session<'_> {
    /// The maximum number of attempts of a plain read.
    const MAX_ATTEMPTS: u32 = 3;
    /// The time limit of one such attempt. It leaves time for another attempt.
    const ATTEMPT_LIMIT: Duration = Duration::from_secs(8);
    /// The time limit for reading the reason of a failed job. The failure is recorded only after that.
    const REASON_LIMIT: Duration = Duration::from_secs(3);

    /// Syncs an account. The request is sent once. Mono charges a sync that brings new data.
    ///
    /// If v2 reports only that the job has failed, this method reads the job for the reason. The bank may require
    /// re-authorisation.
    pub async fn sync(
        &self,
        id: &AccountId,
        sync: SyncRequest,
        reason: CallReason,
        deadline: Instant,
    ) -> (SyncOutcome, Option<SyncedPage>) {
        let request = match self.mono.version {
            ApiVersion::V1 => {
                let incomplete = sync.allow_incomplete_statement;
                let query = format!("allow_incomplete_statement={incomplete}");
                self.request(Method::POST, &format!("/accounts/{id}/sync?{query}"))
            }
            ApiVersion::V2 => {
                let data = match sync.data {
                    SyncData::Transactions => "transactions",
                    SyncData::Balance => "balance",
                };
                let mut request = self.request(Method::GET, &format!("/v2/accounts/{id}/{data}"));
                // Mono's guide and its API reference use different header names. With the wrong name, Mono would
                // answer from its cache, and old data would count as new.
                for name in ["x-realtime", "x-real-time"] {
                    request.headers_mut().insert(name, HeaderValue::from_static("true"));
                }
                request
            }
        };
        let purpose = Purpose { kind: CallKind::Realtime, reason, account_id: Some(id) };
        let outcome = match self.send(purpose, request.map(|()| None), deadline).await {
            Ok(answer) => {
                if answer.has_unreadable_balance() {
                    let code = "BALANCE_UNREADABLE";
                    warn!(account_id = %id, code, "balance from Mono is not a whole number of minor units");
                }
                let outcome = answer.of_sync(self.mono.version, sync.data);
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

    /// Reads the state of a v2 job. Its state also shows whether the bank requires re-authorisation. `None` if Mono
    /// reports no state. Mono's price list does not name this call.
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
        let purpose = Purpose { kind: CallKind::Job, reason, account_id: Some(id) };
        Ok(self.read(purpose, &path, deadline).await?.of_job())
    }

    /// Reads the account, without a sync. Mono charges the read as account details if the response contains them.
    ///
    /// # Errors
    ///
    /// [`CallError`]: the read shows nothing about the account.
    pub async fn account(
        &self,
        id: &AccountId,
        reason: CallReason,
        deadline: Instant,
    ) -> Result<Reading, CallError> {
        let path = match self.mono.version {
            ApiVersion::V1 => format!("/accounts/{id}"),
            ApiVersion::V2 => format!("/v2/accounts/{id}"),
        };
        let purpose = Purpose { kind: CallKind::Details, reason, account_id: Some(id) };
        self.read(purpose, &path, deadline).await?.of_account()
    }

    /// Reads a page of the linked accounts. Mono does not document whether these are the accounts of the business or of
    /// the app. The first page is 1. Only v2 has such a list. Mono's price list does not name it.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: the page could not be read.
    pub async fn accounts(&self, page: u32, deadline: Instant) -> Result<AccountPage, LinkError> {
        if self.mono.version == ApiVersion::V1 {
            return Err(LinkError::Unsupported);
        }
        let path = format!("/v2/accounts?page={page}&limit={ACCOUNTS_PAGE}");
        let (kind, reason) = (CallKind::List, CallReason::Manual);
        let purpose = Purpose { kind, reason, account_id: None };
        self.read(purpose, &path, deadline).await.map_err(LinkError::Call)?.of_list(page)
    }

    /// Reads the account's transactions of these days, newest first, from the data that Mono has already fetched.
    /// Mono charges each page that contains rows, so one response with all rows is the cheapest.
    ///
    /// Mono reads `start` and `end` as DD-MM-YYYY. Mono documents neither the time zone of a day nor the maximum page
    /// size. Without a limit, a page has 20 rows [seen once].
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
        let purpose = Purpose { kind, reason, account_id: Some(id) };
        match self.read(purpose, &path, deadline).await {
            Ok(answer) => answer.of_transactions(),
            Err(CallError::Unusable(error)) if error.is_too_large() => {
                Err(TransactionsError::TooLarge)
            }
            Err(call_error) => Err(TransactionsError::Call(call_error)),
        }
    }

    /// Requests a re-authorisation link or token for the account. The request is sent once.
    pub async fn reauthorise(
        &self,
        id: &AccountId,
        parameters: &ReauthorisationRequest,
        deadline: Instant,
    ) -> Result<Reauthorisation, ReauthoriseError> {
        let requested_at = Timestamp::now();
        let (path, body) = match self.mono.version {
            ApiVersion::V1 => (format!("/accounts/{id}/reauthorise"), None),
            ApiVersion::V2 => {
                let mut body = json!({ "scope": "reauth", "account": id });
                if let Some(reference) = &parameters.reference {
                    body["meta"] = json!({ "ref": reference });
                }
                if let Some(redirect_url) = &parameters.redirect_url {
                    body["redirect_url"] = json!(redirect_url);
                }
                ("/v2/accounts/initiate".to_owned(), Some(body))
            }
        };
        let request = self.request(Method::POST, &path).map(|()| body.map(|body| body.to_string()));
        let (kind, reason) = (CallKind::Reauthorisation, CallReason::Manual);
        let purpose = Purpose { kind, reason, account_id: Some(id) };
        let answer = self.send(purpose, request, deadline).await;
        let answer = answer.map_err(ReauthoriseError::Call)?;
        let base_url = self.mono.transport.base_url();
        answer.of_reauthorisation(self.mono.version, base_url, requested_at)
    }

    /// Requests a page for a link. The page belongs to a new account, whose webhooks carry the token as `ref`. The
    /// request is sent once. Mono charges a link when the customer has logged in at the bank.
    pub async fn start_link(
        &self,
        token: &LinkToken,
        link: &LinkRequest,
        deadline: Instant,
    ) -> Result<LinkPage, LinkError> {
        if self.mono.version == ApiVersion::V1 {
            return Err(LinkError::Unsupported);
        }
        let body = json!({
            "customer": link.customer,
            "meta": { "ref": token.as_str() },
            "scope": "auth",
            "redirect_url": link.redirect_url,
        });
        let answer = self.post(CallKind::Link, None, "/v2/accounts/initiate", Some(body), deadline);
        answer.await?.of_link(self.mono.transport.base_url())
    }

    /// Exchanges a code of Mono's widget for an account id. Mono accepts a code for ten minutes, and does not document
    /// a second exchange. The request is sent once. Mono's price list does not name it.
    ///
    /// # Errors
    ///
    /// [`LinkError::Refused`]: the code is invalid or too old.
    pub async fn exchange(&self, code: &str, deadline: Instant) -> Result<AccountId, LinkError> {
        let path = match self.mono.version {
            ApiVersion::V1 => "/account/auth",
            ApiVersion::V2 => "/v2/accounts/auth",
        };
        let body = Some(json!({ "code": code }));
        self.post(CallKind::Exchange, None, path, body, deadline).await?.of_exchange()
    }

    /// Unlinks an account. Success also if Mono does not know the account. The request is sent once. Mono's price list
    /// does not name it.
    pub async fn unlink(&self, id: &AccountId, deadline: Instant) -> Result<(), LinkError> {
        let version = match self.mono.version {
            ApiVersion::V1 => "",
            ApiVersion::V2 => "/v2",
        };
        let path = format!("{version}/accounts/{id}/unlink");
        self.post(CallKind::Unlink, Some(id), &path, None, deadline).await?.of_unlinking()
    }

    async fn post(
        &self,
        kind: CallKind,
        account_id: Option<&AccountId>,
        path: &str,
        body: Option<Value>,
        deadline: Instant,
    ) -> Result<Answer, LinkError> {
        let request = self.request(Method::POST, path).map(|()| body.map(|body| body.to_string()));
        let purpose = Purpose { kind, reason: CallReason::Manual, account_id };
        self.send(purpose, request, deadline).await.map_err(LinkError::Call)
    }

    /// Sends a plain read, and retries transient errors with exponential back-off. Each attempt is metered
    /// separately.
    async fn read(
        &self,
        purpose: Purpose<'_>,
        path: &str,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        let mut attempts = 1;
        loop {
            let limit = deadline.min(Instant::now() + Self::ATTEMPT_LIMIT);
            let request = self.request(Method::GET, path).map(|()| None);
            let answer = self.send(purpose, request, limit).await;
            let call_error = match &answer {
                Ok(answer) => answer.call_error(),
                Err(call_error) => Some(call_error.clone()),
            };
            let is_transient = call_error.is_some_and(|call_error| call_error.is_transient());
            let pause = random::jittered(Duration::from_millis(200) * 2_u32.pow(attempts));
            if !is_transient || attempts == Self::MAX_ATTEMPTS || Instant::now() + pause >= deadline
            {
                return answer;
            }
            sleep(pause).await;
            attempts += 1;
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

    /// Sends a request once, if the budget has room for its price.
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
            Ok(answer) => answer.call_error(),
            Err(call_error) => Some(call_error.clone()),
        };
        if matches!(call_error, Some(CallError::Unavailable | CallError::NotConnected)) {
            warn!(code = "MONO_UNAVAILABLE", "Mono is unavailable");
        }
        let answer = answer?;
        if answer.refuses_the_key() {
            error!(code = "MONO_KEY_REFUSED", "Mono rejected the secret key");
            self.mono.keys.refused(&self.key).await;
        } else if answer.refuses_the_payment() {
            let code = "MONO_PAYMENT_REQUIRED";
            error!(code, "Mono rejected a call: wallet empty, or call not in the plan");
        }
        Ok(answer)
    }

    /// Whether Mono charges the call, according to its documentation. If that is unknown, the call counts as charged.
    fn is_charged(&self, kind: CallKind, answer: &Result<Answer, CallError>) -> bool {
        match (kind, answer) {
            (
                CallKind::Job
                | CallKind::Reauthorisation
                | CallKind::Link
                | CallKind::Exchange
                | CallKind::Unlink
                | CallKind::List,
                _,
            )
            | (_, Err(CallError::NotConnected)) => false,
            (_, Err(_)) => true,
            (CallKind::Realtime, Ok(answer)) => answer.may_bring_new_data(self.mono.version),
            (CallKind::TransactionsPage, Ok(answer)) => answer.holds_rows(),
            (CallKind::Details, Ok(answer)) => answer.holds_data(),
        }
    }
}
