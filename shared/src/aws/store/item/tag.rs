//! The tags of the registers in the attribute `order`.

use std::collections::BTreeMap;

/// The tag of a register in `order`, and its name in errors.
#[derive(Clone, Copy)]
pub(super) struct Tag(pub(super) u8, pub(super) &'static str);

pub(super) type Orders = BTreeMap<u8, [u8; ORDER_KEY]>;

/// The length of an order key in bytes.
pub(super) const ORDER_KEY: usize = 11;

pub(super) const LINKED: Tag = Tag(1, "linked");
pub(super) const GONE: Tag = Tag(2, "gone");
pub(super) const NOT_FOUND: Tag = Tag(3, "not_found");
pub(super) const CONFIRMED_LINKED: Tag = Tag(4, "confirmed_linked");
pub(super) const REAUTH_REQUIRED: Tag = Tag(5, "reauth_required");
pub(super) const REAUTHORISED: Tag = Tag(6, "reauthorised");
pub(super) const TRANSACTIONS: Tag = Tag(7, "transactions");
pub(super) const LAST_BILLABLE_ATTEMPT: Tag = Tag(8, "last_billable_attempt");
pub(super) const LAST_BILLABLE_BALANCE_ATTEMPT: Tag = Tag(9, "last_billable_balance_attempt");
pub(super) const INCOMPLETE: Tag = Tag(10, "incomplete");
pub(super) const IMPORTED: Tag = Tag(11, "imported");
pub(super) const AVAILABILITY: Tag = Tag(12, "availability");
pub(super) const PULL: Tag = Tag(13, "pull");
pub(super) const ACCOUNT_TYPE: Tag = Tag(14, "account_type");
pub(super) const JOB: Tag = Tag(15, "job");
pub(super) const ATTEMPT: Tag = Tag(16, "attempt");
/// The tags of a register's strong value, its weak value, and its previous weak value.
pub(super) const UNLINKED: [Tag; 3] =
    [Tag(20, "unlinked"), Tag(21, "unlinked_w"), Tag(22, "unlinked_w2")];
pub(super) const SYNCED_TRANSACTIONS: [Tag; 3] =
    [Tag(23, "synced"), Tag(24, "synced_w"), Tag(25, "synced_w2")];
pub(super) const SYNCED_OTHERS: [Tag; 3] =
    [Tag(26, "synced_others"), Tag(27, "synced_others_w"), Tag(28, "synced_others_w2")];
/// These names are also the attributes of the values.
pub(super) const BALANCE: [Tag; 3] =
    [Tag(29, "balance"), Tag(30, "balance_w"), Tag(31, "balance_w2")];
pub(super) const CACHED_BALANCE: [Tag; 3] =
    [Tag(32, "cached_balance"), Tag(33, "cached_balance_w"), Tag(34, "cached_balance_w2")];
