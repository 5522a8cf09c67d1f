//! The changes by the events of one account. They are computed once, before the first write.

use std::time::Duration;

use crate::aws::queues::{ImportQueue, Message};
use crate::aws::store::Stored;
use crate::domain::account::{Account, Fact, Step};
use crate::domain::account_id::AccountId;
use crate::domain::history::{Entry, Position};
use crate::domain::import::ImportJob;
use crate::domain::refresh_job::RefreshJob;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::event::{Event, Interpretation};
use crate::lambda::sqs_batch::Work;

/// The record of an account as it was read, and its changes by the events of a batch.
pub(super) struct AccountBatch {
    /// `None` if there is no record.
    pub(super) record: Option<Stored>,
    pub(super) steps: Vec<Step>,
    /// The entries of the history that follow from these steps.
    pub(super) entries: Vec<Entry>,
    /// The import that is due after these steps.
    pub(super) import: Option<ImportJob>,
    /// The verification that these steps require.
    pub(super) verification: Option<Message>,
    events: usize,
}

impl AccountBatch {
    pub(super) fn new(id: &AccountId, record: Option<Stored>, work: &[Work<Event>]) -> Self {
        let (blank, facts) = (Account::new(id.clone()), facts(work));
        let known = record.as_ref().map(|record| &record.account);
        let steps = known.unwrap_or(&blank).fold(&facts);
        let entries = entries(known, work, &steps);
        let import = steps.last().and_then(|step| ImportJob::due(&step.after, facts));
        let verification = verification(id, &steps);
        Self { record, steps, entries, import, verification, events: work.len() }
    }

    /// Whether the changes were computed from these messages. After a panic, the messages of an account are processed
    /// one by one.
    pub(super) fn is_of(&self, work: &[Work<Event>]) -> bool {
        self.events == work.len()
    }

    /// The entries that follow from other steps, because another writer changed the record first.
    pub(super) fn entries_of(&self, work: &[Work<Event>], steps: &[Step]) -> Vec<Entry> {
        entries(self.record.as_ref().map(|record| &record.account), work, steps)
    }

    /// The written entries that these entries contradict. An event that a register recognises has no entry, because
    /// another function may have applied the same delivery.
    pub(super) fn stale(&self, entries: &[Entry]) -> Vec<Position> {
        let is_contradicted = |position: &Position| {
            let of_same = |entry: &&Entry| entry.position.is_of_same_delivery(*position);
            entries.iter().find(of_same).is_some_and(|entry| entry.position != *position)
        };
        self.entries.iter().map(|entry| entry.position).filter(is_contradicted).collect()
    }
}

/// The verification that these steps require. The delay gives the write of the record time, as for an import.
pub(super) fn verification(id: &AccountId, steps: &[Step]) -> Option<Message> {
    let (first, last) = (steps.first()?, steps.last()?);
    let due = last.after.earlier_verification(&first.before)?;
    let job = RefreshJob::verification(id.clone());
    let wait = due.since(Timestamp::now()) + ImportQueue::DELAY;
    let delay = wait.min(Duration::from_mins(15));
    Some(Message { account_id: id.clone(), body: job.to_body(), delay })
}

/// An unknown account has no entries for ignored events.
fn entries(known: Option<&Account>, work: &[Work<Event>], steps: &[Step]) -> Vec<Entry> {
    let mut steps = steps.iter();
    let entry = |event: &Event| match &event.interpretation {
        Interpretation::Fact(..) => Entry::of_step(event, steps.next()?),
        Interpretation::Nothing(_) => Some(Entry::of_ignored(event, known?)),
    };
    work.iter().map(|work| &work.content).filter_map(entry).collect()
}

pub(super) fn facts(work: &[Work<Event>]) -> Vec<&Fact> {
    let events = work.iter().map(|work| &work.content);
    let facts = events.filter_map(|event| match &event.interpretation {
        Interpretation::Fact(_, fact) => Some(&**fact),
        Interpretation::Nothing(_) => None,
    });
    facts.collect()
}
