//! What Mono's answers mean. Lenient: Mono documents the status codes of few of them, and its
//! wording has changed over the years, so the body's words count first, whatever the HTTP status.

use std::time::Duration;

use lambda_http::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{ApiVersion, JobReport, Reauthorisation, ReauthoriseError, TransactionsError};
use crate::domain::account::{
    CallError, JobState, LinkState, ProviderError, SyncData, SyncOutcome, SyncStatus,
};
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{SyncedPage, TransactionPage};

/// An answer of Mono's. Not to be printed: there may be bank data in it.
#[derive(Clone)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// `None` for what is no JSON object.
    body: Option<Map<String, Value>>,
    /// The same as it came.
    text: Vec<u8>,
}

/// The three spellings in Mono's pages on v1.
const SYNCED: [&str; 3] = ["SYNC_SUCCESSFUL", "SYNCED_SUCCESSFULLY", "SYNCED_SUCCESSFUL"];
/// v1's codes for a failure; under which HTTP status they come is not documented.
const NOT_SYNCED: [&str; 2] = ["SYNC_ERROR", "INCOMPLETE_STATEMENT_ERROR"];

/// How long Mono takes a token of v1 [docs.mono.co/reference/reauth-code].
const TOKEN_LIFETIME: Duration = Duration::from_mins(10);

impl Answer {
    pub(super) fn new(status: StatusCode, headers: HeaderMap, text: Vec<u8>) -> Self {
        Self { status, headers, body: serde_json::from_slice(&text).ok(), text }
    }

    pub(super) fn refuses_the_key(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && !self.requires_reauth()
    }

    /// Whether the call cannot be paid for. Mono documents 402 only as "valid parameters, but the request
    /// failed"; that an empty wallet gives it is inferred. A plan that lacks an endpoint is a 403 that says
    /// so [seen only in third-party code].
    pub(super) fn refuses_the_payment(&self) -> bool {
        let message = self.word("message").unwrap_or_default();
        let is_refused = match self.status {
            StatusCode::PAYMENT_REQUIRED => true,
            StatusCode::FORBIDDEN => message.contains("subscription plan"),
            _ => false,
        };
        is_refused && !self.requires_reauth()
    }

    /// Whether Mono charges the sync: it brings new data, or may yet. "You are not charged when there is no new
    /// data" [docs.mono.co, realtime-data]; of failures nothing is said, so one that Mono itself reports is assumed
    /// to be free.
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

    /// Whether Mono charges the details: nothing is said of an answer without them.
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

    /// What a sync came to.
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
            if let Some(call_error) = self.trouble() {
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

    /// v1 tells by its code. It always refreshes all.
    fn of_sync_v1(&self) -> SyncOutcome {
        let body = self.body.as_ref();
        let told =
            ["hasNewData", "has_new_data"].iter().find_map(|name| body?.get(*name)?.as_bool());
        // It always says so; where it does not, looking costs nothing.
        let synced = self.synced(told.unwrap_or(true), SyncData::Transactions);
        match self.word("code") {
            Some(code) if is_any(code, &SYNCED) => synced,
            None if self.says("status", "successful") || self.says("status", "success") => synced,
            None if self.says("status", "processing") => self.processing(),
            _ => SyncOutcome::NoResult(CallError::Unusable(self.error())),
        }
    }

    /// v2 tells by its job's status, and before it had jobs, by a header of its own. Without either
    /// the answer may be Mono's cache, which proves nothing.
    fn of_sync_v2(&self, data: SyncData) -> SyncOutcome {
        // Sent only when it is true.
        let synced = self.synced(self.header_is_true("x-has-new-data"), data);
        let of_2023 = ["x-has-new-data", "x-reauth-required"];
        match self.job_state() {
            Some(JobState::Failed | JobState::ReauthorisationRequired) => self.failed(),
            Some(JobState::Finished) => synced,
            Some(JobState::Running | JobState::Linking | JobState::Other(_)) => self.processing(),
            None if self.word("code").is_some_and(|code| is_any(code, &SYNCED)) => synced,
            // "Enqueued": it was not done in time.
            None if self.data().is_none()
                || self.status == StatusCode::ACCEPTED
                || self.job_id().is_some() =>
            {
                self.processing()
            }
            None if of_2023.iter().any(|name| self.header(name).is_some()) => synced,
            None => SyncOutcome::NoResult(CallError::Unusable(self.error())),
        }
    }

    /// How far a job is; `None` if it does not say.
    pub(super) fn of_job(&self) -> Option<JobReport> {
        let data = self.data()?;
        let word = data.get("status")?.as_str().filter(|_| self.status.is_success())?;
        // `jobs.accounts.sync_balance`; looking for transactions that are none costs nothing.
        let name = data.get("name").and_then(Value::as_str).unwrap_or_default();
        let balance = name.to_ascii_lowercase().contains("balance");
        let data = if balance { SyncData::Balance } else { SyncData::Transactions };
        Some(JobReport { state: JobState::from_word(word), data })
    }

    /// Whether Mono shows the account. What it answers for one that was unlinked is not documented: a 400
    /// for a request as plain as this one can only be about the account.
    pub(super) fn of_account(&self) -> Result<LinkState, CallError> {
        if self.requires_reauth() {
            return Ok(LinkState::Linked);
        }
        if self.denies_the_account()
            || (self.status == StatusCode::BAD_REQUEST && self.body.is_some())
        {
            return Ok(LinkState::Gone);
        }
        if let Some(call_error) = self.trouble() {
            return Err(call_error);
        }
        if self.status.is_success() && !self.says("status", "failed") && self.shows_the_account() {
            return Ok(LinkState::Linked);
        }
        Err(CallError::Unusable(self.error()))
    }

    /// A page of transactions, in either version.
    pub(super) fn of_transactions(&self) -> Result<TransactionPage, TransactionsError> {
        if self.requires_reauth() {
            return Err(TransactionsError::ReauthorisationRequired);
        }
        if self.denies_the_account() {
            return Err(TransactionsError::NotFound);
        }
        let unusable = || TransactionsError::Call(CallError::Unusable(self.error()));
        if let Some(call_error) = self.trouble() {
            return Err(TransactionsError::Call(call_error));
        }
        if !self.status.is_success() || self.says("status", "failed") {
            return Err(unusable());
        }
        let page = self.rows().and_then(|rows| TransactionPage::of_rows(rows).ok());
        let page = page.ok_or_else(unusable)?;
        let place = |name| self.place()?.get(name);
        // An answer of v1 that is not paged has a count of its own.
        let count = || self.body.as_ref()?.get("count")?.as_u64();
        let next = place("next").filter(|next| !next.is_null() && next.as_str() != Some(""));
        let total = place("total").and_then(Value::as_u64).or_else(count);
        Ok(TransactionPage { total, has_next: next.is_some(), ..page })
    }

    /// The page that an answer to a sync is.
    pub(super) fn synced_page(&self) -> Option<SyncedPage> {
        /// So that a message of SQS can hold it.
        const MOST_BYTES: usize = 150_000;
        let total = self.place()?.get("total")?.as_u64()?.try_into().ok()?;
        let rows = self.rows().filter(|rows| rows.len() <= MOST_BYTES)?.to_owned();
        Some(SyncedPage { rows, total })
    }

    /// The list of rows as it came. Before there is any data, `data` can be `null`.
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

    /// Where a page stands among all: v2's `meta`, v1's `paging`.
    fn place(&self) -> Option<&Value> {
        ["meta", "paging"].iter().find_map(|name| self.body.as_ref()?.get(*name))
    }

    /// What a customer re-authorises by.
    pub(super) fn of_reauthorisation(
        &self,
        version: ApiVersion,
        asked_at: Timestamp,
    ) -> Result<Reauthorisation, ReauthoriseError> {
        if self.status == StatusCode::NOT_FOUND && self.body.is_some() {
            return Err(ReauthoriseError::NotFound);
        }
        if let Some(call_error) = self.trouble() {
            return Err(ReauthoriseError::Call(call_error));
        }
        if !self.status.is_success() {
            return Err(ReauthoriseError::Failed(self.error()));
        }
        let told = match version {
            ApiVersion::V2 => self.data().and_then(|data| data.get("mono_url")?.as_str()),
            ApiVersion::V1 => self.word("token"),
        };
        let unusable = || ReauthoriseError::Call(CallError::Unusable(self.error()));
        let told = told.filter(|told| !told.is_empty()).ok_or_else(unusable)?.to_owned();
        match version {
            // A customer is sent there: to nothing but a page over TLS.
            ApiVersion::V2 if !told.starts_with("https://") => Err(unusable()),
            ApiVersion::V2 => Ok(Reauthorisation::Link { url: told }),
            ApiVersion::V1 => {
                let expires_at = asked_at + TOKEN_LIFETIME;
                Ok(Reauthorisation::Token { token: told, expires_at })
            }
        }
    }

    /// Why this answer says nothing of what was asked, if so.
    pub(super) fn trouble(&self) -> Option<CallError> {
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

    /// That there is no such account, or no longer.
    fn denies_the_account(&self) -> bool {
        matches!(self.status, StatusCode::NOT_FOUND | StatusCode::GONE) && self.body.is_some()
    }

    /// Current pages tell it by the job's status, those of 2023 by a header of its own, and v1 by
    /// the code. What a refused read says is not documented, so its sentence counts as well.
    fn requires_reauth(&self) -> bool {
        let refused = !self.status.is_success();
        let message = self.word("message").filter(|_| refused).unwrap_or_default();
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

    /// Mono's words for what went wrong, or where it has none, ours.
    fn error(&self) -> ProviderError {
        let code = self.word("code").filter(|code| is_code(code)).map(str::to_owned);
        let code = code.unwrap_or_else(|| match self.job_state() {
            Some(JobState::Failed) => "JOB_FAILED".to_owned(),
            _ => format!("HTTP_{}", self.status.as_u16()),
        });
        // A job that has failed comes with a message of success.
        let message = self.word("message").filter(|_| !self.says("status", "successful"));
        ProviderError { code, message: message.map(disclosable) }
    }

    fn job_state(&self) -> Option<JobState> {
        self.header("x-job-status").map(JobState::from_word)
    }

    /// Only what can be a part of a path.
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
        self.word(name).is_some_and(|said| said.eq_ignore_ascii_case(word))
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
    /// The answer is no JSON object.
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

/// Whether an id of a job can stand in a path as it is.
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

/// A code goes to the log as well, so it is one and no sentence.
fn is_code(text: &str) -> bool {
    let of_code = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(of_code) && disclosable(text) == text
}

/// Mono's own words are handed on, to help whoever asked. What might be a key, an account number or
/// a BVN among them is not.
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

/// `live_sk_…` and `test_sk_…`, as Mono's keys begin, and what else looks like one.
fn is_key(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.starts_with("sk_") || ["live_sk", "test_sk"].iter().any(|key| word.contains(key))
}

#[cfg(test)]
mod tests;
