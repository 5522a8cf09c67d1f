//! The accounts that need someone's attention, the most stale first.

use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use tracing::error;

use super::item::{
    ACCOUNT_ID, ATTENTION, ATTENTION_OWNER, ATTENTION_SINCE, ATTENTION_STATUS, Item, attention,
    attention_owner,
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
    /// passed over.
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
        let mut accounts = Vec::new();
        let mut start = after.map(|after| after.key(key, value.clone()));
        // One more than wanted, to know whether there is more.
        while accounts.len() <= limit {
            let wanted = i32::try_from(limit + 1 - accounts.len()).unwrap_or(i32::MAX);
            let query = self.client.query().table_name(&self.table).index_name(index).limit(wanted);
            let query = query
                .key_condition_expression("#key = :key")
                .expression_attribute_names("#key", key)
                .expression_attribute_values(":key", value.clone())
                .set_exclusive_start_key(start);
            let answer = query.send().await;
            let answer = answer.map_err(|error| StoreError::Unavailable(describe(&error)))?;
            let found = answer.items.unwrap_or_default().into_iter().filter_map(account);
            accounts.extend(found.filter(|account| {
                let fits = account
                    .attention()
                    .is_some_and(|held| status.is_none_or(|status| held.status == status));
                fits && caller.may_see(account)
            }));
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        let more = accounts.len() > limit;
        accounts.truncate(limit);
        let last = accounts.last().filter(|_| more);
        let next = last.and_then(AttentionPosition::of);
        Ok(Page { items: accounts, next })
    }
}

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
