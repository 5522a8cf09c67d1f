//! The responses of the API.

use e2e::samples::{self, LOCAL_SECRET};
use e2e::shared_stack::stack;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::{account_id, account_with_status, balance_update, post};

fn webhook() -> RequestBuilder {
    stack().request(Method::POST, "/webhooks/mono")
}

fn authentic() -> RequestBuilder {
    webhook().header("mono-webhook-secret", LOCAL_SECRET)
}

/// The status and body of a response that must be a problem document with a request id.
async fn problem(answer: Response) -> (u16, Value) {
    assert!(!answer.headers()["x-request-id"].is_empty());
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], json!(status));
    (status, body)
}

async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

#[tokio::test]
async fn authentic_event_is_accepted_with_exactly_200() {
    let answer = send(authentic().body("{\"event\":\"mono.events.webhook_test\"}")).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert!(!answer.headers()["x-request-id"].is_empty());
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "status": "accepted" }));
}

#[tokio::test]
async fn webhook_secret_header_is_accepted_under_both_names_in_any_case() {
    for name in ["mono-webhook-secret", "mono-web-secret", "Mono-Webhook-Secret", "MONO-WEB-SECRET"]
    {
        let answer = send(webhook().header(name, LOCAL_SECRET).body("{}")).await;
        assert_eq!(answer.status(), 200, "{name}");
    }
}

/// Invokes the functions directly, because the emulator rejects some of these values.
#[tokio::test]
async fn functions_accept_unusual_queries_headers_and_claims() {
    let samples = samples::all();
    for odd in ["\"", "<", ">", " ", "#", "\u{7f}", "é", "%zz"] {
        let mut event = samples["webhook/wrong_secret.json"].clone();
        event["rawQueryString"] = json!(format!("a={odd}"));
        event["headers"]["x-odd"] = json!(odd);
        event["headers"]["x-forwarded-proto"] = json!(odd);
        let answer = stack().invoke("WebhookFunction", &event).await.unwrap();
        assert_eq!(answer["statusCode"], 401, "{odd:?}: {answer}");

        let mut event = samples["accounts/get_account.json"].clone();
        event["rawQueryString"] = json!(format!("a={odd}"));
        let claims = json!({ "customer": 4711, "roles": [odd], "none": null });
        event["requestContext"]["authorizer"] =
            json!({ "jwt": { "claims": claims, "scopes": null } });
        event["pathParameters"]["account_id"] = json!(account_id());
        let answer = stack().invoke("AccountsFunction", &event).await.unwrap();
        assert_eq!(answer["statusCode"], 404, "{odd:?}: {answer}");
    }
}

#[tokio::test]
async fn every_wrong_secret_gets_the_same_answer() {
    let longer = format!("{LOCAL_SECRET}x");
    let wrong = [
        webhook(),
        webhook().header("mono-webhook-secret", ""),
        webhook().header("mono-webhook-secret", "wrong"),
        webhook().header("mono-webhook-secret", longer),
        webhook().header("mono-webhook-secret", "unset"),
        webhook().header("authorization", LOCAL_SECRET),
        webhook().header("mono-webhook-signature", LOCAL_SECRET),
    ];
    let mut answers = Vec::new();
    for request in wrong {
        for body in ["{}".to_owned(), "not json".to_owned(), "x".repeat(300 * 1024)] {
            let request = request.try_clone().unwrap();
            answers.push(problem(send(request.body(body)).await).await);
        }
    }
    assert_eq!(answers[0].0, 401);
    assert_eq!(answers[0].1["code"], "WEBHOOK_SECRET_INVALID");
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn webhook_body_other_than_a_json_object_is_400() {
    for body in [&b""[..], b"null", b"[]", b"event=x", b"{", b"{\"a\":\"\xff\"}"] {
        let (status, problem) = problem(send(authentic().body(body.to_vec())).await).await;
        assert_eq!((status, &problem["code"]), (400, &json!("WEBHOOK_BODY_INVALID")));
    }
}

#[tokio::test]
async fn webhook_body_above_256_kib_is_413() {
    let body = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    assert_eq!(send(authentic().body(body(256 * 1024))).await.status(), 200);
    let (status, problem) = problem(send(authentic().body(body(256 * 1024 + 1))).await).await;
    assert_eq!((status, &problem["code"]), (413, &json!("WEBHOOK_BODY_TOO_LARGE")));
}

#[tokio::test]
async fn webhook_is_accepted_with_any_content_type() {
    for content_type in ["application/json", "text/plain", "application/octet-stream"] {
        let request = authentic().header("content-type", content_type).body("{\"a\":1}");
        assert_eq!(send(request).await.status(), 200, "{content_type}");
    }
}

#[tokio::test]
async fn account_has_exactly_the_documented_fields() {
    let id = account_id();
    post(&balance_update(&id, 1, 22_967)).await;
    let account = account_with_status(&id, "healthy").await;
    let fields: Vec<_> = account.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "account_id",
        "account_number",
        "balance",
        "balance_synced_at",
        "currency",
        "customer_id",
        "data_status",
        "identity_verified_at",
        "institution",
        "last_event_at",
        "last_sync_attempt_at",
        "last_synced_at",
        "name",
        "next_refresh_at",
        "next_sync_allowed_at",
        "reauthorisation_required_at",
        "ref",
        "refresh",
        "retrieved_data",
        "status",
        "status_at",
        "sync_status",
        "transactions_imported_at",
        "transactions_through",
        "type",
    ];
    assert_eq!(fields, documented);
    assert_eq!(account["balance_synced_at"], "2026-01-27T21:00:01.000Z");
    assert_eq!((&account["balance"], &account["last_synced_at"]), (&json!(22_967), &json!(null)));
}

#[tokio::test]
async fn unknown_account_is_404() {
    let request = stack().request(Method::GET, &format!("/accounts/{}", account_id()));
    let (status, problem) = problem(send(request.header("authorization", "signed")).await).await;
    assert_eq!((status, &problem["code"]), (404, &json!("ACCOUNT_NOT_FOUND")));
}

#[tokio::test]
async fn invalid_account_id_is_400_and_the_detail_names_the_parameter() {
    for id in ["a%20b", "a.b", &"x".repeat(65), "%F0%9F%98%80", "%24%7Bx%7D"] {
        let request = stack().request(Method::GET, &format!("/accounts/{id}"));
        let (status, problem) =
            problem(send(request.header("authorization", "signed")).await).await;
        assert_eq!((status, &problem["code"]), (400, &json!("REQUEST_INVALID")), "{id}");
        assert!(problem["detail"].as_str().unwrap().contains("`account_id`"));
    }
}

#[tokio::test]
async fn accounts_route_without_a_signature_is_403() {
    let request = stack().request(Method::GET, &format!("/accounts/{}", account_id()));
    assert_eq!(send(request).await.status(), 403);
}

#[test]
fn outputs_hold_the_urls_and_the_names_of_table_and_queues() {
    let (api, webhook) = (stack().output("ApiUrl"), stack().output("WebhookUrl"));
    assert!(api.starts_with("https://"));
    assert_eq!(webhook, format!("{api}/webhooks/mono"));
    assert!(stack().output("DashboardUrl").contains("dashboards"));
    for name in ["AccountsTableName", "WebhookQueueUrl", "WebhookDeadLetterQueueUrl"] {
        assert!(!stack().output(name).is_empty(), "{name}");
    }
}
