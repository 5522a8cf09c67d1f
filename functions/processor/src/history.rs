//! What the histories tell of a batch: written before the records, in one request, and set right
//! where another was faster.

use std::collections::HashMap;

use mono_sync::account::{Account, Fact, Step};
use mono_sync::account_id::AccountId;
use mono_sync::batch::Work;
use mono_sync::event::{Event, Interpretation};
use mono_sync::history::{Entry, Position};
use mono_sync::import::ImportJob;
use mono_sync::store::{EventStore, StoreError, Stored};
use tracing::error;

/// The histories; `None` where none are kept.
pub(crate) struct History(pub(crate) Option<EventStore>);

/// A record as it was read, if there is one and it could be.
pub(crate) type Seen = Result<Option<Stored>, StoreError>;

/// What the events of one account will do, by the record as it was read.
pub(crate) struct Preview {
    steps: Vec<Step>,
    entries: Vec<Entry>,
    /// The import that is due then.
    pub(crate) import: Option<ImportJob>,
}

impl History {
    pub(crate) fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Writes what is preview. Answers with the accounts of which some of it was not written.
    pub(crate) async fn write(
        &self,
        preview: &HashMap<AccountId, Preview>,
    ) -> HashMap<AccountId, StoreError> {
        let Some(events) = &self.0 else {
            return HashMap::new();
        };
        let entries = preview.iter().flat_map(|(id, preview)| {
            preview.entries.iter().map(|entry| (id.clone(), entry.clone()))
        });
        events.write(entries).await
    }

    /// Tells what came true instead of what was preview, where these differ: another was faster.
    pub(crate) async fn correct_conflict(
        &self,
        id: &AccountId,
        seen: Option<&Stored>,
        work: &[Work<Event>],
        preview: &Preview,
        steps: &[Step],
    ) {
        if preview.steps == steps {
            return;
        }
        let entries = entries(seen.map(|seen| &seen.account), work, steps);
        let corrected = self.correct(id, &stale(preview, &entries), &entries).await;
        if let Err(error) = corrected {
            error!(account_id = %id, %error, "the history does not tell of a conflict");
        }
    }

    async fn correct(
        &self,
        id: &AccountId,
        stale: &[Position],
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        match &self.0 {
            Some(events) => events.correct(id, stale, entries).await,
            None => Ok(()),
        }
    }
}

/// Of a record that could not be read, nothing is preview: its events are given back.
pub(crate) fn preview(id: &AccountId, seen: Option<&Seen>, work: &[Work<Event>]) -> Preview {
    let known = match seen {
        Some(Ok(Some(stored))) => Some(&stored.account),
        Some(Ok(None)) | None => None,
        Some(Err(_)) => {
            return Preview { steps: Vec::new(), entries: Vec::new(), import: None };
        }
    };
    let (blank, facts) = (Account::new(id.clone()), facts(work));
    let steps = known.unwrap_or(&blank).fold(&facts);
    let entries = entries(known, work, &steps);
    let import = steps.last().and_then(|step| ImportJob::due(&step.after, facts));
    Preview { steps, entries, import }
}

/// What the history tells of events that were folded in these steps. Of an account that is not
/// known it tells nothing that was ignored.
fn entries(known: Option<&Account>, work: &[Work<Event>], steps: &[Step]) -> Vec<Entry> {
    let mut steps = steps.iter();
    let entry = |event: &Event| match &event.interpretation {
        Interpretation::Fact(..) => Entry::of_step(event, steps.next()?),
        Interpretation::Nothing(_) => Some(Entry::of_ignored(event, known?)),
    };
    work.iter().map(|work| &work.content).filter_map(entry).collect()
}

/// The entries that say of an event that it was applied, where another now says that it was not. An
/// event that a register recognises has none: then it may have been this very delivery, worked
/// through by another at the same time.
fn stale(preview: &Preview, entries: &[Entry]) -> Vec<Position> {
    let contradicted = |position: &Position| {
        let of_same = |entry: &&Entry| entry.position.is_of_same_delivery(*position);
        entries.iter().find(of_same).is_some_and(|entry| entry.position != *position)
    };
    preview.entries.iter().map(|entry| entry.position).filter(contradicted).collect()
}

/// What the events say of the account, where they say anything.
pub(crate) fn facts(work: &[Work<Event>]) -> Vec<&Fact> {
    let events = work.iter().map(|work| &work.content);
    let facts = events.filter_map(|event| match &event.interpretation {
        Interpretation::Fact(_, fact) => Some(&**fact),
        Interpretation::Nothing(_) => None,
    });
    facts.collect()
}
