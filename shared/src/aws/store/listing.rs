//! Lists of accounts: all of them, those of one owner, and those of one customer.

use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;
use tracing::error;

use super::item::{self, ACCOUNT_ID, CUSTOMER, Item, REFERENCE};
use super::{AccountStore, StoreError, Stored};
use crate::domain::account::Account;
use crate::domain::account_id::AccountId;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, P> {
    pub items: Vec<T>,
    /// Where the next page begins. `None` on the last page.
    pub next: Option<P>,
}

/// The key of the last item that a page has read. The table also has items that are not accounts, with a `#` in their
/// keys. In a cursor, `.` replaces `#`, which URLs reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPosition(String);

/// The text is not a position in a list of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position in a list of accounts")]
pub struct InvalidListPosition;

impl ListPosition {
    fn of(item: &Item) -> Option<Self> {
        Some(Self(item.get(ACCOUNT_ID)?.as_s().ok()?.clone()))
    }

    fn key(&self) -> Item {
        [(ACCOUNT_ID.to_owned(), AttributeValue::S(self.0.clone()))].into()
    }
}

impl FromStr for ListPosition {
    type Err = InvalidListPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_key = text.starts_with('.') || !text.contains('.');
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) && is_key {
            Ok(Self(text.replace('.', "#")))
        } else {
            Err(InvalidListPosition)
        }
    }
}

impl fmt::Display for ListPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.replace('#', "."))
    }
}

/// The accounts of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group<'a> {
    All,
    /// The accounts with this `ref`.
    Reference(&'a str),
    /// The accounts of this customer at Mono.
    Customer(&'a str),
}

impl AccountStore {
    /// Lists the accounts of a group. Eventually consistent. [`Group::All`] has no order and takes one request a page.
    /// The other groups are in the order of the ids and take two. A page may be short although more accounts follow.
    pub async fn list(
        &self,
        group: Group<'_>,
        limit: usize,
        after: Option<&ListPosition>,
    ) -> Result<Page<Account, ListPosition>, StoreError> {
        match group {
            Group::All => self.all(limit, after).await,
            Group::Reference(value) => self.group("RefIndex", REFERENCE, value, limit, after).await,
            Group::Customer(value) => {
                self.group("CustomerIndex", CUSTOMER, value, limit, after).await
            }
        }
    }

    async fn all(
        &self,
        limit: usize,
        after: Option<&ListPosition>,
    ) -> Result<Page<Account, ListPosition>, StoreError> {
        let scan = self.client.scan().table_name(&self.table).limit(number(limit));
        let answer = scan.set_exclusive_start_key(after.map(ListPosition::key)).send().await;
        let answer = answer.map_err(StoreError::unavailable)?;
        let mut accounts = Vec::new();
        for item in answer.items.unwrap_or_default().into_iter().filter(item::is_account) {
            let account_id = item::account_id(&item);
            match Stored::from_item(item) {
                Ok(stored) => accounts.push(stored.account),
                Err(error) => {
                    error!(?account_id, %error, "corrupt account record left out of a list");
                }
            }
        }
        let next = answer.last_evaluated_key.as_ref().and_then(ListPosition::of);
        Ok(Page { items: accounts, next })
    }

    async fn group(
        &self,
        index: &str,
        key: &str,
        value: &str,
        limit: usize,
        after: Option<&ListPosition>,
    ) -> Result<Page<Account, ListPosition>, StoreError> {
        // A space sorts before all ids.
        let after = after.map_or(" ", |after| &after.0).to_owned();
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression("#key = :key AND #id > :after")
            .expression_attribute_names("#key", key)
            .expression_attribute_names("#id", ACCOUNT_ID)
            .expression_attribute_values(":key", AttributeValue::S(value.to_owned()))
            .expression_attribute_values(":after", AttributeValue::S(after))
            // One key more than the limit shows whether another page follows.
            .limit(number(limit + 1));
        let answer = query.send().await.map_err(StoreError::unavailable)?;
        let mut ids: Vec<_> = answer.items().iter().filter_map(item::account_id).collect();
        let has_more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().filter(|_| has_more).map(|id| ListPosition(id.to_string()));
        Ok(Page { items: self.listed(ids).await?, next })
    }

    /// The records of a list, in this order. A corrupt record does not make the list fail.
    pub(super) async fn listed(&self, ids: Vec<AccountId>) -> Result<Vec<Account>, StoreError> {
        let mut records = self.get_all(ids.iter().cloned().collect()).await;
        let mut accounts = Vec::new();
        for account_id in ids {
            match records.remove(&account_id) {
                Some(Ok(Some(stored))) => accounts.push(stored.account),
                Some(Err(StoreError::Corrupt(error))) => {
                    error!(%account_id, %error, "corrupt account record left out of a list");
                }
                Some(Err(error)) => return Err(error),
                Some(Ok(None)) | None => {}
            }
        }
        Ok(accounts)
    }
}

fn number(limit: usize) -> i32 {
    i32::try_from(limit).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_of_any_item_is_read_back() {
        for key in ["697926f050b9c321c1451dda", "#refresh", "#spending#2026-11-27"] {
            let position = ListPosition(key.to_owned());
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in ["", "a b", "#refresh", "1769547638856.a", &"a".repeat(129)] {
            assert_eq!(text.parse::<ListPosition>(), Err(InvalidListPosition), "{text}");
        }
    }
}
