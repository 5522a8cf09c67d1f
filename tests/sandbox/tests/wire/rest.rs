//! The routes, the key, the calls that are no syncs, and the log.

use reqwest::{Method, StatusCode};
use sandbox::account::DataStatus;
use sandbox::{Answer, Call, Charge, Fault, Link, Plan, Refresh, Refusal, Sandbox, Settings};
use serde_json::{Value, json};

use crate::caller::{Caller, balance, read};
use crate::receiver::fast;

async fn start() -> (Sandbox, Caller, String) {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let caller = Caller::of(&sandbox);
    let account_id = sandbox.link(Link::default());
    (sandbox, caller, account_id)
}

/// All routes about an account, with their methods.
fn routes(account_id: &str) -> Vec<(Method, String)> {
    let routes = [
        (Method::GET, "/v2/accounts/{}"),
        (Method::GET, "/v2/accounts/{}/balance"),
        (Method::GET, "/v2/accounts/{}/transactions"),
        (Method::GET, "/v2/accounts/{}/jobs/none"),
        (Method::GET, "/accounts/{}"),
        (Method::GET, "/accounts/{}/transactions"),
        (Method::POST, "/accounts/{}/sync"),
        (Method::POST, "/accounts/{}/reauthorise"),
    ];
    routes.map(|(method, path)| (method, path.replace("{}", account_id))).into()
}

async fn initiate(caller: &Caller, body: Value) -> (StatusCode, Value) {
    let request = caller.request(Method::POST, "/v2/accounts/initiate");
    let reply = read(request.body(body.to_string())).await;
    (reply.status, reply.body)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn v2_details_are_in_snake_case_and_show_four_digits_of_the_bvn() {
    let (sandbox, caller, account_id) = start().await;
    let reply = caller.get(&format!("/v2/accounts/{account_id}")).await;
    let known = sandbox.account(&account_id).expect("an account");
    let data = &reply.body["data"];
    assert_eq!(reply.body["status"], "successful");
    assert_eq!(data["account"]["id"], account_id);
    assert_eq!(data["account"]["account_number"], known.account_number);
    assert_eq!(data["account"]["institution"]["bank_code"], known.institution.bank_code);
    assert_eq!(data["account"]["bvn"].as_str().map(str::len), Some(4));
    assert_eq!(data["customer"]["id"], known.customer_id);
    assert_eq!(data["meta"]["data_status"], "AVAILABLE");
    assert_eq!(data["meta"]["ref"], known.reference);
    assert_eq!(data["meta"]["retrieved_data"], json!(["identity", "balance", "transactions"]));
}

#[tokio::test]
async fn v1_details_are_in_camel_case_and_in_no_envelope() {
    let (sandbox, caller, account_id) = start().await;
    let reply = caller.get(&format!("/accounts/{account_id}")).await;
    let known = sandbox.account(&account_id).expect("an account");
    assert_eq!(keys(&reply.body), ["account", "meta"]);
    assert_eq!(reply.body["account"]["_id"], account_id);
    assert_eq!(reply.body["account"]["accountNumber"], known.account_number);
    assert_eq!(reply.body["account"]["institution"]["bankCode"], known.institution.bank_code);
    assert_eq!(reply.body["meta"]["data_status"], "AVAILABLE");
}

#[tokio::test]
async fn balance_without_the_real_time_header_is_the_stored_one() {
    let (sandbox, caller, account_id) = start().await;
    for header in [None, Some("false")] {
        let mut request = caller.request(Method::GET, &balance(&account_id));
        if let Some(value) = header {
            request = request.header("x-realtime", value);
        }
        let reply = read(request).await;
        assert_eq!(reply.body["data"]["balance"], 1_000_000);
        assert_eq!(reply.body["data"]["currency"], "NGN");
        assert_eq!(reply.header("x-job-id"), None);
    }
    assert_eq!(sandbox.begun_syncs(&account_id), 0);
}

#[tokio::test]
async fn v1_returns_a_new_token_for_each_reauthorisation() {
    let (_sandbox, caller, account_id) = start().await;
    let path = format!("/accounts/{account_id}/reauthorise");
    let first = caller.post(&path).await.body;
    assert_eq!(first["token"].as_str().map(str::len), Some(20));
    assert_ne!(caller.post(&path).await.body, first);
}

#[tokio::test]
async fn v2_returns_a_link_for_a_reauthorisation() {
    let (sandbox, caller, account_id) = start().await;
    let body = json!({ "scope": "reauth", "account": account_id, "meta": { "ref": "1" } });
    let (status, answer) = initiate(&caller, body).await;
    assert_eq!(status, StatusCode::OK);
    let url = answer["data"]["mono_url"].as_str().expect("a link");
    assert!(url.starts_with("https://link.mono.co/"), "{url}");
    assert_eq!(answer["data"]["account"], account_id);
    assert_eq!(answer["data"]["meta"], json!({ "ref": "1" }));
    assert_eq!(sandbox.calls()[0].account_id, Some(account_id));
}

#[tokio::test]
async fn link_is_refused_without_scope_or_account_and_for_other_scopes() {
    let (_sandbox, caller, account_id) = start().await;
    let expected = [
        (json!({}), StatusCode::BAD_REQUEST),
        (json!({ "scope": "auth", "account": account_id }), StatusCode::BAD_REQUEST),
        (json!({ "scope": "reauth", "account": "nobody" }), StatusCode::NOT_FOUND),
    ];
    for (body, status) in expected {
        assert_eq!(initiate(&caller, body).await.0, status);
    }
}

#[tokio::test]
async fn job_can_be_polled_only_by_its_own_account() {
    let (sandbox, caller, account_id) = start().await;
    sandbox.refresh(&account_id, Refresh::NothingNew).expect("a link");
    let job_id = sandbox.account(&account_id).expect("an account").job_id;
    let reply = caller.job(&account_id, &job_id).await;
    assert_eq!(reply.body["data"]["id"], job_id);
    assert_eq!(reply.body["data"]["account"], account_id);
    assert_eq!(reply.body["data"]["name"], "jobs.accounts.sync_statement");
    assert_eq!(reply.body["data"]["status"], "finished");
    let other = sandbox.link(Link::default());
    assert_eq!(caller.job(&other, &job_id).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn wrong_key_is_refused_on_every_route() {
    let (sandbox, caller, account_id) = start().await;
    let caller = caller.with_key("test_sk_of_somebody_else");
    for (method, path) in routes(&account_id) {
        let reply = read(caller.request(method, &path)).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(keys(&reply.body), ["data", "message", "status", "timestamp"]);
        assert_eq!(reply.body["status"], "failed");
    }
    assert!(sandbox.calls().iter().all(|call| !call.signed_in && !call.begun));
    let unsigned = reqwest::get(format!("{}/v2/accounts/{account_id}", sandbox.url())).await;
    assert_eq!(unsigned.expect("an answer").status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn new_key_replaces_the_old_one_at_once() {
    let (sandbox, caller, account_id) = start().await;
    sandbox.set_secret_key("test_sk_of_tomorrow").expect("a key");
    let path = balance(&account_id);
    assert_eq!(caller.get(&path).await.status, StatusCode::UNAUTHORIZED);
    let caller = caller.with_key("test_sk_of_tomorrow");
    assert_eq!(caller.get(&path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn blank_key_is_refused() {
    let (sandbox, ..) = start().await;
    for key in ["", " ", "\n"] {
        assert_eq!(sandbox.set_secret_key(key), Err(Refusal::SecretKey));
        let settings = Settings { secret_key: key.to_owned(), ..fast() };
        assert!(Sandbox::start(settings).await.is_err());
    }
}

#[tokio::test]
async fn unknown_and_unlinked_accounts_are_404_everywhere() {
    let (sandbox, caller, account_id) = start().await;
    sandbox.unlink(&account_id).expect("a link");
    for account_id in ["nobody", &account_id] {
        for (method, path) in routes(account_id) {
            let reply = read(caller.request(method, &path)).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(reply.body["status"], "failed");
            assert_eq!(reply.body["data"], Value::Null);
        }
    }
    assert!(sandbox.calls().iter().all(|call| !call.begun));
}

#[tokio::test]
async fn unsupported_request_is_refused_in_monos_error_format() {
    let (_sandbox, caller, account_id) = start().await;
    let reply = caller.get("/v3/accounts").await;
    assert_eq!((reply.status, &reply.body["status"]), (StatusCode::NOT_FOUND, &json!("failed")));
    let reply = caller.get(&format!("/accounts/{account_id}/sync")).await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn planned_faults_happen_to_plain_reads_and_not_to_syncs() {
    let (sandbox, caller, account_id) = start().await;
    let faults = [Fault::Status(503), Fault::RateLimited { retry_after: None }];
    sandbox.plan_free(&account_id, faults).expect("an account");
    assert_eq!(caller.refresh(&account_id).await.status, StatusCode::OK);
    let details = format!("/v2/accounts/{account_id}");
    assert_eq!(caller.get(&details).await.status, StatusCode::SERVICE_UNAVAILABLE);
    let token = format!("/accounts/{account_id}/reauthorise");
    assert_eq!(caller.post(&token).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(caller.get(&details).await.status, StatusCode::OK);
}

#[tokio::test]
async fn link_for_reauthorisation_has_the_planned_faults_of_its_account() {
    let (sandbox, caller, account_id) = start().await;
    sandbox.plan_free(&account_id, [Fault::Status(500)]).expect("an account");
    let body = json!({ "scope": "reauth", "account": account_id });
    assert_eq!(initiate(&caller, body).await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn log_has_every_call_and_no_key() {
    let (sandbox, caller, account_id) = start().await;
    let fault = Plan { fault: Some(Fault::Status(500)), ..Plan::default() };
    sandbox.plan(&account_id, [Plan::default(), fault]).expect("an account");
    caller.get(&format!("/accounts/{account_id}")).await;
    caller.post(&format!("/accounts/{account_id}/sync?allow_incomplete_statement=true")).await;
    caller.refresh(&account_id).await;
    caller.get("/nothing").await;

    let call = |method: &str, path: String| Call {
        method: method.to_owned(),
        path,
        query: None,
        headers: Vec::new(),
        body: None,
        account_id: Some(account_id.clone()),
        signed_in: true,
        sync: false,
        begun: false,
        charge: None,
        answer: Answer::Status(200),
    };
    let expected = [
        Call { charge: Some(Charge::Details), ..call("GET", format!("/accounts/{account_id}")) },
        Call {
            query: Some("allow_incomplete_statement=true".to_owned()),
            sync: true,
            begun: true,
            charge: Some(Charge::Realtime),
            ..call("POST", format!("/accounts/{account_id}/sync"))
        },
        Call {
            sync: true,
            answer: Answer::Fault(Fault::Status(500)),
            ..call("GET", balance(&account_id))
        },
        Call {
            account_id: None,
            answer: Answer::Status(404),
            ..call("GET", "/nothing".to_owned())
        },
    ];
    let bare = |call: Call| Call { headers: Vec::new(), ..call };
    assert_eq!(sandbox.calls().into_iter().map(bare).collect::<Vec<_>>(), expected);
    assert_eq!(sandbox.begun_syncs(&account_id), 1);
    assert!(!json!(sandbox.calls()).to_string().contains("test_sk"));
}

#[tokio::test]
async fn log_has_the_body_and_the_header_names_of_a_call() {
    let (sandbox, caller, account_id) = start().await;
    let body = json!({ "scope": "reauth", "account": account_id });
    initiate(&caller, body.clone()).await;
    let [call] = &sandbox.calls()[..] else { panic!("one call was made") };
    assert_eq!(call.body, Some(body));
    assert!(call.headers.iter().any(|name| name == "mono-sec-key"));
}

#[tokio::test]
async fn fault_can_have_its_own_message() {
    let (sandbox, caller, account_id) = start().await;
    let words = Fault::Words { status: 402, message: "The bank says no".to_owned() };
    sandbox.plan_free(&account_id, [words]).expect("an account");
    let answer = caller.get(&format!("/v2/accounts/{account_id}")).await;
    assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(answer.body["message"], "The bank says no");
}

#[tokio::test]
async fn plan_for_an_unknown_account_is_refused() {
    let (sandbox, ..) = start().await;
    let refusal = Err(Refusal::UnknownAccount("nobody".to_owned()));
    assert_eq!(sandbox.plan("nobody", []), refusal);
    assert_eq!(sandbox.plan_always("nobody", Plan::default()), refusal);
    assert_eq!(sandbox.plan_free("nobody", []), refusal);
}

#[tokio::test]
async fn domiciliary_account_is_partial_in_dollars() {
    let (sandbox, caller, _) = start().await;
    let account_id = sandbox.link(Link { balance_only: true, ..Link::default() });
    let data = caller.get(&format!("/v2/accounts/{account_id}")).await.body["data"].clone();
    assert_eq!(data["account"]["currency"], "USD");
    assert_eq!(data["meta"]["data_status"], "PARTIAL");
    assert_eq!(data["meta"]["retrieved_data"], json!(["identity", "balance"]));
    let known = sandbox.account(&account_id).expect("an account");
    assert_eq!(known.data_status, DataStatus::Partial);
}
