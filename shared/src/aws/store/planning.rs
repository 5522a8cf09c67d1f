//! Reads and marks of the automatic refresh in the table of account records.
//!
//! A scan finds the overdue accounts. An index by the time of the next refresh would cost two more write units per
//! event. An hourly, eventually consistent scan costs one eighth of a read unit per account.

use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use tracing::error;

use super::breaker::breaker_of;
use super::item::{
    self, ATTEMPT_JOB_ID, IMPORT_DEFERRED_UNTIL, Item, NEXT_REFRESH_AT, PULL_JOB_ID,
    REFRESH_QUEUED_AT, VERSION, Version,
};
use super::update::{UpdateResult, number, send, state_key, time};
use super::{AccountStore, StoreError, Stored};
use crate::domain::account_id::AccountId;
use crate::domain::circuit_breaker::Breaker;
use crate::domain::timestamp::Timestamp;

/// The number of segments of a table scan.
pub const SEGMENTS: u32 = 32;

const FIRST_SEGMENT: &str = "first_segment";

/// The state at the start of a planning run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanStart {
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
            .update(state_key())
            .update_expression("ADD #segment :one")
            .expression_attribute_names("#segment", FIRST_SEGMENT)
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .return_values(ReturnValue::AllNew);
        let (UpdateResult::Done(item) | UpdateResult::ConditionFailed(item)) = send(update).await?;
        let first_segment = number(&item, FIRST_SEGMENT).map_or(0, |next| {
            u32::try_from((next + u64::from(SEGMENTS) - 1) % u64::from(SEGMENTS)).unwrap_or(0)
        });
        Ok(PlanStart { first_segment, breaker: breaker_of(&item) })
    }

    /// Makes the next planning run begin with this segment, which the current run has not reached.
    pub async fn begin_next_with(&self, segment: u32) -> Result<(), StoreError> {
        let update = self
            .update(state_key())
            .update_expression("SET #segment = :segment")
            .expression_attribute_names("#segment", FIRST_SEGMENT)
            .expression_attribute_values(":segment", AttributeValue::N(segment.to_string()));
        send(update).await.map(drop)
    }
}
