//! Answers of the API.

use lambda_http::http::{HeaderValue, StatusCode, header};
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;
use tracing::debug;

use crate::http::problem::Problem;
use crate::lambda::invocation::Invocation;

/// An answer with status 200 and this value as JSON.
pub fn ok(value: &impl Serialize) -> Response<Body> {
    document(StatusCode::OK, "application/json", value)
}

/// An answer with status 202 and this value as JSON.
pub fn accepted(value: &impl Serialize) -> Response<Body> {
    document(StatusCode::ACCEPTED, "application/json", value)
}

/// An answer with status 201 and this value as JSON.
pub fn created(value: &impl Serialize) -> Response<Body> {
    document(StatusCode::CREATED, "application/json", value)
}

/// Answers a request. A problem becomes its document.
pub async fn answer(
    request: &Request,
    respond: impl AsyncFnOnce(&Invocation) -> Result<Response<Body>, Problem>,
) -> Response<Body> {
    let context = request.lambda_context();
    let invocation = Invocation::new(context.request_id, context.deadline);
    let request_id = &invocation.request_id;
    let response = respond(&invocation).await.unwrap_or_else(|problem| {
        debug!(request_id, code = problem.code(), "request answered with a problem");
        Response::from(&problem)
    });
    with_request_id(response, request_id)
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
