//! Interpretation of Mono's responses. The interpretation is lenient: Mono documents few HTTP status codes, and its
//! wording has changed over the years. The body therefore takes precedence over the HTTP status.

use std::time::Duration;

use lambda_http::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use url::Url;

use super::{
    AccountPage, ApiVersion, BaseUrl, JobReport, LinkError, LinkPage, Reauthorisation,
    ReauthoriseError, TransactionsError,
};
use crate::domain::account::{
    CallError, JobState, ListedAccount, ProviderError, Reading, Reported, SyncData, SyncOutcome,
    SyncStatus,
};
use crate::domain::account_id::AccountId;
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{SyncedPage, TransactionPage};
use crate::domain::webhook::event;

/// A response from Mono. It must not be printed, because it may contain bank data.
#[derive(Clone)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// `None` if the body is not a JSON object.
    body: Option<Map<String, Value>>,
    /// The raw body.
    text: Vec<u8>,
}

/// The three spellings of success in Mono's pages on v1.
const SYNCED: [&str; 3] = ["SYNC_SUCCESSFUL", "SYNCED_SUCCESSFULLY", "SYNCED_SUCCESSFUL"];
/// v1's codes for a failure. Mono does not document their HTTP status.
const NOT_SYNCED: [&str; 2] = ["SYNC_ERROR", "INCOMPLETE_STATEMENT_ERROR"];

/// How long Mono accepts a token of v1 [docs.mono.co/reference/reauth-code].
const TOKEN_LIFETIME: Duration = Duration::from_mins(10);

impl Answer {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, text: Vec<u8>) -> Self {
        Self { status, headers, body: serde_json::from_slice(&text).ok(), text }
    }

    pub(super) fn refuses_the_key(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && !self.requires_reauth()
    }

    /// Whether Mono rejects the call because the wallet or the plan does not cover it. Mono documents 402 only as
    /// "valid parameters, but the request failed". It is an inference that an empty wallet causes a 402. If the plan
    /// does not include the endpoint, the response is a 403 with a message about it [seen only in third-party code].
    pub(super) fn refuses_the_payment(&self) -> bool {
        let message = self.word("message").unwrap_or_default();
        let is_refused = match self.status {
            StatusCode::PAYMENT_REQUIRED => true,
            StatusCode::FORBIDDEN => message.contains("subscription plan"),
            _ => false,
        };
        is_refused && !self.requires_reauth()
    }

    /// Whether Mono charges the sync, because it brings new data or may still do so. "You are not charged when there
    /// is no new data" [docs.mono.co, realtime-data]. Mono does not document the price of a failed sync. A failure
    /// that Mono itself reports is assumed to be free.
    pub(super) fn may_bring_new_data(&self, version: ApiVersion) -> bool {
        match self.of_sync(version, SyncData::Transactions) {
            SyncOutcome::Successful { has_new_data, .. } => has_new_data,
            SyncOutcome::Processing { .. } => true,
            SyncOutcome::Failed { .. } => self.header_is_true("x-has-new-data"),
            SyncOutcome::ReauthorisationRequired { .. } | SyncOutcome::NotFound { .. } => false,
            SyncOutcome::NoResult(CallError::Unusable(_)) => self.status.is_success(),
            SyncOutcome::NoResult(call_error) => {
                matches!(call_error, CallError::Unavailable | CallError::TimedOut)
            }
        }
    }

    /// Whether Mono charges the page: "for every page when data is returned" [mono.co/pricing].
    pub(super) fn holds_rows(&self) -> bool {
        let rows = self.data().and_then(Value::as_array);
        self.status.is_success()
            && (self.body.is_none() || rows.is_some_and(|rows| !rows.is_empty()))
    }

    /// Whether Mono charges the account details. Mono does not document the price of a response without them. Such a
    /// response is assumed to be free.
    pub(super) fn holds_data(&self) -> bool {
        self.status.is_success() && (self.body.is_none() || self.shows_the_account())
    }

    fn shows_the_account(&self) -> bool {
        let account = |body: &Map<_, Value>| body.get("account").is_some_and(Value::is_object);
        self.data().is_some() || self.body.as_ref().is_some_and(account)
    }

    pub(super) fn has_unreadable_balance(&self) -> bool {
        let balance = self.data().and_then(|data| data.get("balance"));
        balance.is_some_and(|sent| !sent.is_null() && MinorUnits::from_json(sent).is_none())
    }

    /// The outcome of a sync.
    pub(super) fn of_sync(&self, version: ApiVersion, data: SyncData) -> SyncOutcome {
        if self.requires_reauth() {
            return SyncOutcome::ReauthorisationRequired { job_id: self.job_id() };
        }
        let code = self.word("code");
        if code.is_some_and(|code| is_any(code, &NOT_SYNCED)) {
            return self.failed();
        }
        if !code.is_some_and(|code| is_any(code, &SYNCED)) {
            if self.denies_the_account() {
                return SyncOutcome::NotFound { error: self.error() };
            }
            if let Some(call_error) = self.call_error() {
                return SyncOutcome::NoResult(call_error);
            }
            if !self.status.is_success() || self.says("status", "failed") {
                return self.failed();
            }
        }
        match version {
            ApiVersion::V1 => self.of_sync_v1(),
            ApiVersion::V2 => self.of_sync_v2(data),
        }
    }

    /// In v1, the code shows the outcome. v1 always refreshes all data.
    fn of_sync_v1(&self) -> SyncOutcome {
        let body = self.body.as_ref();
        let has_new_data =
            ["hasNewData", "has_new_data"].iter().find_map(|name| body?.get(*name)?.as_bool());
        // v1 always reports this. If it did not, reading the transactions without new ones would cost nothing.
        let synced = self.synced(has_new_data.unwrap_or(true), SyncData::Transactions);
        match self.word("code") {
            Some(code) if is_any(code, &SYNCED) => synced,
            None if self.says("status", "successful") || self.says("status", "success") => synced,
            None if self.says("status", "processing") => self.processing(),
            _ => SyncOutcome::NoResult(CallError::Unusable(self.error())),
        }
    }

    /// In v2, the status of the job shows the outcome. Before v2 had jobs, a separate header showed it. A response
    /// with neither may come from Mono's cache, and is no proof of a sync.
    fn of_sync_v2(&self, data: SyncData) -> SyncOutcome {
        // Mono sends this header only if it is true.
        let synced = self.synced(self.header_is_true("x-has-new-data"), data);
        let headers_of_2023 = ["x-has-new-data", "x-reauth-required"];
        match self.job_state() {
            Some(JobState::Failed | JobState::ReauthorisationRequired) => self.failed(),
            Some(JobState::Finished) => synced,
            Some(JobState::Running | JobState::Linking | JobState::Other(_)) => self.processing(),
            None if self.word("code").is_some_and(|code| is_any(code, &SYNCED)) => synced,
            // "Enqueued": the sync did not finish in time.
            None if self.data().is_none()
                || self.status == StatusCode::ACCEPTED
                || self.job_id().is_some() =>
            {
                self.processing()
            }
            None if headers_of_2023.iter().any(|name| self.header(name).is_some()) => synced,
            None => SyncOutcome::NoResult(CallError::Unusable(self.error())),
        }
    }

    /// The state of a job. `None` if the response has no state.
    pub(super) fn of_job(&self) -> Option<JobReport> {
        let data = self.data()?;
        let word = data.get("status")?.as_str().filter(|_| self.status.is_success())?;
        // The name is `jobs.accounts.sync_balance`. If in doubt, assume transactions: reading them without new ones
        // costs nothing.
        let name = data.get("name").and_then(Value::as_str).unwrap_or_default();
        let is_balance = name.to_ascii_lowercase().contains("balance");
        let data = if is_balance { SyncData::Balance } else { SyncData::Transactions };
        Some(JobReport { state: JobState::from_word(word), data })
    }

    /// The account in the response to a plain read. Mono does not document its response for an unlinked account. A 400
    /// counts as gone, because only the account can be wrong in this plain request.
    pub(super) fn of_account(&self) -> Result<Reading, CallError> {
        let is_shown =
            self.status.is_success() && !self.says("status", "failed") && self.shows_the_account();
        if is_shown {
            return Ok(Reading::Linked(Box::new(self.reported())));
        }
        if self.requires_reauth() {
            return Ok(Reading::Linked(Box::default()));
        }
        if self.denies_the_account()
            || (self.status == StatusCode::BAD_REQUEST && self.body.is_some())
        {
            return Ok(Reading::Gone);
        }
        if let Some(call_error) = self.call_error() {
            return Err(call_error);
        }
        Err(CallError::Unusable(self.error()))
    }

    /// v2 has the account below `data`, v1 at the top. The API of 2023 has the account's fields in `data` itself.
    fn reported(&self) -> Reported {
        let mut answer = self.body.clone().unwrap_or_default();
        answer.iter_mut().for_each(|(name, value)| event::shorten(name, value, &mut Vec::new()));
        let data = answer.get("data").and_then(Value::as_object).unwrap_or(&answer);
        reported(data)
    }

    /// A page of accounts. Mono documents an array as `data`. Others have seen `accounts` and `meta` in `data`.
    pub(super) fn of_list(&self, page: u32) -> Result<AccountPage, LinkError> {
        if let Some(call_error) = self.call_error() {
            return Err(LinkError::Call(call_error));
        }
        if !self.status.is_success() || self.says("status", "failed") {
            return Err(LinkError::Refused(self.error()));
        }
        let body = self.body.as_ref();
        let data = body.and_then(|body| body.get("data"));
        let rows = data.and_then(|data| data.as_array().or_else(|| data["accounts"].as_array()));
        let rows = rows.ok_or_else(|| LinkError::Call(CallError::Unusable(self.error())))?;
        let meta = body.and_then(|body| body.get("meta")).or_else(|| data?.get("meta"));
        let accounts: Vec<_> = rows.iter().filter_map(listed_account).collect();
        // Without `meta`, it is unknown whether another page follows. The page after the last one is empty, or repeats
        // rows.
        let next = meta.map_or(Some(page + 1), |meta| page_number(&meta["next"]));
        let next = next.filter(|next| *next > page);
        Ok(AccountPage {
            unreadable: rows.len() - accounts.len(),
            accounts,
            total: meta.and_then(|meta| meta["total"].as_u64()?.try_into().ok()),
            next: next.filter(|_| !rows.is_empty()),
        })
    }

    /// A page of transactions, in v1 or v2.
    pub(super) fn of_transactions(&self) -> Result<TransactionPage, TransactionsError> {
        if self.requires_reauth() {
            return Err(TransactionsError::ReauthorisationRequired);
        }
        if self.denies_the_account() {
            return Err(TransactionsError::NotFound);
        }
        let unusable = || TransactionsError::Call(CallError::Unusable(self.error()));
        if let Some(call_error) = self.call_error() {
            return Err(TransactionsError::Call(call_error));
        }
        if !self.status.is_success() || self.says("status", "failed") {
            return Err(unusable());
        }
        let page = self.rows().and_then(|rows| TransactionPage::of_rows(rows).ok());
        let page = page.ok_or_else(unusable)?;
        let paging = |name| self.paging()?.get(name);
        // A v1 response without pages has a top-level count.
        let count = || self.body.as_ref()?.get("count")?.as_u64();
        let next = paging("next").filter(|next| !next.is_null() && next.as_str() != Some(""));
        let total = paging("total").and_then(Value::as_u64).or_else(count);
        Ok(TransactionPage { total, has_next: next.is_some(), ..page })
    }

    /// The page of transactions in the response to a sync. `None` if it has no total, or is too large.
    pub(super) fn synced_page(&self) -> Option<SyncedPage> {
        /// The page must fit into an SQS message.
        const MAX_BYTES: usize = 150_000;
        let total = self.paging()?.get("total")?.as_u64()?.try_into().ok()?;
        let rows = self.rows().filter(|rows| rows.len() <= MAX_BYTES)?.to_owned();
        Some(SyncedPage { rows, total })
    }

    /// The raw JSON list of rows. `data` can be `null` while Mono has no data yet. Then the list is empty.
    fn rows(&self) -> Option<&str> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            data: Option<&'a RawValue>,
        }
        let body: Body = serde_json::from_slice(&self.text).ok()?;
        self.body.as_ref()?.get("data")?;
        Some(body.data.map_or("[]", RawValue::get))
    }

    /// The paging object: `meta` in v2, `paging` in v1.
    fn paging(&self) -> Option<&Value> {
        ["meta", "paging"].iter().find_map(|name| self.body.as_ref()?.get(*name))
    }

    /// The link or token for re-authorisation.
    pub(super) fn of_reauthorisation(
        &self,
        version: ApiVersion,
        base_url: &BaseUrl,
        requested_at: Timestamp,
    ) -> Result<Reauthorisation, ReauthoriseError> {
        if self.status == StatusCode::NOT_FOUND && self.body.is_some() {
            return Err(ReauthoriseError::NotFound);
        }
        if let Some(call_error) = self.call_error() {
            return Err(ReauthoriseError::Call(call_error));
        }
        if !self.status.is_success() {
            return Err(ReauthoriseError::Failed(self.error()));
        }
        let value = match version {
            ApiVersion::V2 => self.data().and_then(|data| data.get("mono_url")?.as_str()),
            ApiVersion::V1 => self.word("token"),
        };
        let unusable = || ReauthoriseError::Call(CallError::Unusable(self.error()));
        let value = value.filter(|value| !value.is_empty()).ok_or_else(unusable)?.to_owned();
        match version {
            // The customer enters bank credentials on this page.
            ApiVersion::V2 if !is_page_of_mono(&value, base_url) => Err(unusable()),
            ApiVersion::V2 => Ok(Reauthorisation::Link { url: value }),
            ApiVersion::V1 => {
                let expires_at = requested_at + TOKEN_LIFETIME;
                Ok(Reauthorisation::Token { token: value, expires_at })
            }
        }
    }

    /// Mono's page for a link.
    pub(super) fn of_link(&self, base_url: &BaseUrl) -> Result<LinkPage, LinkError> {
        self.refusal()?;
        let unusable = || LinkError::Call(CallError::Unusable(self.error()));
        let data = self.data().and_then(Value::as_object).ok_or_else(unusable)?;
        let url = data.get("mono_url").and_then(Value::as_str);
        // The customer enters bank credentials on this page.
        let url = url.filter(|url| is_page_of_mono(url, base_url)).ok_or_else(unusable)?;
        let customer = data.get("customer").and_then(Value::as_object);
        let customer_id = customer.map_or_else(
            || event::owned(data, &["customer"]),
            |customer| event::owned(customer, &["id"]),
        );
        Ok(LinkPage { url: url.to_owned(), customer_id })
    }

    /// The account that a code stands for. v2 has the id below `data`, v1 at the top.
    pub(super) fn of_exchange(&self) -> Result<AccountId, LinkError> {
        self.refusal()?;
        let id = self.data().and_then(|data| data.get("id")?.as_str()).or_else(|| self.word("id"));
        let id = id.and_then(|id| id.parse().ok());
        id.ok_or_else(|| LinkError::Call(CallError::Unusable(self.error())))
    }

    /// Whether Mono has unlinked the account. An unknown account is unlinked.
    pub(super) fn of_unlinking(&self) -> Result<(), LinkError> {
        if self.denies_the_account() { Ok(()) } else { self.refusal() }
    }

    /// The error of a response that is no success.
    fn refusal(&self) -> Result<(), LinkError> {
        if let Some(call_error) = self.call_error() {
            return Err(LinkError::Call(call_error));
        }
        if !self.status.is_success() || self.says("status", "failed") {
            return Err(LinkError::Refused(self.error()));
        }
        Ok(())
    }

    /// The error if the response has no usable result, by its HTTP status.
    pub(super) fn call_error(&self) -> Option<CallError> {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => {
                Some(CallError::RateLimited { retry_after: self.retry_after() })
            }
            StatusCode::REQUEST_TIMEOUT => Some(CallError::Unavailable),
            status if status.is_server_error() => Some(CallError::Unavailable),
            StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
                Some(CallError::Refused(self.error()))
            }
            status if status.is_redirection() => Some(CallError::Unusable(self.error())),
            _ if self.body.is_none() => Some(CallError::Unusable(ProviderError::unreadable())),
            _ => None,
        }
    }

    /// Whether the response says that the account does not exist, or no longer exists.
    fn denies_the_account(&self) -> bool {
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::GONE) && self.body.is_some()
    }

    /// Whether the bank requires re-authorisation. Mono's current documentation shows this in the job's status, the
    /// pages of 2023 in a separate header, and v1 in the code. The response to a rejected read is not documented, so
    /// its message counts as well.
    fn requires_reauth(&self) -> bool {
        let is_rejected = !self.status.is_success();
        let message = self.word("message").filter(|_| is_rejected).unwrap_or_default();
        if message.to_ascii_lowercase().contains("reauth") {
            return true;
        }
        let words = [self.word("code"), self.word("status"), self.header("x-job-status")];
        let job = self.data().and_then(|data| data.get("status")?.as_str());
        words.into_iter().chain([job]).flatten().any(says_reauth_required)
            || self.header_is_true("x-reauth-required")
    }

    fn synced(&self, has_new_data: bool, data: SyncData) -> SyncOutcome {
        let balance = self.data().and_then(|data| MinorUnits::from_json(data.get("balance")?));
        SyncOutcome::Successful { has_new_data, data, balance, job_id: self.job_id() }
    }

    fn processing(&self) -> SyncOutcome {
        SyncOutcome::Processing { job_id: self.job_id() }
    }

    fn failed(&self) -> SyncOutcome {
        SyncOutcome::Failed { error: self.error(), job_id: self.job_id() }
    }

    /// Mono's error code and message. If Mono sends no code, the code is derived from the job's state or the HTTP
    /// status.
    fn error(&self) -> ProviderError {
        let code = self.word("code").filter(|code| is_code(code)).map(str::to_owned);
        let code = code.unwrap_or_else(|| match self.job_state() {
            Some(JobState::Failed) => "JOB_FAILED".to_owned(),
            _ => format!("HTTP_{}", self.status.as_u16()),
        });
        // The response about a failed job has a success message. That message is dropped.
        let message = self.word("message").filter(|_| !self.says("status", "successful"));
        ProviderError { code, message: message.map(disclosable) }
    }

    fn job_state(&self) -> Option<JobState> {
        self.header("x-job-status").map(JobState::from_word)
    }

    /// The job id, if it is safe as a part of a path.
    fn job_id(&self) -> Option<String> {
        self.header("x-job-id").filter(|id| is_part_of_path(id)).map(str::to_owned)
    }

    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The body's `data`, unless it is `null`.
    fn data(&self) -> Option<&Value> {
        self.body.as_ref()?.get("data").filter(|data| !data.is_null())
    }

    fn word(&self, name: &str) -> Option<&str> {
        self.body.as_ref()?.get(name)?.as_str().map(str::trim).filter(|word| !word.is_empty())
    }

    fn says(&self, name: &str, word: &str) -> bool {
        self.word(name).is_some_and(|value| value.eq_ignore_ascii_case(word))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?.to_str().ok()?.trim();
        (!value.is_empty()).then_some(value)
    }

    fn header_is_true(&self, name: &str) -> bool {
        self.header(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

const TOO_LARGE: &str = "ANSWER_TOO_LARGE";

impl ProviderError {
    /// The response is not a JSON object.
    pub(super) fn unreadable() -> Self {
        Self { code: "UNREADABLE_ANSWER".to_owned(), message: None }
    }

    pub(super) fn too_large() -> Self {
        Self { code: TOO_LARGE.to_owned(), message: None }
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.code == TOO_LARGE
    }
}

/// Whether a job id is safe as a part of a path without escaping.
pub(super) fn is_part_of_path(id: &str) -> bool {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=64).contains(&id.len()) && id.bytes().all(safe)
}

fn says_reauth_required(word: &str) -> bool {
    SyncStatus::from_word(word) == SyncStatus::ReauthorisationRequired
}

fn is_any(word: &str, words: &[&str]) -> bool {
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Whether the text is a code and not a sentence. Codes are logged, so they must not contain personal data.
fn is_code(text: &str) -> bool {
    let is_code_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(is_code_byte) && disclosable(text) == text
}

fn listed_account(row: &Value) -> Option<ListedAccount> {
    let mut row = row.as_object()?.clone();
    row.iter_mut().for_each(|(name, value)| event::shorten(name, value, &mut Vec::new()));
    let id = event::owned(&row, &["id", "_id"])?.parse().ok()?;
    // The list is not documented to have a `ref`, so none of it changes an owner.
    Some(ListedAccount { id, reported: Reported { reference: None, ..reported(&row) } })
}

/// What an account's object reports. Its own fields can be below `account`.
fn reported(data: &Map<String, Value>) -> Reported {
    let object = |name| data.get(name).and_then(Value::as_object);
    let account = object("account").unwrap_or(data);
    let customer = object("customer").and_then(|customer| event::owned(customer, &["id"]));
    Reported {
        reference: object("meta").and_then(|meta| event::owned(meta, &["ref"])),
        link: None,
        customer_id: customer.or_else(|| event::owned(data, &["customer"])),
        details: event::details(account),
        balance: account.get("balance").and_then(MinorUnits::from_json),
        refuted: None,
    }
}

/// The number in the URL of a page, or the number itself.
fn page_number(next: &Value) -> Option<u32> {
    if let Some(number) = next.as_u64() {
        return number.try_into().ok();
    }
    let (_, query) = next.as_str()?.split_once('?')?;
    let page = |pair: &str| pair.strip_prefix("page=")?.parse().ok();
    query.split('&').find_map(page)
}

/// Whether a URL is `https` on a host of Mono's. Seen in Mono's documentation are link.mono.co, connect.mono.co and
/// connect.withmono.com [docs.mono.co]. If the API itself is a stand-in on this machine, its own pages count too.
fn is_page_of_mono(url: &str, base_url: &BaseUrl) -> bool {
    let Ok(url) = Url::parse(url) else {
        return false;
    };
    let is_of_mono = |host: &str| {
        ["mono.co", "withmono.com"].iter().any(|domain| {
            host.strip_suffix(domain).is_some_and(|name| name.is_empty() || name.ends_with('.'))
        })
    };
    let is_known = url.scheme() == "https" && url.host_str().is_some_and(is_of_mono);
    url.username().is_empty() && (is_known || base_url.is_local_origin_of(&url))
}

/// Mono's message, safe to pass on to the caller. Every word that may be a key, an account number or a BVN is
/// replaced with `…`.
fn disclosable(text: &str) -> String {
    let mut words = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = |of_word: fn(char) -> bool| rest.find(|c| !of_word(c)).unwrap_or(rest.len());
        let number = &rest[..end(|c| c.is_ascii_digit() || " .,-/".contains(c))];
        let word = &rest[..end(|c| c.is_alphanumeric() || "_-".contains(c))];
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).count();
        if first.is_ascii_digit() && digits(number) > 5 {
            words.push('…');
            rest = &rest[number.trim_end_matches(|c: char| !c.is_ascii_digit()).len()..];
        } else if digits(word) > 5 || is_key(word) {
            words.push('…');
            rest = &rest[word.len()..];
        } else {
            let taken = if word.is_empty() { first.len_utf8() } else { word.len() };
            words.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
    }
    words.chars().filter(|character| !character.is_control()).take(200).collect()
}

/// Whether the word looks like a secret key. Mono's keys begin with `live_sk_` or `test_sk_`.
fn is_key(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.starts_with("sk_") || ["live_sk", "test_sk"].iter().any(|key| word.contains(key))
}

#[cfg(test)]
mod tests;
