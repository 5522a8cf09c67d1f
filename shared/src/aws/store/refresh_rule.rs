//! The attributes of an account that callers set, not facts: its refresh rule and the time of its last read.

use aws_sdk_dynamodb::types::AttributeValue;
use tokio::time::sleep;

use super::item::{self, NEXT_REFRESH_AT, READ_AT, REFRESH, VERSION, Version};
use super::update::{UpdateResult, assigned, send, time};
use super::{AccountStore, MAX_ATTEMPTS, StoreError, Stored, pause};
use crate::domain::account::{Account, RefreshRule};
use crate::domain::caller::Caller;
use crate::domain::timestamp::Timestamp;

impl AccountStore {
    /// Sets an account's own refresh rule, or removes it. Returns the changed account, or `None` if the caller may not
    /// see it any more. One write if there is no conflict.
    pub async fn set_refresh(
        &self,
        seen: Stored,
        caller: &Caller,
        refresh: Option<RefreshRule>,
    ) -> Result<Option<Account>, StoreError> {
        let set = |account: &Account| Account { refresh, ..account.clone() };
        Box::pin(self.touch(seen, caller, set)).await
    }

    /// Records that the caller read the account at this time, if the policy requires it. Then one write if there is no
    /// conflict, otherwise none. Returns the account, or `None` if the caller may not see it any more.
    pub async fn note_read(
        &self,
        seen: Stored,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        let noted = |account: &Account| {
            let read_at = Some(now).filter(|_| account.is_read_noted(now, self.policy));
            Account { read_at: read_at.or(account.read_at), ..account.clone() }
        };
        Box::pin(self.touch(seen, caller, noted)).await
    }

    /// Changes the attributes that do not come from facts, and the time of the next refresh. Updates only these
    /// attributes.
    async fn touch(
        &self,
        seen: Stored,
        caller: &Caller,
        change: impl Fn(&Account) -> Account,
    ) -> Result<Option<Account>, StoreError> {
        let mut seen = seen;
        for conflicts in 1..=MAX_ATTEMPTS {
            let next = change(&seen.account);
            if next == seen.account {
                return Ok(Some(next));
            }
            let rule = next.refresh.map(|rule| AttributeValue::S(rule.as_str().to_owned()));
            let attributes = [
                (VERSION, Some(Version::fresh().to_attribute())),
                (REFRESH, rule),
                (READ_AT, next.read_at.map(time)),
                (NEXT_REFRESH_AT, next.next_planned_at(self.policy).map(time)),
            ];
            let (update, assignments) = assigned(self.update(item::key(&next.id)), attributes);
            let update = update
                .update_expression(assignments)
                .condition_expression("#version = :seen")
                .expression_attribute_values(":seen", seen.version.to_attribute());
            if let UpdateResult::Done(_) = send(update).await? {
                return Ok(Some(next));
            }
            sleep(pause(conflicts)).await;
            // The account may have another owner now, or its erasure may have begun.
            match self.get_newest(&next.id).await? {
                Some(newest) if caller.may_see(&newest.account) => seen = newest,
                _ => return Ok(None),
            }
        }
        Err(StoreError::Contended)
    }
}
