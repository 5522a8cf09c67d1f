//! An account record as a DynamoDB item.
//!
//! The value of a register is a top-level attribute with its name in the API, so that an operator can read an item.
//! The order keys of all registers are one binary attribute, `order`: a tag of one byte and eleven bytes for each. The
//! proofs of the identity are another, `identity`. This keeps the item of Mono's fullest events under 1 KiB, so that
//! each write costs one write unit.

mod identity;

pub(super) use identity::{CUSTOMER, REFERENCE};

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};

use super::AttentionPosition;
use crate::domain::account::{
    Account, AccountType, Attempted, Attention, Availability, DataStatus, Erasure, Exchange, Gap,
    GapReason, ImportLease, ImportNotes, ImportState, Job, JobState, LayeredRegister, Lease, Mark,
    OrderKey, ProviderError, Pull, RefreshPolicy, RefreshRule, Register, Registers, RowCounts,
    ShortHash, Status, SyncStatus,
};
use crate::domain::account_id::AccountId;
use crate::domain::business_day::BusinessDay;
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;
use crate::random;

pub(super) const ACCOUNT_ID: &str = "account_id";
pub(super) const VERSION: &str = "version";
pub(super) const REFRESH_QUEUED_AT: &str = "refresh_queued_at";
pub(super) const REFRESH: &str = "refresh";
pub(super) const READ_AT: &str = "read_at";
pub(super) const IMPORT_DEFERRED_UNTIL: &str = "import_deferred_until";
pub(super) const NEXT_REFRESH_AT: &str = "next_refresh_at";
pub(super) const ATTEMPT_JOB_ID: &str = "attempt_job_id";
pub(super) const PULL_JOB_ID: &str = "pull_job_id";
const JOB_STATE: &str = "job_state";
const JOB_ID: &str = "job_id";
const ORDER: &str = "order";
/// The first and the last time at which Mono held the balance without transactions, as bytes.
const WITHOUT_TRANSACTIONS: &str = "without_transactions";
/// The [`ImportState`] as bytes, written by [`state_to_bytes`].
const IMPORTS: &str = "imports";
/// The length of a [`Gap`] in bytes.
const GAP_LENGTH: usize = 4 + 4 + 6 + 6 + 1;
/// Both leases as bytes: their times, and their token or holder.
const LEASE: &str = "lease";
const IMPORT_LEASE: &str = "import_lease";
/// Whether Mono has ever held transactions, the [`RowCounts`], and the number of the last import, as bytes.
const ROWS: &str = "rows";
/// The [`Erasure`] as bytes.
const ERASURE: &str = "erasure";
/// The `ref` of the exchange in [`ERASURE`].
const EXCHANGED_REF: &str = "exchanged_ref";

/// The keys of the two attention indexes. Only accounts that need attention have them. One index is by status and
/// shard, the other by owner. [`ATTENTION_PLACE`] is the sort key of both. The indexes contain only keys. A write
/// costs an index write only if it changes the status, the owner or the time of the data.
pub(super) const ATTENTION: &str = "attention";
pub(super) const ATTENTION_OWNER: &str = "attention_owner";
pub(super) const ATTENTION_PLACE: &str = "attention_place";
const ATTENTION_KEYS: [&str; 3] = [ATTENTION, ATTENTION_OWNER, ATTENTION_PLACE];

/// The number of index partitions for the accounts of one status. Each partition takes 1,000 writes per second.
pub(super) const SHARDS: u8 = 4;

/// The value of [`ATTENTION`].
pub(super) fn attention(status: Status, shard: u8) -> String {
    format!("{}#{shard}", status.as_str())
}

fn shard(id: &AccountId) -> u8 {
    let digest: [u8; 32] = Sha256::digest(id.as_str().as_bytes()).into();
    digest[0] % SHARDS
}

/// The value of [`ATTENTION_OWNER`]: the first half of a SHA-256, because a reference can be longer than a key may
/// be.
pub(super) fn attention_owner(reference: &str) -> AttributeValue {
    let digest: [u8; 32] = Sha256::digest(reference.as_bytes()).into();
    AttributeValue::B(Blob::new(&digest[..16]))
}

pub(super) type Item = HashMap<String, AttributeValue>;

/// An account record with its version.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub account: Account,
    pub(super) version: Version,
    /// Attributes that this version of the system does not know. They are written back unchanged. Two versions can
    /// therefore run at the same time during a deployment, and a rollback loses nothing.
    unknown: Item,
    /// Order keys of registers that this version of the system does not know, also written back.
    unknown_order: Orders,
}

/// The item is not a valid account record. No write replaces it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored account record is corrupt at attribute {0}")]
pub struct CorruptItem(pub(super) &'static str);

/// The version of a record, new for each write. The version is random and not a counter, so that a record that was
/// deleted and created again has a different version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version([u8; 8]);

impl Version {
    pub(super) fn fresh() -> Self {
        Self(random::bytes())
    }

    pub(super) fn to_attribute(self) -> AttributeValue {
        AttributeValue::B(Blob::new(self.0))
    }
}

/// The key of a record.
pub(super) fn key(id: &AccountId) -> Item {
    HashMap::from([(ACCOUNT_ID.to_owned(), AttributeValue::S(id.to_string()))])
}

/// Whether the item is an account record. The keys of the refresh's own items begin with `#`.
pub fn is_account(item: &Item) -> bool {
    !matches!(item.get(ACCOUNT_ID), Some(AttributeValue::S(id)) if id.starts_with('#'))
}

pub(super) fn account_id(item: &Item) -> Option<AccountId> {
    item.get(ACCOUNT_ID)?.as_s().ok()?.parse().ok()
}

/// The tag of a register in `order`, and its name in errors.
#[derive(Clone, Copy)]
struct Tag(u8, &'static str);

type Orders = BTreeMap<u8, [u8; ORDER_KEY]>;

/// The length of an order key in bytes.
const ORDER_KEY: usize = 11;

const LINKED: Tag = Tag(1, "linked");
const GONE: Tag = Tag(2, "gone");
const NOT_FOUND: Tag = Tag(3, "not_found");
const CONFIRMED_LINKED: Tag = Tag(4, "confirmed_linked");
const REAUTH_REQUIRED: Tag = Tag(5, "reauth_required");
const REAUTHORISED: Tag = Tag(6, "reauthorised");
const TRANSACTIONS: Tag = Tag(7, "transactions");
const LAST_BILLABLE_ATTEMPT: Tag = Tag(8, "last_billable_attempt");
const LAST_BILLABLE_BALANCE_ATTEMPT: Tag = Tag(9, "last_billable_balance_attempt");
const INCOMPLETE: Tag = Tag(10, "incomplete");
const IMPORTED: Tag = Tag(11, "imported");
const AVAILABILITY: Tag = Tag(12, "availability");
const PULL: Tag = Tag(13, "pull");
const ACCOUNT_TYPE: Tag = Tag(14, "account_type");
const JOB: Tag = Tag(15, "job");
const ATTEMPT: Tag = Tag(16, "attempt");
/// The tags of a register's strong value, its weak value, and its previous weak value.
const UNLINKED: [Tag; 3] = [Tag(20, "unlinked"), Tag(21, "unlinked_w"), Tag(22, "unlinked_w2")];
const SYNCED_TRANSACTIONS: [Tag; 3] =
    [Tag(23, "synced"), Tag(24, "synced_w"), Tag(25, "synced_w2")];
const SYNCED_OTHERS: [Tag; 3] =
    [Tag(26, "synced_others"), Tag(27, "synced_others_w"), Tag(28, "synced_others_w2")];
/// These names are also the attributes of the values.
const BALANCE: [Tag; 3] = [Tag(29, "balance"), Tag(30, "balance_w"), Tag(31, "balance_w2")];
const CACHED_BALANCE: [Tag; 3] =
    [Tag(32, "cached_balance"), Tag(33, "cached_balance_w"), Tag(34, "cached_balance_w2")];

struct Writer {
    item: Item,
    order: Orders,
}

impl Writer {
    fn registers(&mut self, registers: &Registers) {
        self.order(LINKED, registers.linked.as_ref());
        self.layered(UNLINKED, &registers.unlinked);
        self.order(GONE, registers.gone.as_ref());
        self.order(NOT_FOUND, registers.not_found.as_ref());
        self.order(CONFIRMED_LINKED, registers.confirmed_linked.as_ref());
        self.time("link_checked_at", registers.link_checked);
        self.order(REAUTH_REQUIRED, registers.reauth_required.as_ref());
        self.order(REAUTHORISED, registers.reauthorised.as_ref());
        self.layered(SYNCED_TRANSACTIONS, &registers.synced_transactions);
        self.layered(SYNCED_OTHERS, &registers.synced_others);
        self.balance(BALANCE, &registers.synced_balance);
        self.balance(CACHED_BALANCE, &registers.cached_balance);
        self.order(TRANSACTIONS, registers.transactions.as_ref());
        self.order(LAST_BILLABLE_ATTEMPT, registers.last_billable_attempt.as_ref());
        self.order(LAST_BILLABLE_BALANCE_ATTEMPT, registers.last_billable_balance_attempt.as_ref());
        self.order(INCOMPLETE, registers.incomplete.as_ref());
        if let Some((first, last)) = registers.without_transactions {
            self.bytes(WITHOUT_TRANSACTIONS, &[&first.to_bytes(), &last.to_bytes()]);
        }
        if let Some(state) = self.order(IMPORTED, registers.imported.as_ref()) {
            self.bytes(IMPORTS, &[&state_to_bytes(state)]);
        }
        self.identity(&registers.identity, registers.is_proven);
        if let Some(availability) = self.order(AVAILABILITY, registers.availability.as_ref()) {
            self.availability(availability);
        }
        if let Some(pull) = self.order(PULL, registers.pull.as_ref()) {
            self.pull(pull);
        }
        if let Some(account_type) = self.order(ACCOUNT_TYPE, registers.account_type.as_ref()) {
            self.optional("type", account_type.kind.as_deref());
            self.optional("currency", account_type.currency.as_deref());
        }
        if let Some(job) = self.order(JOB, registers.job.as_ref()) {
            self.optional(JOB_ID, job.id.as_deref());
            self.text(JOB_STATE, job.state.as_str());
        }
        if let Some(attempt) = self.order(ATTEMPT, registers.attempt.as_ref()) {
            self.text("attempt_outcome", &attempt.outcome);
            self.optional(ATTEMPT_JOB_ID, attempt.job_id.as_deref());
        }
        self.time("erased_before", registers.erased_before);
        self.time("first_seen_at", registers.first_seen);
        self.time("last_event_at", registers.last_event);
    }

    fn layered(&mut self, tags: [Tag; 3], register: &LayeredRegister<()>) {
        let LayeredRegister { strong, weak, weak_before } = register;
        for (tag, mark) in tags.into_iter().zip([strong, weak, weak_before]) {
            self.order(tag, mark.as_ref());
        }
    }

    fn balance(&mut self, tags: [Tag; 3], register: &LayeredRegister<MinorUnits>) {
        let LayeredRegister { strong, weak, weak_before } = register;
        for (tag, balance) in tags.into_iter().zip([strong, weak, weak_before]) {
            if let Some(balance) = self.order(tag, balance.as_ref()) {
                self.number(tag.1, &balance.0);
            }
        }
    }

    fn lease(&mut self, lease: Option<&Lease>) {
        if let Some(Lease { started_at, until, token }) = lease {
            self.bytes(LEASE, &[&started_at.to_bytes(), &until.to_bytes(), token]);
        }
    }

    fn import(&mut self, lease: Option<&ImportLease>) {
        if let Some(ImportLease { holder, pull, until }) = lease {
            self.bytes(IMPORT_LEASE, &[holder, &until.to_bytes(), &pull.to_bytes()]);
        }
    }

    fn rows(&mut self, account: &Account) {
        let RowCounts { added, modified, removed, interrupted } = account.written_rows;
        let numbers = [added, modified, removed, interrupted, account.import_number];
        let has_transactions = account.registers.has_transactions;
        if has_transactions || numbers != [0; 5] {
            let bytes = numbers.into_iter().flat_map(varint).collect::<Vec<_>>();
            self.bytes(ROWS, &[&[u8::from(has_transactions)], &bytes]);
        }
    }

    fn erasure(&mut self, erasure: Option<&Erasure>) {
        let Some(Erasure { since, is_unlinked, relinked_at, exchange }) = erasure else {
            return;
        };
        let flags = u8::from(*is_unlinked)
            | u8::from(relinked_at.is_some()) << 1
            | u8::from(exchange.is_some()) << 2;
        let exchanged_at = exchange.as_ref().map(|exchange| exchange.at);
        let times = [relinked_at, &exchanged_at].into_iter().flatten();
        let times: Vec<_> = times.flat_map(|at| at.to_bytes()).collect();
        self.bytes(ERASURE, &[&since.to_bytes(), &[flags], &times]);
        let owner = exchange.as_ref().and_then(|exchange| exchange.owner.as_deref());
        self.optional(EXCHANGED_REF, owner);
    }

    fn attention(&mut self, account: &Account) {
        let Some(Attention { status, since }) = account.attention() else {
            return;
        };
        self.text(ATTENTION, &attention(status, shard(&account.id)));
        if let Some(owner) = account.owner() {
            self.item.insert(ATTENTION_OWNER.to_owned(), attention_owner(owner));
        }
        let place = AttentionPosition { since, account_id: account.id.clone() };
        self.item.insert(ATTENTION_PLACE.to_owned(), place.to_key());
    }

    fn availability(&mut self, availability: &Availability) {
        self.text("data_status", availability.data_status.as_str());
        if let Some(parts) = &availability.retrieved_data {
            let parts = parts.iter().cloned().map(AttributeValue::S).collect();
            self.item.insert("retrieved_data".to_owned(), AttributeValue::L(parts));
        }
        self.optional("data_request_id", availability.data_request_id.as_deref());
    }

    fn pull(&mut self, pull: &Pull) {
        self.optional("sync_status", pull.sync_status.as_ref().map(SyncStatus::as_str));
        self.optional("sync_error_code", pull.error.as_ref().map(|error| error.code.as_str()));
        let message = pull.error.as_ref().and_then(|error| error.message.as_deref());
        self.optional("sync_error_message", message);
        self.optional(PULL_JOB_ID, pull.job_id.as_deref());
    }

    fn order<'a, T>(&mut self, tag: Tag, register: Option<&'a Register<T>>) -> Option<&'a T> {
        let register = register?;
        self.order.insert(tag.0, register.order.to_bytes());
        Some(&register.value)
    }

    fn bytes(&mut self, name: &str, parts: &[&[u8]]) {
        let bytes = AttributeValue::B(Blob::new(parts.concat()));
        self.item.insert(name.to_owned(), bytes);
    }

    fn text(&mut self, name: &str, value: &str) {
        self.item.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn number(&mut self, name: &str, value: &impl ToString) {
        self.item.insert(name.to_owned(), AttributeValue::N(value.to_string()));
    }

    fn time(&mut self, name: &str, value: Option<Timestamp>) {
        if let Some(value) = value {
            self.number(name, &value.millis());
        }
    }
}

impl Stored {
    /// The record that replaces `seen`, with a new version. It is not written yet.
    pub fn next(account: Account, seen: Option<&Self>) -> Self {
        // Attributes that this version does not know may hold personal data.
        let seen = seen.filter(|_| account.erasure.is_none());
        Self {
            account,
            version: Version::fresh(),
            unknown: seen.map(|seen| seen.unknown.clone()).unwrap_or_default(),
            unknown_order: seen.map(|seen| seen.unknown_order.clone()).unwrap_or_default(),
        }
    }

    /// The item, with what is derived under this policy.
    pub fn to_item(&self, policy: RefreshPolicy) -> HashMap<String, AttributeValue> {
        let Self { account, version, unknown, unknown_order } = self;
        let mut writer = Writer { item: unknown.clone(), order: unknown_order.clone() };
        writer.text(ACCOUNT_ID, account.id.as_str());
        writer.item.insert(VERSION.to_owned(), version.to_attribute());
        writer.registers(&account.registers);
        writer.lease(account.lease.as_ref());
        writer.import(account.import.as_ref());
        writer.rows(account);
        writer.time(REFRESH_QUEUED_AT, account.refresh_queued_at);
        writer.time("next_sync_allowed_at", account.cooldown_until);
        writer.optional(REFRESH, account.refresh.map(RefreshRule::as_str));
        writer.time(READ_AT, account.read_at);
        writer.time(IMPORT_DEFERRED_UNTIL, account.import_deferred_until);
        writer.erasure(account.erasure.as_ref());
        writer.time(NEXT_REFRESH_AT, account.next_planned_at(policy));
        writer.attention(account);
        let Writer { mut item, order } = writer;
        let order: Vec<u8> =
            order.iter().flat_map(|(tag, key)| [&[*tag], &key[..]].concat()).collect();
        item.insert(ORDER.to_owned(), AttributeValue::B(Blob::new(order)));
        item
    }

    /// # Errors
    ///
    /// [`CorruptItem`] names the first invalid attribute.
    pub fn from_item(item: HashMap<String, AttributeValue>) -> Result<Self, CorruptItem> {
        let mut reader = Reader { item, order: Orders::new() };
        reader.order = reader.orders()?;
        let id = reader.required(ACCOUNT_ID)?.parse().map_err(|_| CorruptItem(ACCOUNT_ID))?;
        let version = reader.version()?;
        let (has_transactions, written_rows, import_number) = reader.rows()?;
        let account = Account {
            id,
            registers: reader.registers(has_transactions)?,
            lease: reader.lease(),
            cooldown_until: reader.time("next_sync_allowed_at")?,
            import: reader.import(),
            written_rows,
            import_number,
            refresh_queued_at: reader.time(REFRESH_QUEUED_AT)?,
            // A rule that only another version of the system knows is read as none.
            refresh: reader.text(REFRESH)?.as_deref().and_then(RefreshRule::from_word),
            read_at: reader.time(READ_AT)?,
            import_deferred_until: reader.time(IMPORT_DEFERRED_UNTIL)?,
            erasure: reader.erasure()?,
        };
        // These attributes are derived from others. Each write sets them again.
        for derived in [NEXT_REFRESH_AT].iter().chain(&ATTENTION_KEYS) {
            reader.item.remove(*derived);
        }
        Ok(Self { account, version, unknown: reader.item, unknown_order: reader.order })
    }
}

struct Reader {
    item: Item,
    order: Orders,
}

impl Reader {
    fn erasure(&mut self) -> Result<Option<Erasure>, CorruptItem> {
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

    fn registers(&mut self, has_transactions: bool) -> Result<Registers, CorruptItem> {
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
    fn lease(&mut self) -> Option<Lease> {
        let bytes = self.item.remove(LEASE)?;
        let (started_at, rest) = bytes.as_b().ok()?.as_ref().split_first_chunk()?;
        let (until, token) = rest.split_first_chunk()?;
        Some(Lease {
            started_at: Timestamp::from_bytes(*started_at),
            until: Timestamp::from_bytes(*until),
            token: token.try_into().ok()?,
        })
    }

    fn import(&mut self) -> Option<ImportLease> {
        let bytes = self.item.remove(IMPORT_LEASE)?;
        let (holder, rest) = bytes.as_b().ok()?.as_ref().split_first_chunk()?;
        let (until, pull) = rest.split_first_chunk()?;
        Some(ImportLease {
            holder: *holder,
            until: Timestamp::from_bytes(*until),
            pull: OrderKey::from_bytes(pull)?,
        })
    }

    fn rows(&mut self) -> Result<(bool, RowCounts, u32), CorruptItem> {
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

    fn version(&mut self) -> Result<Version, CorruptItem> {
        match self.item.remove(VERSION) {
            Some(AttributeValue::B(bytes)) => bytes.as_ref().try_into().ok().map(Version),
            _ => None,
        }
        .ok_or(CorruptItem(VERSION))
    }

    fn orders(&mut self) -> Result<Orders, CorruptItem> {
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
    fn register<T>(
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

    fn required(&mut self, name: &'static str) -> Result<String, CorruptItem> {
        self.text(name)?.ok_or(CorruptItem(name))
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>, CorruptItem> {
        match self.item.remove(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(CorruptItem(name)),
        }
    }

    fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, CorruptItem> {
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

    fn number(&mut self, name: &'static str) -> Result<i64, CorruptItem> {
        match self.item.remove(name) {
            Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| CorruptItem(name)),
            _ => Err(CorruptItem(name)),
        }
    }

    fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, CorruptItem> {
        if !self.item.contains_key(name) {
            return Ok(None);
        }
        let millis = self.number(name)?.try_into().map_err(|_| CorruptItem(name))?;
        Ok(Some(Timestamp::from_millis(millis)))
    }
}

/// A number in groups of seven bits, the lowest first. All bytes but the last have the highest bit (LEB128).
fn varint(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
    bytes
}

fn read_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn state_to_bytes(state: &ImportState) -> Vec<u8> {
    let ImportState { through, gaps, notes } = state;
    let ImportNotes { total, looked_back_on, is_paged, unexplained, job } = notes;
    let mut bytes = through.unwrap_or(Timestamp::from_millis(0)).to_bytes().to_vec();
    bytes.extend(total.unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(looked_back_on.map_or(0, BusinessDay::number).to_be_bytes());
    bytes.push(u8::from(*is_paged));
    bytes.extend(unexplained.to_be_bytes());
    bytes.extend(job.map_or([0; 4], ShortHash::to_bytes));
    for gap in gaps {
        bytes.extend([gap.first, gap.last].map(|day| day.number().to_be_bytes()).concat());
        bytes.extend([gap.since, gap.tried].map(Timestamp::to_bytes).concat());
        bytes.push(gap.reason as u8);
    }
    bytes
}

fn state(bytes: &[u8]) -> Option<ImportState> {
    let (through, rest) = bytes.split_first_chunk()?;
    let (total, rest) = rest.split_first_chunk()?;
    let (looked_back_on, rest) = rest.split_first_chunk()?;
    let ([is_paged], rest) = rest.split_first_chunk()?;
    let (unexplained, rest) = rest.split_first_chunk()?;
    let (job, gaps) = rest.split_first_chunk()?;
    let day = u32::from_be_bytes(*looked_back_on);
    let notes = ImportNotes {
        total: Some(u32::from_be_bytes(*total)).filter(|total| *total < u32::MAX),
        looked_back_on: (day > 0).then(|| BusinessDay::from_number(day)),
        is_paged: *is_paged != 0,
        unexplained: i32::from_be_bytes(*unexplained),
        job: Some(ShortHash::from_bytes(*job)).filter(|_| *job != [0; 4]),
    };
    let through = Some(Timestamp::from_bytes(*through)).filter(|through| through.millis() > 0);
    let gaps = gaps.chunks(GAP_LENGTH).map(gap).collect::<Option<_>>()?;
    Some(ImportState { through, gaps, notes })
}

fn gap(bytes: &[u8]) -> Option<Gap> {
    let (first, rest) = bytes.split_first_chunk()?;
    let (last, rest) = rest.split_first_chunk()?;
    let (since, rest) = rest.split_first_chunk()?;
    let (tried, reason) = rest.split_first_chunk()?;
    let day = |bytes: &[u8; 4]| BusinessDay::from_number(u32::from_be_bytes(*bytes));
    let reasons = [GapReason::NotWhole, GapReason::MostRowsGone, GapReason::NotServed];
    Some(Gap {
        first: day(first),
        last: day(last),
        since: Timestamp::from_bytes(*since),
        tried: Timestamp::from_bytes(*tried),
        reason: reasons.into_iter().find(|known| [*known as u8] == reason)?,
    })
}
