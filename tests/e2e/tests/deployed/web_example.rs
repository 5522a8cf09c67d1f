//! The example `examples/web`: a real browser uses its page as a customer does.

use e2e::emulator::lasting_port;
use e2e::project;
use e2e::samples::{LOCAL_KEY, LOCAL_SECRET};
use e2e::shared_stack::local;
use e2e::stack::Stack;
use e2e::web_example::{WebExample, origin};
use reqwest::{Client, Method, RequestBuilder};
use sandbox::{Link, Sandbox, Settings};
use serde_json::{Value, json};
use tokio::process::Command;

use super::eventually;

const CUSTOMER: &str = "customer-1";

#[tokio::test]
async fn customer_manages_own_accounts_in_a_browser_and_reaches_no_account_of_others() {
    let settings = Settings {
        secret_key: LOCAL_KEY.to_owned(),
        time_scale: 1000.0,
        hosted_pages: true,
        ..Settings::default()
    };
    let mono = Sandbox::start(settings).await.unwrap();
    let port = lasting_port().unwrap();
    let parameters = [
        ("MonoSecretKey", LOCAL_KEY),
        ("MonoWebhookSecret", LOCAL_SECRET),
        ("MonoApiBaseUrl", &mono.url()),
        ("RedirectOrigins", &origin(port)),
    ];
    let stack = Stack::deploy(&local().emulator, "web-example", &parameters).await.unwrap();
    stack.redeliver_soon().await;
    mono.set_webhook(&stack.webhook_url(), LOCAL_SECRET).unwrap();
    let web = WebExample::start(&stack, port, CUSTOMER).await.unwrap();
    use_in_browser(&web, &mono).await;
    reach_no_other_account(&web, &stack, &mono).await;
}

async fn use_in_browser(web: &WebExample, mono: &Sandbox) {
    let folder = project().join("target/local/browser");
    std::fs::create_dir_all(&folder).unwrap();
    let mut node = Command::new(project().join(".venv/browser/bin/node"));
    node.arg(project().join("tests/e2e/web/drive.mjs"))
        .args([web.url(), &mono.url()])
        .arg(folder.join("page.png"))
        // The browser is unpacked there.
        .env("TMPDIR", &folder)
        .kill_on_drop(true);
    let output = node.output().await.unwrap();
    let is_skipped = output.status.code() == Some(77) && std::env::var_os("CI").is_none();
    if is_skipped {
        eprintln!("The browser test did not run: Chrome is not installed.");
        return;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn reach_no_other_account(web: &WebExample, stack: &Stack, mono: &Sandbox) {
    let http = Client::new();
    let request = |method, path: &str| http.request(method, format!("{}{path}", web.url()));
    let from_page = |method, path: &str| request(method, path).header("origin", web.url());
    let other = Some("customer-2".to_owned());
    let id = mono.link(Link { reference: other, ..Link::default() });
    eventually("the account is there", async || {
        stack.account(&id).await.unwrap().1["status"] == "healthy"
    })
    .await;
    for (method, action) in [
        (Method::POST, "/sync"),
        (Method::POST, "/reauthorise"),
        (Method::POST, "/unlink"),
        (Method::DELETE, ""),
    ] {
        let path = format!("/api/accounts/{id}{action}");
        assert_eq!(status(from_page(method.clone(), &path)).await, 404, "{action}");
        assert_eq!(status(request(method, &path)).await, 403, "without an origin: {action}");
    }
    let elsewhere = request(Method::POST, "/api/links").header("origin", "https://app.example");
    assert_eq!(status(elsewhere).await, 403);
    assert_eq!(listed(request(Method::GET, "/api/accounts")).await, json!([]));

    // The signed-in customer now logs in at the bank of this account.
    let body = json!({ "code": mono.code(&id).unwrap() }).to_string();
    let exchange = from_page(Method::POST, "/api/links/exchange").body(body);
    assert_eq!(status(exchange).await, 200);
    eventually("the account is listed", async || {
        listed(request(Method::GET, "/api/accounts")).await[0]["account_id"] == id.as_str()
    })
    .await;
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

async fn listed(request: RequestBuilder) -> Value {
    request.send().await.unwrap().json::<Value>().await.unwrap()["accounts"].take()
}
