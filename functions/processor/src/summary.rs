//! What a batch's events were and did, for the log.

use mono_sync::account::Fact;
use mono_sync::account_id::AccountId;
use mono_sync::event::{Event, Meaning};
use mono_sync::history::Effect;
use serde::Serialize;

/// One line a batch. The totals are what a metric filter can count.
#[derive(Default, Serialize)]
pub(crate) struct Summary {
    applied: usize,
    no_change: usize,
    ignored: usize,
    unknown_values: usize,
    events: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    event: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<AccountId>,
    effect: Effect,
}

impl Summary {
    /// An event that was folded into a record, which it changed or not.
    pub(crate) fn folded(&mut self, event: &Event, changed: bool) {
        if let Meaning::Fact(_, fact) = &event.meaning {
            self.unknown_values += usize::from(Fact::has_unknown_value(fact));
        }
        if changed {
            self.applied += 1;
            self.push(event, event.account_id(), Effect::Applied);
        } else {
            self.no_change += 1;
            self.push(event, event.account_id(), Effect::NoChange);
        }
    }

    /// An event that says nothing. What it names is only logged if that is an account that is known:
    /// it might be a number.
    pub(crate) fn ignored(&mut self, event: &Event, known: bool) {
        self.ignored += 1;
        self.push(event, event.account_id().filter(|_| known), Effect::Ignored);
    }

    fn push(&mut self, event: &Event, account_id: Option<&AccountId>, effect: Effect) {
        self.events.push(Line {
            event: event.label.kind.clone(),
            event_id: event.label.event_id.clone(),
            account_id: account_id.cloned(),
            effect,
        });
    }
}
