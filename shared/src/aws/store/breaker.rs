//! The circuit breaker in DynamoDB.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use tokio::time::sleep;

use super::item::Item;
use super::update::{UpdateResult, assigned, number, send, state_key, time};
use super::{AccountStore, MAX_ATTEMPTS, StoreError, pause};
use crate::domain::circuit_breaker::Breaker;
use crate::domain::timestamp::Timestamp;

const PAUSED_UNTIL: &str = "paused_until";
const PAUSE_SECONDS: &str = "pause_seconds";
const FAILURES: &str = "failures";

impl AccountStore {
    /// The circuit breaker: whether calls to Mono are allowed. One consistent read.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: Mono must not be called.
    pub async fn breaker(&self) -> Result<Breaker, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(state_key()));
        let answer = request.consistent_read(true).send().await;
        let answer = answer.map_err(StoreError::unavailable)?;
        Ok(answer.item.as_ref().map(breaker_of).unwrap_or_default())
    }

    /// Replaces the breaker by compare-and-set. `false` if it was changed since it was read.
    pub async fn swap_breaker(&self, seen: Breaker, next: Breaker) -> Result<bool, StoreError> {
        let mut conditions = Vec::new();
        let (mut update, assignments) = assigned(self.update(state_key()), attributes(next));
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
}

pub(super) fn breaker_of(item: &Item) -> Breaker {
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
