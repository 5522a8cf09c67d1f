//! Tests the scans and the queued marks of the automatic refresh.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use e2e::proxy::Failure;
use mono_sync::aws::store::{AccountStore, Claim, Group, SEGMENTS, Stored};
use mono_sync::domain::account::{Account, Exchange, Fact, RefreshPolicy, RefreshRule, Status};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::circuit_breaker::Breaker;
use mono_sync::domain::timestamp::Timestamp;

use crate::records::{POLICY, client, create_table, update};
use crate::{fail, proxy};

const MINUTE: Duration = Duration::from_mins(1);

async fn store(table: &'static str) -> AccountStore {
    create_table(table).await;
    AccountStore::new(client(), table, POLICY)
}

async fn put(store: &AccountStore, id: &str, minute: u32) -> AccountId {
    let id: AccountId = id.parse().unwrap();
    let seen = store.get(&id).await.unwrap();
    store.apply(&id, seen, &[&update(&id, minute, 1)]).await.unwrap();
    id
}

/// All accounts that a plan finds, and the number of scanned items.
async fn found(store: &AccountStore, now: Timestamp) -> (Vec<Stored>, u64) {
    let (mut accounts, mut scanned) = (Vec::new(), 0);
    for segment in 0..SEGMENTS {
        let mut position = None;
        loop {
            let part = store.scan(segment, position, now).await.unwrap();
            accounts.extend(part.accounts);
            scanned += part.scanned;
            match part.next {
                Some(next) => position = Some(next),
                None => break,
            }
        }
    }
    (accounts, scanned)
}

fn ids(accounts: &[Stored]) -> BTreeSet<&str> {
    accounts.iter().map(|stored| stored.account.id.as_str()).collect()
}

fn pulled_at() -> Timestamp {
    Timestamp::parse_rfc3339("2026-01-27T21:01:00Z").unwrap()
}

#[tokio::test]
async fn scan_finds_overdue_accounts_and_skips_the_refresh_state_item() {
    let store = store("scan-overdue").await;
    put(&store, "overdue", 1).await;
    store.begin_plan().await.unwrap();
    let (accounts, scanned) = found(&store, pulled_at() + Duration::from_hours(12)).await;
    assert_eq!((ids(&accounts), scanned), (BTreeSet::new(), 2));
    let (accounts, _) = found(&store, pulled_at() + Duration::from_hours(24)).await;
    assert_eq!(ids(&accounts), BTreeSet::from(["overdue"]));
}

#[tokio::test]
async fn scan_finds_a_record_written_while_refreshing_was_off() {
    let on = store("scan-off").await;
    let off = RefreshPolicy { interval: None, ..POLICY };
    put(&AccountStore::new(client(), "scan-off", off), "never", 1).await;
    let (accounts, _) = found(&on, pulled_at()).await;
    assert_eq!(ids(&accounts), BTreeSet::from(["never"]));
    assert_eq!(accounts[0].account.status_without_sync().status, Status::Healthy);
}

#[tokio::test]
async fn list_of_all_accounts_continues_after_an_item_that_is_no_account() {
    let store = store("scan-list").await;
    let expected: BTreeSet<_> = (0..5).map(|number| format!("listed-{number}")).collect();
    for id in &expected {
        put(&store, id, 1).await;
    }
    store.begin_plan().await.unwrap();
    let (mut listed, mut after) = (BTreeSet::new(), None);
    loop {
        let page = store.list(Group::All, 1, after.as_ref()).await.unwrap();
        listed.extend(page.items.iter().map(|account| account.id.to_string()));
        match page.next {
            Some(next) => after = Some(next.to_string().parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn mark_queued_is_compare_and_set() {
    let store = store("scan-mark").await;
    let id = put(&store, "marked", 1).await;
    let seen = store.get(&id).await.unwrap().unwrap();
    let at = Timestamp::now();
    let claim = Claim::from(&seen);
    let (one, other) =
        tokio::join!(store.mark_queued(&claim, Some(at)), store.mark_queued(&claim, Some(at)));
    assert_eq!([one.unwrap(), other.unwrap()].iter().filter(|marked| **marked).count(), 1);
    let marked = store.get(&id).await.unwrap().unwrap();
    assert_eq!(marked.account.refresh_queued_at, Some(Timestamp::from_millis(at.millis())));
    put(&store, "marked", 2).await;
    assert!(
        !store.mark_queued(&Claim::from(&marked), Some(at)).await.unwrap(),
        "the record has changed since it was read"
    );
    let kept = store.get(&id).await.unwrap().unwrap().account;
    assert_eq!(kept.refresh_queued_at, marked.account.refresh_queued_at, "an event keeps the mark");
    store.unmark_queued(&id, at + Duration::from_secs(1)).await.unwrap();
    let queued_at = async || store.get(&id).await.unwrap().unwrap().account.refresh_queued_at;
    assert!(queued_at().await.is_some(), "the mark of another run stays");
    store.unmark_queued(&id, at).await.unwrap();
    assert_eq!(queued_at().await, None);
}

#[tokio::test]
async fn mark_is_recognised_if_its_answer_was_lost() {
    let store = store("scan-lost").await;
    let id = put(&store, "lost-mark", 1).await;
    let seen = store.get(&id).await.unwrap().unwrap();
    fail("UpdateItem", id.as_str(), &[Failure::AnswerLost]);
    assert!(store.mark_queued(&Claim::from(&seen), Some(Timestamp::now())).await.unwrap());
    assert_eq!(
        proxy().count("UpdateItem", id.as_str()),
        2,
        "the SDK's retry finds its own version"
    );
}

#[tokio::test]
async fn breaker_round_trips_and_a_probe_is_claimed_once() {
    let store = store("scan-breaker").await;
    assert_eq!(store.breaker().await.unwrap(), Breaker::default());
    let now = Timestamp::from_millis(1_767_603_601_000);
    for _ in 0..5 {
        store.change_breaker(|breaker| breaker.after_failure(now)).await.unwrap();
    }
    let open = store.breaker().await.unwrap();
    let (failures, pause) = (4, Some(Duration::from_mins(5)));
    assert_eq!(open, Breaker { failures, paused_until: Some(now + MINUTE * 5), pause });
    assert_eq!(store.begin_plan().await.unwrap().breaker, open);
    let claimed = open.claimed(now + MINUTE * 5);
    let (one, other) =
        tokio::join!(store.swap_breaker(open, claimed), store.swap_breaker(open, claimed));
    assert_eq!([one.unwrap(), other.unwrap()].iter().filter(|claimed| **claimed).count(), 1);
    store.change_breaker(Breaker::after_success).await.unwrap();
    assert_eq!(store.breaker().await.unwrap(), Breaker::default());
}

#[tokio::test]
async fn concurrent_writes_keep_the_refresh_rule_and_the_read_time() {
    let store = AccountStore::new(client(), "scan-rule", POLICY);
    create_table("scan-rule").await;
    let id = put(&store, "ruled", 1).await;
    let stale = store.get(&id).await.unwrap().unwrap();
    put(&store, "ruled", 2).await;
    let (caller, rule) = (&Caller::Trusted, Some(RefreshRule::OnRead));
    let ruled = store.set_refresh(stale.clone(), caller, rule).await.unwrap().unwrap();
    assert_eq!((ruled.refresh, ruled.next_refresh_at(POLICY)), (Some(RefreshRule::OnRead), None));
    let held = store.get(&id).await.unwrap().unwrap();
    assert_eq!(held.account, ruled, "the rule is written to the newest record");
    let now = pulled_at() + Duration::from_hours(1);
    put(&store, "ruled", 3).await;
    store.note_read(held, caller, now).await.unwrap();
    put(&store, "ruled", 4).await;
    let read = store.get(&id).await.unwrap().unwrap();
    assert_eq!(read.account.read_at, Some(now));
    assert!(read.account.next_refresh_at(POLICY).is_some());
    let writes = proxy().count("UpdateItem", id.as_str());
    store.note_read(read, caller, now + MINUTE).await.unwrap();
    assert_eq!(
        proxy().count("UpdateItem", id.as_str()),
        writes,
        "a read is written once per interval"
    );
}

#[tokio::test]
async fn caller_changes_no_account_that_another_owner_has_taken_since() {
    let store = AccountStore::new(client(), "scan-owner", POLICY);
    create_table("scan-owner").await;
    let id = put(&store, "taken", 1).await;
    let exchange = |owner: &str, minute| {
        let at = pulled_at() + MINUTE * minute;
        Fact::Exchange(Exchange { at, owner: Some(owner.to_owned()) })
    };
    let bind = async |exchange| store.apply(&id, None, &[&exchange]).await.unwrap();
    bind(exchange("ada", 1)).await;
    let (ada, rule) = (Caller::Owner("ada".to_owned()), Some(RefreshRule::OnRead));
    let newest = async || store.get_newest(&id).await.unwrap().unwrap();
    assert!(store.set_refresh(newest().await, &ada, rule).await.unwrap().is_some());
    let seen = newest().await;
    bind(exchange("bayo", 2)).await;
    let taken = newest().await;
    let now = pulled_at() + Duration::from_hours(1);
    assert_eq!(store.note_read(seen.clone(), &ada, now).await.unwrap(), None);
    assert_eq!(store.set_refresh(seen, &ada, Some(RefreshRule::Off)).await.unwrap(), None);
    assert_eq!(newest().await, taken);
}

#[tokio::test]
async fn each_run_begins_at_the_next_segment_or_where_the_last_run_stopped() {
    let store = store("scan-segments").await;
    let first = async || store.begin_plan().await.unwrap().first_segment;
    assert_eq!((first().await, first().await), (0, 1));
    store.begin_next_with(SEGMENTS - 1).await.unwrap();
    assert_eq!((first().await, first().await, first().await), (SEGMENTS - 1, 0, 1));
}

/// The cost of an hourly scan. The records are as long as records of Mono's longest events. The emulator
/// does not count read units, so the test counts requests.
#[tokio::test]
async fn scan_of_ten_thousand_accounts_is_one_eventually_consistent_request_per_segment() {
    const ACCOUNTS: usize = 10_000;
    const TABLE: &str = "scan-cost";
    let store = store(TABLE).await;
    let id = put(&store, "697926f050b9c321c1451dda", 1).await;
    let client = client();
    let key = HashMap::from([("account_id".to_owned(), AttributeValue::S(id.to_string()))]);
    let item = client.get_item().table_name(TABLE).set_key(Some(key)).send().await.unwrap();
    let mut item = item.item.unwrap();
    item.insert("filler".to_owned(), AttributeValue::S("x".repeat(489)));
    let copies: Vec<_> = (1..ACCOUNTS)
        .map(|number| {
            let mut item = item.clone();
            item.insert("account_id".to_owned(), AttributeValue::S(format!("{number:024x}")));
            let put = PutRequest::builder().set_item(Some(item)).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        })
        .collect();
    for batch in copies.chunks(25) {
        client.batch_write_item().request_items(TABLE, batch.to_vec()).send().await.unwrap();
    }
    let (accounts, scanned) = found(&store, Timestamp::now()).await;
    assert_eq!((accounts.len(), scanned), (ACCOUNTS, ACCOUNTS as u64));
    let calls = proxy().calls(TABLE);
    let scans: Vec<_> = calls.iter().filter(|call| call.operation == "Scan").collect();
    assert_eq!(scans.len(), usize::try_from(SEGMENTS).unwrap(), "each segment is under 1 MiB");
    assert!(!scans.iter().any(|call| call.body.contains("\"ConsistentRead\":true")));
}

/// Tests only that the mark is stored. The domain tests cover when an account is due.
#[tokio::test]
async fn queued_mark_is_stored_and_read_back() {
    let store = store("scan-read").await;
    let id = put(&store, "read", 1).await;
    let seen = store.get(&id).await.unwrap().unwrap();
    let at = Timestamp::from_millis(1_767_603_601_000);
    assert!(store.mark_queued(&Claim::from(&seen), Some(at)).await.unwrap());
    let marked = store.get(&id).await.unwrap().unwrap().account;
    assert_eq!(marked, Account { refresh_queued_at: Some(at), ..seen.account });
}
