//! Which of Mono's events are forwarded to the fintech's own system.

use std::panic::catch_unwind;
use std::str::FromStr;

use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::event::{self, Event, Interpretation, UnprocessableEvent};

/// The events that are forwarded. Mono calls one URL with the events of all its products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardEvents {
    #[default]
    None,
    /// The events that this system does not apply to a record: those of other products, and unreadable ones.
    Unhandled,
    All,
}

/// The word names no set of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not none, unhandled or all")]
pub struct UnknownForwardEvents;

/// An event, or a body that is no event. The outer error is the panic of the parser. A parser that panics must not make
/// the webhook fail, and its event counts as unreadable.
pub type ReadEvent = std::thread::Result<Result<Event, UnprocessableEvent>>;

/// Reads an event, as [`event::read`].
pub fn read(body: &str, received_at: Timestamp) -> ReadEvent {
    catch_unwind(|| event::read(body, received_at))
}

impl FromStr for ForwardEvents {
    type Err = UnknownForwardEvents;

    fn from_str(word: &str) -> Result<Self, UnknownForwardEvents> {
        match word {
            "none" => Ok(Self::None),
            "unhandled" => Ok(Self::Unhandled),
            "all" => Ok(Self::All),
            _ => Err(UnknownForwardEvents),
        }
    }
}

impl ForwardEvents {
    /// Whether the event is forwarded.
    pub fn include(self, event: &ReadEvent) -> bool {
        let is_applied = matches!(event, Ok(Ok(event)) if matches!(event.interpretation, Interpretation::Fact(..)));
        match self {
            Self::None => false,
            Self::Unhandled => !is_applied,
            Self::All => true,
        }
    }

    /// Whether the event with this body is forwarded. Reads the body only if its content decides.
    pub fn include_text(self, body: &str) -> bool {
        match self {
            Self::None => false,
            Self::Unhandled => self.include(&read(body, Timestamp::from_millis(0))),
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unhandled_are_the_events_that_are_not_applied() {
        let id = "697926f050b9c321c1451dda";
        for (body, is_unhandled) in [
            (
                format!(r#"{{"event":"mono.events.account_connected","data":{{"id":"{id}"}}}}"#),
                false,
            ),
            (format!(r#"{{"event":"mono.events.account_unlinked","data":"{id}"}}"#), false),
            (r#"{"event":"mono.events.account_unlinked","data":{}}"#.to_owned(), true),
            (
                format!(r#"{{"event":"mono.events.account_income","data":{{"account":"{id}"}}}}"#),
                true,
            ),
            (
                r#"{"event":"events.mandates.debit.successful","data":{"id":"mmc_1"}}"#.to_owned(),
                true,
            ),
            (format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200)), true),
            ("{}".to_owned(), true),
        ] {
            assert_eq!(ForwardEvents::Unhandled.include_text(&body), is_unhandled, "{body}");
            assert!(ForwardEvents::All.include_text(&body));
            assert!(!ForwardEvents::None.include_text(&body));
        }
    }

    #[test]
    fn unknown_word_is_rejected_and_the_three_known_words_are_read() {
        assert_eq!("none".parse(), Ok(ForwardEvents::None));
        assert_eq!("unhandled".parse(), Ok(ForwardEvents::Unhandled));
        assert_eq!("all".parse(), Ok(ForwardEvents::All));
        assert_eq!("ALL".parse::<ForwardEvents>(), Err(UnknownForwardEvents));
    }
}
