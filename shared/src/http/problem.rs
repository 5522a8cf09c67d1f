//! Errors of the API: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! Only this module turns an error into an answer. The text is for the caller and shows no internals. The cause is
//! logged.

use std::borrow::Cow;
use std::time::Duration;

use lambda_http::http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::account::{CallError, ProviderError};
use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;
use crate::http::response::document;

/// All errors of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The webhook secret of the request is missing, empty or wrong, or no secret is set. All cases have the same
    /// answer.
    WebhookSecretInvalid,
    /// The body of a webhook is not a JSON object.
    WebhookBodyInvalid,
    /// The body of a webhook is larger than 256 KiB.
    WebhookBodyTooLarge,
    /// A webhook could not be enqueued. The caller must send the webhook again.
    QueueUnavailable,
    RequestInvalid {
        name: Cow<'static, str>,
        expected: Cow<'static, str>,
    },
    /// The token has no owner claim.
    OwnerClaimMissing,
    AccountNotFound,
    AccountUnlinked,
    /// The code of Mono's widget is invalid, too old, or used for another owner.
    LinkCodeInvalid,
    /// Version 1 of Mono's API has no hosted links.
    NotSupportedByMonoApi,
    ReauthorisationRequired {
        account_id: AccountId,
    },
    /// The last sync of the account is too recent.
    SyncCooldown {
        /// The time from which the next sync is allowed.
        next_allowed_at: Timestamp,
        retry_after: Duration,
    },
    /// The daily budget for syncs on demand is exhausted.
    BudgetExhausted {
        /// The start of the next day.
        next_allowed_at: Timestamp,
    },
    /// Mono answered with a failure.
    SyncFailed(ProviderError),
    MonoTimeout,
    /// Mono cannot be reached, or limits the rate of calls.
    MonoUnavailable {
        /// The time to wait before a retry.
        retry_after: Duration,
    },
    /// DynamoDB or Secrets Manager cannot be reached.
    StoreUnavailable,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(flatten)]
    members: Value,
}

/// The `Retry-After` of an answer if nothing else is known.
const RETRY_AFTER: Duration = Duration::from_secs(30);

impl Problem {
    pub fn request_invalid(
        name: impl Into<Cow<'static, str>>,
        expected: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::RequestInvalid { name: name.into(), expected: expected.into() }
    }

    /// The problem for a failed call to Mono. `wait` is the time until the caller may call again, if it is known.
    pub fn of_call_error(call_error: CallError, wait: Option<Duration>) -> Self {
        let retry_after = wait.unwrap_or(RETRY_AFTER);
        match call_error {
            CallError::TimedOut => Self::MonoTimeout,
            CallError::Unusable(error) | CallError::Refused(error) => Self::SyncFailed(error),
            CallError::Unavailable | CallError::NotConnected => {
                Self::MonoUnavailable { retry_after }
            }
            CallError::RateLimited { retry_after: requested } => {
                Self::MonoUnavailable { retry_after: requested.unwrap_or(retry_after) }
            }
            CallError::BudgetExhausted { until } => {
                Self::BudgetExhausted { next_allowed_at: until }
            }
            CallError::Unmetered => Self::StoreUnavailable,
        }
    }

    /// The HTTP status, the stable code, and the `detail` sentence.
    fn answer(&self) -> (StatusCode, &'static str, String) {
        match self {
            Self::WebhookSecretInvalid => (
                StatusCode::UNAUTHORIZED,
                "WEBHOOK_SECRET_INVALID",
                "The header mono-webhook-secret must carry the webhook secret of the Mono app."
                    .into(),
            ),
            Self::WebhookBodyInvalid => (
                StatusCode::BAD_REQUEST,
                "WEBHOOK_BODY_INVALID",
                "The body must be a JSON object in UTF-8.".into(),
            ),
            Self::WebhookBodyTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "WEBHOOK_BODY_TOO_LARGE",
                "The body must be no larger than 256 KiB.".into(),
            ),
            Self::QueueUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "QUEUE_UNAVAILABLE",
                "The event could not be queued. Send it again.".into(),
            ),
            Self::RequestInvalid { name, expected } => (
                StatusCode::BAD_REQUEST,
                "REQUEST_INVALID",
                format!("`{name}` must be {expected}."),
            ),
            Self::OwnerClaimMissing => (
                StatusCode::FORBIDDEN,
                "OWNER_CLAIM_MISSING",
                "The token must carry the claim that names the owner of accounts.".into(),
            ),
            Self::AccountNotFound => {
                (StatusCode::NOT_FOUND, "ACCOUNT_NOT_FOUND", "There is no such account.".into())
            }
            Self::AccountUnlinked => (
                StatusCode::GONE,
                "ACCOUNT_UNLINKED",
                "The account is unlinked. The customer must link it again.".into(),
            ),
            Self::ReauthorisationRequired { .. } => (
                StatusCode::CONFLICT,
                "REAUTHORISATION_REQUIRED",
                "The bank requires re-authorisation. Send the customer through `reauthorise`."
                    .into(),
            ),
            Self::LinkCodeInvalid => (
                StatusCode::BAD_REQUEST,
                "LINK_CODE_INVALID",
                "Mono does not accept the code. The customer must link the account again.".into(),
            ),
            Self::NotSupportedByMonoApi => (
                StatusCode::NOT_IMPLEMENTED,
                "NOT_SUPPORTED_BY_MONO_API",
                "Version 1 of Mono's API has no hosted links. Use the widget and `/links/exchange`.".into(),
            ),
            Self::SyncCooldown { next_allowed_at, .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "SYNC_COOLDOWN",
                format!(
                    "The account was synced a moment ago. The next sync is allowed at {next_allowed_at}."
                ),
            ),
            Self::BudgetExhausted { next_allowed_at } => (
                StatusCode::TOO_MANY_REQUESTS,
                "BUDGET_EXHAUSTED",
                format!(
                    "The daily budget for Mono is spent. The next sync is allowed at {next_allowed_at}."
                ),
            ),
            Self::SyncFailed(_) => (
                StatusCode::BAD_GATEWAY,
                "SYNC_FAILED",
                "Mono failed: see `mono_code` and `mono_message`.".into(),
            ),
            Self::MonoTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "MONO_TIMEOUT",
                "Mono did not answer in time. If it completes the request, the account shows the result."
                    .into(),
            ),
            Self::MonoUnavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "MONO_UNAVAILABLE",
                "Mono cannot be reached at present. Try again later.".into(),
            ),
            Self::StoreUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "STORE_UNAVAILABLE",
                "The data cannot be reached at present. Try again shortly.".into(),
            ),
        }
    }

    /// Further members of the document.
    fn members(&self) -> Value {
        match self {
            Self::ReauthorisationRequired { account_id } => {
                json!({ "reauthorise": format!("/accounts/{account_id}/reauthorise") })
            }
            Self::SyncCooldown { next_allowed_at, .. }
            | Self::BudgetExhausted { next_allowed_at } => {
                json!({ "next_allowed_at": next_allowed_at })
            }
            Self::SyncFailed(ProviderError { code, message }) => {
                json!({ "mono_code": code, "mono_message": message })
            }
            _ => json!({}),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::SyncCooldown { retry_after, .. } | Self::MonoUnavailable { retry_after } => {
                Some(*retry_after)
            }
            Self::BudgetExhausted { next_allowed_at } => {
                Some(next_allowed_at.since(Timestamp::now()))
            }
            _ => None,
        }
    }

    pub fn code(&self) -> &'static str {
        self.answer().1
    }
}

impl From<&Problem> for Response<Body> {
    fn from(problem: &Problem) -> Self {
        let (status, code, detail) = problem.answer();
        let title = status.canonical_reason().unwrap_or("Error");
        let body = Document {
            r#type: "about:blank",
            title,
            status: status.as_u16(),
            code,
            detail,
            members: problem.members(),
        };
        let mut response = document(status, "application/problem+json", &body);
        if let Some(retry_after) = problem.retry_after() {
            // Whole seconds, rounded up.
            let seconds = retry_after.as_millis().div_ceil(1000).max(1).to_string();
            let seconds = HeaderValue::from_str(&seconds).expect("digits are a valid header value");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(problem: &Problem) -> (u16, Value) {
        let response = Response::from(problem);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let Body::Text(text) = response.body() else { panic!("not text") };
        (response.status().as_u16(), serde_json::from_str(text).unwrap())
    }

    #[test]
    fn each_error_keeps_its_status_and_code() {
        let limit = Problem::request_invalid("limit", "1 to 100");
        let account_id = "a".parse().unwrap();
        let reauthorise = Problem::ReauthorisationRequired { account_id };
        let table = [
            (Problem::WebhookSecretInvalid, 401, "WEBHOOK_SECRET_INVALID"),
            (Problem::WebhookBodyInvalid, 400, "WEBHOOK_BODY_INVALID"),
            (Problem::WebhookBodyTooLarge, 413, "WEBHOOK_BODY_TOO_LARGE"),
            (Problem::QueueUnavailable, 503, "QUEUE_UNAVAILABLE"),
            (limit, 400, "REQUEST_INVALID"),
            (Problem::OwnerClaimMissing, 403, "OWNER_CLAIM_MISSING"),
            (Problem::AccountNotFound, 404, "ACCOUNT_NOT_FOUND"),
            (Problem::AccountUnlinked, 410, "ACCOUNT_UNLINKED"),
            (Problem::LinkCodeInvalid, 400, "LINK_CODE_INVALID"),
            (Problem::NotSupportedByMonoApi, 501, "NOT_SUPPORTED_BY_MONO_API"),
            (reauthorise, 409, "REAUTHORISATION_REQUIRED"),
            (cooldown(Duration::from_secs(9)), 429, "SYNC_COOLDOWN"),
            (Problem::SyncFailed(error()), 502, "SYNC_FAILED"),
            (Problem::MonoTimeout, 504, "MONO_TIMEOUT"),
            (Problem::MonoUnavailable { retry_after: Duration::ZERO }, 503, "MONO_UNAVAILABLE"),
            (Problem::StoreUnavailable, 503, "STORE_UNAVAILABLE"),
        ];
        for (problem, status, code) in table {
            let (answered, document) = answer(&problem);
            assert_eq!((answered, &document["code"]), (status, &json!(code)), "{problem:?}");
            assert_eq!(document["status"], json!(status), "the document repeats the status");
            assert!(
                document["detail"].as_str().unwrap().ends_with('.'),
                "the detail is a sentence"
            );
        }
    }

    #[test]
    fn invalid_request_names_the_part() {
        let problem = Problem::request_invalid("limit", "a number from 1 to 100");
        assert_eq!(answer(&problem).1["detail"], "`limit` must be a number from 1 to 100.");
    }

    fn error() -> ProviderError {
        ProviderError {
            code: "SYNC_ERROR".to_owned(),
            message: Some("The bank is down".to_owned()),
        }
    }

    fn cooldown(retry_after: Duration) -> Problem {
        let next_allowed_at = Timestamp::parse_rfc3339("2026-01-27T21:00:38Z").unwrap();
        Problem::SyncCooldown { next_allowed_at, retry_after }
    }

    #[test]
    fn problem_has_the_members_of_its_code() {
        let account_id = "697926f050b9c321c1451dda".parse().unwrap();
        let (_, reauthorise) = answer(&Problem::ReauthorisationRequired { account_id });
        assert_eq!(reauthorise["reauthorise"], "/accounts/697926f050b9c321c1451dda/reauthorise");
        let (_, cooldown) = answer(&cooldown(Duration::ZERO));
        assert_eq!(cooldown["next_allowed_at"], "2026-01-27T21:00:38.000Z");
        let (_, failed) = answer(&Problem::SyncFailed(error()));
        assert_eq!(failed["mono_code"], "SYNC_ERROR");
        assert_eq!(failed["mono_message"], "The bank is down");
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (300_000, "300")] {
            let response = Response::from(&cooldown(Duration::from_millis(millis)));
            assert_eq!(response.headers()["retry-after"], seconds);
        }
    }

    #[test]
    fn each_call_error_has_its_problem() {
        let minute = Duration::from_mins(1);
        let problem = |call_error| Problem::of_call_error(call_error, Some(minute));
        let unavailable = |retry_after| Problem::MonoUnavailable { retry_after };
        assert_eq!(problem(CallError::TimedOut), Problem::MonoTimeout);
        assert_eq!(problem(CallError::Unusable(error())), Problem::SyncFailed(error()));
        assert_eq!(problem(CallError::Refused(error())), Problem::SyncFailed(error()));
        assert_eq!(problem(CallError::Unavailable), unavailable(minute));
        assert_eq!(problem(CallError::NotConnected), unavailable(minute));
        assert_eq!(problem(CallError::RateLimited { retry_after: None }), unavailable(minute));
        let retry_after = Some(Duration::from_secs(7));
        let limited = problem(CallError::RateLimited { retry_after });
        assert_eq!(limited, unavailable(Duration::from_secs(7)));
    }
}
