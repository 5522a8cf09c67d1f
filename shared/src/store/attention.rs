//! The accounts that need someone's attention, the most stale first.

use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use tracing::error;

use super::item::{
    self, ACCOUNT_ID, ATTENTION, ATTENTION_OWNER, ATTENTION_SINCE, ATTENTION_STATUS, Item,
    attention, attention_owner,
};
use super::{AccountStore, StoreError, Stored};
use crate::account::{Account, Status};
use crate::account_id::AccountId;
use crate::aws::describe;
use crate::caller::Caller;
use crate::timestamp::Timestamp;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, P> {
    /// What is in it.
    pub items: Vec<T>,
    /// Where the rest begins, if there is more.
    pub next: Option<P>,
}

/// A place in the list: how old the data of an account is, and which account it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionPosition {
    since: Timestamp,
    account_id: AccountId,
}

/// The text is no place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position in the list")]
pub struct InvalidAttentionPosition;

impl AccountStore {
    /// Accounts that need attention, of one status or all, as far as the caller may see them.
    ///
    /// One query, in the index that has just these; of an owner's, those of other statuses are
    /// passed over, and a part may be short although there is more.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn attention(
        &self,
        caller: &Caller,
        status: Option<Status>,
        limit: usize,
        after: Option<AttentionPosition>,
    ) -> Result<Page<Account, AttentionPosition>, StoreError> {
        let (index, key, value) = match (caller, status) {
            (Caller::Owner(owner), _) => {
                ("AttentionByOwnerIndex", ATTENTION_OWNER, attention_owner(owner))
            }
            (Caller::Trusted, Some(status)) => {
                let status = AttributeValue::S(status.as_str().to_owned());
                ("AttentionByStatusIndex", ATTENTION_STATUS, status)
            }
            (Caller::Trusted, None) => ("AttentionIndex", ATTENTION, attention()),
        };
        let filter = status.filter(|_| key == ATTENTION_OWNER);
        // One more than wanted, to know whether there is more; of an owner's, enough to find them.
        let most = if filter.is_some() { MOST_PASSED_OVER } else { limit + 1 };
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression("#key = :key")
            .expression_attribute_names("#key", key)
            .expression_attribute_values(":key", value.clone())
            .limit(i32::try_from(most).unwrap_or(i32::MAX))
            .set_exclusive_start_key(after.map(|after| after.key(key, value)));
        let query = match filter {
            Some(status) => query
                .filter_expression("#status = :status")
                .expression_attribute_names("#status", ATTENTION_STATUS)
                .expression_attribute_values(
                    ":status",
                    AttributeValue::S(status.as_str().to_owned()),
                ),
            None => query,
        };
        let answer = query.send().await;
        let answer = answer.map_err(|error| StoreError::Unavailable(describe(&error)))?;
        let found = answer.items.unwrap_or_default().into_iter().filter_map(account);
        let mut accounts: Vec<_> = found.filter(|account| caller.may_see(account)).collect();
        let next = if accounts.len() > limit {
            accounts.truncate(limit);
            accounts.last().and_then(AttentionPosition::of)
        } else {
            answer.last_evaluated_key.and_then(|key| AttentionPosition::at(&key))
        };
        Ok(Page { items: accounts, next })
    }
}

/// How many of an owner's accounts are looked through for those of one status, in one query.
const MOST_PASSED_OVER: usize = 1000;

/// One corrupt item stands in nobody's way.
fn account(item: Item) -> Option<Account> {
    match Stored::from_item(item) {
        Ok(stored) => Some(stored.account),
        Err(error) => {
            error!(%error, "an account is left out of the list");
            None
        }
    }
}

impl AttentionPosition {
    fn of(account: &Account) -> Option<Self> {
        let since = account.attention()?.since;
        Some(Self { since, account_id: account.id.clone() })
    }

    fn at(key: &Item) -> Option<Self> {
        let since = key.get(ATTENTION_SINCE)?.as_n().ok()?.parse().ok()?;
        let account_id = item::account_id(key)?;
        Some(Self { since: Timestamp::from_millis(since), account_id })
    }

    fn key(&self, key: &str, value: AttributeValue) -> Item {
        let since = AttributeValue::N(self.since.millis().to_string());
        let account_id = AttributeValue::S(self.account_id.to_string());
        [(key, value), (ATTENTION_SINCE, since), (ACCOUNT_ID, account_id)]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

impl fmt::Display for AttentionPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.since.millis(), self.account_id)
    }
}

impl FromStr for AttentionPosition {
    type Err = InvalidAttentionPosition;

    fn from_str(text: &str) -> Result<Self, InvalidAttentionPosition> {
        let (since, account_id) = text.split_once('.').ok_or(InvalidAttentionPosition)?;
        let since = since.parse().map_err(|_| InvalidAttentionPosition)?;
        let account_id = account_id.parse().map_err(|_| InvalidAttentionPosition)?;
        let position = Self { since: Timestamp::from_millis(since), account_id };
        if position.to_string() == text { Ok(position) } else { Err(InvalidAttentionPosition) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written_and_nothing_else_is() {
        let text = "1769547638856.697926f050b9c321c1451dda";
        assert_eq!(text.parse::<AttentionPosition>().unwrap().to_string(), text);
        for odd in ["", ".", "1.", ".a", "1", "01.a", "-1.a", "1.a b", "1.a.b", "x.a"] {
            assert_eq!(odd.parse::<AttentionPosition>(), Err(InvalidAttentionPosition), "{odd}");
        }
    }
}
