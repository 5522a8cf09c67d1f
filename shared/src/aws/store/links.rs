//! Started links and exchanged codes, as items that expire, in the table of account records.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;

use super::erasure::{self, EXPIRES_AT, erased_at};
use super::item::{ACCOUNT_ID, Item, marker_key};
use super::update::number;
use super::{AccountStore, StoreError};
use crate::domain::account_id::AccountId;
use crate::domain::link_token::{LinkToken, StartedLink};
use crate::domain::timestamp::Timestamp;

/// The `ref` of the owner. The attribute `ref` would put the item into an index.
const OWNER: &str = "owner";
const STARTED_AT: &str = "started_at";
const EXCHANGED_ID: &str = "exchanged_id";
const EXCHANGED_AT: &str = "exchanged_at";

/// How long an item is kept after it stopped to count. Mono retries a webhook for 48 hours.
const KEPT: Duration = Duration::from_hours(72);
/// How long an exchange is repeated with the same result. Mono accepts a code for ten minutes.
const CODE_PERIOD: Duration = Duration::from_mins(15);

/// What the table knows of tokens and of accounts that have no record.
#[derive(Debug, Default)]
pub struct Markers {
    links: HashMap<LinkToken, StartedLink>,
    /// The times up to which link events of these erased accounts are void.
    pub erased: HashMap<AccountId, Timestamp>,
}

impl Markers {
    /// The link that was started with this token, if the token counted at this time.
    pub fn link(&self, token: &LinkToken, at: Timestamp) -> Option<&StartedLink> {
        self.links.get(token).filter(|link| at <= link.counts_until())
    }
}

/// The result of the exchange of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangedCode {
    pub account_id: AccountId,
    pub at: Timestamp,
    /// The owner to whom the exchange bound the account.
    pub owner: Option<String>,
}

impl AccountStore {
    /// Stores a started link. One write.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the link must not be used.
    pub async fn start_link(&self, link: &StartedLink) -> Result<(), StoreError> {
        let mut item = link_key(&link.token);
        item.insert(OWNER.to_owned(), AttributeValue::S(link.owner.clone()));
        item.insert(STARTED_AT.to_owned(), of_number(link.started_at.millis()));
        self.put_marker(item, link.counts_until() + KEPT).await
    }

    /// Reads the links of these tokens, and the tombstones of these accounts. At most 100 in total. Strongly
    /// consistent. One request, or none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the events with these tokens, or about these accounts, must be processed again.
    pub async fn markers(
        &self,
        tokens: &BTreeSet<LinkToken>,
        unknown: &BTreeSet<AccountId>,
        now: Timestamp,
    ) -> Result<Markers, StoreError> {
        let keys: Vec<_> =
            tokens.iter().map(link_key).chain(unknown.iter().map(erasure::key)).collect();
        if keys.is_empty() {
            return Ok(Markers::default());
        }
        let (items, unprocessed) = self.get_items(keys, true).await?;
        if !unprocessed.is_empty() {
            return Err(StoreError::Unprocessed);
        }
        let items: HashMap<_, _> = items
            .into_iter()
            .filter_map(|item| Some((item.get(ACCOUNT_ID)?.as_s().ok()?.clone(), item)))
            .collect();
        let found = |key: &Item| items.get(key.get(ACCOUNT_ID)?.as_s().ok()?);
        let link = |token: &LinkToken| {
            let item = found(&link_key(token))?;
            let owner = item.get(OWNER)?.as_s().ok()?.clone();
            let started_at = Timestamp::from_millis(number(item, STARTED_AT)?);
            Some((token.clone(), StartedLink { started_at, token: token.clone(), owner }))
        };
        let erased =
            |id: &AccountId| Some((id.clone(), erased_at(found(&erasure::key(id))?, now)?));
        Ok(Markers {
            links: tokens.iter().filter_map(link).collect(),
            erased: unknown.iter().filter_map(erased).collect(),
        })
    }

    /// The result of an earlier exchange of this code. Strongly consistent. One request.
    pub async fn exchanged(
        &self,
        code: &str,
        now: Timestamp,
    ) -> Result<Option<ExchangedCode>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let answer = get.set_key(Some(code_key(code))).send().await;
        let item = answer.map_err(StoreError::unavailable)?.item;
        let exchanged = item.as_ref().and_then(|item| {
            Some(ExchangedCode {
                account_id: item.get(EXCHANGED_ID)?.as_s().ok()?.parse().ok()?,
                at: Timestamp::from_millis(number(item, EXCHANGED_AT)?),
                owner: item.get(OWNER).and_then(|owner| owner.as_s().ok()).cloned(),
            })
        });
        Ok(exchanged.filter(|exchanged| now <= exchanged.at + CODE_PERIOD))
    }

    /// Stores the result of an exchange, under a hash of the code. One write.
    pub async fn note_exchange(
        &self,
        code: &str,
        exchanged: &ExchangedCode,
    ) -> Result<(), StoreError> {
        let mut item = code_key(code);
        let id = AttributeValue::S(exchanged.account_id.to_string());
        item.insert(EXCHANGED_ID.to_owned(), id);
        item.insert(EXCHANGED_AT.to_owned(), of_number(exchanged.at.millis()));
        if let Some(owner) = &exchanged.owner {
            item.insert(OWNER.to_owned(), AttributeValue::S(owner.clone()));
        }
        self.put_marker(item, exchanged.at + CODE_PERIOD).await
    }

    async fn put_marker(&self, mut item: Item, expires_at: Timestamp) -> Result<(), StoreError> {
        item.insert(EXPIRES_AT.to_owned(), of_number(expires_at.millis() / 1000));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(StoreError::unavailable)
    }
}

fn link_key(token: &LinkToken) -> Item {
    marker_key("link", token.as_str())
}

fn code_key(code: &str) -> Item {
    marker_key("code", code)
}

fn of_number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}
