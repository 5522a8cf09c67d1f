//! The pages on which a customer logs in at the bank.

use reqwest::{Method, RequestBuilder, StatusCode};
use sandbox::{Kind, Link, Refresh, Sandbox, Settings};
use serde_json::{Value, json};

use crate::caller::{Caller, read};
use crate::receiver::fast;

async fn start() -> (Sandbox, Caller) {
    let settings = Settings { hosted_pages: true, ..fast() };
    let sandbox = Sandbox::start(settings).await.expect("a sandbox");
    let caller = Caller::of(&sandbox);
    (sandbox, caller)
}

/// The path of the page in the answer of Mono's API.
async fn page(sandbox: &Sandbox, caller: &Caller, body: Value) -> String {
    let request = caller.request(Method::POST, "/v2/accounts/initiate").body(body.to_string());
    let answer = read(request).await.body;
    let url = answer["data"]["mono_url"].as_str().expect("a URL");
    url.strip_prefix(&sandbox.url()).expect("a page of the sandbox").to_owned()
}

/// The status, the header `location`, and the HTML.
async fn html(request: RequestBuilder) -> (StatusCode, Option<String>, String) {
    let answer = request.send().await.expect("an answer");
    let location = answer.headers().get("location");
    let location = location.map(|location| location.to_str().expect("a text").to_owned());
    (answer.status(), location, answer.text().await.expect("a text"))
}

#[tokio::test]
async fn customer_links_an_account_once_and_is_redirected() {
    let (sandbox, caller) = start().await;
    let redirect_url = r#"https://app.example/done?a=1&b="<c>""#;
    let body = json!({
        "scope": "auth",
        "customer": { "name": "Adaeze Fictional", "email": "adaeze@example.com" },
        "meta": { "ref": "owner-of-the-link" },
        "redirect_url": redirect_url,
    });
    let path = page(&sandbox, &caller, body).await;

    let (status, _, shown) = html(caller.request(Method::GET, &path)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(shown.contains("Pretend Trust Bank") && shown.contains("Log in"), "{shown}");
    let cancel = "href=\"https://app.example/done?a=1&amp;b=&quot;&lt;c&gt;&quot;\"";
    assert!(shown.contains(cancel), "{shown}");
    assert!(sandbox.accounts().is_empty());

    let log_in = || caller.request(Method::POST, &path).body("bank_code=903");
    let (status, location, _) = html(log_in()).await;
    assert_eq!((status, location.as_deref()), (StatusCode::SEE_OTHER, Some(redirect_url)));
    assert_eq!(html(log_in()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(html(caller.request(Method::GET, &path)).await.0, StatusCode::NOT_FOUND);
    let accounts = sandbox.accounts();
    let [account] = &accounts[..] else { panic!("one account is linked") };
    assert_eq!(account.reference, "owner-of-the-link");
    assert_eq!(account.institution.bank_code, "903");
}

#[tokio::test]
async fn customer_reauthorises_an_account() {
    let (sandbox, caller) = start().await;
    let account_id = sandbox.link(Link::default());
    sandbox.refresh(&account_id, Refresh::ReauthorisationRequired).expect("a link");
    let body = json!({ "scope": "reauth", "account": account_id });
    let path = page(&sandbox, &caller, body).await;

    let (_, _, shown) = html(caller.request(Method::GET, &path)).await;
    assert!(shown.contains("one-time-code") && shown.contains("Confirm"), "{shown}");
    let (status, location, _) = html(caller.request(Method::POST, &path).body("code=123456")).await;
    assert_eq!((status, location), (StatusCode::OK, None));
    let kinds = sandbox.deliveries().into_iter().map(|delivery| delivery.kind);
    assert_eq!(kinds.filter(|kind| *kind == Some(Kind::AccountReauthorized)).count(), 1);
    assert_eq!(sandbox.accounts().len(), 1);
}

#[tokio::test]
async fn unknown_page_is_404() {
    let (_sandbox, caller) = start().await;
    for method in [Method::GET, Method::POST] {
        assert_eq!(html(caller.request(method, "/hosted/a")).await.0, StatusCode::NOT_FOUND);
    }
}
