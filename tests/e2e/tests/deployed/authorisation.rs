//! Authorisation with JWTs: which tokens are accepted, and which accounts each owner can access.

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
/// A namespaced claim: some identity providers require a namespace for custom claims.
const OWNER_CLAIM: &str = "https://example.com/customer";
const ORIGIN: &str = "https://app.example.com";

const READ: &str = "accounts:read";
const SYNC: &str = "accounts:sync";

/// A stack that requires JWTs, with their issuer and the sandbox.
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
        configure_cors(&stack).await;
        mono.set_webhook(&stack.webhook_url(), LOCAL_SECRET).map_err(std::io::Error::from)?;
        Ok(Self { stack, issuer, mono })
    }

    /// A healthy account of this owner that the stack knows.
    async fn account_of(&self, owner: &str) -> String {
        let reference = Some(owner.to_owned());
        let id = self.mono.link(Link { reference, ..Link::default() });
        self.status(owner, &id, "healthy").await;
        id
    }

    /// An account of this owner whose bank requires re-authorisation.
    async fn account_to_reauthorise(&self, owner: &str) -> String {
        let id = self.account_of(owner).await;
        self.mono.refresh(&id, Refresh::ReauthorisationRequired).unwrap();
        self.status(owner, &id, "reauthorisation_required").await;
        id
    }

    async fn status(&self, owner: &str, id: &str, status: &str) {
        let token = self.token(owner, READ);
        eventually(status, async || {
            let account = send(self.get(&format!("/accounts/{id}")).bearer_auth(&token)).await;
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

    /// A request for an account with a token of this owner that has the scope of the route.
    fn request(&self, route: &Route, id: &str, owner: &str) -> RequestBuilder {
        route.request(&self.stack, id).bearer_auth(self.token(owner, route.scope))
    }

    /// The number of calls to Mono about an account, without those of imports, which no caller requests.
    fn calls(&self, id: &str) -> usize {
        let calls = self.mono.calls();
        let mine = calls.iter().filter(|call| call.account_id.as_deref() == Some(id));
        mine.filter(|call| call.sync || !call.path.ends_with("/transactions")).count()
    }
}

/// The stack of these tests. The first test deploys it.
fn guarded() -> &'static Guarded {
    static GUARDED: OnceLock<Guarded> = OnceLock::new();
    GUARDED.get_or_init(|| {
        let emulator = &local().emulator;
        aside(Guarded::start(emulator)).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Configures CORS again, with the property names of API Gateway's own API. The emulator stores the template's
/// `AllowOrigins` under that name but reads only `allowOrigins`.
async fn configure_cors(stack: &Stack) {
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

/// A protected route and the scope that it requires.
struct Route {
    method: Method,
    scope: &'static str,
    path_suffix: fn(&str) -> String,
}

impl Route {
    fn request(&self, stack: &Stack, id: &str) -> RequestBuilder {
        let path = format!("/accounts{}", (self.path_suffix)(id));
        stack.request(self.method.clone(), &path)
    }
}

const LIST: Route = Route { method: Method::GET, scope: READ, path_suffix: |_| String::new() };

/// The routes of one account.
const ACCOUNT_ROUTES: [Route; 6] = [
    Route { method: Method::GET, scope: READ, path_suffix: |id| format!("/{id}") },
    Route { method: Method::GET, scope: READ, path_suffix: |id| format!("/{id}/events") },
    Route { method: Method::GET, scope: READ, path_suffix: |id| format!("/{id}/transactions") },
    Route {
        method: Method::GET,
        scope: READ,
        path_suffix: |id| format!("/{id}/transactions/changes"),
    },
    Route { method: Method::POST, scope: SYNC, path_suffix: |id| format!("/{id}/sync") },
    Route { method: Method::POST, scope: SYNC, path_suffix: |id| format!("/{id}/reauthorise") },
];

fn all_routes() -> impl Iterator<Item = Route> {
    ACCOUNT_ROUTES.into_iter().chain([LIST])
}

#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    #[track_caller]
    fn expect_gateway_error(&self, status: u16, message: &str) {
        assert_eq!((self.status, &self.body), (status, &json!({ "message": message })), "{self:?}");
        assert!(self.headers.contains_key("apigw-requestid"));
    }

    #[track_caller]
    fn expect_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, &self.body["code"]), (status, &json!(code)), "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
    }

    #[track_caller]
    fn expect_ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }
}

async fn send(request: RequestBuilder) -> Reply {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Reply { status, headers, body: answer.json().await.unwrap_or_default() }
}

/// The ids of the accounts on a page.
fn ids(page: &Value) -> Vec<&str> {
    let accounts = page["accounts"].as_array().unwrap();
    accounts.iter().map(|account| account["account_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn request_without_a_valid_token_is_401() {
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
        ("without an audience", with("aud", json!(null))),
        ("of another issuer", stranger.token(&right)),
        ("that names another issuer", with("iss", json!(stranger.url()))),
        ("signed with an unknown key", issuer.token_of_unknown_key(&right)),
        ("forged", issuer.forged_token(&right)),
        ("not a token", "signed".to_owned()),
    ];
    for route in all_routes() {
        let request = || route.request(&guarded.stack, &id);
        send(request()).await.expect_gateway_error(401, "Unauthorized");
        send(request().header("authorization", "signed"))
            .await
            .expect_gateway_error(401, "Unauthorized");
        for (what, token) in &wrong {
            let reply = send(request().bearer_auth(token)).await;
            assert_eq!(reply.status, 401, "{what}");
            reply.expect_gateway_error(401, "Unauthorized");
        }
    }
    assert_eq!(guarded.calls(&id), before);
}

#[tokio::test]
async fn token_without_the_scope_of_the_route_is_403() {
    let guarded = guarded();
    let id = guarded.account_of("scoped").await;
    let before = guarded.calls(&id);
    for route in all_routes() {
        let other = if route.scope == READ { SYNC } else { READ };
        for scope in [other, "", "openid profile", "accounts", "accounts:read:sync"] {
            let token = guarded.token("scoped", scope);
            let reply = send(route.request(&guarded.stack, &id).bearer_auth(token)).await;
            reply.expect_gateway_error(403, "Forbidden");
        }
    }
    assert_eq!(guarded.calls(&id), before);
}

#[tokio::test]
async fn token_without_an_owner_claim_is_403() {
    let guarded = guarded();
    let id = guarded.account_of("somebody").await;
    let before = guarded.calls(&id);
    for route in all_routes() {
        for owner in [json!(null), json!("")] {
            let token = json!({ "aud": AUDIENCE, "scope": route.scope, OWNER_CLAIM: owner });
            let token = guarded.issuer.token(&token);
            let reply = send(route.request(&guarded.stack, &id).bearer_auth(token)).await;
            reply.expect_problem(403, "OWNER_CLAIM_MISSING");
        }
    }
    assert_eq!(guarded.calls(&id), before);
}

#[tokio::test]
async fn account_of_another_owner_gets_the_same_404_as_an_unknown_account() {
    let guarded = guarded();
    let theirs = guarded.account_to_reauthorise("chidi").await;
    let before = guarded.calls(&theirs);
    for route in ACCOUNT_ROUTES {
        for owner in ["ngozi", "Chidi", "chidi-2", "chid", "*"] {
            let [reply, none] =
                [&theirs, &account_id()].map(|id| send(guarded.request(&route, id, owner)));
            let (reply, none) = (reply.await, none.await);
            reply.expect_problem(404, "ACCOUNT_NOT_FOUND");
            assert_eq!((reply.status, &reply.body), (none.status, &none.body));
            let names = |reply: &Reply| -> Vec<_> {
                reply.headers.keys().map(|name| name.as_str().to_owned()).collect()
            };
            assert_eq!(names(&reply), names(&none));
        }
    }
    assert_eq!(guarded.calls(&theirs), before, "only requests of the owner reach Mono");
}

#[tokio::test]
async fn account_that_only_mono_knows_is_404_for_every_owner() {
    let guarded = guarded();
    let reference = Some("early".to_owned());
    let id = guarded.mono.link(Link { reference, silent: true, ..Link::default() });
    for route in ACCOUNT_ROUTES {
        let reply = send(guarded.request(&route, &id, "early")).await;
        reply.expect_problem(404, "ACCOUNT_NOT_FOUND");
    }
    assert_eq!(guarded.calls(&id), 0);
}

#[tokio::test]
async fn owner_can_read_sync_and_reauthorise_an_account() {
    let guarded = guarded();
    let id = guarded.account_to_reauthorise("adaobi").await;
    let [show, events, transactions, changes, sync, reauthorise] =
        ACCOUNT_ROUTES.map(|route| guarded.request(&route, &id, "adaobi"));

    let account = send(show).await.expect_ok();
    assert_eq!((&account["account_id"], &account["ref"]), (&json!(id), &json!("adaobi")));
    let events = send(events).await.expect_ok();
    assert!(!events["events"].as_array().unwrap().is_empty());
    let transactions = send(transactions).await.expect_ok();
    assert!(transactions["transactions"].is_array());
    let changes = send(changes).await.expect_ok();
    assert!(changes["added"].is_array());
    let link = send(reauthorise).await.expect_ok();
    assert!(link["url"].as_str().unwrap().starts_with("http"), "{link}");
    let synced = send(sync).await.expect_ok();
    assert_eq!(synced["code"], "SYNC_SUCCESSFUL");
}

#[tokio::test]
async fn list_and_cursor_show_only_the_owners_accounts() {
    let guarded = guarded();
    let mut mine = Vec::new();
    for _ in 0..2 {
        mine.push(guarded.account_to_reauthorise("bola").await);
    }
    let theirs = guarded.account_to_reauthorise("emeka").await;
    let list = async |owner: &str, query: &str| {
        let token = guarded.token(owner, READ);
        send(guarded.get(&format!("/accounts{query}")).bearer_auth(token)).await.expect_ok()
    };

    for query in ["", "?status=reauthorisation_required", "?status=attention"] {
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
    assert_eq!(
        queries(),
        before + 1,
        "one query, although it skips two accounts of another status"
    );

    assert_eq!(ids(&list("bola", "?ref=emeka").await), [""; 0]);
    let first = list("bola", "?limit=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let query = format!("?limit=1&cursor={cursor}");
    let second = list("bola", &query).await;
    let [first, second] = [&first, &second].map(|page| ids(page)[0]);
    assert_ne!(first, second);
    let token = guarded.token("emeka", READ);
    let reply = send(guarded.get(&format!("/accounts{query}")).bearer_auth(token)).await;
    // The answer may be an error, an empty page or the owner's own accounts, but never accounts of another owner.
    assert!(!reply.body.to_string().contains(first) && !reply.body.to_string().contains(second));
}

#[tokio::test]
async fn reauthorisation_with_the_reference_of_another_owner_is_400() {
    let guarded = guarded();
    let id = guarded.account_to_reauthorise("halima").await;
    let before = guarded.calls(&id);
    let [.., reauthorise] = ACCOUNT_ROUTES;
    let request_with = |reference: &str| {
        let request = guarded.request(&reauthorise, &id, "halima");
        send(request.json(&json!({ "ref": reference })))
    };
    let reply = request_with("somebody-else").await;
    reply.expect_problem(400, "REQUEST_INVALID");
    assert!(reply.body["detail"].as_str().unwrap().starts_with("`ref`"), "{reply:?}");
    assert_eq!(guarded.calls(&id), before);
    request_with("halima").await.expect_ok();
}

#[tokio::test]
async fn cors_allows_only_the_configured_origin() {
    let guarded = guarded();
    let preflight = |route: &Route, origin: &str| {
        let request = Route { method: Method::OPTIONS, ..*route }.request(&guarded.stack, "any");
        let request = request.header("origin", origin);
        let request = request.header("access-control-request-method", route.method.as_str());
        send(request.header("access-control-request-headers", "authorization,content-type"))
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
        let reply = send(request).await;
        assert_eq!(reply.headers["access-control-allow-origin"], ORIGIN);
        let exposed = reply.headers["access-control-expose-headers"].to_str().unwrap();
        assert_eq!(exposed, "x-request-id,retry-after,apigw-requestid");
    }
}

#[tokio::test]
async fn cors_allows_no_origin_by_default() {
    for route in all_routes() {
        let request = Route { method: Method::OPTIONS, ..route }.request(stack(), "any");
        let request = request.header("origin", ORIGIN);
        let reply = send(request.header("access-control-request-method", "GET")).await;
        assert!(!reply.headers.contains_key("access-control-allow-origin"));
    }
}

#[test]
fn jwt_authorisation_without_an_issuer_or_an_audience_cannot_be_deployed() {
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
