//! What the automatic refresh reads and marks in the table of account records.
//!
//! Overdue accounts are found by a scan. An index by the time of the next refresh would take two more
//! write units for every event; an hourly, eventually consistent scan takes an eighth of a read unit
//! for each account.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use tracing::error;

use super::item::{
    self, ACCOUNT_ID, ATTEMPT_JOB_ID, Item, NEXT_REFRESH_AT, PULL_JOB_ID, REFRESH_QUEUED_AT,
    VERSION, Version,
};
use super::{AccountStore, StoreError, Stored};
use crate::account_id::AccountId;
use crate::aws::describe;
use crate::timestamp::Timestamp;

/// In how many segments the table is scanned.
pub const SEGMENTS: u32 = 32;

/// The one item that is no account: no account id has such a character.
const REFRESH: &str = "#refresh";
const PAUSED_UNTIL: &str = "paused_until";
const FIRST_SEGMENT: &str = "first_segment";

/// Where a scan of a segment goes on.
#[derive(Clone, Debug)]
pub struct ScanPosition(Item);

/// A part of a segment.
#[derive(Debug)]
pub struct Found {
    /// Accounts that are overdue, or whose job may have to be followed.
    pub accounts: Vec<Stored>,
    /// Where the rest begins, if there is more.
    pub next: Option<ScanPosition>,
    /// How many items were looked at.
    pub scanned: u64,
}

impl AccountStore {
    /// A part of a segment, of at most a MiB. Eventually consistent.
    ///
    /// An account that has no time of its next refresh is found as well: it may be from before
    /// refreshing was turned on.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
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
                 AND (attribute_not_exists(#settled) OR #job <> #settled)))",
            )
            .expression_attribute_names("#job", ATTEMPT_JOB_ID)
            .expression_attribute_names("#settled", PULL_JOB_ID)
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_names("#next", NEXT_REFRESH_AT)
            .expression_attribute_values(":now", time(now))
            .set_exclusive_start_key(position.map(|position| position.0));
        let answer =
            scan.send().await.map_err(|error| StoreError::Unavailable(describe(&error)))?;
        let account = |item: Item| match Stored::from_item(item) {
            Ok(stored) => Some(stored),
            Err(error) => {
                error!(%error, "an account cannot be refreshed");
                None
            }
        };
        Ok(Found {
            accounts: answer.items.unwrap_or_default().into_iter().filter_map(account).collect(),
            next: answer.last_evaluated_key.map(ScanPosition),
            scanned: u64::try_from(answer.scanned_count).unwrap_or_default(),
        })
    }

    /// Claims a record for a plan, unless anybody has written it since it was seen: `false` then. So
    /// of two who plan at once one queues it. With a time, a sync is marked as queued then.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it must not be queued.
    pub async fn mark_queued(
        &self,
        seen: &Stored,
        queued_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let fresh = Version::fresh().to_attribute();
        let update = self.update(item::key(&seen.account.id));
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
        Ok(match written(update).await? {
            Written::Done(_) => true,
            // The answer to the first try was lost, and the SDK's repeat met what it had written.
            Written::Refused(found) => found.get(VERSION) == Some(&fresh),
        })
    }

    /// Takes the mark of this time back: the account could not be queued.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it is queued again after an interval.
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
        written(update).await.map(drop)
    }

    /// Which segment this run is to begin with; the next one begins one further, unless this one
    /// says [otherwise](Self::begin_next_with).
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn first_segment(&self) -> Result<u32, StoreError> {
        let update = self
            .update(key())
            .update_expression("ADD #segment :one")
            .expression_attribute_names("#segment", FIRST_SEGMENT)
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .return_values(ReturnValue::UpdatedNew);
        let (Written::Done(item) | Written::Refused(item)) = written(update).await?;
        Ok(number(&item, FIRST_SEGMENT).map_or(0, |next| {
            u32::try_from((next + u64::from(SEGMENTS) - 1) % u64::from(SEGMENTS)).unwrap_or(0)
        }))
    }

    /// Has the next run begin with a segment that this one has not reached.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn begin_next_with(&self, segment: u32) -> Result<(), StoreError> {
        let update = self
            .update(key())
            .update_expression("SET #segment = :segment")
            .expression_attribute_names("#segment", FIRST_SEGMENT)
            .expression_attribute_values(":segment", AttributeValue::N(segment.to_string()));
        written(update).await.map(drop)
    }

    /// Until when Mono wants to be left alone by the automatic refresh. One request.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: Mono must not be asked.
    pub async fn refresh_paused_until(&self) -> Result<Option<Timestamp>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key()));
        let answer =
            request.send().await.map_err(|error| StoreError::Unavailable(describe(&error)))?;
        let millis = answer.item.as_ref().and_then(|item| number(item, PAUSED_UNTIL));
        Ok(millis.map(Timestamp::from_millis))
    }

    /// Has the automatic refresh leave Mono alone until then, if not for longer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn pause_refresh(&self, until: Timestamp) -> Result<(), StoreError> {
        let update = self
            .update(key())
            .update_expression("SET #paused = :until")
            .condition_expression("attribute_not_exists(#paused) OR #paused < :until")
            .expression_attribute_names("#paused", PAUSED_UNTIL)
            .expression_attribute_values(":until", time(until));
        written(update).await.map(drop)
    }

    fn update(&self, key: Item) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(key))
    }
}

/// What became of an update.
enum Written {
    /// With what it has written, where that was asked for.
    Done(Item),
    /// Its condition did not hold, with what was found, where that was asked for.
    Refused(Item),
}

async fn written(update: UpdateItemFluentBuilder) -> Result<Written, StoreError> {
    match update.send().await {
        Ok(answer) => Ok(Written::Done(answer.attributes.unwrap_or_default())),
        Err(error) => match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                Ok(Written::Refused(refused.item.clone().unwrap_or_default()))
            }
            _ => Err(StoreError::Unavailable(describe(&error))),
        },
    }
}

fn key() -> Item {
    HashMap::from([(ACCOUNT_ID.to_owned(), AttributeValue::S(REFRESH.to_owned()))])
}

fn time(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.millis().to_string())
}

fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
