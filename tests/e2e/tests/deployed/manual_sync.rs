//! Manual syncs, in both versions of Mono's API: the response to the caller and the record afterwards.

use e2e::samples::LOCAL_KEY;
use e2e::shared_stack::{World, world};
use reqwest::{Method, Response, StatusCode};
use sandbox::{
    Dialect, Fault, Kind, Link, Pace, Plan, ReauthSignal, Refresh, SuccessCode, Webhooks,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{account_id, eventually};

pub(super) const BOTH: [Dialect; 2] = [Dialect::V1, Dialect::V2];

/// A response of the API.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<u64>,
    pub(super) body: Value,
}

impl Answer {
    pub(super) async fn of(response: Response) -> Self {
        let headers = response.headers().clone();
        assert!(!headers["x-request-id"].is_empty());
        let status = response.status();
        let problem = status.is_client_error() || status.is_server_error();
        let media_type = if problem { "application/problem+json" } else { "application/json" };
        assert_eq!(headers["content-type"], media_type);
        let retry_after = headers.get("retry-after").map(|value| value.to_str().unwrap());
        let retry_after = retry_after.map(|seconds| seconds.parse().unwrap());
        Self { status, retry_after, body: response.json().await.unwrap() }
    }

    #[track_caller]
    pub(super) fn expect_ok(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }

    #[track_caller]
    pub(super) fn expect(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), &self.body["code"]), (status, &json!(code)), "{self:?}");
        self
    }
}

/// An account at Mono and the world that it belongs to.
pub(super) struct Case {
    pub(super) world: &'static World,
    pub(super) id: String,
}

impl Case {
    /// A linked account that the stack knows as healthy.
    pub(super) async fn linked(dialect: Dialect) -> Self {
        let case = Self::unseen(dialect, Link::default());
        case.world.mono.send(&case.world.mono.event(Kind::AccountUpdated, &case.id).unwrap());
        case.status("healthy").await;
        case
    }

    /// An account that is linked at Mono but unknown to the stack.
    pub(super) fn unseen(dialect: Dialect, link: Link) -> Self {
        let world = world(dialect);
        let id = world.mono.link(Link { silent: true, ..link });
        Self { world, id }
    }

    /// Mono sends an event about the account.
    pub(super) fn receive(&self, kind: Kind) {
        let mono = &self.world.mono;
        mono.send(&mono.event(kind, &self.id).unwrap());
    }

    /// Waits until Mono has confirmed the identity.
    pub(super) async fn until_verified(&self) {
        let is_verified = |account: &Value| account["identity_verified_at"].is_string();
        self.when("the account is verified", is_verified).await;
    }

    /// The plain reads of the account that reached Mono.
    pub(super) fn reads(&self) -> usize {
        let calls = self.world.mono.calls();
        calls.iter().filter(|call| call.path.ends_with(&self.id)).count()
    }

    pub(super) fn plan(&self, plan: Plan) {
        self.world.mono.plan(&self.id, [plan]).unwrap();
    }

    pub(super) async fn sync(&self) -> Answer {
        self.sync_with("").await
    }

    pub(super) async fn sync_with(&self, query: &str) -> Answer {
        Answer::of(self.world.stack.sync(&self.id, query).await.unwrap()).await
    }

    /// Links an account and syncs it under this plan. Returns the response.
    async fn synced_with(dialect: Dialect, plan: Plan) -> (Self, Answer) {
        let case = Self::linked(dialect).await;
        case.plan(plan);
        let answer = case.sync().await;
        (case, answer)
    }

    pub(super) async fn shown(&self) -> Value {
        self.world.stack.account(&self.id).await.unwrap().1
    }

    pub(super) async fn when(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let seen = std::cell::RefCell::new(Value::Null);
        eventually(what, async || {
            *seen.borrow_mut() = self.shown().await;
            holds(&seen.borrow())
        })
        .await;
        seen.take()
    }

    pub(super) async fn status(&self, status: &str) -> Value {
        self.when(status, |account| account["status"] == status).await
    }

    /// The number of calls that asked Mono to sync the account.
    fn sync_calls(&self) -> usize {
        let calls = self.world.mono.calls();
        calls.iter().filter(|call| call.sync && call.account_id.as_ref() == Some(&self.id)).count()
    }
}

fn fault(fault: Fault) -> Plan {
    Plan { fault: Some(fault), ..Plan::default() }
}

#[tokio::test]
async fn successful_sync_is_200_and_says_whether_there_is_new_data() {
    for dialect in BOTH {
        for (outcome, new) in [(Refresh::NewData, true), (Refresh::NothingNew, false)] {
            let plan = Plan { outcome, webhooks: Webhooks::Lost, ..Plan::default() };
            let case = Case::linked(dialect).await;
            let before = case.shown().await;
            case.plan(plan);
            let answer = case.sync().await.expect(200, "SYNC_SUCCESSFUL");
            assert_eq!(answer.body["has_new_data"], new, "{dialect}");
            let account = &answer.body["account"];
            assert_eq!(*account, case.shown().await, "the response shows the stored account");
            assert_eq!(account["status"], "healthy");
            assert_eq!(account["sync_status"], "SUCCESSFUL");
            assert!(account["last_synced_at"].as_str() > before["last_synced_at"].as_str());
            assert!(account["last_sync_attempt_at"].is_string());
            assert!(account["next_sync_allowed_at"].is_string());
        }
    }
}

#[tokio::test]
async fn every_success_code_of_v1_is_a_success() {
    for success_code in [
        SuccessCode::SyncSuccessful,
        SuccessCode::SyncedSuccessfully,
        SuccessCode::SyncedSuccessful,
    ] {
        let plan = Plan { success_code, ..Plan::default() };
        let (_, answer) = Case::synced_with(Dialect::V1, plan).await;
        answer.expect(200, "SYNC_SUCCESSFUL");
    }
}

#[tokio::test]
async fn unseen_account_can_be_synced() {
    for dialect in BOTH {
        let case = Case::unseen(dialect, Link::default());
        assert_eq!(case.shown().await["code"], "ACCOUNT_NOT_FOUND");
        case.plan(Plan { webhooks: Webhooks::Lost, ..Plan::default() });
        let answer = case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        assert_eq!(answer.body["account"]["status"], "healthy");
        assert_eq!(case.shown().await, answer.body["account"]);
    }
}

#[tokio::test]
async fn sync_of_an_unknown_account_is_404_and_leaves_no_record() {
    for dialect in BOTH {
        let case = Case { world: world(dialect), id: account_id() };
        case.sync().await.expect(404, "ACCOUNT_NOT_FOUND");
        assert_eq!(case.shown().await["code"], "ACCOUNT_NOT_FOUND", "{dialect}");
        case.sync().await.expect(404, "ACCOUNT_NOT_FOUND");
    }
}

#[tokio::test]
async fn known_account_that_mono_does_not_know_becomes_failed() {
    for dialect in BOTH {
        let (case, answer) = Case::synced_with(dialect, fault(Fault::Status(404))).await;
        answer.expect(404, "ACCOUNT_NOT_FOUND");
        let account = case.shown().await;
        assert_eq!(
            (&account["status"], &account["sync_status"]),
            (&json!("failed"), &json!("FAILED"))
        );
    }
}

#[tokio::test]
async fn running_job_is_202_with_its_id_and_is_not_started_again() {
    let case = Case::linked(Dialect::V2).await;
    case.plan(Plan { pace: Pace::NeverEnding, ..Plan::default() });
    let first = case.sync().await.expect(202, "SYNC_PROCESSING");
    assert!(first.body["job_id"].is_string());
    assert_eq!(first.body["account"]["status"], "syncing");
    assert_eq!(first.body["account"]["data_status"], "PROCESSING");
    let second = case.sync().await.expect(202, "SYNC_PROCESSING");
    assert_eq!(second.body["job_id"], first.body["job_id"]);
    assert_eq!(case.sync_calls(), 1);
    let mono = &case.world.mono;
    mono.send(&mono.event(Kind::AccountUpdatedBySync, &case.id).unwrap());
    case.status("healthy").await;
}

#[tokio::test]
async fn sync_during_monos_own_pull_is_202_without_a_call() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        let mono = &case.world.mono;
        mono.send(&mono.event(Kind::AccountUpdatedProcessing, &case.id).unwrap());
        case.status("syncing").await;
        case.sync().await.expect(202, "SYNC_PROCESSING");
        assert_eq!(case.sync_calls(), 0, "{dialect}");
    }
}

#[tokio::test]
async fn required_reauthorisation_is_409_with_the_route_to_call() {
    let signals = [
        ReauthSignal::Code,
        ReauthSignal::Status,
        ReauthSignal::JobStatus,
        ReauthSignal::ReauthHeader,
        ReauthSignal::JobLookup,
    ];
    let v2 = signals.map(|signal| (Dialect::V2, signal));
    for (dialect, reauth_signal) in v2.into_iter().chain([(Dialect::V1, ReauthSignal::Code)]) {
        let outcome = Refresh::ReauthorisationRequired;
        let plan = Plan { outcome, reauth_signal, webhooks: Webhooks::Lost, ..Plan::default() };
        let (case, answer) = Case::synced_with(dialect, plan).await;
        let answer = answer.expect(409, "REAUTHORISATION_REQUIRED");
        assert_eq!(answer.body["reauthorise"], format!("/accounts/{}/reauthorise", case.id));
        let account = case.shown().await;
        assert_eq!(account["status"], "reauthorisation_required", "{reauth_signal:?}");
        assert!(account["reauthorisation_required_at"].is_string());
    }
}

#[tokio::test]
async fn required_reauthorisation_known_only_from_the_webhook_is_502() {
    let plan = Plan { outcome: Refresh::ReauthorisationRequired, ..Plan::default() };
    let (case, answer) = Case::synced_with(Dialect::V2, plan).await;
    answer.expect(502, "SYNC_FAILED");
    case.status("reauthorisation_required").await;
}

#[tokio::test]
async fn account_that_requires_reauthorisation_can_be_synced_manually() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        case.world.mono.refresh(&case.id, Refresh::ReauthorisationRequired).unwrap();
        case.status("reauthorisation_required").await;
        let answer = case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        assert_eq!(
            answer.body["account"]["status"], "healthy",
            "the customer may have re-authorised already"
        );
    }
}

#[tokio::test]
async fn second_sync_within_the_cooldown_is_429_and_does_not_reach_mono() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        let first = case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        let second = case.sync().await.expect(429, "SYNC_COOLDOWN");
        let allowed_at = &second.body["next_allowed_at"];
        assert_eq!(*allowed_at, first.body["account"]["next_sync_allowed_at"]);
        assert_eq!(*allowed_at, case.shown().await["next_sync_allowed_at"]);
        let seconds = second.retry_after.unwrap();
        assert!((240..=300).contains(&seconds), "{seconds}");
        assert_eq!(case.sync_calls(), 1, "{dialect}");
    }
}

#[tokio::test]
async fn ten_concurrent_syncs_make_one_call_to_mono() {
    for dialect in BOTH {
        let case = Case::unseen(dialect, Link::default());
        case.plan(Plan { delay_millis: 500, webhooks: Webhooks::Lost, ..Plan::default() });
        let mut syncs = JoinSet::new();
        for _ in 0..10 {
            let (stack, id) = (&case.world.stack, case.id.clone());
            syncs.spawn(async move { stack.sync(&id, "").await.unwrap().status().as_u16() });
        }
        let mut statuses = syncs.join_all().await;
        statuses.sort_unstable();
        assert_eq!(case.sync_calls(), 1, "{dialect}: {statuses:?}");
        assert_eq!(statuses[0], 200);
        assert!(statuses[1..].iter().all(|status| [202, 429].contains(status)), "{statuses:?}");
    }
}

#[tokio::test]
async fn sync_that_fails_at_mono_is_502_with_monos_code() {
    let v1 = |failure_status| {
        let plan = Plan { outcome: Refresh::Failed, failure_status, ..Plan::default() };
        (Dialect::V1, plan, "SYNC_ERROR")
    };
    let v2 = |old_data| {
        (Dialect::V2, Plan { outcome: Refresh::Failed, old_data, ..Plan::default() }, "JOB_FAILED")
    };
    let incomplete = Plan { outcome: Refresh::Partial, ..Plan::default() };
    for (dialect, plan, code) in [
        v1(200),
        v1(400),
        v1(500),
        v2(false),
        v2(true),
        (Dialect::V1, incomplete, "INCOMPLETE_STATEMENT_ERROR"),
    ] {
        let (case, answer) =
            Case::synced_with(dialect, Plan { webhooks: Webhooks::Lost, ..plan }).await;
        let answer = answer.expect(502, "SYNC_FAILED");
        assert_eq!(answer.body["mono_code"], code, "{answer:?}");
        let account = case.shown().await;
        assert_eq!(
            (&account["status"], &account["sync_status"]),
            (&json!("failed"), &json!("FAILED"))
        );
    }
}

#[tokio::test]
async fn unusable_answer_is_502_and_changes_no_status() {
    for dialect in BOTH {
        for (unusable, code) in [
            (Fault::MalformedJson, "UNREADABLE_ANSWER"),
            (Fault::Html(200), "UNREADABLE_ANSWER"),
            (Fault::EndlessBody, "ANSWER_TOO_LARGE"),
            (Fault::Redirect("http://127.0.0.1:9/".to_owned()), "HTTP_307"),
        ] {
            let (case, answer) = Case::synced_with(dialect, fault(unusable)).await;
            let answer = answer.expect(502, "SYNC_FAILED");
            assert_eq!(answer.body["mono_code"], code, "{dialect}");
            assert_eq!(case.shown().await["status"], "healthy");
            case.sync().await.expect(429, "SYNC_COOLDOWN");
        }
    }
}

#[tokio::test]
async fn refused_key_is_502_and_releases_the_cooldown() {
    for dialect in BOTH {
        let (case, answer) = Case::synced_with(dialect, fault(Fault::Status(401))).await;
        assert_eq!(answer.expect(502, "SYNC_FAILED").body["mono_code"], "HTTP_401", "{dialect}");
        assert_eq!(case.shown().await["status"], "healthy");
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
    }
}

#[tokio::test]
async fn server_error_at_mono_is_503_and_keeps_the_cooldown() {
    for dialect in BOTH {
        for error in
            [Fault::Status(500), Fault::Status(503), Fault::Html(502), Fault::ConnectionClosed]
        {
            let (case, answer) = Case::synced_with(dialect, fault(error.clone())).await;
            let answer = answer.expect(503, "MONO_UNAVAILABLE");
            let seconds = answer.retry_after.unwrap();
            assert!((240..=300).contains(&seconds), "{error:?}: {seconds}");
            assert_eq!(case.shown().await["status"], "healthy");
            case.sync().await.expect(429, "SYNC_COOLDOWN");
            assert_eq!(case.sync_calls(), 1);
        }
    }
}

#[tokio::test]
async fn rate_limit_of_mono_is_503_and_releases_the_cooldown() {
    for dialect in BOTH {
        let limited = Fault::RateLimited { retry_after: Some(7) };
        let (case, answer) = Case::synced_with(dialect, fault(limited)).await;
        let answer = answer.expect(503, "MONO_UNAVAILABLE");
        assert_eq!(answer.retry_after, Some(7));
        assert_eq!(case.shown().await["next_sync_allowed_at"], json!(null));
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
    }
}

#[tokio::test]
async fn hanging_mono_is_504_and_changes_no_status() {
    for (dialect, done) in [(Dialect::V1, false), (Dialect::V2, false), (Dialect::V2, true)] {
        let case = Case::linked(dialect).await;
        let before = case.shown().await;
        case.plan(Plan { done, ..fault(Fault::Hang) });
        case.sync().await.expect(504, "MONO_TIMEOUT");
        let account = case.shown().await;
        assert_eq!(account["status"], "healthy", "a timeout does not change the status");
        assert!(account["last_sync_attempt_at"].is_string());
        case.sync().await.expect(429, "SYNC_COOLDOWN");
        if done {
            case.when("the webhook of the sync is applied", |account| {
                account["balance"] != before["balance"]
            })
            .await;
        }
    }
}

#[tokio::test]
async fn webhook_before_or_after_the_answer_leads_to_the_same_record() {
    for dialect in BOTH {
        let mut ends = Vec::new();
        for (webhooks, delay_millis) in [
            (Webhooks::First, 0),
            (Webhooks::First, 1500),
            (Webhooks::Sent, 0),
            (Webhooks::Lost, 0),
        ] {
            let case = Case::linked(dialect).await;
            case.plan(Plan { webhooks, delay_millis, ..Plan::default() });
            case.sync().await.expect(200, "SYNC_SUCCESSFUL");
            if webhooks == Webhooks::Lost {
                let mono = &case.world.mono;
                mono.send(&mono.event(Kind::AccountUpdatedBySync, &case.id).unwrap());
            }
            let balance = case.world.mono.account(&case.id).unwrap().balance;
            let mut account =
                case.when("the webhook is applied", |account| account["balance"] == balance).await;
            let own = [
                "account_id",
                "ref",
                "name",
                "account_number",
                "institution",
                "customer_id",
                "status_at",
                "last_event_at",
                "last_sync_attempt_at",
                "last_synced_at",
                "next_refresh_at",
                "next_sync_allowed_at",
                "balance",
                "balance_synced_at",
                // The import of the first pull may still be running.
                "transactions_imported_at",
                "transactions_through",
            ];
            // Webhooks of v1 have no `sync_status`, and their time is the time of receipt.
            let v1 = (dialect == Dialect::V1).then_some("sync_status");
            for field in own.into_iter().chain(v1) {
                account[field].take();
            }
            ends.push(account);
        }
        assert!(ends.iter().all(|end| *end == ends[0]), "{dialect}: {ends:#?}");
    }
}

#[tokio::test]
async fn unlinked_account_is_410_without_a_call() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        case.world.mono.unlink(&case.id).unwrap();
        case.status("unlinked").await;
        let calls = case.world.mono.calls().len();
        case.sync().await.expect(410, "ACCOUNT_UNLINKED");
        let more = case.world.mono.calls().split_off(calls);
        assert!(!more.iter().any(|call| call.account_id.as_ref() == Some(&case.id)));
        assert_eq!(case.sync_calls(), 0);
    }
}

#[tokio::test]
async fn account_that_mono_still_shows_is_synced_despite_the_unlinked_event() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        case.receive(Kind::AccountUnlinked);
        case.until_verified().await;
        let answer = case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        assert_eq!(answer.body["account"]["status"], "healthy", "{dialect}");
    }
}

#[tokio::test]
async fn incomplete_statement_is_accepted_if_the_caller_allows_it() {
    let case = Case::linked(Dialect::V1).await;
    case.plan(Plan { outcome: Refresh::Partial, ..Plan::default() });
    case.sync_with("?allow_incomplete_statement=true").await.expect(200, "SYNC_SUCCESSFUL");
    let case = Case::linked(Dialect::V2).await;
    case.sync_with("?allow_incomplete_statement=true").await.expect(200, "SYNC_SUCCESSFUL");
}

#[tokio::test]
async fn sync_with_the_data_parameter_calls_only_that_endpoint() {
    let domiciliary = Link { balance_only: true, ..Link::default() };
    let path = |case: &Case| {
        let calls = case.world.mono.calls();
        calls.iter().rfind(|call| call.account_id.as_ref() == Some(&case.id)).unwrap().path.clone()
    };
    let seen = Case::unseen(Dialect::V2, domiciliary.clone());
    seen.world.mono.send(&seen.world.mono.event(Kind::AccountUpdated, &seen.id).unwrap());
    seen.status("partial").await;
    let answer = seen.sync_with("?data=balance").await.expect(200, "SYNC_SUCCESSFUL");
    assert!(path(&seen).ends_with("/balance"));
    let balance = seen.world.mono.account(&seen.id).unwrap().balance;
    assert_eq!(answer.body["account"]["balance"], balance);

    let linked_today = Case::unseen(Dialect::V2, domiciliary.clone());
    let mono = &linked_today.world.mono;
    mono.send(&mono.event(Kind::AccountUpdated, &linked_today.id).unwrap());
    linked_today.status("partial").await;
    linked_today.sync().await.expect(502, "SYNC_FAILED");
    assert!(
        path(&linked_today).contains("/jobs/"),
        "the missing transactions may be a temporary problem of the bank"
    );

    let unseen = Case::unseen(Dialect::V2, domiciliary);
    unseen.sync().await.expect(502, "SYNC_FAILED");
    assert!(path(&unseen).contains("/jobs/"), "the stack fetches the job to find the cause");

    let linked = Case::linked(Dialect::V2).await;
    linked.sync_with("?data=balance").await.expect(200, "SYNC_SUCCESSFUL");
    assert!(path(&linked).ends_with("/balance"));
    let linked = Case::linked(Dialect::V2).await;
    linked.sync_with("?data=transactions").await.expect(200, "SYNC_SUCCESSFUL");
    assert!(path(&linked).ends_with("/transactions"));
}

#[tokio::test]
async fn message_of_mono_is_passed_on_without_private_data() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        let account = case.world.mono.account(&case.id).unwrap();
        let (first, last) = account.name.split_once(' ').unwrap();
        let number = account.account_number.clone();
        let spaced = format!("{} {} {}", &number[..4], &number[4..7], &number[7..]);
        let message =
            format!("{first} {last}: {number}, {spaced}, {}, {LOCAL_KEY}. Sorry", account.bvn);
        case.plan(fault(Fault::Words { status: 402, message }));
        let answer = case.sync().await.expect(502, "SYNC_FAILED");
        assert_eq!(answer.body["mono_code"], "HTTP_402");
        assert_eq!(answer.body["mono_message"], "… …: …, …. Sorry", "{dialect}");
    }
}

#[tokio::test]
async fn invalid_request_is_400_and_the_detail_names_the_parameter() {
    let case = Case::unseen(Dialect::V2, Link::default());
    for (query, part) in [
        ("?data=everything", "`data`"),
        ("?data=", "`data`"),
        ("?allow_incomplete_statement=yes", "`allow_incomplete_statement`"),
    ] {
        let answer = case.sync_with(query).await.expect(400, "REQUEST_INVALID");
        assert!(answer.body["detail"].as_str().unwrap().starts_with(part));
    }
    for id in ["a%20b", &"x".repeat(65)] {
        let answer = Answer::of(case.world.stack.sync(id, "").await.unwrap()).await;
        answer.expect(400, "REQUEST_INVALID");
    }
    case.sync_with("?unknown=1").await.expect(200, "SYNC_SUCCESSFUL");
}

#[tokio::test]
async fn sync_without_a_signature_is_403_without_a_call() {
    let case = Case::unseen(Dialect::V2, Link::default());
    let path = format!("/accounts/{}/sync", case.id);
    let answer = case.world.stack.request(Method::POST, &path).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(case.sync_calls(), 0);
}

#[tokio::test]
async fn sync_of_six_seconds_shows_syncing_and_succeeds() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        case.plan(Plan { delay_millis: 6000, ..Plan::default() });
        let (answer, _) = tokio::join!(case.sync(), case.status("syncing"));
        answer.expect(200, "SYNC_SUCCESSFUL");
    }
}
