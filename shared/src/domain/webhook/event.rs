//! Mono's webhook events: from the body of a call to a [`Fact`] about an account.
//!
//! Mono has changed its events over the years, and old shapes are still met, so this reads all of
//! them and is lenient: unknown kinds, unknown values and missing fields never fail. Facts about
//! Mono in this file are from docs.mono.co (webhooks, connect-link, reauth-link, realtime-data,
//! account-update, unlink, data-sync-tokenization, changelog) as of April 2026; where a shape was
//! seen only in the code of Mono's users, it says so.
//!
//! A BVN is never read, so it cannot leave this module.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::domain::account::{
    DataStatus, Details, EventBody, Fact, Institution, Job, JobState, OrderKey, SentBalance,
    ShortHash, SyncStatus, Update, Webhook,
};
use crate::domain::account_id::AccountId;
use crate::domain::money::{MinorUnits, currency};
use crate::domain::timestamp::Timestamp;

/// A webhook event, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What tells it from every other event.
    pub identity: EventIdentity,
    /// When it happened, as far as known: else when it was received.
    pub occurred_at: Timestamp,
    /// When Mono's call arrived.
    pub received_at: Timestamp,
    /// Tells it from other events of the same call time: the same on every retry.
    pub key: ShortHash,
    /// The lengths in bytes of the texts that were too long and were cut.
    pub cut: Vec<usize>,
    /// What it means for an account.
    pub interpretation: Interpretation,
}

/// What an event means for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpretation {
    /// Something to be applied.
    Fact(AccountId, Box<Fact>),
    /// Nothing that a record holds: an unknown kind, another product's event, or one without
    /// content. To be acknowledged. The account it names, if it does.
    Nothing(Option<AccountId>),
}

/// The name and identity of an event, safe to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventIdentity {
    /// The event's name without `mono.events.` or `mono.`, at most 64 characters of those that names
    /// are made of; empty when it has none.
    pub kind: String,
    /// Mono's `event_id`, the same on every retry, shortened likewise. Many events carry none.
    pub event_id: Option<String>,
}

/// Why an event can never be applied, however often it is tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnprocessableEvent {
    /// The body is not JSON, or nested more than 128 deep.
    #[error("the body is not readable JSON (line {line}, column {column})")]
    NotJson {
        /// Line of the first fault.
        line: usize,
        /// Column of the first fault.
        column: usize,
    },
    /// The body is JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// The event would change a record, but does not say which.
    #[error("{} names no account", .0.kind)]
    NoAccount(EventIdentity),
    /// The event would change a record, but what names the account cannot be an id.
    #[error("{} names an account by something that is no account id", .0.kind)]
    UnusableAccount(EventIdentity),
}

impl Event {
    /// The place of its fact among all facts, if it is one.
    pub fn order(&self) -> Option<OrderKey> {
        match &self.interpretation {
            Interpretation::Fact(_, fact) => match &**fact {
                Fact::Webhook(webhook) => Some(webhook.order),
                _ => None,
            },
            Interpretation::Nothing(_) => None,
        }
    }

    /// The account it names, if it does.
    pub fn account_id(&self) -> Option<&AccountId> {
        match &self.interpretation {
            Interpretation::Fact(account_id, _) => Some(account_id),
            Interpretation::Nothing(account_id) => account_id.as_ref(),
        }
    }
}

impl UnprocessableEvent {
    /// Mono's id of the event, where it could be read and has one.
    pub fn event_id(&self) -> Option<&str> {
        match self {
            Self::NotJson { .. } | Self::NotAnObject => None,
            Self::NoAccount(identity) | Self::UnusableAccount(identity) => {
                identity.event_id.as_deref()
            }
        }
    }
}

/// Reads one event. `received_at` is when Mono's call arrived.
///
/// # Errors
///
/// [`UnprocessableEvent`] says why the event can never be applied. Its text holds nothing of the body but
/// the event's name.
pub fn read(body: &str, received_at: Timestamp) -> Result<Event, UnprocessableEvent> {
    let value: Value = serde_json::from_str(body).map_err(|error| UnprocessableEvent::NotJson {
        line: error.line(),
        column: error.column(),
    })?;
    let Value::Object(mut envelope) = value else {
        return Err(UnprocessableEvent::NotAnObject);
    };
    let mut cut = Vec::new();
    envelope.iter_mut().for_each(|(name, value)| shorten(name, value, &mut cut));
    let name = text(&envelope, &["event"]).unwrap_or_default();
    let event_id = owned(&envelope, &["event_id"]);
    let identity = EventIdentity {
        kind: loggable(short_name(name)),
        event_id: event_id.as_deref().map(loggable),
    };
    let data = envelope.get("data").unwrap_or(&Value::Null);
    let timestamp = text(&envelope, &["timestamp"]).and_then(Timestamp::parse_rfc3339);
    let event_key = event_id.unwrap_or_else(|| body_key(body));
    let (occurred_at, _) = Webhook::occurred_at(timestamp, received_at);
    let key = ShortHash::of(&event_key);
    let event = |identity, interpretation| Event {
        identity,
        occurred_at,
        received_at,
        key,
        cut,
        interpretation,
    };
    let Some((body, reference)) = event_body(name, data) else {
        let account = named_beside(name, data).and_then(|account| account.parse().ok());
        return Ok(event(identity, Interpretation::Nothing(account)));
    };
    let webhook = Webhook::new(timestamp, received_at, &event_key, reference, body);
    let fact = Fact::Webhook(webhook);
    if !fact.writes_a_register() {
        let account = account_text(name, data).and_then(|account| account.parse().ok());
        return Ok(event(identity, Interpretation::Nothing(account)));
    }
    let account =
        account_text(name, data).ok_or_else(|| UnprocessableEvent::NoAccount(identity.clone()))?;
    let account: AccountId =
        account.parse().map_err(|_| UnprocessableEvent::UnusableAccount(identity.clone()))?;
    Ok(event(identity, Interpretation::Fact(account, Box::new(fact))))
}

const JOB_UPDATE: &str = "mono.accounts.jobs.update";

/// What the event says, and the fintech's reference where it carries one; `None` for a kind that
/// says nothing of a record.
fn event_body(name: &str, data: &Value) -> Option<(EventBody, Option<String>)> {
    let empty = Map::new();
    let data = data.as_object().unwrap_or(&empty);
    let meta = data.get("meta").and_then(Value::as_object).unwrap_or(&empty);
    let body = match name {
        "mono.events.account_connected" => EventBody::Connected {
            customer_id: owned(data, &["customer"]),
            processing: data_status(meta) == Some(DataStatus::Processing),
        },
        // The second name stands in the prose of Mono's page on real-time data.
        "mono.events.account_updated" | "mono.accounts.account_updated" => {
            EventBody::Updated(Box::new(update(data, meta)))
        }
        "mono.events.reauthorisation_required" => EventBody::ReauthorisationRequired,
        "mono.events.account_reauthorized" => EventBody::Reauthorized,
        "mono.events.account_unlinked" => EventBody::Unlinked,
        "mono.events.sync_failed" => EventBody::SyncFailed,
        JOB_UPDATE => {
            let word = text(data, &["status"])?;
            let id = owned(data, &["id", "job_id"]);
            EventBody::Job(Job { id, state: JobState::from_word(word) })
        }
        _ => return None,
    };
    Some((body, owned(meta, &["ref"])))
}

fn update(data: &Map<String, Value>, meta: &Map<String, Value>) -> Update {
    let empty = Map::new();
    let account = data.get("account").and_then(Value::as_object).unwrap_or(&empty);
    Update {
        data_status: data_status(meta),
        sync_status: text(meta, &["sync_status"]).map(SyncStatus::from_word),
        retrieved_data: meta.get("retrieved_data").and_then(Value::as_array).map(|parts| {
            let parts = parts.iter().filter_map(Value::as_str);
            parts.take(MOST_PARTS).map(str::to_owned).collect()
        }),
        data_request_id: owned(meta, &["data_request_id"]),
        job_id: owned(meta, &["job_id"]),
        has_new_data: meta.get("has_new_data").and_then(Value::as_bool),
        details: details(account),
        balance: match account.get("balance") {
            None | Some(Value::Null) => SentBalance::Missing,
            Some(sent) => {
                MinorUnits::from_json(sent).map_or(SentBalance::Unreadable, SentBalance::Amount)
            }
        },
    }
}

fn data_status(meta: &Map<String, Value>) -> Option<DataStatus> {
    text(meta, &["data_status"]).map(DataStatus::from_word)
}

/// Webhooks are in camelCase with `_id`, Mono's REST answers in `snake_case` with `id`, and its
/// samples mix the two.
fn details(account: &Map<String, Value>) -> Option<Details> {
    let name = owned(account, &["name"]);
    let account_number = owned(account, &["accountNumber", "account_number"]);
    (name.is_some() || account_number.is_some()).then(|| Details {
        name,
        account_number,
        kind: owned(account, &["type"]),
        currency: text(account, &["currency"]).map(currency),
        institution: account.get("institution").and_then(Value::as_object).map(|bank| {
            Institution {
                name: owned(bank, &["name"]),
                bank_code: owned(bank, &["bankCode", "bank_code"]),
                kind: owned(bank, &["type"]),
            }
        }),
    })
}

/// What names the account. Mono puts it in a different place in almost every event; the first
/// place that holds a text decides, since a guess could change another customer's record.
fn account_text<'a>(name: &str, data: &'a Value) -> Option<&'a str> {
    if let Value::String(id) = data {
        return filled(id);
    }
    let data = data.as_object()?;
    match data.get("account") {
        Some(Value::String(id)) => return filled(id),
        Some(Value::Object(account)) => {
            if let Some(id) = text(account, &["_id", "id"]) {
                return Some(id);
            }
        }
        _ => {}
    }
    // The id beside a job's account is the job's own. `account_id` was seen in code, for unlinked.
    let places: &[&str] =
        if name == JOB_UPDATE { &["account_id"] } else { &["id", "_id", "account_id"] };
    text(data, places)
}

/// What names the account of an event that this version does not read. Other products' events have
/// ids of other things in `data.id`.
fn named_beside<'a>(name: &str, data: &'a Value) -> Option<&'a str> {
    let ours = name.starts_with("mono.events.") || name.starts_with("mono.accounts.");
    let account = data.get("account").filter(|_| ours)?;
    match account {
        Value::String(id) => filled(id),
        Value::Object(account) => text(account, &["_id", "id"]),
        _ => None,
    }
}

/// The first of these fields that holds a text.
fn text<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| object.get(*name)?.as_str().and_then(filled))
}

/// The same of text or number: a reference can be either.
fn owned(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match object.get(*name)? {
        Value::String(text) => filled(text).map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// A record is one item of one write unit, so no text may be of any length.
const LONGEST_TEXT: usize = 256;
const LONGEST_REFERENCE: usize = 1024;
/// `retrieved_data` has three.
const MOST_PARTS: usize = 8;

/// Cuts texts that are too long, and notes how long they were.
fn shorten(name: &str, value: &mut Value, cut: &mut Vec<usize>) {
    match value {
        Value::String(text) => {
            let longest = if name == "ref" { LONGEST_REFERENCE } else { LONGEST_TEXT };
            if text.len() > longest {
                cut.push(text.len());
                text.truncate(text.floor_char_boundary(longest));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| shorten(name, value, cut)),
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, value)| shorten(name, value, cut));
        }
        _ => {}
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.trim().is_empty()).then_some(text)
}

/// Stands in for a missing `event_id`: Mono repeats the body byte for byte.
fn body_key(body: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(body.as_bytes()).into();
    let (half, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
    format!("{:032x}", u128::from_be_bytes(*half))
}

fn short_name(name: &str) -> &str {
    let short = name.strip_prefix("mono.events.").or_else(|| name.strip_prefix("mono."));
    short.unwrap_or(name)
}

fn loggable(text: &str) -> String {
    let allowed =
        |character: &char| character.is_ascii_alphanumeric() || "._-".contains(*character);
    text.chars().filter(allowed).take(64).collect()
}

#[cfg(test)]
mod tests;
