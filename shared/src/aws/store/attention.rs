//! The list of accounts that need attention. The account with the oldest data comes first.

use std::fmt;
use std::str::FromStr;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;

use super::item::{
    self, ATTENTION, ATTENTION_OWNER, ATTENTION_PLACE, Item, SHARDS, attention, attention_owner,
};
use super::{AccountStore, Page, StoreError};
use crate::domain::account::{Account, Status};
use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;

/// A position in the list: the time of an account's data, and the account's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttentionPosition {
    pub(super) since: Timestamp,
    pub(super) account_id: AccountId,
}

/// The text is not a valid position in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position in the list")]
pub struct InvalidAttentionPosition;

impl AccountStore {
    /// Lists the accounts that need attention, of one status or of all, and of one owner or of all.
    ///
    /// For all owners, it sends one query for each shard of each status. For one owner, it sends one query and drops
    /// accounts of other statuses, so a page may be short although more follow. One more request reads the records. The
    /// index may lag behind them.
    pub async fn attention(
        &self,
        owner: Option<&str>,
        status: Option<Status>,
        limit: usize,
        after: Option<AttentionPosition>,
    ) -> Result<Page<Account, AttentionPosition>, StoreError> {
        let Page { items: places, next } = match owner {
            None => self.places(status, limit, after.as_ref()).await?,
            Some(owner) => self.places_of_owner(owner, status, limit, after.as_ref()).await?,
        };
        let ids = places.into_iter().map(|place| place.account_id).collect();
        Ok(Page { items: self.listed(ids).await?, next })
    }

    async fn places(
        &self,
        status: Option<Status>,
        limit: usize,
        after: Option<&AttentionPosition>,
    ) -> Result<Page<AttentionPosition, AttentionPosition>, StoreError> {
        let statuses = Status::ALL.into_iter().filter(|status| status.needs_attention());
        let statuses = statuses.filter(|each| status.is_none_or(|status| *each == status));
        let shards = statuses.flat_map(|status| (0..SHARDS).map(move |shard| (status, shard)));
        let queries = shards.map(async |(status, shard)| {
            let key = AttributeValue::S(attention(status, shard));
            let query = self.keys("AttentionIndex", ATTENTION, key, after);
            // One item more than the limit shows whether another page follows.
            let query = query.limit(i32::try_from(limit + 1).unwrap_or(i32::MAX));
            let answer = query.send().await;
            let answer = answer.map_err(StoreError::unavailable)?;
            Ok::<_, StoreError>(answer.items.unwrap_or_default())
        });
        let found = try_join_all(queries).await?.concat();
        let mut places: Vec<_> = found.iter().filter_map(AttentionPosition::at).collect();
        places.sort();
        let has_more = places.len() > limit;
        places.truncate(limit);
        let next = places.last().filter(|_| has_more).cloned();
        Ok(Page { items: places, next })
    }

    async fn places_of_owner(
        &self,
        owner: &str,
        status: Option<Status>,
        limit: usize,
        after: Option<&AttentionPosition>,
    ) -> Result<Page<AttentionPosition, AttentionPosition>, StoreError> {
        let query =
            self.keys("AttentionByOwnerIndex", ATTENTION_OWNER, attention_owner(owner), after);
        let query = match status {
            None => query.limit(i32::try_from(limit + 1).unwrap_or(i32::MAX)),
            Some(status) => query
                .limit(i32::try_from(FILTERED_READ_LIMIT.max(limit + 1)).unwrap_or(i32::MAX))
                .filter_expression("begins_with(#attention, :status)")
                .expression_attribute_names("#attention", ATTENTION)
                .expression_attribute_values(
                    ":status",
                    AttributeValue::S(format!("{}#", status.as_str())),
                ),
        };
        let answer = query.send().await;
        let answer = answer.map_err(StoreError::unavailable)?;
        let found = answer.items.unwrap_or_default();
        let mut places: Vec<_> = found.iter().filter_map(AttentionPosition::at).collect();
        let next = if places.len() > limit {
            places.truncate(limit);
            places.last().cloned()
        } else {
            answer.last_evaluated_key.as_ref().and_then(AttentionPosition::at)
        };
        Ok(Page { items: places, next })
    }

    /// Builds a query for the keys in one partition of an index, after a position.
    fn keys(
        &self,
        index: &str,
        key: &str,
        value: AttributeValue,
        after: Option<&AttentionPosition>,
    ) -> QueryFluentBuilder {
        let beginning = || AttributeValue::B(Blob::new([0]));
        let after = after.map_or_else(beginning, AttentionPosition::to_key);
        self.client
            .query()
            .table_name(&self.table)
            .index_name(index)
            .key_condition_expression("#key = :key AND #place > :after")
            .expression_attribute_names("#key", key)
            .expression_attribute_names("#place", ATTENTION_PLACE)
            .expression_attribute_values(":key", value)
            .expression_attribute_values(":after", after)
    }
}

/// The minimum limit of an owner's accounts that one query reads when it filters by status.
const FILTERED_READ_LIMIT: usize = 1000;

impl AttentionPosition {
    /// The value of [`ATTENTION_PLACE`], the sort key of the list: the time, then the account's id. The value is
    /// binary so that a record fits into one write unit.
    pub(super) fn to_key(&self) -> AttributeValue {
        let place = [&self.since.to_bytes(), self.account_id.as_str().as_bytes()].concat();
        AttributeValue::B(Blob::new(place))
    }

    fn at(key: &Item) -> Option<Self> {
        let since = key.get(ATTENTION_PLACE)?.as_b().ok()?.as_ref().first_chunk().copied()?;
        let since = Timestamp::from_bytes(since);
        Some(Self { since, account_id: item::account_id(key)? })
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
    fn position_text_is_read_back_and_other_text_is_rejected() {
        let text = "1769547638856.697926f050b9c321c1451dda";
        assert_eq!(text.parse::<AttentionPosition>().unwrap().to_string(), text);
        for invalid in ["", ".", "1.", ".a", "1", "01.a", "-1.a", "1.a b", "1.a.b", "x.a"] {
            assert_eq!(
                invalid.parse::<AttentionPosition>(),
                Err(InvalidAttentionPosition),
                "{invalid}"
            );
        }
    }
}
