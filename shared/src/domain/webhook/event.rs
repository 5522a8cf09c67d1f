//! Mono's webhook events: from the body of a webhook to a [`Fact`] about an account.
//!
//! Mono has changed its events over the years, and still sends old shapes. This module therefore reads all shapes,
//! and is lenient: unknown kinds, unknown values and missing fields never fail. Statements about Mono in this file
//! are from docs.mono.co (webhooks, connect-link, reauth-link, realtime-data, account-update, unlink,
//! data-sync-tokenization, changelog) as of April 2026. A comment says so if a shape was seen only in the code of
//! Mono's users.
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

/// The content of a webhook event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub identity: EventIdentity,
    /// The time of the event, or the time of receipt if Mono sends none.
    pub occurred_at: Timestamp,
    /// The time at which the webhook arrived.
    pub received_at: Timestamp,
    /// Distinguishes events with the same time. It is the same on every retry of Mono.
    pub key: ShortHash,
    /// The original lengths in bytes of the texts that were truncated.
    pub cut: Vec<usize>,
    pub interpretation: Interpretation,
}

/// The meaning of an event for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpretation {
    /// A fact to apply to the account.
    Fact(AccountId, Box<Fact>),
    /// The event changes no record: its kind is unknown, it is about another product, or it has no content. The event
    /// is acknowledged. Holds the account that the event names, if any.
    Nothing(Option<AccountId>),
}

/// The name and the id of an event, safe to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventIdentity {
    /// The event's name without `mono.events.` or `mono.`. Only ASCII letters, digits and `._-` are kept, at most 64
    /// characters. Empty if the event has no name.
    pub kind: String,
    /// Mono's `event_id`, filtered in the same way. It is the same on every retry of Mono. Many events have none.
    pub event_id: Option<String>,
}

/// Why an event can never be applied. A retry does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnprocessableEvent {
    /// The body is not JSON, or nested more than 128 deep.
    #[error("the body is not readable JSON (line {line}, column {column})")]
    NotJson {
        /// The line of the first error.
        line: usize,
        /// The column of the first error.
        column: usize,
    },
    /// The body is JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// The event would change a record, but does not name an account.
    #[error("{} names no account", .0.kind)]
    NoAccount(EventIdentity),
    /// The event would change a record, but the account id in it is invalid.
    #[error("{} names an account by something that is no account id", .0.kind)]
    UnusableAccount(EventIdentity),
}

impl Event {
    /// The order key of the event's fact. `None` if the event is not a fact.
    pub fn order(&self) -> Option<OrderKey> {
        match &self.interpretation {
            Interpretation::Fact(_, fact) => match &**fact {
                Fact::Webhook(webhook) => Some(webhook.order),
                _ => None,
            },
            Interpretation::Nothing(_) => None,
        }
    }

    /// The account that the event names, if any.
    pub fn account_id(&self) -> Option<&AccountId> {
        match &self.interpretation {
            Interpretation::Fact(account_id, _) => Some(account_id),
            Interpretation::Nothing(account_id) => account_id.as_ref(),
        }
    }
}

impl UnprocessableEvent {
    /// Mono's id of the event. `None` if the event has none, or if it could not be read.
    pub fn event_id(&self) -> Option<&str> {
        match self {
            Self::NotJson { .. } | Self::NotAnObject => None,
            Self::NoAccount(identity) | Self::UnusableAccount(identity) => {
                identity.event_id.as_deref()
            }
        }
    }
}

/// Reads one event. `received_at` is the time at which the webhook arrived.
///
/// # Errors
///
/// [`UnprocessableEvent`]: the event can never be applied. Of the body, the error's text contains only the event's
/// name.
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
        let account = account_of_unread_kind(name, data).and_then(|account| account.parse().ok());
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

const CONNECTED: &str = "mono.events.account_connected";
const JOB_UPDATE: &str = "mono.accounts.jobs.update";

/// The content of the event, and the fintech's reference if the event has one. `None` if this kind of event changes
/// no record.
fn event_body(name: &str, data: &Value) -> Option<(EventBody, Option<String>)> {
    let empty = Map::new();
    let data = data.as_object().unwrap_or(&empty);
    let meta = data.get("meta").and_then(Value::as_object).unwrap_or(&empty);
    let body = match name {
        CONNECTED => EventBody::Connected {
            customer_id: owned(data, &["customer"]),
            processing: data_status(meta) == Some(DataStatus::Processing),
        },
        // The second name appears in the text of Mono's page on real-time data.
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
            parts.take(MAX_PARTS).map(str::to_owned).collect()
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

/// The details of an account. Webhooks use camelCase and `_id`. Mono's REST responses use `snake_case` and `id`.
/// Mono's samples mix the two.
pub(crate) fn details(account: &Map<String, Value>) -> Option<Details> {
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

/// The text that should be the account id. Almost every event has it in a different place. The first place with a
/// text is used, even if that text is not a valid id. Any other place would be a guess, and could change another
/// customer's record.
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
    // `data.id` is the account only in `account_connected`. In a job, it is the job's own id. `account_id` was seen
    // only in third-party code, for unlinked accounts.
    let places: &[&str] = if name == CONNECTED { &["id", "_id"] } else { &["account_id"] };
    text(data, places)
}

/// The account id in an event of a kind that this version does not read. Only `data.account` is used, because events
/// of other products have other ids in `data.id`.
fn account_of_unread_kind<'a>(name: &str, data: &'a Value) -> Option<&'a str> {
    let is_bank_data = name.starts_with("mono.events.") || name.starts_with("mono.accounts.");
    let account = data.get("account").filter(|_| is_bank_data)?;
    match account {
        Value::String(id) => filled(id),
        Value::Object(account) => text(account, &["_id", "id"]),
        _ => None,
    }
}

/// The first of these fields that contains a text.
fn text<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| object.get(*name)?.as_str().and_then(filled))
}

/// The first of these fields that contains a text or a number. A reference can be either.
pub(crate) fn owned(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match object.get(*name)? {
        Value::String(text) => filled(text).map(str::to_owned),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// The maximum length of a text in bytes. A record should fit into one write unit.
pub const MAX_TEXT: usize = 256;
/// The same for a `ref`.
pub const MAX_REFERENCE: usize = 1024;
/// The maximum number of entries of `retrieved_data`. Mono documents three.
const MAX_PARTS: usize = 8;

/// Truncates texts that are too long, and adds their original lengths to `cut`.
pub(crate) fn shorten(name: &str, value: &mut Value, cut: &mut Vec<usize>) {
    match value {
        Value::String(text) => {
            let max = if name == "ref" { MAX_REFERENCE } else { MAX_TEXT };
            if text.len() > max {
                cut.push(text.len());
                text.truncate(text.floor_char_boundary(max));
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

/// The replacement for a missing `event_id`. Mono's retries repeat the body byte for byte.
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
