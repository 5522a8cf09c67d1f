use reqwest::{Client, Method, StatusCode};
use sandbox::Sandbox;
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::receiver::{Receiver, fast};

async fn call(
    sandbox: &Sandbox,
    method: Method,
    path: &str,
    body: impl Into<String>,
) -> (StatusCode, Value) {
    let url = format!("{}/control{path}", sandbox.url());
    let request = Client::new().request(method, url).body(body.into());
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("a JSON answer"))
}

async fn post(sandbox: &Sandbox, path: &str, body: &Value) -> Value {
    let (status, answer) = call(sandbox, Method::POST, path, body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn get(sandbox: &Sandbox, path: &str) -> Value {
    call(sandbox, Method::GET, path, "").await.1
}

async fn refused(sandbox: &Sandbox, path: &str, body: &str) -> (StatusCode, String) {
    let (status, answer) = call(sandbox, Method::POST, path, body).await;
    let error = answer["error"].as_str().expect("an error").to_owned();
    (status, error)
}

#[tokio::test]
async fn account_can_be_linked_refreshed_reauthorised_and_unlinked() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let answer = post(&sandbox, "/accounts", &json!({ "ref": "owner-1" })).await;
    let account_id = answer["account_id"].as_str().expect("an id");
    let account = format!("/accounts/{account_id}");
    let outcome = json!({ "outcome": "reauthorisation_required" });
    post(&sandbox, &format!("{account}/refresh"), &outcome).await;
    post(&sandbox, &format!("{account}/reauthorise"), &json!({})).await;
    let income = json!({ "event": "account_income" });
    post(&sandbox, &format!("{account}/events"), &income).await;
    post(&sandbox, &format!("{account}/unlink"), &json!({})).await;

    let log = get(&sandbox, "/settled").await;
    let kinds: Vec<_> = log.as_array().expect("a list").iter().map(|d| &d["kind"]).collect();
    let expected = [
        "account_connected",
        "account_updated",
        "job_failed",
        "account_updated_reauthorisation_required",
        "account_reauthorized",
        "account_updated",
        "account_income",
        "account_unlinked",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(log[0]["attempts"], json!([{ "status": 200 }]));
    assert_eq!(log[0]["outcome"], "delivered");
    assert_eq!(receiver.posts().len(), expected.len());

    let accounts = get(&sandbox, "/accounts").await;
    assert_eq!(accounts[0]["account_id"], account_id);
    assert_eq!(accounts[0]["ref"], "owner-1");
    assert_eq!(accounts[0]["unlinked"], true);
}

#[tokio::test]
async fn event_can_have_a_chosen_id_time_and_fate() {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(fast()).await;
    let account_id = sandbox.link(sandbox::Link::default());
    let request = json!({
        "event": "account_updated",
        "event_id": "mine",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "network_fault": { "duplicated": 2 },
    });
    post(&sandbox, &format!("/accounts/{account_id}/events"), &request).await;
    sandbox.settled().await;
    let bodies = receiver.bodies();
    assert_eq!(bodies.len(), 4);
    assert_eq!(bodies[3]["event_id"], "mine");
    assert_eq!(bodies[3]["timestamp"], "2026-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn transaction_can_be_changed_moved_and_removed() {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let account_id = sandbox.link(sandbox::Link::default());
    let path = format!("/accounts/{account_id}/transactions");
    let rows = get(&sandbox, &path).await;
    let [changed, removed] = [0, 1].map(|place| rows[place]["id"].as_str().expect("an id"));
    let mut row = rows[0].clone();
    row["narration"] = json!("Corrected");
    row["date"] = json!("2020-01-01T01:00:00+01:00");
    let (status, _) =
        call(&sandbox, Method::PUT, &format!("{path}/{changed}"), row.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = call(&sandbox, Method::DELETE, &format!("{path}/{removed}"), "").await;
    assert_eq!(status, StatusCode::OK);

    let after = get(&sandbox, &path).await;
    let after = after.as_array().expect("a list");
    assert_eq!(after.len(), rows.as_array().expect("a list").len() - 1);
    assert!(after.iter().all(|row| row["id"] != removed));
    let oldest = after.last().expect("a row");
    assert_eq!(oldest["id"], changed);
    assert_eq!(oldest["narration"], "Corrected");
    assert_eq!(oldest["date"], "2020-01-01T00:00:00.000Z");
    let (status, _) = call(&sandbox, Method::DELETE, &format!("{path}/{removed}"), "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn network_and_webhook_can_be_changed() {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let receiver = Receiver::answering_200().await;
    let webhook = json!({ "url": receiver.url(), "secret": "s" }).to_string();
    let (status, _) = call(&sandbox, Method::PUT, "/webhook", webhook).await;
    assert_eq!(status, StatusCode::OK);
    let network = json!({ "lose": 1 }).to_string();
    let (status, answer) = call(&sandbox, Method::PUT, "/network", network).await;
    assert_eq!((status, &answer["lose"]), (StatusCode::OK, &json!(1.0)));

    post(&sandbox, "/accounts", &json!({})).await;

    let log = get(&sandbox, "/deliveries").await;
    assert_eq!(log[0]["outcome"], "lost");
    assert!(receiver.posts().is_empty());
}

#[tokio::test]
async fn empty_body_links_an_account() {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let (status, _) = call(&sandbox, Method::POST, "/accounts", "").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn invalid_input_is_answered_with_the_reason() {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let account_id = sandbox.link(sandbox::Link::default());
    let refresh = format!("/accounts/{account_id}/refresh");

    let (status, error) = refused(&sandbox, &refresh, r#"{"outcome":"luck"}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error.contains("luck") && error.contains("nothing_new"), "{error}");

    let (status, error) = refused(&sandbox, "/accounts", r#"{"colour":"red"}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(error.contains("colour"), "{error}");

    let (status, _) = refused(&sandbox, "/accounts", "not JSON").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn missing_account_is_404_and_unlinked_account_is_409() {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let account_id = sandbox.link(sandbox::Link::default());
    sandbox.unlink(&account_id).expect("a link");
    let unlink = format!("/accounts/{account_id}/unlink");
    let expected = [
        ("/accounts/nobody/unlink", StatusCode::NOT_FOUND),
        (unlink.as_str(), StatusCode::CONFLICT),
        ("/nothing", StatusCode::NOT_FOUND),
        ("/deliveries", StatusCode::METHOD_NOT_ALLOWED),
    ];
    for (path, status) in expected {
        assert_eq!(refused(&sandbox, path, "").await.0, status, "{path}");
    }
}

async fn put(sandbox: &Sandbox, path: &str, body: &Value) -> (StatusCode, Value) {
    call(sandbox, Method::PUT, path, body.to_string()).await
}

#[tokio::test]
async fn history_can_be_chosen_and_read() {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let history = json!({ "transactions": 3, "days": 2, "seed": 1, "largest_page": 2 });
    let answer = post(&sandbox, "/accounts", &json!({ "history": history })).await;
    let account_id = answer["account_id"].as_str().expect("an id");
    let rows = get(&sandbox, &format!("/accounts/{account_id}/transactions")).await;
    assert_eq!(rows, json!(sandbox.transactions(account_id)));
    assert_eq!(rows.as_array().map(Vec::len), Some(3));
    let nobody = "/accounts/nobody/transactions";
    assert_eq!(call(&sandbox, Method::GET, nobody, "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn syncs_can_be_planned_and_the_calls_read() {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let answer = post(&sandbox, "/accounts", &json!({ "balance_only": true })).await;
    let account_id = answer["account_id"].as_str().expect("an id");
    let plans = json!([{ "fault": { "status": 503 } }, { "outcome": "failed" }]);
    let answer = put(&sandbox, &format!("/accounts/{account_id}/plans"), &plans).await;
    assert_eq!(answer, (StatusCode::OK, json!({})));

    let caller = Caller::of(&sandbox);
    assert_eq!(caller.sync(account_id).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(caller.sync(account_id).await.body["code"], "SYNC_ERROR");

    let calls = get(&sandbox, "/calls").await;
    assert_eq!(calls[0]["answer"], json!({ "fault": { "status": 503 } }));
    assert_eq!(calls[1]["answer"], json!({ "status": 200 }));
    assert_eq!((&calls[0]["sync"], &calls[0]["begun"]), (&json!(true), &json!(false)));
    assert_eq!((&calls[1]["begun"], &calls[1]["signed_in"]), (&json!(true), &json!(true)));
}

#[tokio::test]
async fn invalid_plans_are_refused() {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let account_id = sandbox.link(sandbox::Link::default());
    let plans = format!("/accounts/{account_id}/plans");
    let refused = [
        (json!([{ "colour": "red" }]), "colour"),
        (json!([{ "failure_status": 99 }]), "99"),
        (json!([{ "fault": { "rate_limited": { "retry": 1 } } }]), "retry_after"),
        (json!({}), "sequence"),
    ];
    for (body, reason) in refused {
        let (status, answer) = put(&sandbox, &plans, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(reason)), "{answer}");
    }
    let (status, _) = put(&sandbox, "/accounts/nobody/plans", &json!([])).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
