//! The life of a link: hosted links, exchanged codes, unlinking and erasure.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use e2e::samples;
use e2e::shared_stack::{World, world};
use mono_sync::domain::refresh_job::RefreshJob;
use reqwest::Method;
use sandbox::{Dialect, Fault, History, Kind, Link};
use serde_json::{Value, json};

use super::manual_sync::{Answer, BOTH, Case};
use super::{account_id, eventually};
use e2e::past::{item, let_time_pass};

const DAY: Duration = Duration::from_hours(24);

async fn request(world: &World, method: Method, path: &str, body: &Value) -> Answer {
    let request = world.stack.request(method, path).header("authorization", "signed");
    let request = if body.is_null() { request } else { request.json(body) };
    Answer::of(request.send().await.unwrap()).await
}

async fn post(world: &World, path: &str, body: &Value) -> Answer {
    request(world, Method::POST, path, body).await
}

fn link_request(reference: &str) -> Value {
    json!({
        "ref": reference,
        "customer": { "name": "Zipporah Fictional", "email": "zipporah@example.com" },
        "redirect_url": "https://app.example/done",
    })
}

impl Answer {
    pub(super) fn expect_accepted(self) {
        assert_eq!((self.status.as_u16(), self.body), (202, json!({ "status": "erasing" })));
    }
}

impl Case {
    async fn exchange(&self, code: &str, reference: &str) -> Answer {
        let body = json!({ "code": code, "ref": reference });
        post(self.world, "/links/exchange", &body).await
    }

    pub(super) async fn unlink(&self) -> Answer {
        let path = format!("/accounts/{}/unlink", self.id);
        post(self.world, &path, &Value::Null).await
    }

    pub(super) async fn erase(&self) -> Answer {
        let path = format!("/accounts/{}", self.id);
        request(self.world, Method::DELETE, &path, &Value::Null).await
    }

    /// Erases the account, and waits until its record is gone.
    pub(super) async fn erase_completely(&self) {
        self.erase().await.expect_accepted();
        eventually("the account is erased", async || {
            let stack = &self.world.stack;
            if !item(stack, &self.id).await.is_empty() {
                // Repeated, because the worker may write the record at the same time.
                let_time_pass(stack, &self.id, Duration::from_mins(6)).await;
                self.run_erasure().await;
            }
            item(stack, &self.id).await.is_empty()
        })
        .await;
    }

    /// Runs the erasure as the worker does after the delay.
    pub(super) async fn run_erasure(&self) {
        let job = RefreshJob::erasure(self.id.parse().unwrap());
        let batch = samples::batch(&[job.to_body()]);
        // The plan of another test may run the erasure at the same time. Then SQS delivers a message again.
        eventually("the message is processed", async || {
            let answer = self.world.stack.invoke("RefreshWorkerFunction", &batch).await.unwrap();
            answer["batchItemFailures"] == json!([])
        })
        .await;
    }

    /// The calls to Mono that unlink the account.
    fn unlinkings(&self) -> usize {
        let calls = self.world.mono.calls();
        let path = format!("/accounts/{}/unlink", self.id);
        calls.iter().filter(|call| call.path.ends_with(&path)).count()
    }

    /// All items of all tables of the stack that contain this text.
    async fn items_with(&self, text: &str) -> Vec<String> {
        let client = Client::new(&self.world.stack.sdk());
        let mut found = Vec::new();
        for table in ["AccountsTableName", "TransactionsTableName", "EventsTableName"] {
            let scan = client.scan().table_name(self.world.stack.output(table));
            let mut items = scan.into_paginator().items().send();
            while let Some(item) = items.next().await {
                let item = format!("{:?}", item.unwrap());
                found.extend(item.contains(text).then_some(item));
            }
        }
        found
    }

    async fn answers_404_everywhere(&self) {
        let account = format!("/accounts/{}", self.id);
        for path in ["", "/events", "/transactions", "/transactions/changes"] {
            let path = format!("{account}{path}");
            let answer = Answer::of(self.world.stack.get(&path).await.unwrap()).await;
            answer.expect(404, "ACCOUNT_NOT_FOUND");
        }
        self.sync().await.expect(404, "ACCOUNT_NOT_FOUND");
        self.unlink().await.expect(404, "ACCOUNT_NOT_FOUND");
        let path = format!("{account}/reauthorise");
        post(self.world, &path, &Value::Null).await.expect(404, "ACCOUNT_NOT_FOUND");
        let refresh = json!({ "refresh": "off" });
        request(self.world, Method::PATCH, &account, &refresh)
            .await
            .expect(404, "ACCOUNT_NOT_FOUND");
        let reference = self.world.mono.account(&self.id).unwrap().reference;
        let list = self.world.stack.get(&format!("/accounts?ref={reference}")).await.unwrap();
        let list = Answer::of(list).await.expect_ok().body;
        assert!(!list.to_string().contains(&self.id), "{list}");
    }
}

#[tokio::test]
async fn hosted_link_proves_its_owner_without_a_read() {
    let (world, owner) = (world(Dialect::V2), account_id());
    let started = post(world, "/links", &link_request(&owner)).await;
    assert_eq!((started.status.as_u16(), &started.body["ref"]), (201, &json!(owner)));
    assert!(started.body["customer_id"].is_string());
    let url = started.body["url"].as_str().unwrap();
    let token = url.rsplit('/').next().unwrap();
    let id = world.mono.complete_link(token, Link::default()).unwrap();
    let case = Case { world, id };
    let account = case.status("healthy").await;
    assert_eq!(account["ref"], owner.as_str());
    assert!(account["identity_verified_at"].is_string());
    assert_eq!(case.reads(), 0);
    let carried = world.mono.account(&case.id).unwrap().reference;
    assert!(carried.starts_with("mslink-") && carried.len() == 24, "{carried}");

    // Mono keeps the token as the `ref`, in its webhooks and in its answers.
    case.receive(Kind::AccountReauthorized);
    case.receive(Kind::AccountUnlinked);
    eventually("the account is verified", async || case.reads() > 0).await;
    let account =
        case.when("the account is linked", |account| account["status"] != "unlinked").await;
    assert_eq!(account["ref"], owner.as_str());
}

#[tokio::test]
async fn token_that_was_never_issued_names_no_owner() {
    let world = world(Dialect::V2);
    let reference = Some("mslink-aaaaaaaaaaaaaaaaa".to_owned());
    let id = world.mono.link(Link { reference, ..Link::default() });
    let case = Case { world, id };
    assert_eq!(case.status("healthy").await["ref"], Value::Null);
}

#[tokio::test]
async fn code_is_exchanged_once_and_binds_the_account_before_any_webhook() {
    for dialect in BOTH {
        let case = Case::unseen(dialect, Link::default());
        let code = case.world.mono.code(&case.id).unwrap();
        let owner = account_id();
        for _ in 0..2 {
            let answer = case.exchange(&code, &owner).await.expect_ok();
            assert_eq!(answer.body, json!({ "account_id": case.id }));
        }
        let account = case.shown().await;
        assert_eq!((&account["ref"], &account["status"]), (&json!(owner), &json!("pending")));
        assert!(account["identity_verified_at"].is_string());
        case.exchange(&code, "someone else").await.expect(400, "LINK_CODE_INVALID");
        case.exchange("code_invented", &owner).await.expect(400, "LINK_CODE_INVALID");

        // Another customer logs in at the bank.
        let code = case.world.mono.code(&case.id).unwrap();
        let new_owner = account_id();
        case.exchange(&code, &new_owner).await.expect_ok();
        assert_eq!(case.shown().await["ref"], json!(new_owner));
    }
}

#[tokio::test]
async fn v1_has_no_hosted_links() {
    let answer = post(world(Dialect::V1), "/links", &link_request("customer-4711")).await;
    answer.expect(501, "NOT_SUPPORTED_BY_MONO_API");
}

#[tokio::test]
async fn invalid_link_request_is_400() {
    let mut without_customer = link_request("a");
    without_customer["customer"] = json!({ "name": "Ada" });
    let mut elsewhere = link_request("a");
    elsewhere["redirect_url"] = json!("https://evil.example/");
    let mut without_owner = link_request("a");
    without_owner["ref"] = Value::Null;
    for (body, part) in [
        (without_customer, "`customer`"),
        (elsewhere, "`redirect_url`"),
        (without_owner, "`ref`"),
        (json!({ "novelty": 1 }), "`novelty`"),
    ] {
        let answer = post(world(Dialect::V2), "/links", &body).await.expect(400, "REQUEST_INVALID");
        assert!(answer.body["detail"].as_str().unwrap().starts_with(part), "{answer:?}");
    }
    let answer = post(world(Dialect::V2), "/links/exchange", &json!({})).await;
    answer.expect(400, "REQUEST_INVALID");
}

/// The figures of the table of routes in the README. An exchange also reads the code, which is no request about the
/// account.
#[tokio::test]
async fn exchange_and_unlinking_take_the_published_requests() {
    let case = Case::linked(Dialect::V2).await;
    case.world.mono.settled().await;
    let owner = case.shown().await["ref"].as_str().unwrap().to_owned();
    let counts = || {
        let requests = case.requests();
        ["GetItem", "PutItem"].map(|operation| requests.get(operation).copied().unwrap_or(0))
    };
    let spent = |[reads, writes]: [usize; 2]| {
        let [all_reads, all_writes] = counts();
        (all_reads - reads, all_writes - writes)
    };
    let before = counts();
    let code = case.world.mono.code(&case.id).unwrap();
    case.exchange(&code, &owner).await.expect_ok();
    assert_eq!(
        spent(before),
        (1, 2),
        "the record is read, and the code and the record are written"
    );
    let before = counts();
    case.unlink().await.expect_ok();
    assert_eq!(spent(before), (1, 1));
}

#[tokio::test]
async fn account_is_unlinked_at_mono_once() {
    for dialect in BOTH {
        let case = Case::linked(dialect).await;
        for _ in 0..2 {
            let answer = case.unlink().await.expect_ok();
            assert_eq!(answer.body, json!({ "status": "unlinked" }));
        }
        case.status("unlinked").await;
        assert_eq!(case.unlinkings(), 1);
        case.sync().await.expect(410, "ACCOUNT_UNLINKED");
    }
    let unknown = Case { world: world(Dialect::V2), id: account_id() };
    unknown.unlink().await.expect(404, "ACCOUNT_NOT_FOUND");
}

#[tokio::test]
async fn erased_account_leaves_nothing_and_late_messages_recreate_nothing() {
    let (world, owner) = (world(Dialect::V2), format!("owner-{}", account_id()));
    let narration = format!("seeded {owner}");
    let history = History { transactions: 60, days: 9, ..History::default() };
    let link = Link { reference: Some(owner.clone()), history: Some(history), ..Link::default() };
    let case = Case { world, id: world.mono.link(link) };
    let mono = &case.world.mono;
    let at_mono = mono.account(&case.id).unwrap();
    let row = mono.transactions(&case.id)[0].id.clone();
    mono.change_transaction(&case.id, &row, |row| row.narration.clone_from(&narration)).unwrap();
    case.until_imported().await;
    let id = case.id.clone();
    assert!(case.items_with(&id).await.len() > 60);
    let changes = case.transactions("/changes?limit=500").await.expect_ok().body;
    // The test moves the erasure back by more than a day.
    let (position, at) = changes["next_cursor"].as_str().unwrap().rsplit_once('.').unwrap();
    let cursor = format!("{position}.{}", at.parse::<u64>().unwrap() - 26 * 3_600_000);

    case.erase().await.expect_accepted();
    case.answers_404_everywhere().await;
    let record = case.items_with(&id).await;
    assert!(record.iter().all(|item| !item.contains(&at_mono.name)), "{record:?}");
    eventually("the account is unlinked at Mono", async || case.unlinkings() == 1).await;
    case.erase().await.expect_accepted();
    case.receive(Kind::AccountUnlinked);

    // The rows stay until no earlier invocation can write any more.
    let_time_pass(&case.world.stack, &case.id, Duration::from_mins(6)).await;
    case.run_erasure().await;
    assert_eq!(case.items_with(&id).await, [""; 0]);
    for text in [&owner, &narration] {
        assert_eq!(case.items_with(text).await, [""; 0], "{text}");
    }
    case.answers_404_everywhere().await;
    case.erase().await.expect(404, "ACCOUNT_NOT_FOUND");

    for kind in [Kind::AccountConnected, Kind::AccountUpdated, Kind::AccountUnlinked] {
        case.receive(kind);
    }
    mono.settled().await;
    assert_eq!(case.import(&case.job(), 1).await, json!([]));
    eventually("Mono denies the new link", async || case.reads() > 0).await;
    let waiting = case.items_with(&id).await;
    assert_eq!(waiting.len(), 1, "only the id waits for Mono's confirmation: {waiting:?}");
    case.answers_404_everywhere().await;
    let_time_pass(&case.world.stack, &case.id, Duration::from_hours(25)).await;
    case.run_erasure().await;
    assert_eq!(case.items_with(&id).await, [""; 0], "Mono does not know the account after a day");

    // Mono confirms a new link of the same account.
    let link = Link { account_id: Some(case.id.clone()), ..Link::default() };
    mono.link(link);
    eventually("the account is there again", async || case.shown().await["name"].is_string()).await;
    let changes = case.transactions(&format!("/changes?cursor={cursor}")).await.expect_ok().body;
    assert_eq!(changes["reset"], true, "a reader from before the erasure begins again");
}

#[tokio::test]
async fn account_is_erased_although_mono_cannot_be_reached() {
    let case = Case::linked(Dialect::V2).await;
    let down = Fault::Status(503);
    case.world.mono.plan_free(&case.id, vec![down; 2]).unwrap();
    case.erase().await.expect_accepted();
    eventually("Mono is called", async || case.unlinkings() == 1).await;
    let_time_pass(&case.world.stack, &case.id, Duration::from_mins(6)).await;
    case.run_erasure().await;
    let left = case.items_with(&case.id).await;
    assert_eq!(left.len(), 1, "only the record waits for Mono: {left:?}");
    case.erase().await.expect_accepted();
    case.run_erasure().await;
    assert_eq!(case.items_with(&case.id).await, [""; 0]);
    assert_eq!(case.world.mono.account(&case.id).map(|account| account.unlinked), Some(true));
}

#[tokio::test]
async fn link_during_an_erasure_is_confirmed_after_it_and_belongs_to_its_owner() {
    let case = Case::linked(Dialect::V2).await;
    case.erase().await.expect_accepted();
    eventually("the account is unlinked at Mono", async || case.unlinkings() == 1).await;
    let owner = format!("owner-{}", case.id);
    let answer = post(case.world, "/links", &link_request(&owner)).await;
    assert_eq!(answer.status, 201);
    let token = answer.body["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let link = Link { account_id: Some(case.id.clone()), ..Link::default() };
    case.world.mono.complete_link(&token, link).unwrap();
    case.world.mono.settled().await;
    case.answers_404_everywhere().await;

    let_time_pass(&case.world.stack, &case.id, Duration::from_mins(6)).await;
    case.run_erasure().await;
    eventually("the new link is there", async || case.shown().await["ref"] == owner.as_str()).await;
    assert_eq!((case.unlinkings(), case.reads()), (1, 1));
}

#[tokio::test]
async fn link_after_an_erasure_is_confirmed_later_if_mono_cannot_be_reached() {
    let case = Case::linked(Dialect::V2).await;
    case.erase().await.expect_accepted();
    eventually("the account is unlinked at Mono", async || case.unlinkings() == 1).await;
    let_time_pass(&case.world.stack, &case.id, Duration::from_mins(6)).await;
    case.run_erasure().await;
    let mono = &case.world.mono;
    mono.plan_free(&case.id, vec![Fault::Status(503); 100]).unwrap();
    mono.link(Link { account_id: Some(case.id.clone()), ..Link::default() });
    eventually("Mono does not answer", async || case.reads() >= 3).await;
    case.answers_404_everywhere().await;
    mono.plan_free(&case.id, []).unwrap();
    // As the hourly plan does.
    case.run_erasure().await;
    case.when("it is there again", |account| account["transactions_imported_at"].is_string()).await;
    let calls = case.world.mono.calls();
    let of_account = |call: &&sandbox::Call| call.account_id.as_ref() == Some(&case.id);
    assert!(calls.iter().filter(of_account).all(|call| !call.begun), "no call in real time");
}

#[tokio::test]
async fn code_that_is_exchanged_during_an_erasure_counts_after_it() {
    let case = Case::linked(Dialect::V2).await;
    case.erase().await.expect_accepted();
    eventually("the account is unlinked at Mono", async || case.unlinkings() == 1).await;
    let link = Link { account_id: Some(case.id.clone()), silent: true, ..Link::default() };
    case.world.mono.link(link);
    let (code, owner) = (case.world.mono.code(&case.id).unwrap(), account_id());
    case.exchange(&code, &owner).await.expect_ok();
    case.answers_404_everywhere().await;
    let_time_pass(&case.world.stack, &case.id, Duration::from_mins(6)).await;
    case.run_erasure().await;
    assert_eq!(case.shown().await["ref"], json!(owner));
    assert_eq!((case.unlinkings(), case.reads()), (1, 0), "an exchange needs no read");
}

#[tokio::test]
async fn refused_unlinking_of_an_erased_account_is_an_alarm_and_ends_the_erasure() {
    let case = Case::linked(Dialect::V2).await;
    case.world.mono.plan_free(&case.id, vec![Fault::Status(400)]).unwrap();
    case.erase().await.expect_accepted();
    eventually("the refusal is logged", async || {
        let log = case.world.stack.log("refresh-worker").await.unwrap();
        log.iter().any(|line| line.contains(&case.id) && line.contains("UNLINK_REFUSED"))
    })
    .await;
    let_time_pass(&case.world.stack, &case.id, Duration::from_mins(6)).await;
    case.run_erasure().await;
    assert_eq!(case.items_with(&case.id).await, [""; 0]);
    assert_eq!(case.unlinkings(), 1, "Mono has answered");
}

#[tokio::test]
async fn unlinked_account_is_erased_after_the_retention_period() {
    let case = Case::linked(Dialect::V2).await;
    case.unlink().await.expect_ok();
    case.status("unlinked").await;
    case.run_erasure().await;
    assert_eq!(case.shown().await["status"], "unlinked");
    let_time_pass(&case.world.stack, &case.id, 31 * DAY).await;
    case.world.stack.plan_refresh().await.unwrap();
    eventually("the erasure begins", async || {
        case.world.stack.account(&case.id).await.unwrap().0 == 404
    })
    .await;
    let_time_pass(&case.world.stack, &case.id, Duration::from_mins(6)).await;
    case.run_erasure().await;
    assert_eq!(case.items_with(&case.id).await, [""; 0]);
    assert_eq!(case.unlinkings(), 1);
}
