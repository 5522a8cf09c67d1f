//! Reads and marks of the automatic refresh in the table of account records.
//!
//! A scan finds the overdue accounts. An index by the time of the next refresh would cost two more write units per
//! event. An hourly, eventually consistent scan costs one eighth of a read unit per account.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use tokio::time::sleep;
use tracing::error;

use super::item::{
    self, ACCOUNT_ID, ATTEMPT_JOB_ID, IMPORT_DEFERRED_UNTIL, Item, NEXT_REFRESH_AT, PULL_JOB_ID,
    READ_AT, REFRESH, REFRESH_QUEUED_AT, VERSION, Version,
};
use super::{AccountStore, MAX_ATTEMPTS, StoreError, Stored, pause};
use crate::domain::account::{Account, RefreshRule};
use crate::domain::account_id::AccountId;
use crate::domain::circuit_breaker::Breaker;
use crate::domain::timestamp::Timestamp;

/// The number of segments of a table scan.
pub const SEGMENTS: u32 = 32;

/// The key of the refresh's own item, which is not an account. No account id contains `#`.
const STATE_KEY: &str = "#refresh";
const PAUSED_UNTIL: &str = "paused_until";
const PAUSE_SECONDS: &str = "pause_seconds";
const FAILURES: &str = "failures";
const FIRST_SEGMENT: &str = "first_segment";

/// The state at the start of a planning run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanStart {
    /// The segment to scan first.
    pub first_segment: u32,
    /// Whether calls to Mono are allowed.
    pub breaker: Breaker,
}

/// An account record at the version that a planning run has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub account_id: AccountId,
    version: Version,
}

impl From<&Stored> for Claim {
    fn from(seen: &Stored) -> Self {
        Self { account_id: seen.account.id.clone(), version: seen.version }
    }
}

/// Where the scan of a segment continues.
#[derive(Clone, Debug)]
pub struct ScanPosition(Item);

/// One page of a segment.
#[derive(Debug)]
pub struct Found {
    /// Accounts that are overdue, whose job may need a status check, or whose deferred import is due.
    pub accounts: Vec<Stored>,
    /// Where the next page begins. `None` on the last page.
    pub next: Option<ScanPosition>,
    /// The number of items that DynamoDB scanned.
    pub scanned: u64,
}

impl AccountStore {
    /// Reads one page of a segment, at most 1 MiB. Eventually consistent.
    ///
    /// The page includes accounts without a time of the next refresh. They may have been stored before
    /// refreshing was turned on.
    pub async fn scan(
        &self,
        segment: u32,
        position: Option<ScanPosition>,
        now: Timestamp,
    ) -> Result<Found, StoreError> {
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let scan = self
            .client
            .scan()
            .table_name(&self.table)
            .segment(number(segment))
            .total_segments(number(SEGMENTS))
            .filter_expression(
                "attribute_exists(#version) AND (attribute_not_exists(#next) OR #next <= :now \
                 OR (attribute_exists(#job) \
                 AND (attribute_not_exists(#settled) OR #job <> #settled)) \
                 OR #deferred <= :now)",
            )
            .expression_attribute_names("#deferred", IMPORT_DEFERRED_UNTIL)
            .expression_attribute_names("#job", ATTEMPT_JOB_ID)
            .expression_attribute_names("#settled", PULL_JOB_ID)
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_names("#next", NEXT_REFRESH_AT)
            .expression_attribute_values(":now", time(now))
            .set_exclusive_start_key(position.map(|position| position.0));
        let answer = scan.send().await.map_err(StoreError::unavailable)?;
        let account = |item: Item| match Stored::from_item(item) {
            Ok(stored) => Some(stored),
            Err(error) => {
                error!(%error, "corrupt account record left out of the refresh");
                None
            }
        };
        Ok(Found {
            accounts: answer.items.unwrap_or_default().into_iter().filter_map(account).collect(),
            next: answer.last_evaluated_key.map(ScanPosition),
            scanned: u64::try_from(answer.scanned_count).unwrap_or_default(),
        })
    }

    /// Claims a record for a planning run by compare-and-set. `false` if the record was written since it was read. Of
    /// two concurrent planning runs, only one therefore queues the account. If `queued_at` is given, the record is
    /// also marked as queued at that time.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the account must not be queued.
    pub async fn mark_queued(
        &self,
        seen: &Claim,
        queued_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let fresh = Version::fresh().to_attribute();
        let update = self.update(item::key(&seen.account_id));
        let update = match queued_at {
            Some(queued_at) => update
                .update_expression("SET #version = :fresh, #queued = :queued")
                .expression_attribute_names("#queued", REFRESH_QUEUED_AT)
                .expression_attribute_values(":queued", time(queued_at)),
            None => update.update_expression("SET #version = :fresh"),
        };
        let update = update
            .condition_expression("#version = :seen")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":fresh", fresh.clone())
            .expression_attribute_values(":seen", seen.version.to_attribute())
            .return_values_on_condition_check_failure(AllOld);
        Ok(match send(update).await? {
            UpdateResult::Done(_) => true,
            // The response to the first attempt was lost. The SDK's retry found the version that the first attempt
            // wrote.
            UpdateResult::ConditionFailed(found) => found.get(VERSION) == Some(&fresh),
        })
    }

    /// Removes the queued mark of this time, because the account could not be queued.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the mark stays, and the account is queued again after one refresh interval.
    pub async fn unmark_queued(
        &self,
        id: &AccountId,
        queued_at: Timestamp,
    ) -> Result<(), StoreError> {
        let update = self
            .update(item::key(id))
            .update_expression("SET #version = :fresh REMOVE #queued")
            .condition_expression("#queued = :queued")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_names("#queued", REFRESH_QUEUED_AT)
            .expression_attribute_values(":fresh", Version::fresh().to_attribute())
            .expression_attribute_values(":queued", time(queued_at));
        send(update).await.map(drop)
    }

    /// Begins a planning run. The next run begins one segment further, unless this run calls
    /// [`Self::begin_next_with`].
    pub async fn begin_plan(&self) -> Result<PlanStart, StoreError> {
        let update = self
            .update(key())
            .update_expression("ADD #segment :one")
            .expression_attribute_names("#segment", FIRST_SEGMENT)
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .return_values(ReturnValue::AllNew);
        let (UpdateResult::Done(item) | UpdateResult::ConditionFailed(item)) = send(update).await?;
        let first_segment = number(&item, FIRST_SEGMENT).map_or(0, |next| {
            u32::try_from((next + u64::from(SEGMENTS) - 1) % u64::from(SEGMENTS)).unwrap_or(0)
        });
        Ok(PlanStart { first_segment, breaker: breaker(&item) })
    }

    /// Makes the next planning run begin with this segment, which the current run has not reached.
    pub async fn begin_next_with(&self, segment: u32) -> Result<(), StoreError> {
        let update = self
            .update(key())
            .update_expression("SET #segment = :segment")
            .expression_attribute_names("#segment", FIRST_SEGMENT)
            .expression_attribute_values(":segment", AttributeValue::N(segment.to_string()));
        send(update).await.map(drop)
    }

    /// The circuit breaker: whether calls to Mono are allowed. One consistent read.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: Mono must not be called.
    pub async fn breaker(&self) -> Result<Breaker, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key()));
        let answer = request.consistent_read(true).send().await;
        let answer = answer.map_err(StoreError::unavailable)?;
        Ok(answer.item.as_ref().map(breaker).unwrap_or_default())
    }

    /// Replaces the breaker by compare-and-set. `false` if it was changed since it was read.
    pub async fn swap_breaker(&self, seen: Breaker, next: Breaker) -> Result<bool, StoreError> {
        let mut conditions = Vec::new();
        let (mut update, assignments) = assigned(self.update(key()), attributes(next));
        for (name, before) in attributes(seen) {
            match before {
                Some(before) => {
                    conditions.push(format!("#{name} = :{name}_before"));
                    update = update.expression_attribute_values(format!(":{name}_before"), before);
                }
                None => conditions.push(format!("attribute_not_exists(#{name})")),
            }
        }
        let update = update.update_expression(assignments);
        let update = update.condition_expression(conditions.join(" AND "));
        Ok(matches!(send(update).await?, UpdateResult::Done(_)))
    }

    /// Changes the breaker, and retries after conflicts with concurrent changes.
    pub async fn change_breaker(
        &self,
        change: impl Fn(Breaker) -> Breaker,
    ) -> Result<(), StoreError> {
        for conflicts in 0..MAX_ATTEMPTS {
            if conflicts > 0 {
                sleep(pause(conflicts)).await;
            }
            let seen = self.breaker().await?;
            let next = change(seen);
            if next == seen || self.swap_breaker(seen, next).await? {
                return Ok(());
            }
        }
        Err(StoreError::Contended)
    }

    /// Sets an account's own refresh rule, or removes it. Returns the changed account. One write if there is no
    /// conflict.
    pub async fn set_refresh(
        &self,
        seen: Stored,
        refresh: Option<RefreshRule>,
    ) -> Result<Account, StoreError> {
        Box::pin(self.touch(seen, |account| Account { refresh, ..account.clone() })).await
    }

    /// Records that a caller read the account at this time, if the policy requires it. Then one write if there is no
    /// conflict, otherwise none.
    pub async fn note_read(&self, seen: Stored, now: Timestamp) -> Result<Account, StoreError> {
        let noted = |account: &Account| {
            let read_at = Some(now).filter(|_| account.is_read_noted(now, self.policy));
            Account { read_at: read_at.or(account.read_at), ..account.clone() }
        };
        Box::pin(self.touch(seen, noted)).await
    }

    /// Changes the attributes that do not come from facts, and the time of the next refresh. Updates only these
    /// attributes.
    async fn touch(
        &self,
        seen: Stored,
        change: impl Fn(&Account) -> Account,
    ) -> Result<Account, StoreError> {
        let mut seen = seen;
        for conflicts in 1..=MAX_ATTEMPTS {
            let next = change(&seen.account);
            if next == seen.account {
                return Ok(next);
            }
            let rule = next.refresh.map(|rule| AttributeValue::S(rule.as_str().to_owned()));
            let attributes = [
                (VERSION, Some(Version::fresh().to_attribute())),
                (REFRESH, rule),
                (READ_AT, next.read_at.map(time)),
                (NEXT_REFRESH_AT, next.next_refresh_at(self.policy).map(time)),
            ];
            let (update, assignments) = assigned(self.update(item::key(&next.id)), attributes);
            let update = update
                .update_expression(assignments)
                .condition_expression("#version = :seen")
                .expression_attribute_values(":seen", seen.version.to_attribute());
            if let UpdateResult::Done(_) = send(update).await? {
                return Ok(next);
            }
            sleep(pause(conflicts)).await;
            match self.get_newest(&next.id).await? {
                Some(newest) => seen = newest,
                None => return Ok(next),
            }
        }
        Err(StoreError::Contended)
    }

    fn update(&self, key: Item) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(key))
    }
}

/// The outcome of an update.
enum UpdateResult {
    /// The update was written. Holds the new attributes if the request asked for them.
    Done(Item),
    /// The condition did not hold. Holds the stored item if the request asked for it.
    ConditionFailed(Item),
}

async fn send(update: UpdateItemFluentBuilder) -> Result<UpdateResult, StoreError> {
    match update.send().await {
        Ok(answer) => Ok(UpdateResult::Done(answer.attributes.unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                Ok(UpdateResult::ConditionFailed(failed.item.clone().unwrap_or_default()))
            }
            _ => Err(StoreError::unavailable(error)),
        },
    }
}

/// The key of the refresh's own item.
fn key() -> Item {
    HashMap::from([(ACCOUNT_ID.to_owned(), AttributeValue::S(STATE_KEY.to_owned()))])
}

/// Adds attributes to an update. Returns the update and its expression. `None` as a value removes the attribute.
fn assigned(
    update: UpdateItemFluentBuilder,
    attributes: impl IntoIterator<Item = (&'static str, Option<AttributeValue>)>,
) -> (UpdateItemFluentBuilder, String) {
    let (mut update, mut sets, mut removes) = (update, Vec::new(), Vec::new());
    for (name, value) in attributes {
        update = update.expression_attribute_names(format!("#{name}"), name);
        match value {
            Some(value) => {
                sets.push(format!("#{name} = :{name}"));
                update = update.expression_attribute_values(format!(":{name}"), value);
            }
            None => removes.push(format!("#{name}")),
        }
    }
    let clauses = [("SET", sets), ("REMOVE", removes)].into_iter();
    let clauses = clauses.filter(|(_, parts)| !parts.is_empty());
    let clauses = clauses.map(|(word, parts)| format!("{word} {}", parts.join(", ")));
    (update, clauses.collect::<Vec<_>>().join(" "))
}

fn breaker(item: &Item) -> Breaker {
    Breaker {
        failures: number(item, FAILURES).and_then(|n| n.try_into().ok()).unwrap_or_default(),
        paused_until: number(item, PAUSED_UNTIL).map(Timestamp::from_millis),
        pause: number(item, PAUSE_SECONDS).map(Duration::from_secs),
    }
}

fn attributes(breaker: Breaker) -> [(&'static str, Option<AttributeValue>); 3] {
    let Breaker { failures, paused_until, pause } = breaker;
    let number = |number: u64| AttributeValue::N(number.to_string());
    [
        (FAILURES, (failures > 0).then(|| number(failures.into()))),
        (PAUSED_UNTIL, paused_until.map(time)),
        (PAUSE_SECONDS, pause.map(|pause| number(pause.as_secs()))),
    ]
}

fn time(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.millis().to_string())
}

fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
