//! What the automatic refresh reads and marks in the table of account records.
//!
//! Overdue accounts are found by a scan. An index by the time of the next refresh would take two more
//! write units for every event; an hourly, eventually consistent scan takes an eighth of a read unit
//! for each account.

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
use super::{AccountStore, MOST_CONFLICTS, StoreError, Stored, pause};
use crate::domain::account::{Account, RefreshRule};
use crate::domain::account_id::AccountId;
use crate::domain::circuit_breaker::Breaker;
use crate::domain::timestamp::Timestamp;

/// In how many segments the table is scanned.
pub const SEGMENTS: u32 = 32;

/// The one item that is no account: no account id has such a character.
const BOOKS: &str = "#refresh";
const PAUSED_UNTIL: &str = "paused_until";
const PAUSE_SECONDS: &str = "pause_seconds";
const FAILURES: &str = "failures";
const FIRST_SEGMENT: &str = "first_segment";

/// What a plan begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanStart {
    /// The segment to scan first.
    pub first_segment: u32,
    /// Whether Mono may be asked.
    pub breaker: Breaker,
}

/// A record as a plan has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The account.
    pub account_id: AccountId,
    version: Version,
}

impl From<&Stored> for Claim {
    fn from(seen: &Stored) -> Self {
        Self { account_id: seen.account.id.clone(), version: seen.version }
    }
}

/// Where a scan of a segment goes on.
#[derive(Clone, Debug)]
pub struct ScanPosition(Item);

/// A part of a segment.
#[derive(Debug)]
pub struct Found {
    /// Accounts that are overdue, whose job may have to be followed, or whose import was deferred.
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

    /// Begins a plan: answers with the segment to scan first, and with the breaker. The next plan begins one segment
    /// further, unless this one says [otherwise](Self::begin_next_with).
    pub async fn begin_plan(&self) -> Result<PlanStart, StoreError> {
        let update = self
            .update(key())
            .update_expression("ADD #segment :one")
            .expression_attribute_names("#segment", FIRST_SEGMENT)
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .return_values(ReturnValue::AllNew);
        let (Written::Done(item) | Written::Refused(item)) = written(update).await?;
        let first_segment = number(&item, FIRST_SEGMENT).map_or(0, |next| {
            u32::try_from((next + u64::from(SEGMENTS) - 1) % u64::from(SEGMENTS)).unwrap_or(0)
        });
        Ok(PlanStart { first_segment, breaker: breaker(&item) })
    }

    /// Has the next run begin with a segment that this one has not reached.
    pub async fn begin_next_with(&self, segment: u32) -> Result<(), StoreError> {
        let update = self
            .update(key())
            .update_expression("SET #segment = :segment")
            .expression_attribute_names("#segment", FIRST_SEGMENT)
            .expression_attribute_values(":segment", AttributeValue::N(segment.to_string()));
        written(update).await.map(drop)
    }

    /// Whether Mono may be asked. One consistent read.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: Mono must not be asked.
    pub async fn breaker(&self) -> Result<Breaker, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key()));
        let answer = request.consistent_read(true).send().await;
        let answer = answer.map_err(StoreError::unavailable)?;
        Ok(answer.item.as_ref().map(breaker).unwrap_or_default())
    }

    /// Puts a breaker in the place of one that was read, unless another has written meanwhile: `false` then.
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
        Ok(matches!(written(update).await?, Written::Done(_)))
    }

    /// Changes the breaker, however many do so at once.
    pub async fn change_breaker(
        &self,
        change: impl Fn(Breaker) -> Breaker,
    ) -> Result<(), StoreError> {
        for conflicts in 0..MOST_CONFLICTS {
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

    /// Gives an account a rule of refreshing of its own, or takes it away. Answers with the account afterwards. One
    /// write if nobody interferes.
    pub async fn set_refresh(
        &self,
        seen: Stored,
        refresh: Option<RefreshRule>,
    ) -> Result<Account, StoreError> {
        Box::pin(self.touch(seen, |account| Account { refresh, ..account.clone() })).await
    }

    /// Notes that an account was read at this time, if that is to be noted. One write then, if nobody interferes.
    pub async fn note_read(&self, seen: Stored, now: Timestamp) -> Result<Account, StoreError> {
        let noted = |account: &Account| {
            let read_at = Some(now).filter(|_| account.is_read_noted(now, self.policy));
            Account { read_at: read_at.or(account.read_at), ..account.clone() }
        };
        Box::pin(self.touch(seen, noted)).await
    }

    /// Changes what no fact says, and with it the time of the next refresh, by an update of these attributes alone.
    async fn touch(
        &self,
        seen: Stored,
        change: impl Fn(&Account) -> Account,
    ) -> Result<Account, StoreError> {
        let mut seen = seen;
        for conflicts in 1..=MOST_CONFLICTS {
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
            if let Written::Done(_) = written(update).await? {
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
            _ => Err(StoreError::unavailable(error)),
        },
    }
}

fn key() -> Item {
    HashMap::from([(ACCOUNT_ID.to_owned(), AttributeValue::S(BOOKS.to_owned()))])
}

/// An update of attributes to these values, or to none, and its expression.
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
