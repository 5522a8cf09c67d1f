//! The runtime of the functions behind API Gateway.
//!
//! `lambda_http` panics or fails the invocation if a query is not part of a URI, a header is not ASCII, or a claim is not
//! a string. Callers choose the query and the headers, and an issuer chooses the claims, so an anonymous caller could set
//! off the alarm for errors. Therefore the query is made valid, and such headers and claims are removed, before
//! `lambda_http` reads the request.

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

/// Characters that the query of a URI cannot contain, besides those that are not ASCII.
const NOT_IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// Headers that `lambda_http` builds a URI from. No function reads it.
const OF_THE_URI: [&str; 2] = ["host", "x-forwarded-proto"];

/// Answers requests of the HTTP API for as long as Lambda keeps the process.
///
/// # Errors
///
/// Those of the Lambda runtime.
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
        // Removed, not made a string: null would name the owner "null".
        claims.retain(|_, claim| claim.is_string());
    }
}

fn is_valid_header(name: &str, value: &Value) -> bool {
    let name = name.parse::<HeaderName>().ok().filter(|name| !OF_THE_URI.contains(&name.as_str()));
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
    fn query_with_bytes_that_no_uri_has_is_read_all_the_same() {
        for text in ["\"", "<", ">", " ", "#", "\u{7f}", "\0", "é", "%", "%zz"] {
            let request = request(&event(&format!("a={text}&limit=5"), &json!({}), &json!({})));
            assert_eq!(request.query_string_parameters().first("limit"), Some("5"), "{text:?}");
        }
    }

    #[test]
    fn header_that_is_not_ascii_is_left_out_and_the_others_stay() {
        let headers = json!({ "mono-webhook-secret": "s", "x-a": "é\n", "x b": "1", "x-forwarded-proto": "a b" });
        let request = request(&event("", &headers, &json!({})));
        assert_eq!(request.headers().get("mono-webhook-secret").unwrap(), "s");
        assert!(!request.headers().contains_key("x-forwarded-proto"));
    }

    #[test]
    fn claim_that_is_no_string_is_left_out_and_names_no_owner() {
        let claims = json!({ "sub": "a", "customer": 4711, "roles": ["x", "y"], "none": null });
        let request = request(&event("", &json!({}), &claims));
        let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
            panic!("it came through API Gateway");
        };
        let claims = &context.authorizer.as_ref().unwrap().jwt.as_ref().unwrap().claims;
        assert_eq!(claims.len(), 1);
        assert_eq!(claims["sub"], "a");
    }

    proptest! {
        #[test]
        fn any_query_headers_and_claims_make_a_request(
            query: String,
            headers: std::collections::BTreeMap<String, String>,
            claim: String,
        ) {
            let request = request(&event(&query, &json!(headers), &json!({ "sub": claim })));
            prop_assert_eq!(request.body(), &Body::Text("{}".to_owned()));
        }
    }
}
