//! The account record in the form that the API returns.

use serde::Serialize;

use super::{Account, Institution, RefreshPolicy, RefreshRule, SettledStatus, Status, SyncStatus};
use crate::domain::account_id::AccountId;
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

/// One account in an API answer. Times are RFC 3339 in UTC. Money is in integer minor units. Unknown values are
/// `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are the API's, and named as everywhere")]
pub struct AccountView<'a> {
    pub account_id: &'a AccountId,
    pub customer_id: Option<&'a str>,
    #[serde(rename = "ref")]
    pub reference: Option<&'a str>,
    pub name: Option<&'a str>,
    pub account_number: Option<&'a str>,
    #[serde(rename = "type")]
    pub kind: Option<&'a str>,
    pub currency: Option<&'a str>,
    pub balance: Option<MinorUnits>,
    pub balance_synced_at: Option<Timestamp>,
    pub institution: Option<&'a Institution>,
    pub identity_verified_at: Option<Timestamp>,
    pub status: Status,
    pub status_at: Timestamp,
    pub data_status: Option<&'a str>,
    pub sync_status: Option<&'a str>,
    pub retrieved_data: Option<&'a [String]>,
    pub last_event_at: Option<Timestamp>,
    pub last_sync_attempt_at: Option<Timestamp>,
    pub last_synced_at: Option<Timestamp>,
    pub transactions_imported_at: Option<Timestamp>,
    pub transactions_through: Option<Timestamp>,
    pub reauthorisation_required_at: Option<Timestamp>,
    pub refresh: &'static str,
    pub next_refresh_at: Option<Timestamp>,
    pub next_sync_allowed_at: Option<Timestamp>,
}

impl Account {
    /// The account in the form that the API returns at the time `now`.
    pub fn view(&self, now: Timestamp, policy: RefreshPolicy) -> AccountView<'_> {
        let registers = &self.registers;
        let current = self.status_since(now);
        let identity = &registers.identity;
        let account_type = registers.account_type.as_ref().map(|held| &held.value);
        let availability = registers.availability.as_ref().map(|held| &held.value);
        // The API shows `PROCESSING` while a job runs. The settled value stays in the record.
        let data_status = self
            .running_job(now)
            .map(|_| "PROCESSING")
            .or_else(|| availability.map(|held| SettledStatus::as_str(&held.data_status)));
        let sync_status = registers.pull.as_ref().and_then(|pull| pull.value.sync_status.as_ref());
        AccountView {
            account_id: &self.id,
            customer_id: identity.customer.value().map(String::as_str),
            reference: self.owner(),
            name: identity.name.value().map(String::as_str),
            account_number: identity.account_number.value().map(String::as_str),
            kind: account_type.and_then(|held| held.kind.as_deref()),
            currency: account_type.and_then(|held| held.currency.as_deref()),
            balance: self.balance(),
            balance_synced_at: self.balance_synced_at(),
            institution: identity.institution.value(),
            identity_verified_at: identity.proven_at(),
            status: current.status,
            status_at: current.at,
            data_status,
            sync_status: sync_status.map(SyncStatus::as_str),
            retrieved_data: availability.and_then(|held| held.retrieved_data.as_deref()),
            last_event_at: registers.last_event,
            last_sync_attempt_at: registers.attempt.as_ref().map(|held| held.order.at),
            last_synced_at: self.last_synced_at(),
            transactions_imported_at: registers.imported.as_ref().map(|held| held.order.at),
            transactions_through: registers.imported.as_ref().and_then(|held| held.value.through),
            reauthorisation_required_at: self.reauthorisation_required_at(),
            refresh: self.refresh.map_or("default", RefreshRule::as_str),
            next_refresh_at: self.next_refresh_at(policy),
            next_sync_allowed_at: self.cooldown_until.filter(|until| *until > now),
        }
    }

    /// The newest balance, in minor units. A balance whose time is not trusted counts only if there is no other
    /// balance.
    pub fn balance(&self) -> Option<MinorUnits> {
        let registers = &self.registers;
        let held = || registers.synced_balance.held().chain(registers.cached_balance.held());
        let trusted = held().filter(|balance| self.is_trusted(balance.order)).max();
        trusted.or(held().max()).map(|balance| balance.value)
    }
}
