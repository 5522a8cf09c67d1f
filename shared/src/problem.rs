//! Errors as the API tells them: `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! This is the only place where an error becomes an answer. The text is for the caller and says
//! nothing of the inside; the cause goes to the log.

use lambda_http::http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use serde::Serialize;

/// Every error that a caller can meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The webhook secret is missing, empty or wrong, or none is set: one and the same answer.
    WebhookSecretInvalid,
    /// The body of a webhook is not a JSON object.
    WebhookBodyInvalid,
    /// The body of a webhook is larger than 256 KiB.
    WebhookBodyTooLarge,
    /// A webhook could not be queued; the caller should send it again.
    QueueUnavailable,
    /// A part of the request is not as it should be.
    RequestInvalid {
        /// Which part.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// There is no such account.
    AccountNotFound,
    /// DynamoDB or a secret cannot be reached.
    StoreUnavailable,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'static str,
    detail: String,
}

impl Problem {
    /// The HTTP status, the stable code, and a sentence that helps.
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
            Self::AccountNotFound => {
                (StatusCode::NOT_FOUND, "ACCOUNT_NOT_FOUND", "There is no such account.".into())
            }
            Self::StoreUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "STORE_UNAVAILABLE",
                "The data cannot be reached at present. Try again shortly.".into(),
            ),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.answer().1
    }
}

impl From<&Problem> for Response<Body> {
    fn from(problem: &Problem) -> Self {
        let (status, code, detail) = problem.answer();
        let title = status.canonical_reason().unwrap_or("Error");
        let document =
            Document { r#type: "about:blank", title, status: status.as_u16(), code, detail };
        json(status, "application/problem+json", &document)
    }
}

/// A successful answer: 200 and this value as JSON.
#[must_use]
pub fn ok(value: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, "application/json", value)
}

/// Adds the header `x-request-id`, by which an answer is found in the log. Every answer has it.
#[must_use]
pub fn with_request_id(mut response: Response<Body>, request_id: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

fn json(status: StatusCode, media_type: &'static str, value: &impl Serialize) -> Response<Body> {
    // Every value here is made of strings, numbers and lists: writing it cannot fail.
    let text = serde_json::to_string(value).expect("the answer is JSON");
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn document(problem: &Problem) -> (u16, Value) {
        let response = Response::from(problem);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let Body::Text(text) = response.body() else { panic!("not text") };
        (response.status().as_u16(), serde_json::from_str(text).unwrap())
    }

    #[test]
    fn each_error_keeps_its_status_and_code() {
        let limit = Problem::RequestInvalid { name: "limit", expected: "1 to 100" };
        let table = [
            (Problem::WebhookSecretInvalid, 401, "WEBHOOK_SECRET_INVALID"),
            (Problem::WebhookBodyInvalid, 400, "WEBHOOK_BODY_INVALID"),
            (Problem::WebhookBodyTooLarge, 413, "WEBHOOK_BODY_TOO_LARGE"),
            (Problem::QueueUnavailable, 503, "QUEUE_UNAVAILABLE"),
            (limit, 400, "REQUEST_INVALID"),
            (Problem::AccountNotFound, 404, "ACCOUNT_NOT_FOUND"),
            (Problem::StoreUnavailable, 503, "STORE_UNAVAILABLE"),
        ];
        for (problem, status, code) in table {
            let (answered, document) = document(&problem);
            assert_eq!((answered, &document["code"]), (status, &json!(code)), "{problem:?}");
            assert_eq!(document["status"], json!(status), "the document repeats the status");
            assert!(document["detail"].as_str().unwrap().ends_with('.'), "a sentence that helps");
        }
    }

    #[test]
    fn an_invalid_request_names_the_part() {
        let problem = Problem::RequestInvalid { name: "limit", expected: "a number from 1 to 100" };
        assert_eq!(document(&problem).1["detail"], "`limit` must be a number from 1 to 100.");
    }

    #[test]
    fn the_request_id_is_a_header() {
        let response = with_request_id(ok(&json!({})), "8286a188");
        assert_eq!(response.headers()["x-request-id"], "8286a188");
    }
}
