//! Tests the lease of a sync: one write before the call to Mono, and one write after it.

use std::time::Duration;

use e2e::proxy::Failure;
use mono_sync::aws::store::{self, AccountStore, StoreError};
use mono_sync::domain::account::{
    Account, CallError, Lease, ProviderError, SyncAttempt, SyncData, SyncOutcome, SyncRefusal,
};
use mono_sync::domain::account_id::AccountId;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::timestamp::Timestamp;
use tokio::task::JoinSet;

use crate::records::{account_id, balance, store, update};
use crate::{fail, proxy};

const LEASE: Duration = Duration::from_mins(1);

type Leased = store::Leased<Lease>;

async fn begin(store: &AccountStore, id: &AccountId) -> Result<Leased, SyncRefusal> {
    let now = Timestamp::now();
    let begun = store.begin_sync(id, &Caller::Trusted, now, now + LEASE).await.unwrap();
    begun.map_err(|(_, refusal)| refusal)
}

async fn end(store: &AccountStore, leased: Leased, attempt: &SyncAttempt) -> Option<Account> {
    store.end_sync(leased, attempt).await.unwrap()
}

fn attempt(Leased { lease, .. }: &Leased, outcome: SyncOutcome) -> SyncAttempt {
    let started_at = lease.started_at;
    let (ended_at, data) = (Timestamp::now(), SyncData::Transactions);
    SyncAttempt { started_at, ended_at, data, incomplete_allowed: false, outcome }
}

fn success() -> SyncOutcome {
    let data = SyncData::Transactions;
    SyncOutcome::Successful { has_new_data: true, data, balance: None, job_id: None }
}

fn not_found() -> SyncOutcome {
    let error = ProviderError { code: "HTTP_404".to_owned(), message: None };
    SyncOutcome::NotFound { error }
}

#[tokio::test]
async fn lease_is_granted_to_one_of_ten_callers() {
    let (store, id) = (store(), account_id());
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let (store, id) = (store.clone(), id.clone());
        callers.spawn(async move { begin(&store, &id).await.is_ok() });
    }
    let granted = callers.join_all().await.into_iter().filter(|granted| *granted).count();
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn sync_costs_a_consistent_read_and_two_writes() {
    let (store, id) = (store(), account_id());
    let leased = begin(&store, &id).await.unwrap();
    let attempt = attempt(&leased, success());
    let account = end(&store, leased, &attempt).await.unwrap();
    assert_eq!(account.lease, None);
    assert_eq!(store.get(&id).await.unwrap().unwrap().account, account);
    let reads = proxy().calls(id.as_str());
    let consistent = reads.iter().filter(|call| call.body.contains("\"ConsistentRead\":true"));
    assert_eq!(consistent.count(), 1);
    assert_eq!(proxy().count("PutItem", id.as_str()), 2);
}

#[tokio::test]
async fn event_during_a_sync_is_kept() {
    let (store, id) = (store(), account_id());
    let leased = begin(&store, &id).await.unwrap();
    let seen = store.get(&id).await.unwrap();
    store.apply(&id, seen, &[&update(&id, 1, 100)]).await.unwrap();
    let attempt = attempt(&leased, success());
    end(&store, leased, &attempt).await;
    assert_eq!(balance(&store, &id).await, Some(100));
    let account = store.get(&id).await.unwrap().unwrap().account;
    assert_eq!(account.last_synced_at(), Some(attempt.ended_at));
}

#[tokio::test]
async fn account_unknown_to_mono_leaves_no_record() {
    for failures in [&[][..], &[Failure::Throttle], &[Failure::AnswerLost], &[Failure::Conflict]] {
        let (store, id) = (store(), account_id());
        let leased = begin(&store, &id).await.unwrap();
        fail("DeleteItem", id.as_str(), failures);
        let attempt = attempt(&leased, not_found());
        assert_eq!(end(&store, leased, &attempt).await, None, "{failures:?}");
        assert_eq!(store.get(&id).await.unwrap(), None, "{failures:?}");
        assert_eq!(proxy().pending_faults(id.as_str()), 0);
    }
}

#[tokio::test]
async fn event_during_a_sync_keeps_the_record_of_an_account_not_found() {
    let (store, id) = (store(), account_id());
    let leased = begin(&store, &id).await.unwrap();
    let seen = store.get(&id).await.unwrap();
    store.apply(&id, seen, &[&update(&id, 1, 100)]).await.unwrap();
    let attempt = attempt(&leased, not_found());
    assert!(end(&store, leased, &attempt).await.is_some());
    assert_eq!(balance(&store, &id).await, Some(100));
}

#[tokio::test]
async fn lease_is_not_held_if_its_write_failed() {
    let (store, id) = (store(), account_id());
    fail("PutItem", id.as_str(), &[Failure::ServerError; 3]);
    let now = Timestamp::now();
    let failed = store.begin_sync(&id, &Caller::Trusted, now, now + LEASE).await;
    let error = failed.err();
    assert!(matches!(error, Some(StoreError::Unavailable(_))), "{error:?}");
    assert!(begin(&store, &id).await.is_ok());
}

#[tokio::test]
async fn lease_is_recognised_if_its_answer_was_lost() {
    let (store, id) = (store(), account_id());
    fail("PutItem", id.as_str(), &[Failure::AnswerLost]);
    let leased = begin(&store, &id).await.unwrap();
    let attempt = attempt(&leased, SyncOutcome::NoResult(CallError::TimedOut));
    let account = end(&store, leased, &attempt).await.unwrap();
    assert_eq!((account.lease, account.cooldown_until.is_some()), (None, true));
}

#[tokio::test]
async fn lease_is_recognised_if_an_event_was_written_while_its_answer_was_lost() {
    let (store, id) = (store(), account_id());
    fail("PutItem", id.as_str(), &[Failure::AnswerLost]);
    let (begun, ()) = tokio::join!(begin(&store, &id), async {
        // As soon as the lease exists, and before the SDK retries the write.
        while store.get(&id).await.unwrap().is_none() {}
        let seen = store.get(&id).await.unwrap();
        store.apply(&id, seen, &[&update(&id, 1, 100)]).await.unwrap();
    });
    assert!(begun.is_ok(), "the caller holds the lease itself");
    assert_eq!(balance(&store, &id).await, Some(100));
}

#[tokio::test]
async fn late_end_of_a_sync_keeps_the_lease_of_the_next_sync() {
    let (store, id) = (store(), account_id());
    let first = begin(&store, &id).await.unwrap();
    let not_begun = attempt(&first, SyncOutcome::NoResult(CallError::NotConnected));
    assert_eq!(end(&store, first.clone(), &not_begun).await, None, "the cooldown is removed");
    let second = begin(&store, &id).await.unwrap();
    end(&store, first, &not_begun).await;
    let stored = store.get(&id).await.unwrap().unwrap();
    assert_eq!(stored.account.lease, Some(second.lease));
    assert!(stored.account.cooldown_until.is_some());
}
