//! An account record as a DynamoDB item.
//!
//! The value of a register is a top-level attribute with its name in the API, so that an operator can read an item.
//! The order keys of all registers are one binary attribute, `order`: a tag of one byte and eleven bytes for each. The
//! proofs of the identity are another, `identity`. This keeps the item of Mono's fullest events under 1 KiB, so that
//! each write costs one write unit.

mod codec;
mod identity;
mod reader;
mod tag;
mod writer;

pub(super) use identity::{CUSTOMER, REFERENCE};

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};

use self::reader::Reader;
use self::tag::Orders;
use self::writer::Writer;
use crate::domain::account::{Account, RefreshPolicy, RefreshRule, Status};
use crate::domain::account_id::AccountId;
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
/// The state of the imports as bytes.
const IMPORTS: &str = "imports";
/// Both leases as bytes: their times, and their token or holder.
const LEASE: &str = "lease";
const IMPORT_LEASE: &str = "import_lease";
/// Whether Mono has ever held transactions, the counts of written rows, and the number of the last import, as bytes.
const ROWS: &str = "rows";
/// The erasure as bytes.
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
    AttributeValue::B(Blob::new(half_hash(reference)))
}

/// The first half of a SHA-256.
fn half_hash(text: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    std::array::from_fn(|index| digest[index])
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

/// The key of a started link, an exchanged code or a tombstone. It has half of a SHA-256 of the text, not the text,
/// because a cursor of a list of accounts can contain the key.
pub(super) fn marker_key(kind: &str, text: &str) -> Item {
    let key = format!("#{kind}#{:032x}", u128::from_be_bytes(half_hash(text)));
    [(ACCOUNT_ID.to_owned(), AttributeValue::S(key))].into()
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
