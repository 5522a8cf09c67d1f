//! Who is let in with a token, and to whose accounts.

use std::sync::OnceLock;

use e2e::emulator::{Emulator, LocalError};
use e2e::identity::Issuer;
use e2e::samples::{LOCAL_KEY, LOCAL_SECRET};
use e2e::shared_stack::{aside, local, stack, start_mono};
use e2e::stack::Stack;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use sandbox::{Dialect, Link, Refresh, Sandbox};
use serde_json::{Map, Value, json};

use super::{account_id, eventually};

const AUDIENCE: &str = "the-app";
/// As those providers name claims that ask for a namespace.
const OWNER_CLAIM: &str = "https://example.com/customer";
const ORIGIN: &str = "https://app.example.com";

const READ: &str = "accounts:read";
const SYNC: &str = "accounts:sync";

/// A stack that asks for tokens, who issues them, and the stand-in for Mono.
struct Guarded {
    stack: Stack,
    issuer: Issuer,
    mono: Sandbox,
}

impl Guarded {
    async fn start(emulator: &Emulator) -> Result<Self, LocalError> {
        let issuer = Issuer::start().await?;
        let mono = start_mono(Dialect::V2).await?;
        let parameters = &[
            ("MonoSecretKey", LOCAL_KEY),
            ("MonoWebhookSecret", LOCAL_SECRET),
            ("MonoApiBaseUrl", &mono.url()),
            ("ApiAuthorization", "JWT"),
            ("JwtIssuer", issuer.url()),
            ("JwtAudience", &format!("another-app,{AUDIENCE}")),
            ("JwtOwnerClaim", OWNER_CLAIM),
            ("CorsAllowOrigin", ORIGIN),
        ];
        let stack = Stack::deploy(emulator, "authorisation", parameters).await?;
        stack.redeliver_soon().await;
        heed_cors(&stack).await;
        mono.set_webhook(&stack.webhook_url(), LOCAL_SECRET).map_err(std::io::Error::from)?;
        Ok(Self { stack, issuer, mono })
    }

    /// An account of this owner, known to the stack.
    async fn account_of(&self, owner: &str) -> String {
        let reference = Some(owner.to_owned());
        let id = self.mono.link(Link { reference, ..Link::default() });
        self.status(owner, &id, "healthy").await;
        id
    }

    /// An account of this owner that the bank wants the customer for.
    async fn account_in_need_of(&self, owner: &str) -> String {
        let id = self.account_of(owner).await;
        self.mono.refresh(&id, Refresh::ReauthorisationRequired).unwrap();
        self.status(owner, &id, "reauthorisation_required").await;
        id
    }

    async fn status(&self, owner: &str, id: &str, status: &str) {
        let token = self.token(owner, READ);
        eventually(status, async || {
            let account = ask(self.get(&format!("/accounts/{id}")).bearer_auth(&token)).await;
            account.body["status"] == status
        })
        .await;
    }

    fn token(&self, owner: &str, scope: &str) -> String {
        self.issuer.token(&claims(owner, scope))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.stack.request(Method::GET, path)
    }

    /// A request for an account, signed in as this owner with what the route needs.
    fn request(&self, route: &Route, id: &str, owner: &str) -> RequestBuilder {
        route.request(&self.stack, id).bearer_auth(self.token(owner, route.scope))
    }

    /// How many of Mono's calls were about an account, but for an import's, which nobody asks for.
    fn calls(&self, id: &str) -> usize {
        let calls = self.mono.calls();
        let mine = calls.iter().filter(|call| call.account_id.as_deref() == Some(id));
        mine.filter(|call| call.sync || !call.path.ends_with("/transactions")).count()
    }
}

/// The stack of these tests. Deployed by the first of them.
fn guarded() -> &'static Guarded {
    static GUARDED: OnceLock<Guarded> = OnceLock::new();
    GUARDED.get_or_init(|| {
        let emulator = &local().emulator;
        aside(Guarded::start(emulator)).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// The emulator keeps what the template calls `AllowOrigins` under that name, and heeds
/// `allowOrigins` alone, as API Gateway's own API has it: tells it once more, by that.
async fn heed_cors(stack: &Stack) {
    let url = format!("{}/v2/apis/{}", stack.endpoint(), stack.resource("HttpApi"));
    let operator = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/apigateway/aws4_request, \
                    SignedHeaders=host, Signature=0";
    let client = Client::new();
    let api = client.get(&url).header("authorization", operator).send().await.unwrap();
    let api: Value = api.json().await.unwrap();
    let cors: Map<_, _> = api["corsConfiguration"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name[..1].to_lowercase() + &name[1..], value.clone()))
        .collect();
    let update = client.patch(&url).header("authorization", operator);
    let answer = update.json(&json!({ "corsConfiguration": cors })).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

fn claims(owner: &str, scope: &str) -> Value {
    json!({ "aud": AUDIENCE, "scope": scope, OWNER_CLAIM: owner })
}

/// A closed route, and the scope it needs.
struct Route {
    method: Method,
    scope: &'static str,
    below_accounts: fn(&str) -> String,
}

impl Route {
    fn request(&self, stack: &Stack, id: &str) -> RequestBuilder {
        let path = format!("/accounts{}", (self.below_accounts)(id));
        stack.request(self.method.clone(), &path)
    }
}

const LIST: Route = Route { method: Method::GET, scope: READ, below_accounts: |_| String::new() };

/// The routes that are about one account.
const OF_AN_ACCOUNT: [Route; 5] = [
    Route { method: Method::GET, scope: READ, below_accounts: |id| format!("/{id}") },
    Route { method: Method::GET, scope: READ, below_accounts: |id| format!("/{id}/events") },
    Route { method: Method::GET, scope: READ, below_accounts: |id| format!("/{id}/transactions") },
    Route { method: Method::POST, scope: SYNC, below_accounts: |id| format!("/{id}/sync") },
    Route { method: Method::POST, scope: SYNC, below_accounts: |id| format!("/{id}/reauthorise") },
];

fn all_routes() -> impl Iterator<Item = Route> {
    OF_AN_ACCOUNT.into_iter().chain([LIST])
}

/// An answer.
#[derive(Debug)]
struct Told {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Told {
    #[track_caller]
    fn by_the_gateway(&self, status: u16, message: &str) {
        assert_eq!((self.status, &self.body), (status, &json!({ "message": message })), "{self:?}");
        assert!(self.headers.contains_key("apigw-requestid"));
    }

    #[track_caller]
    fn problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
    }

    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }
}

async fn ask(request: RequestBuilder) -> Told {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Told { status, headers, body: answer.json().await.unwrap_or_default() }
}

/// The ids of the accounts on a page.
fn ids(page: &Value) -> Vec<&str> {
    let accounts = page["accounts"].as_array().unwrap();
    accounts.iter().map(|account| account["account_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn nobody_is_let_in_without_a_right_token() {
    let guarded = guarded();
    let issuer = &guarded.issuer;
    let id = guarded.account_of("nobody").await;
    let before = guarded.calls(&id);
    let right = claims("nobody", &format!("{READ} {SYNC}"));
    let with = |claim: &str, value: Value| {
        let mut claims = right.clone();
        claims[claim] = value;
        issuer.token(&claims)
    };
    let stranger = aside(Issuer::start()).unwrap();
    let wrong = [
        ("expired", issuer.expired_token(&right)),
        ("not yet valid", with("nbf", json!(4_000_000_000_u64))),
        ("for another audience", with("aud", json!("somebody-elses-app"))),
        ("for nobody", with("aud", json!(null))),
        ("of another issuer", stranger.token(&right)),
        ("of another issuer by name", with("iss", json!(stranger.url()))),
        ("of an unknown key", issuer.token_of_unknown_key(&right)),
        ("forged", issuer.forged_token(&right)),
        ("no token", "signed".to_owned()),
    ];
    for route in all_routes() {
        let request = || route.request(&guarded.stack, &id);
        ask(request()).await.by_the_gateway(401, "Unauthorized");
        ask(request().header("authorization", "signed")).await.by_the_gateway(401, "Unauthorized");
        for (what, token) in &wrong {
            let told = ask(request().bearer_auth(token)).await;
            assert_eq!(told.status, 401, "{what}");
            told.by_the_gateway(401, "Unauthorized");
        }
    }
    assert_eq!(guarded.calls(&id), before);
}

#[tokio::test]
async fn token_does_no_more_than_its_scope_says() {
    let guarded = guarded();
    let id = guarded.account_of("scoped").await;
    let before = guarded.calls(&id);
    for route in all_routes() {
        let other = if route.scope == READ { SYNC } else { READ };
        for scope in [other, "", "openid profile", "accounts", "accounts:read:sync"] {
            let token = guarded.token("scoped", scope);
            let told = ask(route.request(&guarded.stack, &id).bearer_auth(token)).await;
            told.by_the_gateway(403, "Forbidden");
        }
    }
    assert_eq!(guarded.calls(&id), before);
}

#[tokio::test]
async fn token_that_names_no_owner_is_403() {
    let guarded = guarded();
    let id = guarded.account_of("somebody").await;
    let before = guarded.calls(&id);
    for route in all_routes() {
        for owner in [json!(null), json!("")] {
            let token = json!({ "aud": AUDIENCE, "scope": route.scope, OWNER_CLAIM: owner });
            let token = guarded.issuer.token(&token);
            let told = ask(route.request(&guarded.stack, &id).bearer_auth(token)).await;
            told.problem(403, "OWNER_CLAIM_MISSING");
        }
    }
    assert_eq!(guarded.calls(&id), before);
}

#[tokio::test]
async fn foreign_account_looks_like_a_missing_one() {
    let guarded = guarded();
    let theirs = guarded.account_in_need_of("chidi").await;
    let before = guarded.calls(&theirs);
    for route in OF_AN_ACCOUNT {
        for owner in ["ngozi", "Chidi", "chidi-2", "chid", "*"] {
            let [told, none] =
                [&theirs, &account_id()].map(|id| ask(guarded.request(&route, id, owner)));
            let (told, none) = (told.await, none.await);
            told.problem(404, "ACCOUNT_NOT_FOUND");
            assert_eq!((told.status, &told.body), (none.status, &none.body));
            let names = |told: &Told| -> Vec<_> {
                told.headers.keys().map(|name| name.as_str().to_owned()).collect()
            };
            assert_eq!(names(&told), names(&none));
        }
    }
    assert_eq!(guarded.calls(&theirs), before, "Mono is asked for its owner alone");
}

#[tokio::test]
async fn account_that_is_known_to_mono_alone_is_nobodys() {
    let guarded = guarded();
    let reference = Some("early".to_owned());
    let id = guarded.mono.link(Link { reference, silent: true, ..Link::default() });
    for route in OF_AN_ACCOUNT {
        let told = ask(guarded.request(&route, &id, "early")).await;
        told.problem(404, "ACCOUNT_NOT_FOUND");
    }
    assert_eq!(guarded.calls(&id), 0);
}

#[tokio::test]
async fn owners_see_and_sync_and_reauthorise_their_own() {
    let guarded = guarded();
    let id = guarded.account_in_need_of("adaobi").await;
    let [show, events, transactions, sync, reauthorise] =
        OF_AN_ACCOUNT.map(|route| guarded.request(&route, &id, "adaobi"));

    let account = ask(show).await.ok();
    assert_eq!((&account["account_id"], &account["ref"]), (&json!(id), &json!("adaobi")));
    let events = ask(events).await.ok();
    assert!(!events["events"].as_array().unwrap().is_empty());
    let transactions = ask(transactions).await.ok();
    assert!(transactions["transactions"].is_array());
    let link = ask(reauthorise).await.ok();
    assert!(link["url"].as_str().unwrap().starts_with("http"), "{link}");
    let synced = ask(sync).await.ok();
    assert_eq!(synced["code"], "SYNC_SUCCESSFUL");
}

#[tokio::test]
async fn list_and_cursor_show_only_the_owners_accounts() {
    let guarded = guarded();
    let mut mine = Vec::new();
    for _ in 0..2 {
        mine.push(guarded.account_in_need_of("bola").await);
    }
    let theirs = guarded.account_in_need_of("emeka").await;
    let list = async |owner: &str, query: &str| {
        let token = guarded.token(owner, READ);
        ask(guarded.get(&format!("/accounts{query}")).bearer_auth(token)).await.ok()
    };

    for query in ["", "?status=reauthorisation_required"] {
        let page = list("bola", query).await;
        let mut listed = ids(&page);
        listed.sort_unstable();
        let mut expected: Vec<_> = mine.iter().map(String::as_str).collect();
        expected.sort_unstable();
        assert_eq!(listed, expected);
        assert_eq!(page["next_cursor"], json!(null));
        assert_eq!(ids(&list("emeka", query).await), [&theirs]);
        assert_eq!(ids(&list("nobody-at-all", query).await), [""; 0]);
    }
    let queries = || local().proxy.count("Query", "AttentionByOwnerIndex");
    let before = queries();
    assert_eq!(ids(&list("bola", "?status=failed").await), [""; 0]);
    assert_eq!(queries(), before + 1, "one query, though two others were passed over");

    let first = list("bola", "?limit=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let query = format!("?limit=1&cursor={cursor}");
    let second = list("bola", &query).await;
    let [first, second] = [&first, &second].map(|page| ids(page)[0]);
    assert_ne!(first, second);
    let token = guarded.token("emeka", READ);
    let told = ask(guarded.get(&format!("/accounts{query}")).bearer_auth(token)).await;
    // Refused or empty or their own: whatever it is, it is nobody else's.
    assert!(!told.body.to_string().contains(first) && !told.body.to_string().contains(second));
}

#[tokio::test]
async fn another_reference_than_the_owners_is_400() {
    let guarded = guarded();
    let id = guarded.account_in_need_of("halima").await;
    let before = guarded.calls(&id);
    let [.., reauthorise] = OF_AN_ACCOUNT;
    let asked = |reference: &str| {
        let request = guarded.request(&reauthorise, &id, "halima");
        ask(request.json(&json!({ "ref": reference })))
    };
    let told = asked("somebody-else").await;
    told.problem(400, "REQUEST_INVALID");
    assert!(told.body["detail"].as_str().unwrap().starts_with("`ref`"), "{told:?}");
    assert_eq!(guarded.calls(&id), before);
    asked("halima").await.ok();
}

#[tokio::test]
async fn pages_of_the_origin_may_call_and_others_may_not() {
    let guarded = guarded();
    let preflight = |route: &Route, origin: &str| {
        let request = Route { method: Method::OPTIONS, ..*route }.request(&guarded.stack, "any");
        let request = request.header("origin", origin);
        let request = request.header("access-control-request-method", route.method.as_str());
        ask(request.header("access-control-request-headers", "authorization,content-type"))
    };
    for route in all_routes() {
        let allowed = preflight(&route, ORIGIN).await;
        assert_eq!(allowed.status, 204);
        let allows = |name: &str, value: &str| {
            let header = allowed.headers[&format!("access-control-allow-{name}")].to_str().unwrap();
            header.split(',').any(|each| each.trim().eq_ignore_ascii_case(value))
        };
        assert_eq!(allowed.headers["access-control-allow-origin"], ORIGIN);
        assert!(allows("methods", route.method.as_str()));
        assert!(allows("headers", "authorization") && allows("headers", "content-type"));

        let refused = preflight(&route, "https://elsewhere.example.com").await;
        assert!(!refused.headers.contains_key("access-control-allow-origin"));

        let request = guarded.request(&route, &account_id(), "ada").header("origin", ORIGIN);
        let told = ask(request).await;
        assert_eq!(told.headers["access-control-allow-origin"], ORIGIN);
        let exposed = told.headers["access-control-expose-headers"].to_str().unwrap();
        assert_eq!(exposed, "x-request-id,retry-after,apigw-requestid");
    }
}

#[tokio::test]
async fn no_page_may_call_where_no_origin_is_given() {
    for route in all_routes() {
        let request = Route { method: Method::OPTIONS, ..route }.request(stack(), "any");
        let request = request.header("origin", ORIGIN);
        let told = ask(request.header("access-control-request-method", "GET")).await;
        assert!(!told.headers.contains_key("access-control-allow-origin"));
    }
}

#[test]
fn tokens_cannot_be_requested_without_an_issuer_and_an_audience() {
    let parameters = [("JwtIssuer", "https://login.example.com"), ("JwtAudience", AUDIENCE)];
    for ((given, value), missing) in parameters.into_iter().zip(["JwtAudience", "JwtIssuer"]) {
        let parameters =
            [("MonoSecretKey", LOCAL_KEY), ("ApiAuthorization", "JWT"), (given, value)];
        let emulator = &local().emulator;
        let refused =
            aside(async move { Stack::deploy(emulator, "incomplete", &parameters).await });
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(&format!("ApiAuthorization JWT needs {missing}")), "{refused}");
    }
}
