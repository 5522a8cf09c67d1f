//! The automatic refresh. The planner queues each overdue account once, and each account whose webhooks were lost.
//! The worker syncs them. The tests have a stack of their own and run one after the other, because a plan covers all
//! accounts of a table.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use e2e::emulator::Emulator;
use e2e::past;
use e2e::proxy::Failure;
use e2e::samples::{self, LOCAL_KEY, LOCAL_SECRET};
use e2e::shared_stack::{World, aside, local, start_mono};
use e2e::stack::Stack;
use mono_sync::domain::account::{OrderKey, Rank, ShortHash, TimeSource};
use mono_sync::domain::timestamp::Timestamp;
use sandbox::{Dialect, Fault, Kind, Link, Pace, Plan, Refresh, Sandbox, Webhooks};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::manual_sync::Case;
use super::{eventually, fail, item, set_number};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

async fn deploy(emulator: &Emulator, name: &str, hours: &str, mono: &Sandbox) -> Stack {
    let parameters = &[
        ("MonoSecretKey", LOCAL_KEY),
        ("MonoWebhookSecret", LOCAL_SECRET),
        ("MonoApiBaseUrl", &mono.url()),
        ("RefreshIntervalHours", hours),
        ("MonoDailyBudget", "0"),
        ("RefreshMaximumConcurrency", "4"),
    ];
    let stack = Stack::deploy(emulator, name, parameters).await.unwrap();
    stack.redeliver_soon().await;
    mono.set_webhook(&stack.webhook_url(), LOCAL_SECRET).unwrap();
    stack
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let emulator = &local().emulator;
        aside(async move {
            let mono = start_mono(Dialect::V2).await.unwrap();
            World { stack: deploy(emulator, "refresh", "24", &mono).await, mono }
        })
    })
}

/// Exclusive use of the stack, so that no other test plans the accounts of this test.
struct Exclusive {
    world: &'static World,
    _turn: MutexGuard<'static, ()>,
}

impl Exclusive {
    async fn acquire() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        Self { world: world(), _turn: turn }
    }

    /// An account that the stack knows only from this event, which happened `ago`.
    async fn account_with(&self, kind: Kind, ago: Duration) -> Case {
        let id = self.world.mono.link(Link { silent: true, ..Link::default() });
        let case = Case { world: self.world, id };
        case.send_event(kind, ago).await;
        case
    }

    /// A healthy account that is one hour overdue.
    async fn overdue(&self) -> Case {
        self.synced(DAY + HOUR).await
    }

    /// A healthy account whose last sync was `ago`. Its first import is done, because a write by the import would leave
    /// the account to the next plan, and its message would meet a fault that is meant for the planner.
    async fn synced(&self, ago: Duration) -> Case {
        let case = self.account_with(Kind::AccountUpdatedBySync, ago).await;
        case.until_imported().await;
        case
    }

    /// Invokes the planner with the event of the schedule.
    async fn plan(&self) -> Value {
        let hourly = &samples::all()["refresh-planner/hourly.json"];
        let plan = self.world.stack.invoke("RefreshPlannerFunction", hourly).await.unwrap();
        assert!(plan["scanned"].is_u64(), "{plan}");
        plan
    }

    /// The end of the pause for all calls to Mono.
    async fn paused_until(&self) -> Timestamp {
        let item = item(self.world, "#refresh").await;
        Timestamp::from_millis(item["paused_until"].as_n().unwrap().parse().unwrap())
    }

    async fn set(&self, key: &str, attribute: &str, at: Timestamp) {
        set_number(self.world, key, attribute, at.millis()).await;
    }
}

impl Exclusive {
    /// Moves the job in the record back by one hour, so that the job counts as ended.
    async fn end_job(&self, case: &Case) {
        let (rank, time_source) = (Rank::Updated, TimeSource::Event);
        let event = ShortHash::of("job");
        let mut item = item(self.world, &case.id).await;
        let key = OrderKey { at: Timestamp::now() - HOUR, rank, time_source, event };
        past::set_order_key(&mut item, JOB, key);
        past::put(&self.world.stack, item).await;
    }

    /// Records that a sync of the stack began this job `ago`.
    async fn record_attempt(&self, case: &Case, job_id: &str, ago: Duration) {
        let (rank, time_source) = (Rank::Sync, TimeSource::Event);
        let event = ShortHash::of("attempt");
        let key = OrderKey { at: Timestamp::now() - ago, rank, time_source, event };
        let mut item = item(self.world, &case.id).await;
        for register in [ATTEMPT, JOB] {
            past::set_order_key(&mut item, register, key);
        }
        for (name, text) in [
            ("attempt_outcome", "processing"),
            ("attempt_job_id", job_id),
            ("job_state", "processing"),
            ("job_id", job_id),
        ] {
            item.insert(name.to_owned(), AttributeValue::S(text.to_owned()));
        }
        past::put(&self.world.stack, item).await;
    }
}

/// The numbers of registers in the attribute `order`.
const JOB: u8 = 15;
const ATTEMPT: u8 = 16;

impl Case {
    /// Sends an event that happened `ago`, and waits until it is applied.
    async fn send_event(&self, kind: Kind, ago: Duration) {
        let at = (Timestamp::now() - ago).to_string();
        let event = self.world.mono.event(kind, &self.id).unwrap().with_timestamp(&at);
        let event = event.with("/data/meta/has_new_data", false);
        self.world.mono.send(&event);
        self.when("the event is applied", |account| {
            ["last_event_at", "status_at"].iter().any(|field| account[*field] == at.as_str())
        })
        .await;
    }

    fn begun_syncs(&self) -> usize {
        self.world.mono.begun_syncs(&self.id)
    }

    /// A text that only the planner's message about the account contains. A request for an import has the id too.
    fn planned_message(&self) -> String {
        format!(r#"{}\",\"planned_at\":\""#, self.id)
    }

    /// The number of times that the planner queued the account.
    fn times_queued(&self) -> usize {
        let calls = local().proxy.calls(&self.id);
        let sent = calls.iter().filter(|call| call.operation == "SendMessageBatch");
        // A verification that a webhook requires has no plan.
        let is_planned = |body: &str| body.contains("planned_at") && !body.contains("null");
        let jobs = sent.filter(|call| is_planned(&call.body));
        jobs.map(|call| call.body.matches(&self.id).count()).sum()
    }

    async fn until_refreshed(&self, before: &Value) -> Value {
        self.when("the account is refreshed", |account| {
            account["last_synced_at"].as_str() > before["last_synced_at"].as_str()
        })
        .await
    }

    /// Invokes the worker with a job for this account. Returns the worker's answer.
    pub(super) async fn refresh(&self, planned_at: Timestamp) -> Value {
        self.delivered(planned_at, 1).await
    }

    /// The same, with this receive count.
    async fn delivered(&self, planned_at: Timestamp, times: u32) -> Value {
        let job = samples::refresh_job(&self.id, &planned_at.to_string());
        let mut batch = samples::batch(&[job.to_body()]);
        batch["Records"][0]["attributes"]["ApproximateReceiveCount"] = json!(times.to_string());
        self.world.stack.invoke("RefreshWorkerFunction", &batch).await.unwrap()
    }

    async fn logged(&self, text: &str) {
        eventually(&format!("{text} is logged"), async || {
            let lines = self.world.stack.log("refresh-worker").await.unwrap();
            lines.iter().any(|line| line.contains(&self.id) && line.contains(text))
        })
        .await;
    }
}

#[tokio::test]
async fn overdue_account_is_synced_and_fresh_account_is_not() {
    let refresh = Exclusive::acquire().await;
    let overdue = refresh.overdue().await;
    let fresh = refresh.account_with(Kind::AccountUpdatedBySync, 12 * HOUR).await;
    let before = overdue.shown().await;
    refresh.plan().await;
    let account = overdue.until_refreshed(&before).await;
    assert_eq!((account["status"].as_str(), overdue.begun_syncs()), (Some("healthy"), 1));
    assert!(account["next_refresh_at"].as_str() > Some(Timestamp::now().to_string().as_str()));
    overdue.logged("\"call\":\"realtime\",\"reason\":\"scheduled\"").await;
    refresh.plan().await;
    assert_eq!(
        (overdue.times_queued(), overdue.begun_syncs()),
        (1, 1),
        "the account is no longer due"
    );
    assert_eq!((fresh.times_queued(), fresh.begun_syncs()), (0, 0));
}

#[tokio::test]
async fn unlinked_syncing_or_cooling_down_account_is_not_refreshed() {
    let refresh = Exclusive::acquire().await;
    let unlinked = refresh.overdue().await;
    unlinked.world.mono.unlink(&unlinked.id).unwrap();
    unlinked.status("unlinked").await;
    unlinked.sync().await.expect(410, "ACCOUNT_UNLINKED");
    let syncing = refresh.overdue().await;
    syncing.send_event(Kind::AccountUpdatedProcessing, Duration::from_mins(1)).await;
    let cooling = refresh.overdue().await;
    refresh.set(&cooling.id, "next_sync_allowed_at", Timestamp::now() + HOUR).await;
    let marker = refresh.overdue().await;
    let before = marker.shown().await;
    refresh.plan().await;
    marker.until_refreshed(&before).await;
    for case in [unlinked, syncing, cooling] {
        assert_eq!((case.times_queued(), case.begun_syncs()), (0, 0));
    }
}

#[tokio::test]
async fn account_whose_recovery_webhook_was_lost_is_synced_after_seven_days() {
    let refresh = Exclusive::acquire().await;
    let waiting = refresh.account_with(Kind::AccountUpdatedReauthorisationRequired, 6 * DAY).await;
    let lost =
        refresh.account_with(Kind::AccountUpdatedReauthorisationRequired, 7 * DAY + HOUR).await;
    assert_eq!(lost.shown().await["status"], "reauthorisation_required");
    refresh.plan().await;
    lost.status("healthy").await;
    assert_eq!((lost.begun_syncs(), waiting.times_queued()), (1, 0));
}

#[tokio::test]
async fn concurrent_planners_queue_an_account_once() {
    let refresh = Exclusive::acquire().await;
    let cases = [refresh.overdue().await, refresh.overdue().await, refresh.overdue().await];
    tokio::join!(refresh.plan(), refresh.plan(), refresh.plan());
    for case in cases {
        assert_eq!(case.times_queued(), 1);
        case.logged("\"outcome\":\"successful\"").await;
        assert_eq!(case.begun_syncs(), 1);
    }
}

#[tokio::test]
async fn planner_crash_before_the_mark_leaves_the_account_to_the_next_plan() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.overdue().await;
    let before = case.shown().await;
    fail("UpdateItem", &case.id, &[Failure::Crash]);
    let died = refresh.world.stack.plan_refresh().await.unwrap();
    assert!(died["scanned"].is_null(), "{died}");
    assert_eq!((local().proxy.pending_faults(&case.id), case.times_queued()), (0, 0));
    refresh.plan().await;
    case.until_refreshed(&before).await;
}

#[tokio::test]
async fn mark_of_a_crashed_planner_expires_after_an_interval() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.synced(3 * DAY).await;
    let before = case.shown().await;
    fail("SendMessageBatch", &case.planned_message(), &[Failure::Crash]);
    let died = refresh.world.stack.plan_refresh().await.unwrap();
    assert!(died["scanned"].is_null(), "{died}");
    let sent = case.times_queued();
    refresh.plan().await;
    assert_eq!(
        (case.times_queued(), case.begun_syncs()),
        (sent, 0),
        "the account may have been queued"
    );
    refresh.set(&case.id, "refresh_queued_at", Timestamp::now() - 23 * HOUR).await;
    refresh.plan().await;
    assert_eq!(
        (case.times_queued(), case.begun_syncs()),
        (sent, 0),
        "the mark has not expired yet"
    );
    refresh.set(&case.id, "refresh_queued_at", Timestamp::now() - DAY).await;
    refresh.plan().await;
    case.until_refreshed(&before).await;
    assert_eq!(case.begun_syncs(), 1);
}

#[tokio::test]
async fn account_that_could_not_be_enqueued_is_enqueued_by_the_next_plan() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.overdue().await;
    let before = case.shown().await;
    fail("SendMessageBatch", &case.planned_message(), &[Failure::AccessDenied]);
    let failed = refresh.world.stack.plan_refresh().await.unwrap();
    assert!(
        failed["errorMessage"].is_string(),
        "the error alarm needs a failed invocation: {failed}"
    );
    refresh.plan().await;
    case.until_refreshed(&before).await;
    assert_eq!(case.begun_syncs(), 1);
}

#[tokio::test]
async fn job_whose_webhooks_were_lost_is_followed_up_without_a_sync() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.account_with(Kind::AccountUpdatedBySync, 2 * HOUR).await;
    let before = case.shown().await;
    // The newest job at Mono has ended. The stack knows it only as running.
    case.plan(Plan { webhooks: Webhooks::Lost, ..Plan::default() });
    let job_id = case.begin_job().await;
    refresh.record_attempt(&case, &job_id, Duration::from_mins(10)).await;
    assert_eq!(case.shown().await["status"], "syncing");
    let syncs_before = case.begun_syncs();
    refresh.plan().await;
    let account = case.until_refreshed(&before).await;
    assert_eq!(
        (account["status"].as_str(), case.begun_syncs()),
        (Some("healthy"), syncs_before),
        "no paid call"
    );
    case.logged("\"step\":\"job_follow_up\"").await;
}

#[tokio::test]
async fn job_that_never_ends_counts_as_ended_after_half_an_hour() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.account_with(Kind::AccountUpdatedBySync, 2 * HOUR).await;
    case.plan(Plan { pace: Pace::NeverEnding, ..Plan::default() });
    let job_id = case.begin_job().await;
    refresh.record_attempt(&case, &job_id, Duration::from_mins(31)).await;
    refresh.plan().await;
    case.logged("\"outcome\":\"not_over\"").await;
    assert_eq!(case.shown().await["status"], "healthy", "the job counts as ended without a write");
}

#[tokio::test]
async fn job_that_never_ends_does_not_block_the_next_refresh() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.account_with(Kind::AccountUpdatedBySync, 2 * DAY).await;
    let never_ending = Plan { pace: Pace::NeverEnding, ..Plan::default() };
    case.plan(never_ending);
    let job_id = case.begin_job().await;
    refresh.record_attempt(&case, &job_id, DAY + HOUR).await;
    refresh.plan().await;
    case.logged("\"call\":\"realtime\",\"reason\":\"scheduled\"").await;
}

#[tokio::test]
async fn message_during_a_pause_is_retried_and_finally_left_to_the_next_plan() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.overdue().await;
    let before = case.shown().await;
    let pause = async |until| refresh.set("#refresh", "paused_until", until).await;
    pause(Timestamp::now() + Duration::from_mins(10)).await;
    let planned_at = Timestamp::from_millis(Timestamp::now().millis());
    refresh.set(&case.id, "refresh_queued_at", planned_at).await;
    let failures = case.delivered(planned_at, 4).await;
    assert_eq!(failures["batchItemFailures"].as_array().map(Vec::len), Some(1), "{failures}");
    // One more failure would move the message to the dead-letter queue.
    assert_eq!(case.delivered(planned_at, 5).await, json!({ "batchItemFailures": [] }));
    case.logged("\"outcome\":\"paused\"").await;
    assert_eq!((case.times_queued(), case.begun_syncs()), (0, 0));
    pause(Timestamp::now()).await;
    refresh.plan().await;
    case.until_refreshed(&before).await;
    assert_eq!((case.times_queued(), case.begun_syncs()), (1, 1), "the queued mark was removed");
}

#[tokio::test]
async fn rate_limit_pauses_all_accounts_and_the_account_is_planned_again() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.overdue().await;
    let before = case.shown().await;
    let limited = Fault::RateLimited { retry_after: Some(8) };
    case.plan(Plan { fault: Some(limited), ..Plan::default() });
    let planned_at = Timestamp::now();
    refresh.plan().await;
    case.logged("\"outcome\":\"rate_limited\"").await;
    let until = refresh.paused_until().await;
    assert!(until >= planned_at + Duration::from_secs(8), "the pause is as long as Mono says");
    assert_eq!(case.begun_syncs(), 0, "no sync has begun");
    let other = refresh.account_with(Kind::AccountUpdatedBySync, HOUR).await;
    refresh.set("#refresh", "paused_until", Timestamp::now() + HOUR).await;
    let failures = other.refresh(Timestamp::now()).await;
    assert_eq!(failures["batchItemFailures"].as_array().map(Vec::len), Some(1), "{failures}");
    assert_eq!(other.begun_syncs(), 0);
    refresh.set("#refresh", "paused_until", Timestamp::now()).await;
    refresh.plan().await;
    case.until_refreshed(&before).await;
    assert_eq!(case.begun_syncs(), 1);
}

#[tokio::test]
async fn worker_crash_after_the_call_causes_no_second_paid_call_in_the_interval() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.overdue().await;
    case.plan(Plan { webhooks: Webhooks::Lost, ..Plan::default() });
    fail("PutItem", &case.id, &[Failure::Pass, Failure::Crash]);
    let planned_at = Timestamp::now();
    refresh.plan().await;
    eventually("the worker dies", async || local().proxy.pending_faults(&case.id) == 0).await;
    let again = case.refresh(planned_at).await;
    assert_eq!(again, json!({ "batchItemFailures": [] }), "the redelivered message succeeds");
    // As if an hour had passed: neither the cooldown nor the lease blocks a sync. A number is not a valid lease.
    for attribute in ["next_sync_allowed_at", "lease"] {
        refresh.set(&case.id, attribute, Timestamp::now()).await;
    }
    refresh.plan().await;
    assert_eq!((case.times_queued(), case.begun_syncs()), (1, 1));
}

#[tokio::test]
async fn message_is_delivered_again_only_before_the_paid_call() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.overdue().await;
    let planned_at = Timestamp::now();
    for operation in ["GetItem", "PutItem"] {
        fail(operation, &case.id, &[Failure::AccessDenied]);
        let answer = case.refresh(planned_at).await;
        assert_eq!(answer["batchItemFailures"].as_array().map(Vec::len), Some(1), "{answer}");
        assert_eq!(case.begun_syncs(), 0, "{operation}");
    }
    fail("PutItem", &case.id, &[Failure::Pass, Failure::AccessDenied]);
    let answer = case.refresh(planned_at).await;
    assert_eq!(
        answer,
        json!({ "batchItemFailures": [] }),
        "after a paid call, the message is not delivered again"
    );
    assert_eq!(case.begun_syncs(), 1);
}

#[tokio::test]
async fn unlinking_that_mono_refutes_is_verified_without_a_sync() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.account_with(Kind::AccountUpdatedBySync, 2 * HOUR).await;
    case.receive(Kind::AccountUnlinked);
    case.until_verified().await;
    assert_eq!((&case.shown().await["status"], case.begun_syncs()), (&json!("healthy"), 0));
}

#[tokio::test]
async fn failure_without_a_time_is_settled_by_one_sync() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.account_with(Kind::AccountUpdatedBySync, 2 * HOUR).await;
    case.world
        .mono
        .plan_always(&case.id, Plan { outcome: Refresh::Failed, ..Plan::default() })
        .unwrap();
    case.world.mono.send(&case.world.mono.event(Kind::SyncFailed, &case.id).unwrap());
    case.status("failed").await;
    refresh.plan().await;
    case.logged("\"call\":\"realtime\",\"reason\":\"weak_evidence\"").await;
    case.when("the attempt is recorded", |account| account["last_sync_attempt_at"].is_string())
        .await;
    refresh.plan().await;
    assert_eq!((case.times_queued(), case.begun_syncs()), (1, 1));
}

#[tokio::test]
async fn interval_of_zero_schedules_no_refresh() {
    let mono = start_mono(Dialect::V2).await.unwrap();
    let stack = deploy(&local().emulator, "no-refresh", "0", &mono).await;
    let id = mono.link(Link { silent: true, ..Link::default() });
    let event = mono.event(Kind::AccountUpdatedBySync, &id).unwrap();
    mono.send(&event.with_timestamp("2026-01-01T00:00:00.000Z"));
    let account = async || stack.account(&id).await.unwrap().1;
    eventually("the account is known", async || account().await["status"] == "healthy").await;
    let plan = stack.plan_refresh().await.unwrap();
    assert_eq!(plan["scheduled"], 0);
    assert_eq!(account().await["next_refresh_at"], json!(null));
    assert_eq!(mono.begun_syncs(&id), 0);
}

impl Case {
    /// Begins a sync at Mono directly, without the stack. Returns the job id.
    async fn begin_job(&self) -> String {
        let url = format!("{}/v2/accounts/{}/transactions", self.world.mono.url(), self.id);
        let request = reqwest::Client::new().get(url).header("mono-sec-key", LOCAL_KEY);
        let answer = request.header("x-realtime", "true").send().await.unwrap();
        answer.headers()["x-job-id"].to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn refresh_blocked_by_another_pull_is_planned_again_within_the_hour() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.overdue().await;
    let planned_at = Timestamp::now();
    refresh.set(&case.id, "refresh_queued_at", planned_at).await;
    // Mono's own pull begins between the plan and the worker, and has no outcome.
    case.send_event(Kind::AccountUpdatedProcessing, Duration::ZERO).await;
    assert_eq!(case.refresh(planned_at).await, json!({ "batchItemFailures": [] }));
    case.logged("\"outcome\":\"up_to_date\"").await;
    let before = case.shown().await;
    assert_eq!(before["status"], "syncing");
    refresh.end_job(&case).await;
    refresh.plan().await;
    case.until_refreshed(&before).await;
    assert_eq!(case.begun_syncs(), 1);
}

#[tokio::test]
async fn late_link_event_after_an_unlinking_is_verified_without_a_paid_call() {
    let refresh = Exclusive::acquire().await;
    let case = refresh.synced(2 * HOUR).await;
    case.world.mono.unlink(&case.id).unwrap();
    case.status("unlinked").await;
    // One account is read at most once a minute.
    let mut earlier = past::aged(item(refresh.world, &case.id).await, HOUR);
    past::set_proven(&mut earlier);
    past::put(&refresh.world.stack, earlier).await;
    let (reads, bill) = (case.reads(), case.bill());
    let late = json!({ "event": "mono.events.account_connected", "data": { "id": case.id } });
    let batch = samples::batch_received_at(&[late.to_string()], &Timestamp::now().to_string());
    refresh.world.stack.invoke("ProcessorFunction", &batch).await.unwrap();
    eventually("the link is verified", async || case.reads() > reads).await;
    case.status("unlinked").await;
    assert_eq!((case.reads(), case.begun_syncs(), case.bill()), (reads + 1, 0, bill));
}
