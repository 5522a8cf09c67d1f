//! Reads a record from an item.

use aws_sdk_dynamodb::types::AttributeValue;

use super::codec::{read_varint, state};
use super::tag::{
    ACCOUNT_TYPE, ATTEMPT, AVAILABILITY, BALANCE, CACHED_BALANCE, CONFIRMED_LINKED, GONE, IMPORTED,
    INCOMPLETE, JOB, LAST_BILLABLE_ATTEMPT, LAST_BILLABLE_BALANCE_ATTEMPT, LINKED, NOT_FOUND,
    ORDER_KEY, Orders, PULL, REAUTH_REQUIRED, REAUTHORISED, SYNCED_OTHERS, SYNCED_TRANSACTIONS,
    TRANSACTIONS, Tag, UNLINKED,
};
use super::{
    ATTEMPT_JOB_ID, CorruptItem, ERASURE, EXCHANGED_REF, IMPORT_LEASE, IMPORTS, Item, JOB_ID,
    JOB_STATE, LEASE, ORDER, PULL_JOB_ID, ROWS, VERSION, Version, WITHOUT_TRANSACTIONS,
};
use crate::domain::account::{
    AccountType, Attempted, Availability, DataStatus, Erasure, Exchange, ImportLease, Job,
    JobState, LayeredRegister, Lease, Mark, OrderKey, ProviderError, Pull, Register, Registers,
    RowCounts, SyncStatus,
};
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

pub(super) struct Reader {
    pub(super) item: Item,
    pub(super) order: Orders,
}

impl Reader {
    pub(super) fn erasure(&mut self) -> Result<Option<Erasure>, CorruptItem> {
        let bytes = match self.item.remove(ERASURE) {
            None => return Ok(None),
            Some(AttributeValue::B(bytes)) => bytes.into_inner(),
            Some(_) => return Err(CorruptItem(ERASURE)),
        };
        let owner = self.text(EXCHANGED_REF)?;
        let read = || {
            let (since, rest) = bytes.split_first_chunk()?;
            let (flags, mut times) = rest.split_first()?;
            let mut time = |flag: u8| {
                if flags & flag == 0 {
                    return Some(None);
                }
                let (at, rest) = times.split_first_chunk()?;
                times = rest;
                Some(Some(Timestamp::from_bytes(*at)))
            };
            Some(Erasure {
                since: Timestamp::from_bytes(*since),
                is_unlinked: flags & 1 != 0,
                relinked_at: time(2)?,
                exchange: time(4)?.map(|at| Exchange { at, owner }),
            })
        };
        read().map(Some).ok_or(CorruptItem(ERASURE))
    }

    pub(super) fn registers(&mut self, has_transactions: bool) -> Result<Registers, CorruptItem> {
        let (identity, is_proven) = self.identity()?;
        Ok(Registers {
            linked: self.mark(LINKED)?,
            unlinked: self.layered(UNLINKED)?,
            gone: self.mark(GONE)?,
            not_found: self.mark(NOT_FOUND)?,
            confirmed_linked: self.mark(CONFIRMED_LINKED)?,
            link_checked: self.time("link_checked_at")?,
            reauth_required: self.mark(REAUTH_REQUIRED)?,
            reauthorised: self.mark(REAUTHORISED)?,
            synced_transactions: self.layered(SYNCED_TRANSACTIONS)?,
            synced_others: self.layered(SYNCED_OTHERS)?,
            synced_balance: self.balance(BALANCE)?,
            cached_balance: self.balance(CACHED_BALANCE)?,
            transactions: self.mark(TRANSACTIONS)?,
            last_billable_attempt: self.mark(LAST_BILLABLE_ATTEMPT)?,
            last_billable_balance_attempt: self.mark(LAST_BILLABLE_BALANCE_ATTEMPT)?,
            without_transactions: self.without_transactions(),
            incomplete: self.mark(INCOMPLETE)?,
            imported: self.register(IMPORTED, |r| {
                match r.item.remove(IMPORTS) {
                    Some(AttributeValue::B(bytes)) => state(bytes.as_ref()),
                    _ => None,
                }
                .ok_or(CorruptItem(IMPORTS))
            })?,
            identity,
            is_proven,
            has_transactions,
            availability: self.register(AVAILABILITY, Self::availability)?,
            pull: self.register(PULL, Self::pull)?,
            account_type: self.register(ACCOUNT_TYPE, |r| {
                Ok(AccountType { kind: r.text("type")?, currency: r.text("currency")? })
            })?,
            job: self.register(JOB, |r| {
                let state = JobState::from_word(&r.required(JOB_STATE)?);
                Ok(Job { id: r.text(JOB_ID)?, state })
            })?,
            attempt: self.register(ATTEMPT, |r| {
                let outcome = r.required("attempt_outcome")?;
                Ok(Attempted { outcome, job_id: r.text(ATTEMPT_JOB_ID)? })
            })?,
            erased_before: self.time("erased_before")?,
            first_seen: self.time("first_seen_at")?,
            last_event: self.time("last_event_at")?,
        })
    }

    fn layered(&mut self, tags: [Tag; 3]) -> Result<LayeredRegister<()>, CorruptItem> {
        let [strong, weak, weak_before] = tags;
        Ok(LayeredRegister {
            strong: self.mark(strong)?,
            weak: self.mark(weak)?,
            weak_before: self.mark(weak_before)?,
        })
    }

    fn balance(&mut self, tags: [Tag; 3]) -> Result<LayeredRegister<MinorUnits>, CorruptItem> {
        let mut balance =
            |tag: Tag| self.register(tag, |reader| reader.number(tag.1).map(MinorUnits));
        let [strong, weak, weak_before] = tags;
        Ok(LayeredRegister {
            strong: balance(strong)?,
            weak: balance(weak)?,
            weak_before: balance(weak_before)?,
        })
    }

    /// A value in another format is read as none. The system determines it again.
    fn without_transactions(&mut self) -> Option<(Timestamp, Timestamp)> {
        let bytes = self.item.remove(WITHOUT_TRANSACTIONS)?;
        let (first, last) = bytes.as_b().ok()?.as_ref().split_first_chunk()?;
        let last = last.try_into().ok()?;
        Some((Timestamp::from_bytes(*first), Timestamp::from_bytes(last)))
    }

    fn availability(&mut self) -> Result<Availability, CorruptItem> {
        let word = self.required("data_status")?;
        let data_status = match DataStatus::from_word(&word) {
            DataStatus::Settled(settled) => settled,
            DataStatus::Processing => return Err(CorruptItem("data_status")),
        };
        Ok(Availability {
            data_status,
            retrieved_data: self.texts("retrieved_data")?,
            data_request_id: self.text("data_request_id")?,
        })
    }

    fn pull(&mut self) -> Result<Pull, CorruptItem> {
        let message = self.text("sync_error_message")?;
        Ok(Pull {
            sync_status: self.text("sync_status")?.as_deref().map(SyncStatus::from_word),
            error: self.text("sync_error_code")?.map(|code| ProviderError { code, message }),
            job_id: self.text(PULL_JOB_ID)?,
        })
    }

    /// A value in another format is read as none. It is a lease of another version of the system, and expires.
    pub(super) fn lease(&mut self) -> Option<Lease> {
        let bytes = self.item.remove(LEASE)?;
        let (started_at, rest) = bytes.as_b().ok()?.as_ref().split_first_chunk()?;
        let (until, token) = rest.split_first_chunk()?;
        Some(Lease {
            started_at: Timestamp::from_bytes(*started_at),
            until: Timestamp::from_bytes(*until),
            token: token.try_into().ok()?,
        })
    }

    pub(super) fn import(&mut self) -> Option<ImportLease> {
        let bytes = self.item.remove(IMPORT_LEASE)?;
        let (holder, rest) = bytes.as_b().ok()?.as_ref().split_first_chunk()?;
        let (until, pull) = rest.split_first_chunk()?;
        Some(ImportLease {
            holder: *holder,
            until: Timestamp::from_bytes(*until),
            pull: OrderKey::from_bytes(pull)?,
        })
    }

    pub(super) fn rows(&mut self) -> Result<(bool, RowCounts, u32), CorruptItem> {
        let Some(bytes) = self.item.remove(ROWS) else {
            return Ok((false, RowCounts::default(), 0));
        };
        let read = || {
            let ([has_transactions], mut rest) = bytes.as_b().ok()?.as_ref().split_first_chunk()?;
            let mut count = || read_varint(&mut rest);
            let (added, modified, removed) = (count()?, count()?, count()?);
            let counts = RowCounts { added, modified, removed, interrupted: count()? };
            Some((*has_transactions != 0, counts, count()?))
        };
        read().ok_or(CorruptItem(ROWS))
    }

    pub(super) fn version(&mut self) -> Result<Version, CorruptItem> {
        match self.item.remove(VERSION) {
            Some(AttributeValue::B(bytes)) => bytes.as_ref().try_into().ok().map(Version),
            _ => None,
        }
        .ok_or(CorruptItem(VERSION))
    }

    pub(super) fn orders(&mut self) -> Result<Orders, CorruptItem> {
        let Some(AttributeValue::B(bytes)) = self.item.remove(ORDER) else {
            return Err(CorruptItem(ORDER));
        };
        let (entries, []) = bytes.as_ref().as_chunks::<{ 1 + ORDER_KEY }>() else {
            return Err(CorruptItem(ORDER));
        };
        let entries = entries.iter().filter_map(|entry| entry.split_first_chunk());
        Ok(entries.filter_map(|([tag], key)| Some((*tag, key.try_into().ok()?))).collect())
    }

    fn mark(&mut self, tag: Tag) -> Result<Option<Mark>, CorruptItem> {
        self.register(tag, |_| Ok(()))
    }

    /// A register exists if its order key exists. Its value must then exist too.
    pub(super) fn register<T>(
        &mut self,
        tag: Tag,
        value: impl FnOnce(&mut Self) -> Result<T, CorruptItem>,
    ) -> Result<Option<Register<T>>, CorruptItem> {
        let Some(bytes) = self.order.remove(&tag.0) else {
            return Ok(None);
        };
        let order = OrderKey::from_bytes(&bytes).ok_or(CorruptItem(tag.1))?;
        Ok(Some(Register { order, value: value(self)? }))
    }

    pub(super) fn required(&mut self, name: &'static str) -> Result<String, CorruptItem> {
        self.text(name)?.ok_or(CorruptItem(name))
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, CorruptItem> {
        match self.item.remove(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(CorruptItem(name)),
        }
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, CorruptItem> {
        match self.item.remove(name) {
            None => Ok(None),
            Some(AttributeValue::L(values)) => values
                .into_iter()
                .map(|value| match value {
                    AttributeValue::S(text) => Ok(text),
                    _ => Err(CorruptItem(name)),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(CorruptItem(name)),
        }
    }

    pub(super) fn number(&mut self, name: &'static str) -> Result<i64, CorruptItem> {
        match self.item.remove(name) {
            Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| CorruptItem(name)),
            _ => Err(CorruptItem(name)),
        }
    }

    pub(super) fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, CorruptItem> {
        if !self.item.contains_key(name) {
            return Ok(None);
        }
        let millis = self.number(name)?.try_into().map_err(|_| CorruptItem(name))?;
        Ok(Some(Timestamp::from_millis(millis)))
    }
}
