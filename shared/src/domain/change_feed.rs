//! The change feed of an account's transactions: which rows were added, changed and removed since a position.
//!
//! Each write of a row has a [`Revision`]. A row has only its newest revision, so a reader gets it once, in its newest
//! state. A removed row leaves a tombstone. A reader sees only revisions of imports that no longer write. So no row can
//! appear later at a position that the reader has passed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::domain::account::{Account, Registers, RowCounts};
use crate::domain::import::diff::Changes;
use crate::domain::timestamp::Timestamp;
use crate::domain::transaction::{Position, Transaction};

/// The position of a write in the feed of an account: the number of the import's lease, then a count of its writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

/// The number of bits of the count.
const WRITE_BITS: u32 = 24;

impl Revision {
    /// The position after all writes of this import, and before those of a later one.
    const fn end_of(import: u32) -> Self {
        Self(((import as u64 + 1) << WRITE_BITS) - 1)
    }

    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Gives each write of an import its revision.
#[derive(Clone, Debug)]
pub struct Revisions {
    next: Revision,
    end: Revision,
}

impl Revisions {
    /// `import` is the number of the import's lease.
    pub const fn of(import: u32) -> Self {
        Self { next: Revision((import as u64) << WRITE_BITS), end: Revision::end_of(import) }
    }

    /// An import writes far fewer than 2²⁴ rows in one invocation.
    fn next(&mut self) -> Revision {
        let next = self.next;
        self.next = Revision(next.0 + 1).min(self.end);
        next
    }
}

/// When a row was in the table: the revisions that added and removed it, alternating, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence(Vec<Revision>);

/// The most revisions of a [`Presence`]. Older ones are dropped in pairs.
const MOST_REVISIONS: usize = 9;

impl Presence {
    pub fn of(revisions: Vec<Revision>) -> Self {
        Self(revisions)
    }

    pub fn revisions(&self) -> &[Revision] {
        &self.0
    }

    /// Whether the row was in the table at this revision.
    pub fn includes(&self, revision: Revision) -> bool {
        self.0.iter().filter(|change| **change <= revision).count() % 2 == 1
    }

    fn is_present(&self) -> bool {
        self.0.len() % 2 == 1
    }

    fn changed_at(mut self, revision: Revision) -> Self {
        self.0.push(revision);
        if self.0.len() > MOST_REVISIONS {
            self.0.drain(..2);
        }
        self
    }
}

/// An item of the table of transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub revision: Revision,
    pub presence: Presence,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Row(Transaction),
    /// The row at this position was removed. This tombstone is deleted later.
    Tombstone {
        position: Position,
        expires_at: Timestamp,
    },
}

/// How long the tombstone of a removed row is kept.
pub const TOMBSTONE_PERIOD: Duration = Duration::from_hours(90 * 24);
/// How long a cursor is valid after its reader last had everything. It is a day shorter than [`TOMBSTONE_PERIOD`],
/// because an import may still write when the cursor is issued.
const CURSOR_PERIOD: Duration = Duration::from_hours(89 * 24);

impl Entry {
    pub const fn position(&self) -> &Position {
        match &self.content {
            Content::Row(row) => &row.position,
            Content::Tombstone { position, .. } => position,
        }
    }
}

/// The stored rows and tombstones of a range of days.
#[derive(Debug, Default)]
pub struct StoredRows {
    pub rows: Vec<Transaction>,
    tombstones: Vec<Position>,
    /// By the id of the row.
    presences: HashMap<String, Presence>,
}

/// The writes of a comparison. No position is both put and deleted.
#[derive(Debug, Default)]
pub struct Writes {
    pub puts: Vec<Entry>,
    pub deletes: Vec<Position>,
    pub counts: RowCounts,
}

impl StoredRows {
    /// The number of items.
    pub fn len(&self) -> usize {
        self.rows.len() + self.tombstones.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn insert(&mut self, entry: Entry) {
        let newest = self.presences.entry(entry.position().id.clone()).or_default();
        if newest.0.last() < entry.presence.0.last() {
            *newest = entry.presence;
        }
        match entry.content {
            Content::Row(row) => self.rows.push(row),
            Content::Tombstone { position, .. } => self.tombstones.push(position),
        }
    }

    /// Applies that gone rows are stored at other positions too. See [`Changes::stored_elsewhere`].
    pub(crate) fn found_elsewhere(&mut self, changes: Changes, others: Vec<Entry>) -> Changes {
        let first = self.rows.len();
        others.into_iter().for_each(|other| self.insert(other));
        changes.stored_elsewhere(&self.rows[first..])
    }

    /// The writes that make these changes. A row that moves is modified. A removed row that is listed again is
    /// added, and its tombstone is deleted.
    pub(crate) fn writes(
        &self,
        changes: Changes,
        revisions: &mut Revisions,
        now: Timestamp,
    ) -> Writes {
        let Changes { puts, moved, gone } = changes;
        let mut writes = Writes { deletes: moved, ..Writes::default() };
        let presence = |id: &str| self.presences.get(id).cloned().unwrap_or_default();
        let mut put = HashSet::new();
        for row in puts {
            let (revision, before) = (revisions.next(), presence(&row.position.id));
            let is_new = !before.is_present();
            let presence = if is_new { before.changed_at(revision) } else { before };
            let count = if is_new { &mut writes.counts.added } else { &mut writes.counts.modified };
            *count += 1;
            put.insert(row.position.clone());
            writes.puts.push(Entry { revision, presence, content: Content::Row(row) });
        }
        for position in gone {
            let revision = revisions.next();
            let presence = presence(&position.id).changed_at(revision);
            let expires_at = now + TOMBSTONE_PERIOD;
            let content = Content::Tombstone { position, expires_at };
            writes.counts.removed += 1;
            writes.puts.push(Entry { revision, presence, content });
        }
        let ids: HashSet<_> = put.iter().map(|position| position.id.as_str()).collect();
        let replaced = self.tombstones.iter().filter(|tombstone| ids.contains(&*tombstone.id));
        writes.deletes.extend(replaced.filter(|tombstone| !put.contains(tombstone)).cloned());
        writes
    }
}

impl Account {
    /// The last revision that a reader of the feed may see. The writes of a running import are not visible, because
    /// they are not in order. After its lease has expired, the import writes no more.
    pub fn visible_revision(&self, now: Timestamp) -> Revision {
        let is_importing = self.import.is_some_and(|lease| now < lease.until);
        Revision::end_of(self.import_number.saturating_sub(u32::from(is_importing)))
    }

    /// Whether a reader with this cursor must begin again: removed rows may have no tombstones any more. An erasure
    /// deletes rows without tombstones. If the account is linked again, its new record is younger than the cursor.
    pub fn resets(&self, cursor: Cursor, now: Timestamp) -> bool {
        let Registers { erased_before, first_seen, .. } = &self.registers;
        let complete_at = Some(cursor.complete_at);
        cursor.is_expired(now) || *erased_before >= complete_at || *first_seen > complete_at
    }
}

/// A position of a reader in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The reader has everything up to this revision.
    position: Revision,
    /// The position at which the reader last had everything that was visible.
    complete: Revision,
    /// The time of `complete`.
    complete_at: Timestamp,
}

/// The text is not a cursor of the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of the change feed")]
pub struct InvalidCursor;

impl Cursor {
    /// The position before all changes.
    pub const fn beginning(now: Timestamp) -> Self {
        let position = Revision(0);
        Self { position, complete: position, complete_at: now }
    }

    pub const fn position(self) -> Revision {
        self.position
    }

    /// Whether tombstones after this position may be deleted. Then the reader must begin again.
    pub fn is_expired(self, now: Timestamp) -> bool {
        now.since(self.complete_at) >= CURSOR_PERIOD
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, complete, complete_at } = self;
        write!(f, "{}.{}.{}", position.0, complete.0, complete_at.millis())
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut numbers = text.split('.').map(|number| number.parse().map_err(|_| InvalidCursor));
        let mut number = || numbers.next().unwrap_or(Err(InvalidCursor));
        let (position, complete) = (Revision(number()?), Revision(number()?));
        let cursor = Self { position, complete, complete_at: Timestamp::from_millis(number()?) };
        let is_valid = complete <= position && cursor.to_string() == text;
        if is_valid { Ok(cursor) } else { Err(InvalidCursor) }
    }
}

/// A page of the feed. No row is in two of its lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// Rows that were not in the table when the reader last had everything.
    pub added: Vec<Transaction>,
    pub modified: Vec<Transaction>,
    /// The ids of removed rows.
    pub removed: Vec<String>,
    pub next: Cursor,
    pub has_more: bool,
}

impl FeedPage {
    /// `entries` are the entries after `cursor`, up to `visible`, in the order of their revisions. `more_after`: more
    /// entries follow after this revision. `now` is a time before the read of `visible`.
    pub fn new(
        cursor: Cursor,
        entries: Vec<Entry>,
        more_after: Option<Revision>,
        visible: Revision,
        now: Timestamp,
    ) -> Self {
        let next = match more_after {
            Some(position) => Cursor { position, ..cursor },
            None => {
                let position = visible.max(cursor.position);
                Cursor { position, complete: position, complete_at: now }
            }
        };
        let (added, modified, removed) = (Vec::new(), Vec::new(), Vec::new());
        let mut page = Self { added, modified, removed, next, has_more: more_after.is_some() };
        // After a crash between two writes, a row can have two items. The newest one counts.
        let mut newest = HashMap::new();
        for entry in &entries {
            newest.insert(entry.position().id.clone(), entry.revision);
        }
        for Entry { revision, presence, content } in entries {
            match content {
                Content::Row(row) if newest.get(&row.position.id) == Some(&revision) => {
                    let was_present = presence.includes(cursor.complete);
                    if was_present { &mut page.modified } else { &mut page.added }.push(row);
                }
                Content::Tombstone { position, .. }
                    if newest.get(&position.id) == Some(&revision) =>
                {
                    page.removed.push(position.id);
                }
                _ => {}
            }
        }
        page
    }
}

#[cfg(test)]
mod tests;
