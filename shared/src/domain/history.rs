//! What happened to an account and what it did: one entry for each delivery of a webhook event.
//!
//! An entry is written before the record. So a redelivery after a crash writes its own entry again,
//! and neither is lost. What a delivery did not apply has an entry of its own kind, so that it never
//! takes the place of the one that tells of the application.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::domain::account::{Account, Registers, ShortHash, Status, Step};
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::event::Event;

/// One entry of an account's history, as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Where it stands in the history.
    #[serde(skip)]
    pub position: Position,
    /// The event's name, without `mono.events.` or `mono.`.
    pub kind: String,
    /// Mono's id of the event. Many events carry none.
    pub event_id: Option<String>,
    /// When it happened, as far as known: else when it was received.
    pub occurred_at: Timestamp,
    /// When Mono's call arrived.
    pub received_at: Timestamp,
    /// What it did.
    pub effect: Effect,
    /// The account's status before; `None` for an account that was not known.
    pub status_before: Option<Status>,
    /// The account's status afterwards.
    pub status_after: Option<Status>,
}

/// What a delivery did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// It changed the record.
    Applied,
    /// Everything it says was known, or is older than what is known.
    NoChange,
    /// It says nothing that a record holds.
    Ignored,
}

/// The place of an entry in the history of its account: by receipt, then by event, then by effect.
/// Written so that the order of texts is that of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    received_at: Timestamp,
    event: ShortHash,
    effect: Effect,
}

/// The text is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position in a history")]
pub struct InvalidPosition;

impl Entry {
    /// The entry of an event that was applied, or found to change nothing. `None` for a repeat that
    /// a register recognises.
    pub fn of_step(event: &Event, step: &Step) -> Option<Self> {
        let effect = if step.changed() { Effect::Applied } else { Effect::NoChange };
        let known = event.order().is_some_and(|order| step.before.registers.hold(order));
        let repeat = effect == Effect::NoChange && known;
        let status = |account: &Account| {
            let known = account.registers != Registers::default() || account.lease.is_some();
            known.then(|| account.status_since(event.received_at).status)
        };
        (!repeat).then(|| Self::new(event, effect, status(&step.before), status(&step.after)))
    }

    /// The entry of an event that says nothing that a record holds.
    pub fn of_ignored(event: &Event, account: &Account) -> Self {
        let status = Some(account.status_since(event.received_at).status);
        Self::new(event, Effect::Ignored, status, status)
    }

    fn new(
        event: &Event,
        effect: Effect,
        status_before: Option<Status>,
        status_after: Option<Status>,
    ) -> Self {
        let Event { identity, occurred_at, received_at, key, .. } = event;
        Self {
            position: Position { received_at: *received_at, event: *key, effect },
            kind: identity.kind.clone(),
            event_id: identity.event_id.clone(),
            occurred_at: *occurred_at,
            received_at: *received_at,
            effect,
            status_before,
            status_after,
        }
    }
}

impl Effect {
    const ALL: [Self; 3] = [Self::Applied, Self::NoChange, Self::Ignored];

    /// Its word in the API, in the table and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::NoChange => "no_change",
            Self::Ignored => "ignored",
        }
    }

    /// The effect of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.as_str() == word)
    }
}

impl Serialize for Effect {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Position {
    /// What the event did, which is a part of the place.
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether both tell of one delivery of one event.
    pub fn is_of_same_delivery(&self, other: Self) -> bool {
        (self.received_at, self.event) == (other.received_at, other.event)
    }

    /// A text that stands before every position received after `age` ago.
    pub fn earliest(now: Timestamp, age: Duration) -> String {
        format!("{:015}", (now - age).millis())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received_at, event, effect } = self;
        write!(f, "{:015}.{}.{}", received_at.millis(), event.to_hex(), effect.as_str())
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(InvalidPosition);
        let millis = part()?.parse().map_err(|_| InvalidPosition)?;
        let received_at = Timestamp::from_millis(millis);
        let event = ShortHash::from_hex(part()?).ok_or(InvalidPosition)?;
        let effect = Effect::from_word(part()?).ok_or(InvalidPosition)?;
        let position = Self { received_at, event, effect };
        if position.to_string() == text { Ok(position) } else { Err(InvalidPosition) }
    }
}

#[cfg(test)]
mod tests;
