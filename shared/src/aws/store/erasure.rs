//! The erasure of account records, and the tombstones of erased accounts.
//!
//! A tombstone is an item of the same table. Its key is a hash of the account id, and it holds no personal data.
//! DynamoDB deletes it after [`TOMBSTONE_PERIOD`].

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{Item, marker_key};
use super::update::number;
use super::{AccountStore, Change, StoreError, Stored};
use crate::domain::account::{Account, Erasure, Fact, TOMBSTONE_PERIOD};
use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;

/// When DynamoDB deletes an item, in seconds since 1970. No account record has this attribute.
pub(super) const EXPIRES_AT: &str = "expires_at";
const ERASED_AT: &str = "erased_at";

impl AccountStore {
    /// Begins the erasure of an account, if `is_due` says so. Returns the record. `None`: there is no record. One write
    /// if there is no conflict.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the erasure has not begun.
    pub async fn begin_erasure(
        &self,
        seen: Stored,
        now: Timestamp,
        is_due: impl Fn(&Account) -> bool,
    ) -> Result<Option<Stored>, StoreError> {
        let id = seen.account.id.clone();
        let begin = |account: &Account| {
            if account.is_unknown() || !is_due(account) {
                return (Change::Keep, ());
            }
            (Change::Put(Box::new(account.begin_erasure(now))), ())
        };
        let (stored, ()) = Box::pin(self.change(&id, Some(seen), begin)).await?;
        Ok(stored)
    }

    /// Notes that nothing is left to do at Mono. `None`: the erasure has ended. One write.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the account is unlinked at Mono again.
    pub async fn note_unlinked(&self, erasing: Stored) -> Result<Option<Stored>, StoreError> {
        let id = erasing.account.id.clone();
        let note = |account: &Account| {
            let Some(erasure) = account.erasure.clone() else {
                return (Change::Keep, ());
            };
            let erasure = Some(Erasure { is_unlinked: true, ..erasure });
            (Change::Put(Box::new(Account { erasure, ..account.clone() })), ())
        };
        let (stored, ()) = Box::pin(self.change(&id, Some(erasing), note)).await?;
        Ok(stored.filter(|stored| stored.account.erasure.is_some()))
    }

    /// Notes a new link of an account that is being erased, or that was erased at this time. An erased account gets a
    /// record again, which has only its id and the new link. Returns the erasure if `note` has changed it. One write.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the link must be reported again. [`StoreError::Contended`]: the account has a new record already.
    pub async fn note_relink(
        &self,
        id: &AccountId,
        seen: Option<Stored>,
        erased_at: Timestamp,
        note: impl Fn(&Erasure) -> Option<Erasure>,
    ) -> Result<Option<Erasure>, StoreError> {
        let erased = Erasure { is_unlinked: true, ..Erasure::new(erased_at) };
        let note = |account: &Account| {
            let erasure = account.erasure.as_ref().or(account.is_unknown().then_some(&erased));
            let Some(erasure) = erasure else {
                return (Change::Keep, Err(StoreError::Contended));
            };
            let Some(noted) = note(erasure) else {
                return (Change::Keep, Ok(None));
            };
            let next = Account { erasure: Some(noted.clone()), ..account.clone() };
            (Change::Put(Box::new(next)), Ok(Some(noted)))
        };
        Box::pin(self.change(id, seen, note)).await?.1
    }

    /// Ends an erasure because Mono has confirmed a new link: replaces the record by one that has only this proof, and
    /// deletes the tombstone. Its first import is noted as deferred until this time. Returns the record. Two writes.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the link must be confirmed again. [`StoreError::Contended`]: the erasure has changed meanwhile.
    pub async fn end_erasure_by_link(
        &self,
        erasing: Stored,
        proof: Fact,
        import_at: Timestamp,
    ) -> Result<Account, StoreError> {
        let (id, expected) = (erasing.account.id.clone(), erasing.account.erasure.clone());
        let since = expected.as_ref().map_or(import_at, |erasure| erasure.since);
        let facts = [Fact::Erased(since), proof];
        let replace = |account: &Account| {
            if account.erasure.is_none() || account.erasure != expected {
                return (Change::Keep, None);
            }
            let blank =
                Account { import_number: account.import_number, ..Account::new(id.clone()) };
            let linked = facts.iter().fold(blank, |account, fact| account.apply(fact));
            let linked = Account { import_deferred_until: Some(import_at), ..linked };
            (Change::Put(Box::new(linked.clone())), Some(linked))
        };
        let (_, linked) = Box::pin(self.change(&id, Some(erasing), replace)).await?;
        let linked = linked.ok_or(StoreError::Contended)?;
        self.forget_erasure(&id).await?;
        Ok(linked)
    }

    /// Ends an erasure: writes the tombstone with the time up to which link events are void, and then deletes the
    /// record. Two writes.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the record may still exist. [`StoreError::Contended`]: a new link was noted meanwhile.
    pub async fn end_erasure(&self, erasing: Stored, now: Timestamp) -> Result<(), StoreError> {
        let id = erasing.account.id.clone();
        let mut tombstone = key(&id);
        let number = |number: u64| AttributeValue::N(number.to_string());
        let erased_at = erasing.account.erasure.as_ref().map_or(now, Erasure::voids_until);
        tombstone.insert(ERASED_AT.to_owned(), number(erased_at.millis()));
        let expires_at = now + TOMBSTONE_PERIOD;
        tombstone.insert(EXPIRES_AT.to_owned(), number(expires_at.millis() / 1000));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(tombstone));
        put.send().await.map_err(StoreError::unavailable)?;
        let expected = erasing.account.erasure.clone().unwrap_or(Erasure::new(now));
        let is_same_link = |erasure: &Erasure| {
            erasure.relinked_at == expected.relinked_at && erasure.exchange == expected.exchange
        };
        let remove = |account: &Account| match &account.erasure {
            None => (Change::Keep, Ok(())),
            Some(erasure) if is_same_link(erasure) => (Change::Remove, Ok(())),
            Some(_) => (Change::Keep, Err(StoreError::Contended)),
        };
        Box::pin(self.change(&id, Some(erasing), remove)).await?.1
    }

    /// The time up to which link events of an erased account are void. `None`: there is no tombstone. Strongly
    /// consistent. One request.
    pub async fn erasure_of(
        &self,
        id: &AccountId,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let answer = get.set_key(Some(key(id))).send().await.map_err(StoreError::unavailable)?;
        Ok(answer.item.as_ref().and_then(|item| erased_at(item, now)))
    }

    /// Deletes the tombstone, because Mono has confirmed a new link of the account. One write.
    pub async fn forget_erasure(&self, id: &AccountId) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(key(id)));
        delete.send().await.map(drop).map_err(StoreError::unavailable)
    }
}

/// The key of a tombstone: half of a SHA-256 of the account id.
pub(super) fn key(id: &AccountId) -> Item {
    marker_key("erased", id.as_str())
}

/// DynamoDB deletes an expired tombstone with a delay.
pub(super) fn erased_at(tombstone: &Item, now: Timestamp) -> Option<Timestamp> {
    number(tombstone, EXPIRES_AT).filter(|expires_at| expires_at * 1000 > now.millis())?;
    number(tombstone, ERASED_AT).map(Timestamp::from_millis)
}
