//! Writes a record into an item.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::super::AttentionPosition;
use super::codec::{state_to_bytes, varint};
use super::tag::{
    ACCOUNT_TYPE, ATTEMPT, AVAILABILITY, BALANCE, CACHED_BALANCE, CONFIRMED_LINKED, GONE, IMPORTED,
    INCOMPLETE, JOB, LAST_BILLABLE_ATTEMPT, LAST_BILLABLE_BALANCE_ATTEMPT, LINKED, NOT_FOUND,
    Orders, PULL, REAUTH_REQUIRED, REAUTHORISED, SYNCED_OTHERS, SYNCED_TRANSACTIONS, TRANSACTIONS,
    Tag, UNLINKED,
};
use super::{
    ATTEMPT_JOB_ID, ATTENTION, ATTENTION_OWNER, ATTENTION_PLACE, ERASURE, EXCHANGED_REF,
    IMPORT_LEASE, IMPORTS, Item, JOB_ID, JOB_STATE, LEASE, PULL_JOB_ID, ROWS, WITHOUT_TRANSACTIONS,
    attention, attention_owner, shard,
};
use crate::domain::account::{
    Account, Attention, Availability, Erasure, ImportLease, LayeredRegister, Lease, Pull, Register,
    Registers, RowCounts, SyncStatus,
};
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

pub(super) struct Writer {
    pub(super) item: Item,
    pub(super) order: Orders,
}

impl Writer {
    pub(super) fn registers(&mut self, registers: &Registers) {
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

    pub(super) fn lease(&mut self, lease: Option<&Lease>) {
        if let Some(Lease { started_at, until, token }) = lease {
            self.bytes(LEASE, &[&started_at.to_bytes(), &until.to_bytes(), token]);
        }
    }

    pub(super) fn import(&mut self, lease: Option<&ImportLease>) {
        if let Some(ImportLease { holder, pull, until }) = lease {
            self.bytes(IMPORT_LEASE, &[holder, &until.to_bytes(), &pull.to_bytes()]);
        }
    }

    pub(super) fn rows(&mut self, account: &Account) {
        let RowCounts { added, modified, removed, interrupted } = account.written_rows;
        let numbers = [added, modified, removed, interrupted, account.import_number];
        let has_transactions = account.registers.has_transactions;
        if has_transactions || numbers != [0; 5] {
            let bytes = numbers.into_iter().flat_map(varint).collect::<Vec<_>>();
            self.bytes(ROWS, &[&[u8::from(has_transactions)], &bytes]);
        }
    }

    pub(super) fn erasure(&mut self, erasure: Option<&Erasure>) {
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

    pub(super) fn attention(&mut self, account: &Account) {
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

    pub(super) fn order<'a, T>(
        &mut self,
        tag: Tag,
        register: Option<&'a Register<T>>,
    ) -> Option<&'a T> {
        let register = register?;
        self.order.insert(tag.0, register.order.to_bytes());
        Some(&register.value)
    }

    pub(super) fn bytes(&mut self, name: &str, parts: &[&[u8]]) {
        let bytes = AttributeValue::B(Blob::new(parts.concat()));
        self.item.insert(name.to_owned(), bytes);
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.item.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
    }

    pub(super) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub(super) fn number(&mut self, name: &str, value: &impl ToString) {
        self.item.insert(name.to_owned(), AttributeValue::N(value.to_string()));
    }

    pub(super) fn time(&mut self, name: &str, value: Option<Timestamp>) {
        if let Some(value) = value {
            self.number(name, &value.millis());
        }
    }
}
