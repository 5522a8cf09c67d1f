//! What a batch's events were and did, for the log.

use crate::domain::account::{Fact, Step};
use crate::domain::account_id::AccountId;
use crate::domain::history::Effect;
use crate::domain::webhook::event::{Event, Interpretation};
use crate::lambda::sqs_batch::Work;
use serde::Serialize;

/// One line a batch. The totals are what a metric filter can count.
#[derive(Default, Serialize)]
pub struct Summary {
    applied: usize,
    no_change: usize,
    ignored: usize,
    unknown_values: usize,
    /// Balances that are no whole number of minor units.
    unreadable_balances: usize,
    /// Texts that were too long and were cut, by their lengths in bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cut_texts: Vec<usize>,
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
    /// Events that were folded into a record, which each of them changed or not.
    pub(super) fn applied(&mut self, work: &[Work<Event>], steps: &[Step]) {
        let mut steps = steps.iter();
        for event in work.iter().map(|work| &work.content) {
            let Interpretation::Fact(account_id, fact) = &event.interpretation else {
                continue;
            };
            self.unknown_values += usize::from(Fact::has_unknown_value(fact));
            self.unreadable_balances += usize::from(Fact::has_unreadable_balance(fact));
            self.cut_texts.extend(&event.cut);
            if steps.next().is_some_and(Step::changed) {
                self.applied += 1;
                self.push(event, Some(account_id), Effect::Applied);
            } else {
                self.no_change += 1;
                self.push(event, Some(account_id), Effect::NoChange);
            }
        }
    }

    /// Events of known accounts that are unprocessable.
    pub(super) fn ignored_of(&mut self, work: &[Work<Event>], known: bool) {
        let events = work.iter().map(|work| &work.content);
        for event in
            events.filter(|event| matches!(event.interpretation, Interpretation::Nothing(_)))
        {
            self.ignored(event, known);
        }
    }

    /// Logs an unprocessable event. Its id is logged only if it belongs to a known account: it might be an account number.
    pub(super) fn ignored(&mut self, event: &Event, known: bool) {
        self.ignored += 1;
        self.push(event, event.account_id().filter(|_| known), Effect::Ignored);
    }

    fn push(&mut self, event: &Event, account_id: Option<&AccountId>, effect: Effect) {
        self.events.push(Line {
            event: event.identity.kind.clone(),
            event_id: event.identity.event_id.clone(),
            account_id: account_id.cloned(),
            effect,
        });
    }
}
