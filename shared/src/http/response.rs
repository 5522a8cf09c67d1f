//! Answers of the API.

use lambda_http::http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Response};
use serde::Serialize;

/// An answer with status 200 and this value as JSON.
pub fn ok(value: &impl Serialize) -> Response<Body> {
    document(StatusCode::OK, "application/json", value)
}

/// An answer with status 202 and this value as JSON.
pub fn accepted(value: &impl Serialize) -> Response<Body> {
    document(StatusCode::ACCEPTED, "application/json", value)
}

/// Adds the header `x-request-id`, which identifies the request in the log. Every answer has this header.
pub fn with_request_id(mut response: Response<Body>, request_id: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}

pub(crate) fn document(
    status: StatusCode,
    media_type: &'static str,
    value: &impl Serialize,
) -> Response<Body> {
    // All values consist of strings, numbers and lists, so writing them cannot fail.
    let text = serde_json::to_string(value).expect("the answer can be written as JSON");
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    // No cache may store bank data.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answer_carries_the_request_id_as_a_header() {
        let response = with_request_id(ok(&json!({})), "8286a188");
        assert_eq!(response.headers()["x-request-id"], "8286a188");
    }
}
