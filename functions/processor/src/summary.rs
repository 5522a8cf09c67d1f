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
    pub(crate) fn add(&mut self, event: &Event, effect: Effect) {
        *match effect {
            Effect::Applied => &mut self.applied,
            Effect::NoChange => &mut self.no_change,
            Effect::Ignored => &mut self.ignored,
        } += 1;
        if let Meaning::Fact(_, fact) = &event.meaning {
            self.unknown_values += usize::from(Fact::has_unknown_value(fact));
        }
        self.events.push(Line {
            event: event.label.kind.clone(),
            event_id: event.label.event_id.clone(),
            account_id: event.account_id().cloned(),
            effect,
        });
    }
}
