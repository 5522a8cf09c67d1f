//! The start of a customer's re-authorisation, in both versions of Mono's API.

use std::time::Duration;

use mono_sync::domain::timestamp::Timestamp;
use reqwest::{Method, RequestBuilder};
use sandbox::{Dialect, Fault, Kind, Link, Refresh};
use serde_json::{Value, json};

use super::account_id;
use super::manual_sync::{Answer, BOTH, Case};

fn request(case: &Case) -> RequestBuilder {
    let path = format!("/accounts/{}/reauthorise", case.id);
    case.world.stack.request(Method::POST, &path).header("authorization", "signed")
}

async fn reauthorise(case: &Case, body: &Value) -> Answer {
    Answer::of(request(case).json(body).send().await.unwrap()).await
}

/// The number of calls to Mono about the account.
fn calls(case: &Case) -> usize {
    let calls = case.world.mono.calls();
    calls.iter().filter(|call| call.account_id.as_ref() == Some(&case.id)).count()
}

#[tokio::test]
async fn reauthorisation_returns_a_link_or_a_token_and_the_account_recovers() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        case.world.mono.refresh(&case.id, Refresh::ReauthorisationRequired).unwrap();
        case.status("reauthorisation_required").await;
        let answer = Answer::of(request(&case).send().await.unwrap()).await.expect_ok();
        assert_eq!(answer.body["status"], "reauthorisation_required");
        match dialect {
            Dialect::V2 => {
                assert!(answer.body["url"].as_str().unwrap().starts_with("https://link.mono.co/"));
            }
            Dialect::V1 => {
                assert!(!answer.body["token"].as_str().unwrap().is_empty());
                let expires_at = answer.body["expires_at"].as_str().unwrap();
                let left = Timestamp::parse_rfc3339(expires_at).unwrap().since(Timestamp::now());
                assert!(left > Duration::from_mins(9) && left <= Duration::from_mins(10));
            }
        }
        case.world.mono.reauthorise(&case.id).unwrap();
        case.status("healthy").await;
        let answer = reauthorise(&case, &json!({})).await.expect_ok();
        assert_eq!(answer.body["status"], "healthy", "a healthy account gets a link or token too");
    }
}

#[tokio::test]
async fn reauthorisation_sends_the_reference_of_the_account_by_default() {
    let case = Case::linked(Dialect::V2).await;
    let own = case.shown().await["ref"].clone();
    let redirect_url = "https://app.example/done?a=b#c";
    reauthorise(&case, &json!({ "redirect_url": redirect_url })).await.expect_ok();
    // Other tests call Mono at the same time, so only calls about this account count.
    let body = || {
        let calls = case.world.mono.calls();
        let own = calls.iter().rfind(|call| call.account_id.as_ref() == Some(&case.id));
        own.unwrap().body.clone().unwrap()
    };
    assert_eq!(body()["redirect_url"], redirect_url);
    assert_eq!(body()["meta"]["ref"], own);
    assert_eq!(body()["scope"], "reauth");
    reauthorise(&case, &json!({ "ref": "another" })).await.expect_ok();
    assert_eq!(body()["meta"]["ref"], "another");
}

#[tokio::test]
async fn webhook_of_a_required_reauthorisation_makes_no_call_to_mono() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        case.world.mono.refresh(&case.id, Refresh::ReauthorisationRequired).unwrap();
        case.status("reauthorisation_required").await;
        assert_eq!(calls(&case), 0, "{dialect}");
    }
}

#[tokio::test]
async fn reauthorisation_is_404_for_unknown_and_410_for_unlinked_accounts() {
    for dialect in BOTH {
        let mut case = Case::unseen(dialect, Link::default());
        reauthorise(&case, &json!({})).await.expect(404, "ACCOUNT_NOT_FOUND");
        assert_eq!(calls(&case), 0);
        case.id = account_id();
        reauthorise(&case, &json!({})).await.expect(404, "ACCOUNT_NOT_FOUND");

        let case = Case::linked(dialect).await;
        case.world.mono.unlink(&case.id).unwrap();
        case.status("unlinked").await;
        reauthorise(&case, &json!({})).await.expect(410, "ACCOUNT_UNLINKED");
        case.sync().await.expect(410, "ACCOUNT_UNLINKED");
        let before = calls(&case);
        reauthorise(&case, &json!({})).await.expect(410, "ACCOUNT_UNLINKED");
        assert_eq!(calls(&case), before, "the confirmed unlinking is not verified again");

        let case = Case::linked(dialect).await;
        case.receive(Kind::AccountUnlinked);
        let answer = reauthorise(&case, &json!({})).await.expect_ok();
        assert_eq!(answer.body["status"], "healthy", "Mono still has the account");
    }
}

#[tokio::test]
async fn reauthorisation_maps_call_errors_like_a_sync() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        for (fault, status, code) in [
            (Fault::Status(404), 404, "ACCOUNT_NOT_FOUND"),
            (Fault::Status(401), 502, "SYNC_FAILED"),
            (Fault::Status(400), 502, "SYNC_FAILED"),
            (Fault::MalformedJson, 502, "SYNC_FAILED"),
            (Fault::Status(500), 503, "MONO_UNAVAILABLE"),
            (Fault::RateLimited { retry_after: Some(9) }, 503, "MONO_UNAVAILABLE"),
            (Fault::ConnectionClosed, 503, "MONO_UNAVAILABLE"),
        ] {
            case.world.mono.plan_free(&case.id, [fault.clone()]).unwrap();
            let answer = reauthorise(&case, &json!({})).await.expect(status, code);
            assert_eq!(answer.retry_after.is_some(), status == 503, "{fault:?}");
        }
    }
    let case = Case::linked(Dialect::V2).await;
    case.world.mono.plan_free(&case.id, [Fault::Hang]).unwrap();
    reauthorise(&case, &json!({})).await.expect(504, "MONO_TIMEOUT");
}

#[tokio::test]
async fn invalid_body_is_400_and_the_detail_names_the_part() {
    let case = Case::linked(Dialect::V2).await;
    for (body, part) in [
        (json!({ "redirect_url": "http://app.example" }), "`redirect_url`"),
        (json!({ "redirect_url": "https://other.example" }), "`redirect_url`"),
        (json!({ "redirect_url": 7 }), "`redirect_url`"),
        (json!({ "ref": "" }), "`ref`"),
        (json!({ "novelty": 1 }), "`novelty`"),
        (json!([]), "`body`"),
    ] {
        let answer = reauthorise(&case, &body).await.expect(400, "REQUEST_INVALID");
        assert!(answer.body["detail"].as_str().unwrap().starts_with(part), "{answer:?}");
    }
    let odd = request(&case).header("content-type", "text/plain").body("hello");
    let answer = Answer::of(odd.send().await.unwrap()).await.expect(400, "REQUEST_INVALID");
    assert!(answer.body["detail"].as_str().unwrap().starts_with("`content-type`"));
    let odd = request(&case).header("content-type", "application/json").body("{");
    Answer::of(odd.send().await.unwrap()).await.expect(400, "REQUEST_INVALID");
    assert_eq!(calls(&case), 0);
}
