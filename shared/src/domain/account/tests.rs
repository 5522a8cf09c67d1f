//! Tests of the rules of the account record, and property tests of its laws.

mod adoption_rules;
mod identity_rules;
mod import_rules;
mod laws;
mod life_cycle_rules;
mod plan_rules;
mod refresh_rules;
mod register_rules;
mod status_rules;
mod sync_rules;

use std::time::Duration;

use super::*;

pub(crate) use laws::facts;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

pub(crate) const POLICY: RefreshPolicy = RefreshPolicy {
    interval: Some(DAY),
    rule: RefreshRule::Interval,
    cooldown: Duration::from_mins(5),
    unlinked_retention: None,
};

fn id() -> AccountId {
    "697926f050b9c321c1451dda".parse().unwrap()
}

/// A time, in minutes after an arbitrary start.
fn at(minutes: u32) -> Timestamp {
    Timestamp::parse_rfc3339("2026-01-27T00:00:00Z").unwrap() + minutes * MINUTE
}

/// An event whose time is its own timestamp.
fn strong(minutes: u32, body: EventBody) -> Fact {
    Fact::Webhook(Webhook::new(Some(at(minutes)), at(minutes), &format!("{body:?}"), None, body))
}

/// An event whose time is only the time of its receipt.
fn weak(minutes: u32, body: EventBody) -> Fact {
    Fact::Webhook(Webhook::new(None, at(minutes), &format!("{body:?}"), None, body))
}

fn connected() -> EventBody {
    EventBody::Connected { customer_id: None, processing: false }
}

/// The connected event of a data link, which names the customer.
fn linked() -> EventBody {
    EventBody::Connected { customer_id: Some("c".to_owned()), processing: false }
}

fn updated(data_status: &str, sync_status: Option<&str>) -> EventBody {
    EventBody::Updated(Box::new(Update {
        data_status: Some(DataStatus::from_word(data_status)),
        sync_status: sync_status.map(SyncStatus::from_word),
        ..Update::default()
    }))
}

/// A minimal confirmed pull.
fn fresh() -> EventBody {
    updated("AVAILABLE", None)
}

fn balance_of(amount: i64) -> EventBody {
    EventBody::Updated(Box::new(Update { balance: sent(amount), ..Update::default() }))
}

fn sent(amount: i64) -> SentBalance {
    SentBalance::Amount(MinorUnits(amount))
}

/// An update that lists the data that Mono holds.
fn retrieved(data_status: &str, parts: &[&str]) -> EventBody {
    let parts = parts.iter().map(|part| (*part).to_owned()).collect();
    EventBody::Updated(Box::new(Update {
        data_status: Some(DataStatus::from_word(data_status)),
        retrieved_data: Some(parts),
        balance: sent(1),
        ..Update::default()
    }))
}

/// The verification that is due.
fn verification(account: &Account, minutes: u32, found: Reading) -> Fact {
    let (ending, _) = account.verification_due().expect("no verification is due");
    Fact::Verification(Verification { at: at(minutes), ending, found })
}

/// Mono knows the account, and says nothing about it.
fn there() -> Reading {
    Reading::Linked(Box::default())
}

fn job(id: &str, word: &str) -> EventBody {
    EventBody::Job(Job { id: Some(id.to_owned()), state: JobState::from_word(word) })
}

/// A sync of this system that took one minute.
fn attempt(start: u32, outcome: SyncOutcome) -> Fact {
    Fact::Attempt(SyncAttempt {
        started_at: at(start),
        ended_at: at(start + 1),
        data: SyncData::Transactions,
        incomplete_allowed: false,
        outcome,
    })
}

/// A balance sync of this system that took one minute.
fn balance_attempt(start: u32, outcome: SyncOutcome) -> Fact {
    let Fact::Attempt(attempt) = attempt(start, outcome) else { unreachable!() };
    Fact::Attempt(SyncAttempt { data: SyncData::Balance, ..attempt })
}

fn success() -> SyncOutcome {
    let data = SyncData::Transactions;
    SyncOutcome::Successful { has_new_data: true, data, balance: None, job_id: None }
}

fn failure() -> SyncOutcome {
    SyncOutcome::Failed { error: mono_error(), job_id: None }
}

fn timeout() -> SyncOutcome {
    SyncOutcome::NoResult(CallError::TimedOut)
}

fn rate_limited() -> SyncOutcome {
    SyncOutcome::NoResult(CallError::RateLimited { retry_after: None })
}

fn not_found() -> SyncOutcome {
    SyncOutcome::NotFound { error: mono_error() }
}

fn mono_error() -> ProviderError {
    ProviderError { code: "SYNC_ERROR".to_owned(), message: None }
}

pub(crate) fn record(facts: impl IntoIterator<Item = Fact>) -> Account {
    facts.into_iter().fold(Account::new(id()), |account, fact| account.apply(&fact))
}

/// An account that Mono has shown to know.
fn proven(account: Account) -> Account {
    let registers = Registers { is_proven: true, ..account.registers };
    Account { registers, ..account }
}
