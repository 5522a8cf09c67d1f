//! Tests the client of Mono's API against the sandbox, over a real socket.

use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use e2e::emulator::free_port;
use e2e::shared_stack::local;
use mono_sync::aws::store::Ledger;
use mono_sync::domain::account::{
    CallError, JobState, ProviderError, Reading, SyncData, SyncOutcome,
};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::business_day::BusinessDay;
use mono_sync::domain::link_token::LinkToken;
use mono_sync::domain::spending::{Budget, BudgetKind, Budgets, CallReason, Prices};
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::transaction::TransactionPage;
use mono_sync::mono::{
    ApiVersion, Customer, JobReport, KeyCache, LinkError, LinkRequest, Meter, Mono, Part,
    Reauthorisation, ReauthorisationRequest, SyncRequest, TransactionsError,
};
use sandbox::{Fault, History, Link, Pace, Plan, ReauthSignal, Refresh, Sandbox, Settings};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::records::{client as dynamodb, create_table};
use crate::unique;

const LIMIT: Duration = Duration::from_secs(25);
const BOTH: [ApiVersion; 2] = [ApiVersion::V1, ApiVersion::V2];

/// The sandbox with one account, and a client of it. The client's key is a stored secret.
struct World {
    sandbox: Sandbox,
    mono: Mono,
    ledger: Ledger,
    secret: String,
    id: AccountId,
}

impl World {
    async fn new(version: ApiVersion) -> Self {
        Self::with_limit(version, LIMIT).await
    }

    async fn with_limit(version: ApiVersion, limit: Duration) -> Self {
        let settings = Settings { secret_key: "test_sk_first".to_owned(), ..Settings::default() };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let id = sandbox.link(Link::default()).parse().unwrap();
        let secret = unique("key");
        let create = secrets().create_secret().name(&secret).secret_string("test_sk_first");
        create.send().await.unwrap();
        let ledger = ledger().await;
        let mono = client(version, &sandbox.url(), &secret, &ledger, limit);
        Self { sandbox, mono, ledger, secret, id }
    }

    fn plan(&self, plan: Plan) {
        self.sandbox.plan(self.id.as_str(), [plan]).unwrap();
    }

    async fn sync(&self) -> SyncOutcome {
        self.sync_at(Timestamp::now(), SyncData::Transactions).await
    }

    async fn sync_at(&self, now: Timestamp, data: SyncData) -> SyncOutcome {
        let session = self.mono.session(now).await.unwrap();
        let request = SyncRequest { data, allow_incomplete_statement: false };
        session.sync(&self.id, request, CallReason::Manual, Instant::now() + LIMIT).await.0
    }

    /// Today's spending in the ledger, and Mono's bill, both in naira.
    async fn ledger_and_bill(&self) -> (u64, u64) {
        let today = BusinessDay::of(Timestamp::now());
        let automatic = self.ledger.spent(today, BudgetKind::Automatic).await.unwrap();
        let manual = self.ledger.spent(today, BudgetKind::Manual).await.unwrap();
        (automatic.0 + manual.0, self.sandbox.bill(self.id.as_str()).naira)
    }

    async fn page(&self) -> Result<TransactionPage, TransactionsError> {
        let session = self.mono.session(Timestamp::now()).await.unwrap();
        let today = BusinessDay::of(Timestamp::now());
        session.transactions(&self.id, &(today..=today), Part::All, Instant::now() + LIMIT).await
    }

    async fn account(&self) -> Result<Reading, CallError> {
        let session = self.mono.session(Timestamp::now()).await.unwrap();
        session.account(&self.id, CallReason::Verification, Instant::now() + LIMIT).await
    }
}

/// A new ledger without a budget limit.
async fn ledger() -> Ledger {
    let table = unique("spending");
    create_table(&table).await;
    let budgets = Budgets { automatic: Budget(None), manual: Budget(None) };
    Ledger::new(dynamodb(), table, budgets)
}

fn secrets() -> Client {
    Client::new(&local().sdk())
}

fn client(version: ApiVersion, url: &str, secret: &str, ledger: &Ledger, limit: Duration) -> Mono {
    let meter = Meter::new(Prices::default(), ledger.clone());
    Mono::new(version, url.parse().unwrap(), KeyCache::new(secrets(), secret), meter, limit)
}

fn fault(fault: Fault) -> Plan {
    Plan { fault: Some(fault), ..Plan::default() }
}

fn unusable(code: &str) -> SyncOutcome {
    let error = ProviderError { code: code.to_owned(), message: None };
    SyncOutcome::NoResult(CallError::Unusable(error))
}

#[tokio::test]
async fn each_api_version_has_its_own_sync_request() {
    for (version, method, path) in
        [(ApiVersion::V1, "POST", "sync"), (ApiVersion::V2, "GET", "transactions")]
    {
        let world = World::new(version).await;
        assert!(matches!(world.sync().await, SyncOutcome::Successful { has_new_data: true, .. }));
        let calls = world.sandbox.calls();
        let [call] = &calls[..] else { panic!("{calls:?}") };
        assert!(call.begun && call.signed_in);
        assert_eq!((call.method.as_str(), call.path.ends_with(path)), (method, true), "{call:?}");
        for name in ["x-realtime", "x-real-time"] {
            let sent = call.headers.iter().any(|header| header == name);
            assert_eq!(
                sent,
                version == ApiVersion::V2,
                "{name}: Mono's documentation spells the header in two ways"
            );
        }
    }
}

#[tokio::test]
async fn balance_call_returns_the_balance() {
    let world = World::new(ApiVersion::V2).await;
    let outcome = world.sync_at(Timestamp::now(), SyncData::Balance).await;
    let SyncOutcome::Successful { balance: Some(balance), job_id: Some(_), .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(balance.0, world.sandbox.account(world.id.as_str()).unwrap().balance);
}

#[tokio::test]
async fn job_poll_reports_a_running_job_and_none_for_an_unknown_id() {
    let world = World::new(ApiVersion::V2).await;
    world.plan(Plan { pace: Pace::NeverEnding, ..Plan::default() });
    let SyncOutcome::Processing { job_id: Some(job_id) } = world.sync().await else { panic!() };
    let session = world.mono.session(Timestamp::now()).await.unwrap();
    let by = Instant::now() + LIMIT;
    let running = JobReport { state: JobState::Running, data: SyncData::Transactions };
    assert_eq!(session.job(&world.id, &job_id, CallReason::Manual, by).await, Ok(Some(running)));
    assert_eq!(session.job(&world.id, "unknown", CallReason::Manual, by).await, Ok(None));
}

#[tokio::test]
async fn failed_job_is_polled_for_its_reason() {
    let world = World::new(ApiVersion::V2).await;
    let (outcome, reauth_signal) = (Refresh::ReauthorisationRequired, ReauthSignal::JobLookup);
    world.plan(Plan { outcome, reauth_signal, ..Plan::default() });
    assert!(matches!(world.sync().await, SyncOutcome::ReauthorisationRequired { job_id: Some(_) }));
    world.plan(Plan { outcome: Refresh::Failed, ..Plan::default() });
    let paid = world.sandbox.begun_syncs(world.id.as_str());
    assert!(matches!(world.sync().await, SyncOutcome::Failed { job_id: Some(_), .. }));
    assert_eq!(
        world.sandbox.begun_syncs(world.id.as_str()),
        paid + 1,
        "polling a job begins no sync"
    );
}

#[tokio::test]
async fn changed_key_is_read_again_within_a_minute_of_the_first_refusal() {
    let world = World::new(ApiVersion::V2).await;
    let now = Timestamp::now();
    let sync = async |now| world.sync_at(now, SyncData::Transactions).await;
    assert!(matches!(sync(now).await, SyncOutcome::Successful { .. }));

    world.sandbox.set_secret_key("test_sk_second").unwrap();
    let put = secrets().put_secret_value().secret_id(&world.secret);
    put.secret_string("test_sk_second\n").send().await.unwrap();
    let SyncOutcome::NoResult(CallError::Refused(error)) = sync(now).await else { panic!() };
    assert_eq!(error.code, "HTTP_401");
    let minute = Duration::from_mins(1);
    assert!(matches!(sync(now + minute / 2).await, SyncOutcome::NoResult(CallError::Refused(_))));
    assert!(matches!(sync(now + minute).await, SyncOutcome::Successful { .. }));
    let reads = local().proxy.count("GetSecretValue", &format!("\"{}\"", world.secret));
    assert_eq!(reads, 2);
}

#[tokio::test]
async fn key_is_read_once_an_hour() {
    let world = World::new(ApiVersion::V1).await;
    let now = Timestamp::now();
    for minutes in [0, 1, 30, 59, 60, 61] {
        world.sync_at(now + Duration::from_mins(minutes), SyncData::Transactions).await;
    }
    let reads = local().proxy.count("GetSecretValue", &format!("\"{}\"", world.secret));
    assert_eq!(reads, 2);
}

#[tokio::test]
async fn session_fails_with_a_blank_or_missing_key() {
    let blank = unique("key");
    secrets().create_secret().name(&blank).secret_string(" ").send().await.unwrap();
    for secret in [blank, unique("missing")] {
        let mono = client(ApiVersion::V2, "http://127.0.0.1:9", &secret, &ledger().await, LIMIT);
        assert!(mono.session(Timestamp::now()).await.is_err());
    }
}

#[tokio::test]
async fn redirect_is_not_followed() {
    for version in BOTH {
        let elsewhere = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let world = World::new(version).await;
        let url = format!("http://{}/", elsewhere.local_addr().unwrap());
        world.plan(fault(Fault::Redirect(url)));
        assert_eq!(world.sync().await, unusable("HTTP_307"));
        let called = timeout(Duration::from_millis(200), elsewhere.accept()).await;
        assert!(called.is_err(), "the client followed the redirect");
    }
}

#[tokio::test]
async fn each_fault_has_its_own_call_error() {
    for version in BOTH {
        let world = World::new(version).await;
        let no_result = SyncOutcome::NoResult;
        for (what, outcome) in [
            (Fault::MalformedJson, unusable("UNREADABLE_ANSWER")),
            (Fault::Html(200), unusable("UNREADABLE_ANSWER")),
            (Fault::EndlessBody, unusable("ANSWER_TOO_LARGE")),
            (Fault::ConnectionClosed, no_result(CallError::Unavailable)),
            (Fault::Status(500), no_result(CallError::Unavailable)),
            (Fault::Status(503), no_result(CallError::Unavailable)),
            (
                Fault::RateLimited { retry_after: Some(7) },
                no_result(CallError::RateLimited { retry_after: Some(Duration::from_secs(7)) }),
            ),
        ] {
            world.plan(fault(what.clone()));
            assert_eq!(world.sync().await, outcome, "{what:?}");
        }
    }
}

#[tokio::test]
async fn sync_is_never_retried() {
    for version in BOTH {
        for what in [Fault::ConnectionClosed, Fault::Status(500), Fault::Status(429)] {
            let world = World::new(version).await;
            world.plan(fault(what.clone()));
            world.sync().await;
            assert_eq!(world.sandbox.calls().len(), 1, "{what:?}");
        }
    }
}

#[tokio::test]
async fn call_ends_at_its_time_limit() {
    for version in BOTH {
        let world = World::with_limit(version, Duration::from_millis(300)).await;
        world.plan(fault(Fault::Hang));
        assert_eq!(world.sync().await, SyncOutcome::NoResult(CallError::TimedOut));
    }
}

#[tokio::test]
async fn unopened_connection_is_distinguished_from_a_broken_one() {
    let secret = unique("key");
    secrets().create_secret().name(&secret).secret_string("test_sk").send().await.unwrap();
    let url = format!("http://127.0.0.1:{}", free_port().unwrap());
    for version in BOTH {
        let mono = client(version, &url, &secret, &ledger().await, LIMIT);
        let session = mono.session(Timestamp::now()).await.unwrap();
        let request =
            SyncRequest { data: SyncData::Transactions, allow_incomplete_statement: false };
        let id = "a".parse().unwrap();
        let not_connected = SyncOutcome::NoResult(CallError::NotConnected);
        assert_eq!(
            session.sync(&id, request, CallReason::Manual, Instant::now() + LIMIT).await.0,
            not_connected
        );
        let too_late = Instant::now();
        assert_eq!(
            session.sync(&id, request, CallReason::Manual, too_late).await.0,
            not_connected,
            "nothing was sent"
        );
    }
}

#[tokio::test]
async fn read_is_retried_after_transient_errors_and_begins_no_sync() {
    for version in BOTH {
        let world = World::new(version).await;
        let id = world.id.as_str();
        let limited = Fault::RateLimited { retry_after: None };
        world.sandbox.plan_free(id, [limited, Fault::ConnectionClosed]).unwrap();
        assert!(matches!(world.account().await, Ok(Reading::Linked(_))));
        assert_eq!(world.sandbox.calls().len(), 3);

        world.sandbox.plan_free(id, vec![Fault::Status(503); 3]).unwrap();
        assert_eq!(world.account().await, Err(CallError::Unavailable), "retries are limited");
        world.sandbox.plan_free(id, [Fault::Status(401)]).unwrap();
        let calls = world.sandbox.calls().len();
        assert!(matches!(world.account().await, Err(CallError::Refused(_))));
        assert_eq!(world.sandbox.calls().len(), calls + 1, "a refusal is not retried");
        assert_eq!(world.sandbox.begun_syncs(id), 0);
    }
}

#[tokio::test]
async fn account_unlinked_at_mono_is_gone() {
    for version in BOTH {
        let world = World::new(version).await;
        assert!(matches!(world.account().await, Ok(Reading::Linked(_))));
        world.sandbox.unlink(world.id.as_str()).unwrap();
        assert_eq!(world.account().await, Ok(Reading::Gone));
    }
}

#[tokio::test]
async fn reauthorisation_request_follows_the_api_version() {
    let request = ReauthorisationRequest {
        redirect_url: Some("https://app.example/done".to_owned()),
        reference: Some("owner-1".to_owned()),
    };
    for version in BOTH {
        let world = World::new(version).await;
        let session = world.mono.session(Timestamp::now()).await.unwrap();
        let link = session.reauthorise(&world.id, &request, Instant::now() + LIMIT).await;
        let call = world.sandbox.calls().remove(0);
        match (version, link.ok().unwrap()) {
            (ApiVersion::V2, Reauthorisation::Link { url }) => {
                assert!(url.starts_with("https://link.mono.co/"));
                let body = json!({
                    "scope": "reauth", "account": world.id.as_str(),
                    "meta": { "ref": "owner-1" }, "redirect_url": "https://app.example/done",
                });
                assert_eq!(call.body, Some(body));
            }
            (ApiVersion::V1, Reauthorisation::Token { token, expires_at }) => {
                assert!(!token.is_empty() && expires_at > Timestamp::now());
                assert_eq!(call.body, None);
            }
            _ => panic!("the answer has the form of the other version"),
        }
        assert_eq!((call.begun, call.charge), (false, None));
    }
}

#[tokio::test]
async fn link_is_started_with_the_token_as_its_reference() {
    let world = World::new(ApiVersion::V2).await;
    let token = LinkToken::new([3; 17]);
    let (name, email) = ("Ada Fictional".to_owned(), "ada@example.com".to_owned());
    let customer = Customer::New { name: name.clone(), email: email.clone() };
    let redirect_url = "https://app.example/done".to_owned();
    let link = LinkRequest { customer, redirect_url: redirect_url.clone() };
    let session = world.mono.session(Timestamp::now()).await.unwrap();
    let by = Instant::now() + LIMIT;
    let page = session.start_link(&token, &link, by).await.unwrap();
    assert!(page.url.starts_with("https://link.mono.co/") && page.customer_id.is_some());
    let body = world.sandbox.calls().pop().unwrap().body.unwrap();
    let expected = json!({
        "customer": { "name": name, "email": email },
        "meta": { "ref": token.as_str() },
        "scope": "auth",
        "redirect_url": redirect_url,
    });
    assert_eq!(body, expected);
    assert_eq!(world.ledger_and_bill().await, (0, 0), "only the login has a price");

    let v1 = World::new(ApiVersion::V1).await;
    let session = v1.mono.session(Timestamp::now()).await.unwrap();
    assert!(matches!(session.start_link(&token, &link, by).await, Err(LinkError::Unsupported)));
    assert!(v1.sandbox.calls().is_empty());
}

#[tokio::test]
async fn code_is_exchanged_and_an_invalid_code_is_refused() {
    for version in BOTH {
        let world = World::new(version).await;
        let session = world.mono.session(Timestamp::now()).await.unwrap();
        let (code, by) = (world.sandbox.code(world.id.as_str()).unwrap(), Instant::now() + LIMIT);
        assert_eq!(session.exchange(&code, by).await, Ok(world.id.clone()));
        let refused = session.exchange("code_invented", by).await;
        assert!(matches!(refused, Err(LinkError::Refused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn account_is_unlinked_and_an_unknown_account_counts_as_unlinked() {
    for version in BOTH {
        let world = World::new(version).await;
        let session = world.mono.session(Timestamp::now()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(session.unlink(&world.id, Instant::now() + LIMIT).await, Ok(()));
        }
        assert!(world.sandbox.account(world.id.as_str()).unwrap().unlinked);
        world.sandbox.plan_free(world.id.as_str(), [Fault::Status(400)]).unwrap();
        let refused = session.unlink(&world.id, Instant::now() + LIMIT).await;
        assert!(matches!(refused, Err(LinkError::Refused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn ledger_agrees_with_monos_bill() {
    for version in BOTH {
        let outcomes = [
            (Refresh::NewData, 100),
            (Refresh::NothingNew, 0),
            (Refresh::Failed, 0),
            (Refresh::BankUnavailable, 0),
            (Refresh::ReauthorisationRequired, 0),
            (Refresh::Partial, 0),
        ];
        for (outcome, naira) in outcomes {
            let world = World::new(version).await;
            world.plan(Plan { outcome, ..Plan::default() });
            world.sync().await;
            assert_eq!(world.ledger_and_bill().await, (naira, naira), "{version:?} {outcome:?}");
        }
        for (transactions, naira) in [(0, 0), (1, 150)] {
            let world = World::new(version).await;
            let history = History { transactions, days: 1, ..History::default() };
            let id = world
                .sandbox
                .link(Link { history: Some(history), ..Link::default() })
                .parse()
                .unwrap();
            let world = World { id, ..world };
            world.page().await.unwrap();
            assert_eq!(world.ledger_and_bill().await, (naira, naira), "{version:?}");
        }
        let world = World::new(version).await;
        world.account().await.unwrap();
        assert_eq!(world.ledger_and_bill().await, (100, 100));
        world.sandbox.unlink(world.id.as_str()).unwrap();
        assert_eq!(world.account().await, Ok(Reading::Gone));
        assert_eq!(world.ledger_and_bill().await, (100, 100), "a 404 costs nothing");
    }
}

#[tokio::test]
async fn failed_attempts_of_a_read_cost_nothing() {
    let world = World::new(ApiVersion::V2).await;
    let failures = [Fault::Status(503), Fault::RateLimited { retry_after: None }];
    world.sandbox.plan_free(world.id.as_str(), failures).unwrap();
    assert!(matches!(world.account().await, Ok(Reading::Linked(_))));
    assert_eq!(world.ledger_and_bill().await, (100, 100));
}

#[tokio::test]
async fn call_without_an_answer_counts_as_charged() {
    for what in [Fault::Status(500), Fault::ConnectionClosed, Fault::MalformedJson] {
        for done in [false, true] {
            let world = World::new(ApiVersion::V2).await;
            world.plan(Plan { done, ..fault(what.clone()) });
            world.sync().await;
            let charged = if done { 100 } else { 0 };
            assert_eq!(world.ledger_and_bill().await, (100, charged), "{what:?}");
        }
    }
}

#[tokio::test]
async fn mono_is_not_called_when_the_budget_is_exhausted() {
    let world = World::new(ApiVersion::V2).await;
    let table = unique("spending");
    create_table(&table).await;
    let budgets = Budgets { automatic: Budget::new(0), manual: Budget::new(150) };
    let ledger = Ledger::new(dynamodb(), table, budgets);
    let url = world.sandbox.url();
    let mono = client(ApiVersion::V2, &url, &world.secret, &ledger, LIMIT);
    let world = World { mono, ledger, ..world };
    assert!(matches!(world.sync().await, SyncOutcome::Successful { .. }));
    let SyncOutcome::NoResult(CallError::BudgetExhausted { until }) = world.sync().await else {
        panic!("the second costs 100 of the 50 naira left");
    };
    assert_eq!(until, (BusinessDay::of(Timestamp::now()) + 1).begins_at());
    assert_eq!(world.sandbox.calls().len(), 1);
    let read = world.account().await;
    assert!(matches!(read, Ok(Reading::Linked(_))), "a verification is paid from the other budget");
}
