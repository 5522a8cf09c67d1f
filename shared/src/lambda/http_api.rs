//! The runtime of the functions behind API Gateway.
//!
//! `lambda_http` panics or fails the invocation if the query is not valid in a URI, a header is not ASCII, or a claim
//! is not a string. The caller controls the query and the headers, and the issuer of the token controls the claims.
//! So an anonymous caller could trigger the alarm for errors. This module escapes the query and removes invalid
//! headers and claims before `lambda_http` reads the request.

use std::fmt::Debug;

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::http::{HeaderName, HeaderValue};
use lambda_http::lambda_runtime::{Diagnostic, run};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt;
use lambda_http::{Adapter, Body, Error, LambdaEvent, Request, Response, Service};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// ASCII characters that the query of a URI cannot contain.
const NOT_IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// Headers from which `lambda_http` builds the URI of the request. No function reads that URI.
const URI_HEADERS: [&str; 2] = ["host", "x-forwarded-proto"];

/// Answers requests of the HTTP API for as long as Lambda keeps the process.
///
/// # Errors
///
/// The errors of the Lambda runtime.
pub async fn serve<'a, S, E>(handler: S) -> Result<(), Error>
where
    S: Service<Request, Response = Response<Body>, Error = E>,
    S::Future: Send + 'a,
    E: Debug + Into<Diagnostic>,
{
    let valid = |LambdaEvent { payload: ValidRequest(request), context }| {
        LambdaEvent::new(LambdaRequest::ApiGatewayV2(request), context)
    };
    run(Adapter::from(handler).map_request(valid)).await
}

/// A request whose query, headers and claims are valid.
struct ValidRequest(ApiGatewayV2httpRequest);

impl<'de> Deserialize<'de> for ValidRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut event = Value::deserialize(deserializer)?;
        make_valid(&mut event);
        serde_json::from_value(event).map(Self).map_err(D::Error::custom)
    }
}

fn make_valid(event: &mut Value) {
    if let Some(Value::String(query)) = event.get_mut("rawQueryString") {
        *query = utf8_percent_encode(query, NOT_IN_QUERY).to_string();
    }
    if let Some(Value::Object(headers)) = event.get_mut("headers") {
        headers.retain(|name, value| is_valid_header(name, value));
    }
    if let Some(Value::Object(claims)) = event.pointer_mut("/requestContext/authorizer/jwt/claims")
    {
        // Removed, not converted to a string: null would become the owner "null".
        claims.retain(|_, claim| claim.is_string());
    }
}

fn is_valid_header(name: &str, value: &Value) -> bool {
    let name = name.parse::<HeaderName>().ok().filter(|name| !URI_HEADERS.contains(&name.as_str()));
    let value = value.as_str().and_then(|value| value.parse::<HeaderValue>().ok());
    name.is_some() && value.is_some()
}

#[cfg(test)]
mod tests {
    use lambda_http::RequestExt;
    use lambda_http::request::RequestContext;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The request that a function receives for an event.
    fn request(event: &Value) -> Request {
        let ValidRequest(request) = serde_json::from_str(&event.to_string()).unwrap();
        LambdaRequest::ApiGatewayV2(request).into()
    }

    fn event(query: &str, headers: &Value, claims: &Value) -> Value {
        json!({
            "version": "2.0",
            "routeKey": "POST /webhooks/mono",
            "rawPath": "/webhooks/mono",
            "rawQueryString": query,
            "headers": headers,
            "requestContext": {
                "domainName": "api.execute-api.eu-west-1.amazonaws.com",
                "http": { "method": "POST", "path": "/webhooks/mono" },
                "stage": "$default",
                "authorizer": { "jwt": { "claims": claims, "scopes": null } },
            },
            "body": "{}",
        })
    }

    #[test]
    fn query_with_characters_that_are_invalid_in_a_uri_is_read() {
        for text in ["\"", "<", ">", " ", "#", "\u{7f}", "\0", "é", "%", "%zz"] {
            let request = request(&event(&format!("a={text}&limit=5"), &json!({}), &json!({})));
            assert_eq!(request.query_string_parameters().first("limit"), Some("5"), "{text:?}");
        }
    }

    #[test]
    fn invalid_header_is_removed_and_valid_headers_stay() {
        let headers = json!({ "mono-webhook-secret": "s", "x-a": "é\n", "x b": "1", "x-forwarded-proto": "a b" });
        let request = request(&event("", &headers, &json!({})));
        assert_eq!(request.headers().get("mono-webhook-secret").unwrap(), "s");
        assert!(!request.headers().contains_key("x-forwarded-proto"));
    }

    #[test]
    fn claim_that_is_not_a_string_is_removed() {
        let claims = json!({ "sub": "a", "customer": 4711, "roles": ["x", "y"], "none": null });
        let request = request(&event("", &json!({}), &claims));
        let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
            panic!("the request has no context of API Gateway");
        };
        let claims = &context.authorizer.as_ref().unwrap().jwt.as_ref().unwrap().claims;
        assert_eq!(claims.len(), 1);
        assert_eq!(claims["sub"], "a");
    }

    proptest! {
        #[test]
        fn any_query_headers_and_claims_give_a_request(
            query: String,
            headers: std::collections::BTreeMap<String, String>,
            claim: String,
        ) {
            let request = request(&event(&query, &json!(headers), &json!({ "sub": claim })));
            prop_assert_eq!(request.body(), &Body::Text("{}".to_owned()));
        }
    }
}
