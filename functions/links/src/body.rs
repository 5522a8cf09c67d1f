//! The JSON body of a request.

use lambda_http::Request;
use lambda_http::http::header;
use mono_sync::domain::redirect_url::RedirectOrigins;
use mono_sync::http::problem::Problem;
use serde_json::{Map, Value};

/// The members of the body, which must be a JSON object with only these names. An empty body has no members, and
/// neither has `null` as a value.
pub(crate) fn members(request: &Request, names: &[&str]) -> Result<Map<String, Value>, Problem> {
    let body: &[u8] = request.body();
    if body.is_empty() {
        return Ok(Map::new());
    }
    let media_type = request.headers().get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Problem::request_invalid("content-type", "application/json"));
    }
    let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else {
        return Err(Problem::request_invalid("body", "a JSON object"));
    };
    if let Some(other) = members.keys().find(|name| !names.contains(&name.as_str())) {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let expected = format!("left out: the body has only {}", names.join(", "));
        return Err(Problem::request_invalid(other.clone(), expected));
    }
    members.retain(|_, value| !value.is_null());
    Ok(members)
}

/// A URL of one of the stack's origins. `None`: the member is missing.
pub(crate) fn redirect_url(
    members: &Map<String, Value>,
    origins: &RedirectOrigins,
) -> Result<Option<String>, Problem> {
    let Some(value) = members.get("redirect_url") else {
        return Ok(None);
    };
    let url = value.as_str().and_then(|url| origins.parse(url)).map(Into::into);
    let expected = "a URL of one of the stack's RedirectOrigins, at most 2048 characters";
    url.map(Some).ok_or_else(|| Problem::request_invalid("redirect_url", expected))
}
