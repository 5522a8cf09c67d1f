//! The history of an account: one entry for each delivery of a webhook event, with its effect, and one for each change
//! of the owner.
//!
//! An entry is written before the record. After a crash between the two writes, the message is delivered again, and
//! both are written. No entry is therefore lost. The effect is a part of an entry's key. A redelivery without effect
//! therefore never replaces the entry of the delivery that was applied.

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
    #[serde(skip)]
    pub position: Position,
    /// The event's name, without `mono.events.` or `mono.`.
    pub kind: String,
    /// Mono's id of the event. Many events have none.
    pub event_id: Option<String>,
    /// The time of the event, or the time of receipt if Mono sends none.
    pub occurred_at: Timestamp,
    /// The time at which the webhook arrived.
    pub received_at: Timestamp,
    pub effect: Effect,
    /// The account's status before the event. `None` if the account was unknown.
    pub status_before: Option<Status>,
    pub status_after: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// The event changed the record.
    Applied,
    /// The content of the event was already known, or is older than the record.
    NoChange,
    /// Events of this kind change no record.
    Ignored,
}

/// The position of an entry in the history of its account. Positions are ordered by time of receipt, then by event,
/// then by effect. The text of a position sorts by the time of receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    received_at: Timestamp,
    event: ShortHash,
    effect: Effect,
}

/// The text is not a valid position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position in a history")]
pub struct InvalidPosition;

impl Entry {
    /// The entry of an event that was applied or had no effect. `None` for a redelivery whose order key a register
    /// holds.
    pub fn of_step(event: &Event, step: &Step) -> Option<Self> {
        let effect = if step.changed() { Effect::Applied } else { Effect::NoChange };
        let is_held = event.order().is_some_and(|order| step.before.registers.hold(order));
        let is_redelivery = effect == Effect::NoChange && is_held;
        let status = |account: &Account| {
            let known = account.registers != Registers::default() || account.lease.is_some();
            known.then(|| account.status_since(event.received_at).status)
        };
        (!is_redelivery)
            .then(|| Self::new(event, effect, status(&step.before), status(&step.after)))
    }

    /// The entry of an event whose kind changes no record.
    pub fn of_ignored(event: &Event, account: &Account) -> Self {
        let status = Some(account.status_since(event.received_at).status);
        Self::new(event, Effect::Ignored, status, status)
    }

    /// The entry of a verification at this time that changed the owner of the account.
    pub fn of_owner_change(at: Timestamp, step: &Step) -> Self {
        const KIND: &str = "owner_changed";
        let status = |account: &Account| Some(account.status_since(at).status);
        let effect = Effect::Applied;
        Self {
            position: Position { received_at: at, event: ShortHash::of(KIND), effect },
            kind: KIND.to_owned(),
            event_id: None,
            occurred_at: at,
            received_at: at,
            effect,
            status_before: status(&step.before),
            status_after: status(&step.after),
        }
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

    /// The word for the effect in the API, the table and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::NoChange => "no_change",
            Self::Ignored => "ignored",
        }
    }

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
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether both positions belong to the same delivery of the same event.
    pub fn is_of_same_delivery(&self, other: Self) -> bool {
        (self.received_at, self.event) == (other.received_at, other.event)
    }

    /// A text that sorts before the position of every event received at most `age` before `now`.
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
