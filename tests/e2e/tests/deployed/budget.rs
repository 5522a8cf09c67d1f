//! The daily budget, the circuit breaker and the refresh rules. The tests have stacks of their own.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::QueueAttributeName;
use e2e::emulator::Emulator;
use e2e::samples::{self, LOCAL_KEY, LOCAL_SECRET};
use e2e::shared_stack::{World, aside, local, start_mono};
use e2e::stack::Stack;
use mono_sync::domain::timestamp::Timestamp;
use reqwest::Method;
use sandbox::{Dialect, Fault, History, Kind, Link, Plan, Refresh, Webhooks};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::manual_sync::{Answer, Case};
use super::{eventually, item, set_number};

const DAY: Duration = Duration::from_hours(24);

/// Starts the emulator before it returns the future. `aside` starts the emulator too and must not run inside itself.
pub(super) fn deploy(name: &str, parameters: &[(&str, &str)]) -> impl Future<Output = World> {
    deploy_to(&local().emulator, name, parameters)
}

pub(super) async fn deploy_to(
    emulator: &Emulator,
    name: &str,
    parameters: &[(&str, &str)],
) -> World {
    let mono = start_mono(Dialect::V2).await.unwrap();
    let url = mono.url();
    let own = [
        ("MonoSecretKey", LOCAL_KEY),
        ("MonoWebhookSecret", LOCAL_SECRET),
        ("MonoApiBaseUrl", url.as_str()),
        ("RefreshMaximumConcurrency", "10"),
    ];
    let parameters: Vec<_> = own.iter().chain(parameters).copied().collect();
    let stack = Stack::deploy(emulator, name, &parameters).await.unwrap();
    stack.redeliver_soon().await;
    mono.set_webhook(&stack.webhook_url(), LOCAL_SECRET).unwrap();
    World { stack, mono }
}

/// A stack with daily budgets of 1,000 naira (automatic) and 250 naira (manual). Its tests run one after the other.
async fn limited() -> (&'static World, MutexGuard<'static, ()>) {
    static WORLD: OnceLock<World> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    let world = WORLD.get_or_init(|| {
        aside(deploy("budget", &[("MonoDailyBudget", "1000"), ("ManualDailyBudget", "250")]))
    });
    (world, turn)
}

/// A stack without a budget limit. Its tests run one after the other.
async fn unlimited() -> (&'static World, MutexGuard<'static, ()>) {
    static WORLD: OnceLock<World> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    let world = WORLD.get_or_init(|| {
        aside(deploy(
            "rules",
            &[
                ("MonoDailyBudget", "0"),
                ("ManualDailyBudget", "0"),
                ("RefreshPolicy", "on_read"),
                ("SyncCooldownSeconds", "0"),
            ],
        ))
    });
    (world, turn)
}

impl Case {
    /// An account at Mono whose link sent no webhook.
    pub(super) fn silent(world: &'static World, transactions: usize) -> Self {
        let history = History { transactions, days: 5, ..History::default() };
        let link = Link { silent: true, history: Some(history), ..Link::default() };
        Self { world, id: world.mono.link(link) }
    }

    /// An account whose last sync is this old and brought no new data.
    pub(super) async fn overdue(world: &'static World, ago: Duration) -> Self {
        let case = Self::silent(world, 0);
        case.send_sync_event(ago).await;
        case
    }

    /// Sends the webhook of a sync of this age without new data, and waits until it is applied.
    async fn send_sync_event(&self, ago: Duration) {
        let at = (Timestamp::now() - ago).to_string();
        let mono = &self.world.mono;
        let event = mono.event(Kind::AccountUpdatedBySync, &self.id).unwrap().with_timestamp(&at);
        let meta = "/data/meta";
        let event = event
            .with(&format!("{meta}/has_new_data"), json!(false))
            .with(&format!("{meta}/retrieved_data"), json!(["identity", "balance"]));
        mono.send(&event);
        self.when("the event is applied", |account| account["last_event_at"] == at.as_str()).await;
    }

    async fn set_refresh(&self, body: Value) -> Answer {
        let path = format!("/accounts/{}", self.id);
        let request = self.world.stack.request(Method::PATCH, &path);
        Answer::of(request.header("authorization", "signed").json(&body).send().await.unwrap())
            .await
    }
}

/// The key of today's spending item.
fn today() -> String {
    let today = mono_sync::domain::business_day::BusinessDay::of(Timestamp::now());
    format!("#spending#{today}")
}

/// The naira that a budget has spent today.
pub(super) async fn spent(world: &World, budget: &str) -> u64 {
    let item = item(world, &today()).await;
    let naira = item.get(budget).and_then(|naira| naira.as_n().ok()?.parse().ok());
    naira.unwrap_or_default()
}

/// Deletes today's spending, as if a new day began.
async fn reset_spending(world: &World) {
    let delete = Client::new(&world.stack.sdk())
        .delete_item()
        .table_name(world.stack.output("AccountsTableName"));
    delete.key("account_id", AttributeValue::S(today())).send().await.unwrap();
}

/// Begins a day in which nothing is reserved. The first import of an account reserves naira until Mono has answered that
/// there are no rows.
async fn begin_day(world: &World) {
    until_idle(world).await;
    reset_spending(world).await;
}

/// Waits until the stack works on nothing. The order is that of the data: a function enqueues its successor's message
/// before its own message is deleted, and a sync makes Mono send webhooks.
pub(super) async fn until_idle(world: &World) {
    until_empty(world, "RefreshQueueUrl").await;
    world.mono.settled().await;
    until_empty(world, "WebhookQueueUrl").await;
    until_empty(world, "ImportQueueUrl").await;
}

/// Waits until a queue holds no message, visible, delayed or in flight.
async fn until_empty(world: &World, queue: &str) {
    let sqs = Sqs::new(&world.stack.sdk());
    eventually("the queue is empty", async || {
        let attributes = sqs.get_queue_attributes().queue_url(world.stack.output(queue));
        let attributes = attributes.attribute_names(QueueAttributeName::All).send().await.unwrap();
        let attributes = attributes.attributes.unwrap();
        let counts = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        counts.iter().all(|count| attributes[count] == "0")
    })
    .await;
}

#[tokio::test]
async fn ten_concurrent_workers_stay_within_the_budget() {
    let (world, _turn) = limited().await;
    let mut cases = Vec::new();
    for _ in 0..30 {
        cases.push(Case::overdue(world, DAY + DAY).await);
    }
    begin_day(world).await;
    let before = world.mono.whole_bill().naira;
    // As if the planner had queued all thirty while the budget was still sufficient.
    let sqs = Sqs::new(&world.stack.sdk());
    for case in &cases {
        let job = samples::refresh_job(&case.id, &Timestamp::now().to_string());
        let send = sqs.send_message().queue_url(world.stack.output("RefreshQueueUrl"));
        send.message_body(job.to_body()).send().await.unwrap();
    }
    eventually("the budget is spent", async || {
        let lines = world.stack.log("refresh-worker").await.unwrap();
        lines.iter().filter(|line| line.contains("\"budget_exhausted\"")).count() >= 20
    })
    .await;
    until_idle(world).await;
    let charged = world.mono.whole_bill().naira - before;
    assert_eq!(charged, spent(world, "automatic").await);
    // The rest of the budget is less than the price of the cheapest call.
    assert!((901..=1_000).contains(&charged), "{charged}");
    let synced = cases.iter().filter(|case| world.mono.begun_syncs(&case.id) > 0).count();
    assert!((4..=10).contains(&synced), "{synced}");
    for case in &cases {
        let account = case.shown().await;
        assert_eq!(account["status"], "healthy", "the budget fails no account");
        let is_synced = world.mono.begun_syncs(&case.id) > 0;
        assert_eq!(account["last_sync_attempt_at"].is_string(), is_synced);
    }
    let dead = world.stack.output("ImportDeadLetterQueueUrl");
    let dead = sqs.receive_message().queue_url(dead).send().await.unwrap();
    assert!(dead.messages().is_empty());
}

#[tokio::test]
async fn plan_queues_the_oldest_accounts_within_the_budget_and_the_rest_the_next_day() {
    let (world, _turn) = limited().await;
    let mut cases = Vec::new();
    for age in 1..=12 {
        cases.push(Case::overdue(world, DAY * 3 + DAY * age).await);
    }
    begin_day(world).await;
    let before = world.mono.whole_bill().naira;
    let plan = world.stack.plan_refresh().await.unwrap();
    assert_eq!(plan["scheduled"], 4, "at 250 naira each: {plan}");
    assert!(plan["left_out"].as_u64() >= Some(8), "{plan}");
    until_idle(world).await;
    let synced = |case: &Case| world.mono.begun_syncs(&case.id) > 0;
    let oldest: Vec<_> = cases.iter().map(synced).collect();
    assert_eq!(oldest, [[false; 8].as_slice(), &[true; 4]].concat());
    assert_eq!(world.mono.whole_bill().naira - before, 1_000);
    let plan = world.stack.plan_refresh().await.unwrap();
    assert_eq!((plan["scheduled"].as_u64(), plan["verification"].as_u64()), (Some(0), Some(0)));
    reset_spending(world).await;
    world.stack.plan_refresh().await.unwrap();
    until_idle(world).await;
    assert_eq!(cases.iter().filter(|case| synced(case)).count(), 8);
    assert_eq!(world.mono.whole_bill().naira - before, 2_000);
}

#[tokio::test]
async fn import_without_budget_is_deferred_to_another_day() {
    let (world, _turn) = limited().await;
    reset_spending(world).await;
    // The plan finds no budget either.
    set_number(world, &today(), "automatic", 1_000).await;
    let case = Case::silent(world, 8);
    world.mono.send(&world.mono.event(Kind::AccountUpdated, &case.id).unwrap());
    eventually("the import is deferred", async || {
        let lines = world.stack.log("importer").await.unwrap();
        lines.iter().any(|line| line.contains(&case.id) && line.contains("\"deferred\""))
    })
    .await;
    assert_eq!((case.pages(), case.rows().await.len()), (0, 0));
    world.stack.plan_refresh().await.unwrap();
    reset_spending(world).await;
    set_number(world, &case.id, "import_deferred_until", (Timestamp::now() - DAY).millis()).await;
    let plan = world.stack.plan_refresh().await.unwrap();
    assert_eq!(plan["import"], 1, "{plan}");
    case.until_imported().await;
    assert_eq!(world.mono.bill(&case.id).naira, 150);
}

#[tokio::test]
async fn manual_sync_beyond_the_manual_budget_is_429() {
    let (world, _turn) = limited().await;
    reset_spending(world).await;
    let plan = || Plan { webhooks: Webhooks::Lost, ..Plan::default() };
    for _ in 0..2 {
        let case = Case::overdue(world, DAY).await;
        case.plan(plan());
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
    }
    let case = Case::overdue(world, DAY).await;
    let before = case.shown().await;
    let refused = case.sync().await.expect(429, "BUDGET_EXHAUSTED");
    assert!((1..=86_400).contains(&refused.retry_after.unwrap()), "{refused:?}");
    assert_eq!(world.mono.begun_syncs(&case.id), 0);
    assert_eq!(case.shown().await, before, "the refused sync leaves no attempt");
    assert_eq!(spent(world, "manual").await, 200);
    // A sync without new data is refunded, so two more syncs fit into the budget.
    reset_spending(world).await;
    for outcome in [Refresh::NothingNew, Refresh::NewData, Refresh::NewData] {
        let case = Case::overdue(world, DAY).await;
        case.plan(Plan { outcome, ..plan() });
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
    }
    assert_eq!(spent(world, "manual").await, 200);
}

#[tokio::test]
async fn empty_wallet_opens_the_breaker_and_one_successful_probe_closes_the_breaker() {
    let (world, _turn) = unlimited().await;
    let breaker = async || item(world, "#refresh").await;
    let mut cases = Vec::new();
    for _ in 0..40 {
        let case = Case::overdue(world, DAY * 2).await;
        case.set_refresh(json!({ "refresh": "24h" })).await.expect_ok();
        let refused = Plan { fault: Some(Fault::Status(402)), ..Plan::default() };
        world.mono.plan_always(&case.id, refused).unwrap();
        cases.push(case);
    }
    let plan = world.stack.plan_refresh().await.unwrap();
    assert_eq!(plan["scheduled"], 40, "{plan}");
    eventually("the breaker opens", async || breaker().await.contains_key("pause_seconds")).await;
    // Messages that came after that are hidden until the pause ends.
    eventually("each message was delivered once", async || {
        let lines = world.stack.log("refresh-worker").await.unwrap();
        cases.iter().all(|case| lines.iter().any(|line| line.contains(&case.id)))
    })
    .await;
    let attempts = async || {
        let calls = world.mono.calls();
        let ours = |call: &&sandbox::Call| {
            cases.iter().any(|case| call.account_id.as_ref() == Some(&case.id))
        };
        calls.iter().filter(ours).count()
    };
    let tried = attempts().await;
    assert!((5..=20).contains(&tried), "{tried} of 40");
    for case in &cases {
        assert_eq!(case.shown().await["status"], "healthy");
        world.mono.plan_always(&case.id, Plan::default()).unwrap();
    }
    // After the pause, one probe is sent. Its success closes the breaker.
    let probe = Case::overdue(world, DAY * 2).await;
    probe.set_refresh(json!({ "refresh": "24h" })).await.expect_ok();
    let paused = world.stack.plan_refresh().await.unwrap();
    assert_eq!(paused["scheduled"], 1, "{paused}");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.mono.begun_syncs(&probe.id), 0, "the pause still holds");
    set_number(world, "#refresh", "paused_until", Timestamp::now().millis()).await;
    let other = Case::overdue(world, DAY * 3).await;
    other.set_refresh(json!({ "refresh": "24h" })).await.expect_ok();
    assert_eq!(world.stack.plan_refresh().await.unwrap()["scheduled"], 1);
    eventually("the breaker closes", async || {
        let item = breaker().await;
        !item.contains_key("pause_seconds") && !item.contains_key("failures")
    })
    .await;
    assert_eq!(world.mono.begun_syncs(&other.id), 1);
}

#[tokio::test]
async fn account_under_on_read_is_refreshed_once_after_a_read() {
    let (world, _turn) = unlimited().await;
    let [read, unread] = [Case::overdue(world, DAY * 2).await, Case::overdue(world, DAY * 2).await];
    // Polling until the event is applied counts as a read, too.
    for case in [&read, &unread] {
        case.send_sync_event(DAY + Duration::from_hours(6)).await;
    }
    let due = async |case: &Case| item(world, &case.id).await.contains_key("next_refresh_at");
    assert!(due(&read).await, "the account was read");
    world.stack.plan_refresh().await.unwrap();
    eventually("the account is refreshed", async || world.mono.begun_syncs(&read.id) == 1).await;
    eventually("the account is not due", async || !due(&read).await).await;
    world.stack.plan_refresh().await.unwrap();
    until_idle(world).await;
    assert_eq!(world.mono.begun_syncs(&read.id), 1, "no read since the refresh");
    assert!(read.shown().await["next_refresh_at"].is_string(), "this read makes the account due");
    assert!(due(&read).await);
}

#[tokio::test]
async fn account_shows_the_refresh_rule_that_was_set() {
    let (world, _turn) = unlimited().await;
    let case = Case::overdue(world, Duration::from_hours(1)).await;
    assert_eq!(case.shown().await["refresh"], "default");
    for word in ["off", "6h", "12h", "24h", "weekly", "on_read", "default"] {
        let answer = case.set_refresh(json!({ "refresh": word })).await.expect_ok();
        assert_eq!(answer.body["refresh"], word);
        assert_eq!(answer.body["next_refresh_at"].is_null(), word == "off", "{word}");
    }
    for (body, name) in [
        (json!({ "refresh": "hourly" }), "refresh"),
        (json!({ "refresh": "interval" }), "refresh"),
        (json!({ "refresh": 6 }), "refresh"),
        (json!({}), "refresh"),
        (json!({ "refresh": "off", "name": "Ada" }), "name"),
        (json!([]), "body"),
    ] {
        let answer = case.set_refresh(body).await.expect(400, "REQUEST_INVALID");
        assert!(answer.body["detail"].as_str().unwrap().contains(&format!("`{name}`")));
    }
    let unknown = Case { world, id: super::account_id() };
    unknown.set_refresh(json!({ "refresh": "off" })).await.expect(404, "ACCOUNT_NOT_FOUND");
}

#[tokio::test]
async fn account_known_only_from_a_payment_is_never_synced() {
    let (world, _turn) = unlimited().await;
    let id = super::account_id();
    let connected =
        json!({ "event": "mono.events.account_connected", "data": { "id": id.clone() } });
    let request = world.stack.request(Method::POST, "/webhooks/mono");
    let posted = request.header("mono-webhook-secret", LOCAL_SECRET).json(&connected);
    assert_eq!(posted.send().await.unwrap().status(), 200);
    let case = Case { world, id };
    let account = case.when("the account is known", |account| account["status"] == "pending").await;
    assert!(account["next_refresh_at"].is_null());
    case.set_refresh(json!({ "refresh": "6h" })).await.expect_ok();
    world.stack.plan_refresh().await.unwrap();
    until_idle(world).await;
    let calls = world.mono.calls();
    assert!(!calls.iter().any(|call| call.account_id.as_ref() == Some(&case.id)));
}
