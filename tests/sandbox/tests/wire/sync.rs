//! The outcomes of syncs: the answer, the job and the webhooks.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use sandbox::{
    Dialect, Fault, Kind, Link, Pace, Plan, ReauthSignal, Refresh, Sandbox, Settings, SuccessCode,
    Webhooks,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::caller::{Caller, Reply, balance, read};
use crate::receiver::{Receiver, fast};

struct World {
    receiver: Receiver,
    sandbox: Sandbox,
    caller: Caller,
    account_id: String,
}

/// A world with one account, whose first two webhooks have been delivered.
async fn world(settings: Settings) -> World {
    world_with(settings, Link::default()).await
}

async fn world_with(settings: Settings, link: Link) -> World {
    let receiver = Receiver::answering_200().await;
    let sandbox = receiver.sandbox(settings).await;
    let caller = Caller::of(&sandbox);
    let account_id = sandbox.link(link);
    sandbox.settled().await;
    World { receiver, sandbox, caller, account_id }
}

impl World {
    fn plan(&self, plan: Plan) {
        self.sandbox.plan(&self.account_id, [plan]).expect("an account");
    }

    async fn refresh(&self, plan: Plan) -> Reply {
        self.plan(plan);
        self.caller.refresh(&self.account_id).await
    }

    async fn sync(&self, plan: Plan) -> Reply {
        self.plan(plan);
        self.caller.sync(&self.account_id).await
    }

    async fn job_status(&self, job_id: &str) -> Value {
        self.caller.job(&self.account_id, job_id).await.body["data"]["status"].clone()
    }

    /// The kinds of the events since the link.
    async fn kinds(&self) -> Vec<Kind> {
        let log = self.sandbox.settled().await;
        log[2..].iter().filter_map(|delivery| delivery.kind).collect()
    }

    fn newest_job_id(&self) -> String {
        self.sandbox.account(&self.account_id).expect("an account").job_id
    }
}

fn with_outcome(outcome: Refresh) -> Plan {
    Plan { outcome, ..Plan::default() }
}

fn with_fault(fault: Fault) -> Plan {
    Plan { fault: Some(fault), ..Plan::default() }
}

fn slow() -> Plan {
    Plan { pace: Pace::Slow(Duration::from_secs(30)), ..Plan::default() }
}

/// Thirty seconds of Mono's time take one second.
fn thirty_times_faster() -> Settings {
    Settings { time_scale: 30.0, ..fast() }
}

#[tokio::test]
async fn real_time_call_is_by_default_a_sync_with_new_data_and_its_webhooks() {
    let world = world(fast()).await;
    let reply = world.caller.refresh(&world.account_id).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("x-job-status"), Some("finished"));
    assert_eq!(reply.header("x-has-new-data"), Some("true"));
    assert_eq!(reply.body["data"]["balance"], 1_012_345);
    assert_eq!(world.kinds().await, [Kind::JobFinished, Kind::AccountUpdatedBySync]);
    let bodies = world.receiver.bodies();
    let job_id = reply.header("x-job-id").expect("a job id");
    assert_eq!(bodies[2]["data"]["id"], job_id);
    assert_eq!(bodies[2]["data"]["name"], "jobs.accounts.sync_balance");
    assert_eq!(bodies[3]["data"]["meta"]["job_id"], job_id);
    assert_eq!(world.sandbox.begun_syncs(&world.account_id), 1);
}

#[tokio::test]
async fn both_spellings_of_the_real_time_header_are_accepted() {
    let world = world(fast()).await;
    for header in ["x-realtime", "X-Real-Time"] {
        let request = world.caller.request(Method::GET, &balance(&world.account_id));
        let reply = read(request.header(header, "true")).await;
        assert!(reply.header("x-job-id").is_some(), "{header}");
    }
}

#[tokio::test]
async fn transactions_in_real_time_begin_a_statement_job() {
    let world = world(fast()).await;
    let path = format!("/v2/accounts/{}/transactions", world.account_id);
    let reply = read(world.caller.real_time(&path)).await;
    let known = world.sandbox.transactions(&world.account_id);
    assert_eq!(reply.body["data"], json!(known[..20]), "the answer has one page");
    let job_id = reply.header("x-job-id").expect("a job id");
    let job = world.caller.job(&world.account_id, job_id).await;
    assert_eq!(job.body["data"]["name"], "jobs.accounts.sync_statement");
}

#[tokio::test]
async fn v2_reports_each_outcome_by_the_job_status() {
    let outcomes = [
        (Refresh::NewData, "finished", Some("true")),
        (Refresh::NothingNew, "finished", None),
        (Refresh::Partial, "finished", None),
        (Refresh::ReauthorisationRequired, "failed", None),
        (Refresh::Failed, "failed", None),
        (Refresh::BankUnavailable, "failed", None),
    ];
    for (outcome, status, new_data) in outcomes {
        let world = world(fast()).await;
        let reply = world.refresh(with_outcome(outcome)).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("x-job-status"), Some(status), "{outcome:?}");
        assert_eq!(reply.header("x-has-new-data"), new_data);
        assert_eq!(reply.body["data"].is_null(), status == "failed");
        assert_eq!(world.job_status(reply.header("x-job-id").expect("an id")).await, status);
    }
}

#[tokio::test]
async fn sync_on_request_sends_the_same_events_as_a_refresh() {
    for outcome in [
        Refresh::NothingNew,
        Refresh::ReauthorisationRequired,
        Refresh::Failed,
        Refresh::BankUnavailable,
        Refresh::Partial,
    ] {
        for dialect in [Dialect::V1, Dialect::V2] {
            let called = world(Settings { dialect, ..fast() }).await;
            called.refresh(with_outcome(outcome)).await;
            let refreshed = world(Settings { dialect, ..fast() }).await;
            refreshed.sandbox.refresh(&refreshed.account_id, outcome).expect("a link");
            assert_eq!(called.kinds().await, refreshed.kinds().await);
        }
    }
}

#[tokio::test]
async fn v1_reports_each_outcome_by_a_code_under_a_chosen_status() {
    let outcomes = [
        (Refresh::ReauthorisationRequired, "REAUTHORISATION_REQUIRED"),
        (Refresh::Failed, "SYNC_ERROR"),
        (Refresh::BankUnavailable, "SYNC_ERROR"),
        (Refresh::Partial, "INCOMPLETE_STATEMENT_ERROR"),
    ];
    let world = world(Settings { dialect: Dialect::V1, ..fast() }).await;
    for (outcome, code) in outcomes {
        for failure_status in [200, 400, 500] {
            let reply = world.sync(Plan { failure_status, ..with_outcome(outcome) }).await;
            assert_eq!(reply.status, failure_status);
            assert_eq!(reply.body, json!({ "status": "failed", "code": code }));
        }
    }
    assert_eq!(world.sandbox.begun_syncs(&world.account_id), 12);
}

#[tokio::test]
async fn v1_has_three_codes_for_success() {
    let spellings = [
        (SuccessCode::SyncSuccessful, "SYNC_SUCCESSFUL"),
        (SuccessCode::SyncedSuccessfully, "SYNCED_SUCCESSFULLY"),
        (SuccessCode::SyncedSuccessful, "SYNCED_SUCCESSFUL"),
    ];
    let world = world(fast()).await;
    for (success_code, code) in spellings {
        for (outcome, new) in [(Refresh::NewData, true), (Refresh::NothingNew, false)] {
            let reply = world.sync(Plan { success_code, ..with_outcome(outcome) }).await;
            let expected = json!({
                "status": "successful", "hasNewData": new, "code": code, "message": null,
            });
            assert_eq!(reply.body, expected);
        }
    }
}

#[tokio::test]
async fn incomplete_statement_is_a_success_if_allowed() {
    let world = world(Settings { dialect: Dialect::V1, ..fast() }).await;
    world
        .sandbox
        .plan_always(&world.account_id, with_outcome(Refresh::Partial))
        .expect("an account");
    let path = format!("/accounts/{}/sync?allow_incomplete_statement=", world.account_id);
    let refused = world.caller.post(&format!("{path}false")).await;
    assert_eq!(refused.body["code"], "INCOMPLETE_STATEMENT_ERROR");
    let allowed = world.caller.post(&format!("{path}true")).await;
    assert_eq!(allowed.body["code"], "SYNC_SUCCESSFUL");
    assert_eq!(world.kinds().await, [Kind::SyncFailed, Kind::AccountUpdatedBySync]);
}

#[tokio::test]
async fn reauthorisation_signal_is_sent_only_in_the_planned_place() {
    const REQUIRED: &str = "REAUTHORISATION_REQUIRED";
    let lower = "reauthorisation_required";
    let signals = [
        (ReauthSignal::Webhook, "failed", Some("failed"), None, Value::Null, "failed"),
        (ReauthSignal::Code, "failed", Some("failed"), None, json!(REQUIRED), "failed"),
        (ReauthSignal::Status, REQUIRED, Some("failed"), None, Value::Null, "failed"),
        (ReauthSignal::JobStatus, "failed", Some(lower), None, Value::Null, REQUIRED),
        (ReauthSignal::ReauthHeader, "failed", None, Some("true"), Value::Null, "failed"),
        (ReauthSignal::JobLookup, "failed", Some("failed"), None, Value::Null, REQUIRED),
    ];
    let world = world(fast()).await;
    for (reauth_signal, status, job_status, reauth, code, looked_up) in signals {
        let plan = with_outcome(Refresh::ReauthorisationRequired);
        let reply = world.refresh(Plan { reauth_signal, ..plan }).await;
        assert_eq!(reply.body["status"], status, "{reauth_signal:?}");
        assert_eq!(reply.body["code"], code);
        assert_eq!(reply.header("x-job-status"), job_status);
        assert_eq!(reply.header("x-job-id").is_some(), job_status.is_some());
        assert_eq!(reply.header("x-reauth-required"), reauth);
        assert_eq!(world.job_status(&world.newest_job_id()).await, looked_up);
    }
    let kinds = world.kinds().await;
    assert_eq!(kinds.len(), 12);
    assert!(kinds.ends_with(&[Kind::AccountUpdatedReauthorisationRequired]));
}

#[tokio::test]
async fn job_status_can_be_in_upper_case() {
    let world = world(fast()).await;
    let reply = world.refresh(Plan { capitals: true, ..Plan::default() }).await;
    assert_eq!(reply.header("x-job-status"), Some("FINISHED"));
}

#[tokio::test]
async fn failed_sync_can_be_answered_with_the_old_data() {
    let world = world(fast()).await;
    let reply = world.refresh(Plan { old_data: true, ..with_outcome(Refresh::Failed) }).await;
    assert_eq!(reply.body["status"], "successful");
    assert_eq!(reply.body["data"]["balance"], 1_000_000);
    assert_eq!(reply.header("x-job-status"), Some("failed"));
}

#[tokio::test]
async fn failed_real_time_call_has_the_planned_status() {
    let world = world(fast()).await;
    let reply = world.refresh(Plan { failure_status: 400, ..with_outcome(Refresh::Failed) }).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn slow_job_is_processing_first_and_sends_its_webhooks_when_it_ends() {
    let world = world(thirty_times_faster()).await;
    let reply = world.refresh(slow()).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("x-job-status"), Some("processing"));
    assert_eq!(reply.header("x-has-new-data"), None);
    assert_eq!(reply.body["status"], "successful");
    assert_eq!(reply.body["data"], Value::Null);
    let job_id = reply.header("x-job-id").expect("a job id");
    assert_eq!(world.job_status(job_id).await, "processing");
    assert_eq!(world.receiver.posts().len(), 2);

    assert_eq!(world.kinds().await, [Kind::JobFinished, Kind::AccountUpdatedBySync]);
    assert_eq!(world.job_status(job_id).await, "finished");
    assert_eq!(world.receiver.bodies()[3]["data"]["meta"]["job_id"], job_id);
}

#[tokio::test]
async fn slow_job_keeps_its_id_through_another_refresh() {
    let world = world(thirty_times_faster()).await;
    let reply = world.refresh(slow()).await;
    world.sandbox.refresh(&world.account_id, Refresh::Failed).expect("a link");
    assert_ne!(reply.header("x-job-id"), Some(world.newest_job_id().as_str()));
    world.sandbox.settled().await;
    assert_eq!(reply.header("x-job-id"), Some(world.newest_job_id().as_str()));
}

#[tokio::test]
async fn slow_job_of_an_unlinked_account_sends_no_webhook() {
    let world = world(thirty_times_faster()).await;
    world.refresh(slow()).await;
    world.sandbox.unlink(&world.account_id).expect("a link");
    assert_eq!(world.kinds().await, [Kind::AccountUnlinked]);
}

#[tokio::test]
async fn second_call_joins_the_running_sync() {
    let world = world(thirty_times_faster()).await;
    let outcomes = [slow(), with_outcome(Refresh::NothingNew)];
    world.sandbox.plan(&world.account_id, outcomes).expect("an account");
    let first = world.caller.refresh(&world.account_id).await;
    let path = format!("/v2/accounts/{}/transactions", world.account_id);
    let second = read(world.caller.real_time(&path)).await;
    assert_eq!(second.status, StatusCode::OK);
    assert_eq!(second.header("x-job-id"), first.header("x-job-id"));
    assert_eq!(second.header("x-job-status"), Some("processing"));
    assert_eq!(second.body["data"], Value::Null);
    assert_eq!(world.sandbox.begun_syncs(&world.account_id), 1);
    assert!(world.sandbox.calls().iter().all(|call| call.sync));

    world.sandbox.settled().await;
    let third = world.caller.refresh(&world.account_id).await;
    assert_ne!(third.header("x-job-id"), first.header("x-job-id"));
    assert_eq!(third.header("x-has-new-data"), None);
    assert_eq!(world.sandbox.begun_syncs(&world.account_id), 2);
}

#[tokio::test]
async fn never_ending_job_stays_processing_and_does_not_block_settled() {
    let world = world(fast()).await;
    let reply = world.refresh(Plan { pace: Pace::NeverEnding, ..Plan::default() }).await;
    assert_eq!(reply.header("x-job-status"), Some("processing"));
    assert_eq!(world.kinds().await, []);
    assert_eq!(world.job_status(reply.header("x-job-id").expect("an id")).await, "processing");
}

#[tokio::test]
async fn v1_answers_a_slow_sync_when_it_has_ended() {
    let world = world(thirty_times_faster()).await;
    let start = Instant::now();
    let reply = world.sync(slow()).await;
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(reply.body["code"], "SYNC_SUCCESSFUL");
    assert_eq!(world.kinds().await, [Kind::JobFinished, Kind::AccountUpdatedBySync]);
}

#[tokio::test]
async fn v1_sync_continues_after_its_caller_times_out() {
    let world = world(thirty_times_faster()).await;
    world.plan(slow());
    let path = format!("/accounts/{}/sync", world.account_id);
    let request = world.caller.request(Method::POST, &path);
    let error = request.timeout(Duration::from_millis(300)).send().await.expect_err("no answer");
    assert!(error.is_timeout());
    assert_eq!(world.sandbox.begun_syncs(&world.account_id), 1);
    assert_eq!(world.kinds().await, [Kind::JobFinished, Kind::AccountUpdatedBySync]);
}

#[tokio::test]
async fn v1_never_answers_a_never_ending_sync_and_refuses_a_second_one() {
    let world = world(fast()).await;
    world.plan(Plan { pace: Pace::NeverEnding, ..Plan::default() });
    let path = format!("/accounts/{}/sync", world.account_id);
    let request = world.caller.request(Method::POST, &path);
    let error = request.timeout(Duration::from_millis(300)).send().await.expect_err("no answer");
    assert!(error.is_timeout());
    let second = world.caller.sync(&world.account_id).await;
    assert_eq!(second.body["code"], "SYNC_ERROR");
    assert_eq!(world.sandbox.begun_syncs(&world.account_id), 1);
}

#[tokio::test]
async fn plans_are_used_in_order_and_then_the_permanent_one() {
    let world = world(fast()).await;
    let (sandbox, account_id) = (&world.sandbox, &world.account_id);
    sandbox.plan_always(account_id, with_outcome(Refresh::NothingNew)).expect("an account");
    let plans = [Refresh::Failed, Refresh::BankUnavailable].map(with_outcome);
    sandbox.plan(account_id, plans).expect("an account");
    let mut seen = Vec::new();
    for _ in 0..4 {
        let reply = world.caller.refresh(account_id).await;
        seen.push(reply.header("x-job-status").map(str::to_owned));
    }
    let expected = ["failed", "failed", "finished", "finished"];
    assert_eq!(seen, expected.map(|status| Some(status.to_owned())));
}

#[tokio::test]
async fn planned_loss_of_webhooks_affects_only_one_sync() {
    let world = world(fast()).await;
    let lost = Plan { webhooks: Webhooks::Lost, ..with_outcome(Refresh::BankUnavailable) };
    let reply = world.refresh(lost).await;
    assert_eq!(reply.header("x-job-status"), Some("failed"));
    assert_eq!(world.kinds().await, []);
    world.caller.refresh(&world.account_id).await;
    assert_eq!(world.kinds().await.len(), 2);
}

#[tokio::test]
async fn webhooks_can_be_delivered_before_the_answer() {
    let world = world(fast()).await;
    for count in [4, 6, 8] {
        world.refresh(Plan { webhooks: Webhooks::First, ..Plan::default() }).await;
        assert_eq!(world.receiver.posts().len(), count);
    }
}

#[tokio::test]
async fn answer_can_be_delayed() {
    let world = world(fast()).await;
    world.plan(Plan { delay_millis: 500, ..Plan::default() });
    let start = Instant::now();
    let answered = async {
        world.caller.refresh(&world.account_id).await;
        start.elapsed()
    };
    let notified = async {
        world.receiver.received(4).await;
        start.elapsed()
    };
    let (answered, notified) = tokio::join!(answered, notified);
    assert!(answered >= Duration::from_millis(500));
    assert!(notified < answered);
}

#[tokio::test]
async fn fault_prevents_the_sync_unless_done_is_set() {
    for (done, count) in [(false, 0), (true, 2)] {
        let world = world(fast()).await;
        let reply = world.refresh(Plan { done, ..with_fault(Fault::Status(500)) }).await;
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(reply.header("x-job-id"), None);
        assert_eq!(world.kinds().await.len(), count);
        assert_eq!(world.sandbox.begun_syncs(&world.account_id), usize::from(done));
        let next = world.caller.refresh(&world.account_id).await;
        assert_eq!(next.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn answer_can_be_lost_while_the_job_continues() {
    let world = world(thirty_times_faster()).await;
    let lost = Plan { fault: Some(Fault::ConnectionClosed), done: true, ..slow() };
    world.plan(lost);
    let request = world.caller.real_time(&balance(&world.account_id));
    request.send().await.expect_err("no answer");
    let reply = world.caller.refresh(&world.account_id).await;
    assert_eq!(reply.header("x-job-status"), Some("processing"));
    assert_eq!(world.kinds().await, [Kind::JobFinished, Kind::AccountUpdatedBySync]);
    assert_eq!(world.sandbox.begun_syncs(&world.account_id), 1);
}

#[tokio::test]
async fn fault_with_a_status_has_monos_error_body() {
    let world = world(fast()).await;
    for status in [401, 404, 500, 503] {
        for reply in [
            world.refresh(with_fault(Fault::Status(status))).await,
            world.sync(with_fault(Fault::Status(status))).await,
        ] {
            assert_eq!(reply.status, status);
            assert_eq!(reply.body["status"], "failed");
            assert_eq!(reply.body["data"], Value::Null);
        }
    }
}

#[tokio::test]
async fn rate_limit_may_have_a_retry_after_header() {
    let world = world(fast()).await;
    for (retry_after, header) in [(Some(7), Some("7")), (None, None)] {
        let reply = world.refresh(with_fault(Fault::RateLimited { retry_after })).await;
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(reply.header("retry-after"), header);
    }
}

#[tokio::test]
async fn malformed_answers_are_not_json() {
    let world = world(fast()).await;
    let broken = [
        (Fault::MalformedJson, 200, "application/json"),
        (Fault::Html(502), 502, "text/html; charset=utf-8"),
    ];
    for (fault, status, content_type) in broken {
        world.plan(with_fault(fault));
        let request = world.caller.real_time(&balance(&world.account_id));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], content_type);
        let body = response.text().await.expect("a body");
        serde_json::from_str::<Value>(&body).expect_err("no JSON");
    }
}

#[tokio::test]
async fn endless_body_has_no_length_and_does_not_end() {
    let world = world(fast()).await;
    world.plan(with_fault(Fault::EndlessBody));
    let request = world.caller.real_time(&balance(&world.account_id));
    let mut response = request.send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.content_length(), None);
    let mut read = 0;
    while read < 10_000_000 {
        read += response.chunk().await.expect("a chunk").expect("more").len();
    }
}

#[tokio::test]
async fn closed_connection_ends_without_an_answer() {
    let world = world(fast()).await;
    world.plan(with_fault(Fault::ConnectionClosed));
    let mut stream = TcpStream::connect(world.sandbox.address()).await.expect("a connection");
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: mono\r\nx-realtime: true\r\nmono-sec-key: {}\r\n\r\n",
        balance(&world.account_id),
        Settings::default().secret_key,
    );
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an orderly end");
    assert!(answer.is_empty());

    world.plan(with_fault(Fault::ConnectionClosed));
    let request = world.caller.real_time(&balance(&world.account_id));
    let error = request.send().await.expect_err("no answer");
    assert!(error.is_request() && !error.is_timeout() && !error.is_connect(), "{error:?}");
    assert_eq!(world.sandbox.calls().len(), 2);
}

#[tokio::test]
async fn redirect_has_the_planned_url() {
    let world = world(fast()).await;
    let url = "http://127.0.0.1:9/elsewhere";
    world.plan(with_fault(Fault::Redirect(url.to_owned())));
    let request = world.caller.real_time(&balance(&world.account_id));
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.headers()["location"], url);
}

#[tokio::test]
async fn hanging_call_is_logged_and_begins_no_sync() {
    let world = world(fast()).await;
    world.plan(with_fault(Fault::Hang));
    let request = world.caller.real_time(&balance(&world.account_id));
    let error = request.timeout(Duration::from_millis(300)).send().await.expect_err("no answer");
    assert!(error.is_timeout());
    assert_eq!(world.sandbox.calls().len(), 1);
    assert_eq!(world.kinds().await, []);
}

#[tokio::test]
async fn domiciliary_account_syncs_only_its_balance() {
    let domiciliary = Link { balance_only: true, ..Link::default() };
    let world = world_with(fast(), domiciliary).await;
    let reply = world.caller.refresh(&world.account_id).await;
    assert_eq!(reply.header("x-job-status"), Some("finished"));
    assert_eq!(reply.body["data"]["currency"], "USD");
    let path = format!("/v2/accounts/{}/transactions", world.account_id);
    let reply = read(world.caller.real_time(&path)).await;
    assert_eq!(reply.header("x-job-status"), Some("failed"));

    world.sandbox.settled().await;
    let bodies = world.receiver.bodies();
    for update in [&bodies[1], &bodies[3]] {
        assert_eq!(update["data"]["account"]["currency"], "USD");
        assert_eq!(update["data"]["meta"]["data_status"], "PARTIAL");
        assert_eq!(update["data"]["meta"]["retrieved_data"], json!(["identity", "balance"]));
    }
    assert_eq!(bodies[5]["data"]["meta"]["sync_status"], "FAILED");
    assert_eq!(bodies[5]["data"]["meta"]["data_status"], "PARTIAL");
    assert_eq!(bodies[5]["data"]["meta"]["retrieved_data"], json!(["balance"]));
}
