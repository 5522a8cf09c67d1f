//! The events of a batch and their effects, for the log.

use crate::domain::account::{Fact, Step};
use crate::domain::account_id::AccountId;
use crate::domain::history::Effect;
use crate::domain::webhook::event::{Event, Interpretation};
use crate::lambda::sqs_batch::Work;
use serde::Serialize;

/// One log line for each batch. A metric filter can count the totals.
#[derive(Default, Serialize)]
pub struct Summary {
    applied: usize,
    no_change: usize,
    ignored: usize,
    /// Events that were forwarded to the fintech.
    pub(super) forwarded: usize,
    unknown_values: usize,
    /// Balances that are no whole number of minor units.
    unreadable_balances: usize,
    /// The lengths, in bytes, of texts that were too long and were cut.
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
    /// Adds events that were folded into a record. Each step shows whether its event changed the record.
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

    /// Adds the ignored events among these messages.
    pub(super) fn ignored_of(&mut self, work: &[Work<Event>], known: bool) {
        let events = work.iter().map(|work| &work.content);
        for event in
            events.filter(|event| matches!(event.interpretation, Interpretation::Nothing(_)))
        {
            self.ignored(event, known);
        }
    }

    /// Adds an ignored event. Its account id is logged only if the account is known: otherwise it might be an account
    /// number.
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
