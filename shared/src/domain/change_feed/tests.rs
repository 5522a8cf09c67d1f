use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::domain::account::{
    ImportEnd, ImportLease, OrderKey, Rank, RefreshRule, ShortHash, TimeSource,
};
use crate::domain::business_day::{BusinessDay, Days};
use crate::domain::import::diff::compare;
use crate::domain::money::MinorUnits;
use crate::domain::transaction::Direction;

fn start() -> Timestamp {
    Timestamp::parse_rfc3339("2026-01-27T20:00:00Z").unwrap()
}

fn first_day() -> BusinessDay {
    BusinessDay::parse("2026-01-10").unwrap()
}

const DAYS: u32 = 12;
/// The days of a comparison before and after its window.
const MARGIN: u32 = 2;
const MINUTE: Duration = Duration::from_mins(1);

fn days(first: u32, last: u32) -> Days {
    first_day() + first..=first_day() + last
}

fn row(id: &str, day: u32, amount: i64) -> Transaction {
    Transaction {
        position: Position::new((first_day() + day).begins_at(), 0, id).unwrap(),
        direction: Direction::Debit,
        amount: MinorUnits(amount),
        balance: None,
        currency: None,
        narration: None,
        category: None,
        unknown: None,
    }
}

/// Rows by their ids, each with its date and amount.
type Rows = BTreeMap<String, (Timestamp, i64)>;

fn rows<'a>(rows: impl IntoIterator<Item = &'a Transaction>) -> Rows {
    let row = |row: &Transaction| (row.position.id.clone(), (row.position.date, row.amount.0));
    rows.into_iter().map(row).collect()
}

fn stored_row(entry: &Entry) -> Option<&Transaction> {
    match &entry.content {
        Content::Row(row) => Some(row),
        Content::Tombstone { .. } => None,
    }
}

/// The bank's statement, an account whose rows are imported, and readers of its feed.
struct World {
    now: Timestamp,
    /// The day and the amount of each row.
    statement: BTreeMap<String, (u32, i64)>,
    account: Account,
    table: BTreeMap<Position, Entry>,
    import: Option<Running>,
    /// Writes that the import saw fail. They can still arrive until this time.
    late: Option<(Vec<ItemWrite>, Timestamp)>,
    readers: Vec<Reader>,
}

/// An import that may be anywhere between two writes.
struct Running {
    number: u32,
    revisions: Revisions,
    left: Vec<ItemWrite>,
}

/// How long after its failure a write can still arrive.
const WRITES_SETTLE: Duration = Duration::from_secs(10);

enum ItemWrite {
    Put(Entry),
    Delete(Position),
}

#[derive(Default)]
struct Reader {
    rows: Rows,
    cursor: Option<Cursor>,
    /// The time and the record of a request that has not read the rows yet.
    seen: Option<(Timestamp, Account)>,
}

#[derive(Clone, Debug)]
enum Step {
    /// The bank adds, changes or moves a row.
    List(String, u32, i64),
    /// The bank removes a row.
    Unlist(String),
    Begin,
    /// A message continues the running import.
    Continue,
    /// Compares these days. Real puts are concurrent, so the third number selects their order.
    Compare(u32, u32, u32),
    Write(usize),
    /// Writes fail, and the import ends. The writes arrive later, or never.
    Fail(usize),
    /// The failed writes arrive, if it is not too late.
    Arrive,
    End,
    /// The import is killed. Its lease expires later.
    Crash,
    Wait,
    ReadRecord(usize),
    Read(usize, usize),
    /// The reader is killed after it has stored the rows, and before it has stored the cursor.
    ReadWithoutCursor(usize, usize),
    NewReader(usize),
    Quarter,
}

const READERS: usize = 2;

fn step() -> impl Strategy<Value = Step> {
    let id = || "[a-g]";
    let reader = 0..READERS;
    // Rows often move between days that no comparison reaches together.
    let day = || prop_oneof![2 => 0..DAYS, 1 => Just(0), 1 => Just(DAYS - 1)];
    prop_oneof![
        6 => (id(), day(), 0..2_i64).prop_map(|(id, day, amount)| Step::List(id, day, amount)),
        2 => id().prop_map(Step::Unlist),
        3 => Just(Step::Begin),
        1 => Just(Step::Continue),
        4 => (day(), day(), any::<u32>())
            .prop_map(|(one, other, order)| Step::Compare(one.min(other), one.max(other), order)),
        5 => (1..6_usize).prop_map(Step::Write),
        1 => (1..6_usize).prop_map(Step::Fail),
        1 => Just(Step::Arrive),
        2 => Just(Step::End),
        1 => Just(Step::Crash),
        2 => Just(Step::Wait),
        1 => reader.clone().prop_map(Step::ReadRecord),
        5 => (reader.clone(), 1..5_usize).prop_map(|(reader, limit)| Step::Read(reader, limit)),
        1 => (reader.clone(), 1..5_usize)
            .prop_map(|(reader, limit)| Step::ReadWithoutCursor(reader, limit)),
        1 => reader.prop_map(Step::NewReader),
        1 => Just(Step::Quarter),
    ]
}

impl World {
    fn new() -> Self {
        let account = Account::new("a".parse().unwrap());
        Self {
            now: start(),
            statement: BTreeMap::new(),
            account: Account { refresh: RefreshRule::from_word("off"), ..account },
            table: BTreeMap::new(),
            import: None,
            late: None,
            readers: (0..READERS).map(|_| Reader::default()).collect(),
        }
    }

    fn lease(&self, holder: u8) -> ImportLease {
        let (rank, time_source) = (Rank::Updated, TimeSource::Event);
        let pull = OrderKey { at: start(), rank, time_source, event: ShortHash::of("event") };
        ImportLease { holder: [holder; 8], pull, until: self.now + 2 * MINUTE }
    }

    fn take(&mut self, step: Step) {
        self.now = self.now + Duration::from_secs(1);
        match step {
            Step::List(id, day, amount) => {
                self.statement.insert(id, (day, amount));
            }
            Step::Unlist(id) => {
                self.statement.remove(&id);
            }
            Step::Begin => self.begin(None),
            Step::Continue => {
                let number = self.import.as_ref().map(|running| running.number);
                if number.is_some() {
                    self.write(usize::MAX);
                    self.begin(number);
                }
            }
            Step::Compare(first, last, order) => {
                self.write(usize::MAX);
                self.compare(first, last, order);
            }
            Step::Write(count) => self.write(count),
            Step::Fail(count) => self.fail(count),
            Step::Arrive => {
                if let Some((writes, until)) = self.late.take()
                    && self.now < until
                {
                    writes.into_iter().for_each(|write| self.apply(write));
                }
            }
            Step::End => self.end(),
            Step::Crash => self.import = None,
            Step::Wait => self.wait(3 * MINUTE),
            Step::ReadRecord(reader) => {
                self.readers[reader].seen = Some((self.now, self.account.clone()));
            }
            Step::Read(reader, limit) => {
                self.read(reader, limit, true);
            }
            Step::ReadWithoutCursor(reader, limit) => {
                self.read(reader, limit, false);
            }
            Step::NewReader(reader) => self.readers[reader] = Reader::default(),
            Step::Quarter => {
                self.wait(TOMBSTONE_PERIOD);
                let now = self.now;
                self.table.retain(|_, entry| match entry.content {
                    Content::Row(_) => true,
                    Content::Tombstone { expires_at, .. } => expires_at > now,
                });
            }
        }
    }

    /// Time passes. Lambda ends running imports and requests before this period is over.
    fn wait(&mut self, period: Duration) {
        self.now = self.now + period;
        self.import = None;
        self.readers.iter_mut().for_each(|reader| reader.seen = None);
    }

    fn begin(&mut self, continued_from: Option<u32>) {
        let holder = if continued_from.is_some() { 2 } else { 1 };
        let begun = self.account.begin_import(self.lease(holder), continued_from, self.now);
        if let Ok(account) = begun {
            let number = account.import_number;
            self.import =
                Some(Running { number, revisions: Revisions::of(number), left: Vec::new() });
            self.account = account;
        }
    }

    fn compare(&mut self, first: u32, last: u32, order: u32) {
        let reach = days(first.saturating_sub(MARGIN), (last + MARGIN).min(DAYS));
        let mut stored = StoredRows::default();
        for entry in self.table.values() {
            if reach.contains(&BusinessDay::of(entry.position().date)) {
                stored.insert(entry.clone());
            }
        }
        let listed = self.statement.iter().map(|(id, (day, amount))| row(id, *day, *amount));
        let listed: Vec<_> = listed.filter(|row| reach.contains(&row.business_day())).collect();
        let changes = compare(&days(first, last), &stored.rows, &listed, &HashSet::new());
        let is_other = |entry: &&Entry| {
            let position = entry.position();
            stored_row(entry).is_some()
                && changes.gone.iter().any(|gone| gone.id == position.id)
                && !changes.gone.contains(position)
        };
        let others: Vec<_> = self.table.values().filter(is_other).cloned().collect();
        let changes = stored.found_elsewhere(changes, others);
        if let Some(running) = &mut self.import {
            let mut writes = stored.writes(changes, &mut running.revisions, self.now);
            let place = |put: &Entry| ShortHash::of(&format!("{order}{}", put.position().id));
            writes.puts.sort_by_key(place);
            let puts = writes.puts.into_iter().map(ItemWrite::Put);
            let deletes = writes.deletes.into_iter().map(ItemWrite::Delete);
            running.left = puts.chain(deletes).rev().collect();
        }
    }

    fn write(&mut self, count: usize) {
        let Some(running) = &mut self.import else {
            return;
        };
        let left = running.left.len().saturating_sub(count);
        let writes = running.left.split_off(left);
        writes.into_iter().rev().for_each(|write| self.apply(write));
    }

    fn apply(&mut self, write: ItemWrite) {
        match write {
            ItemWrite::Put(entry) => {
                self.table.insert(entry.position().clone(), entry);
            }
            ItemWrite::Delete(position) => {
                self.table.remove(&position);
            }
        }
    }

    fn fail(&mut self, count: usize) {
        if let Some(mut running) = self.import.take() {
            let settled_at = self.now + WRITES_SETTLE;
            let left = running.left.len().saturating_sub(count);
            let mut writes = running.left.split_off(left);
            writes.reverse();
            self.late = Some((writes, settled_at));
            self.release(Some(settled_at));
        }
    }

    fn end(&mut self) {
        self.write(usize::MAX);
        if self.import.take().is_some() {
            self.release(None);
        }
    }

    fn release(&mut self, settled_at: Option<Timestamp>) {
        let (holder, counts) = (self.account.import.unwrap().holder, RowCounts::default());
        let ended = self.account.end_import(holder, &ImportEnd::GivenUp, counts, settled_at);
        self.account = ended.unwrap();
    }

    /// Reads a page. Returns whether more follow.
    fn read(&mut self, reader: usize, limit: usize, stores_cursor: bool) -> bool {
        let reader = &mut self.readers[reader];
        let (now, account) = reader.seen.take().unwrap_or((self.now, self.account.clone()));
        // A reader without a cursor begins with an empty copy. Its rows may be older than the tombstones.
        if reader.cursor.is_none() {
            reader.rows.clear();
        }
        let mut cursor = reader.cursor.unwrap_or(Cursor::beginning(now));
        if account.resets(cursor, now) {
            reader.rows.clear();
            cursor = Cursor::beginning(now);
        }
        let visible = account.visible_revision(now);
        let after =
            |entry: &&Entry| entry.revision > cursor.position() && entry.revision <= visible;
        let mut entries: Vec<_> = self.table.values().filter(after).cloned().collect();
        entries.sort_by_key(|entry| entry.revision);
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let more_after = entries.last().map(|entry| entry.revision).filter(|_| has_more);
        let page = FeedPage::new(cursor, entries, more_after, visible, now);
        let shown = page.added.iter().chain(&page.modified);
        let ids = shown.map(|row| &row.position.id).chain(&page.removed).collect::<Vec<_>>();
        assert!(ids.len() <= limit);
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{page:?}");
        reader.rows.extend(rows(page.added.iter().chain(&page.modified)));
        for id in &page.removed {
            reader.rows.remove(id);
        }
        if stores_cursor {
            let next = page.next.to_string().parse().unwrap();
            assert!(cursor.position() <= page.next.position());
            reader.cursor = Some(next);
        }
        page.has_more
    }

    /// A last import of everything ends, and all readers read all.
    fn settle(&mut self) {
        self.take(Step::Wait);
        self.take(Step::Begin);
        self.compare(0, DAYS, 0);
        self.end();
        for reader in 0..READERS {
            while self.read(reader, 3, true) {}
        }
    }

    fn stored(&self) -> Vec<&Transaction> {
        self.table.values().filter_map(stored_row).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn readers_end_with_exactly_the_rows_of_the_table(steps in vec(step(), 0..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.settle();
        let stored = world.stored();
        let statement = world.statement.iter().map(|(id, (day, amount))| row(id, *day, *amount));
        prop_assert_eq!(rows(&statement.collect::<Vec<_>>()), rows(stored.iter().copied()));
        prop_assert_eq!(stored.len(), rows(stored.iter().copied()).len(), "one item for each id");
        for reader in &world.readers {
            prop_assert_eq!(&reader.rows, &rows(stored.iter().copied()));
        }
    }
}

const NO_CHANGES: Changes = Changes { puts: Vec::new(), moved: Vec::new(), gone: Vec::new() };

/// The items of an account, written by imports with these numbers.
#[derive(Default)]
struct Table(BTreeMap<Position, Entry>);

impl Table {
    fn write(&mut self, import: u32, changes: Changes) -> RowCounts {
        let mut stored = StoredRows::default();
        for entry in self.0.values() {
            stored.insert(entry.clone());
        }
        let writes = stored.writes(changes, &mut Revisions::of(import), start());
        for entry in writes.puts {
            self.0.insert(entry.position().clone(), entry);
        }
        for position in writes.deletes {
            self.0.remove(&position);
        }
        writes.counts
    }

    fn put(&mut self, import: u32, row: Transaction) -> RowCounts {
        self.write(import, Changes { puts: vec![row], ..NO_CHANGES })
    }

    fn remove(&mut self, import: u32, row: &Transaction) -> RowCounts {
        self.write(import, Changes { gone: vec![row.position.clone()], ..NO_CHANGES })
    }

    /// The ids that were added, modified and removed since the end of this import.
    fn since(&self, import: u32) -> [Vec<String>; 3] {
        let cursor = Cursor {
            position: Revision::end_of(import),
            complete: Revision::end_of(import),
            complete_at: start(),
        };
        let entries = self.0.values().filter(|entry| entry.revision > cursor.position());
        let mut entries: Vec<_> = entries.cloned().collect();
        entries.sort_by_key(|entry| entry.revision);
        let page = FeedPage::new(cursor, entries, None, Revision::end_of(99), start());
        let ids = |rows: &[Transaction]| rows.iter().map(|row| row.position.id.clone()).collect();
        [ids(&page.added), ids(&page.modified), page.removed]
    }
}

fn ids<const N: usize>(ids: [[&str; N]; 3]) -> [Vec<String>; 3] {
    ids.map(|ids| ids.iter().filter(|id| !id.is_empty()).map(|id| (*id).to_owned()).collect())
}

#[test]
fn row_that_is_changed_after_it_was_added_is_added_for_one_reader_and_modified_for_another() {
    let mut table = Table::default();
    assert_eq!(table.put(1, row("a", 1, 1)).added, 1);
    assert_eq!(table.put(2, row("a", 1, 2)).modified, 1);
    assert_eq!(table.since(0), ids([["a"], [""], [""]]));
    assert_eq!(table.since(1), ids([[""], ["a"], [""]]));
    assert_eq!(table.since(2), ids([[""], [""], [""]]));
}

#[test]
fn row_whose_date_moved_is_modified_once() {
    let mut table = Table::default();
    table.put(1, row("a", 1, 1));
    let (puts, moved) = (vec![row("a", 2, 1)], vec![row("a", 1, 1).position]);
    let counts = table.write(2, Changes { puts, moved, gone: Vec::new() });
    assert_eq!((counts.added, counts.modified, counts.removed), (0, 1, 0));
    assert_eq!(table.since(1), ids([[""], ["a"], [""]]));
    assert_eq!(table.since(0), ids([["a"], [""], [""]]));
}

#[test]
fn removed_row_that_is_listed_again_is_seen_as_each_reader_knows_it() {
    for day in [1, 2] {
        let mut table = Table::default();
        table.put(1, row("a", 1, 1));
        assert_eq!(table.remove(2, &row("a", 1, 1)).removed, 1);
        assert_eq!(table.since(1), ids([[""], [""], ["a"]]));
        assert_eq!(table.put(3, row("a", day, 1)).added, 1);
        assert_eq!(table.since(0), ids([["a"], [""], [""]]), "a new reader");
        assert_eq!(table.since(1), ids([[""], ["a"], [""]]), "a reader that has the row");
        assert_eq!(table.since(2), ids([["a"], [""], [""]]), "a reader that has removed it");
        assert_eq!(table.0.len(), 1, "the tombstone is replaced");
    }
}

/// Neither comparison reaches the other day, so the row has two items for a time.
#[test]
fn row_that_moves_far_and_back_is_not_stale_for_a_reader() {
    let mut world = World::new();
    for day in [0, DAYS - 1, 0] {
        world.take(Step::List("a".to_owned(), day, 1));
        world.take(Step::Begin);
        world.compare(DAYS - 1, DAYS - 1, 0);
        if day == 0 {
            world.write(usize::MAX);
            world.compare(0, 0, 0);
        }
        world.end();
        while world.read(0, 1, true) {}
        assert_eq!(world.readers[0].rows, rows([&row("a", day, 1)]));
    }
    world.settle();
    assert_eq!(world.readers[0].rows, rows([&row("a", 0, 1)]));
}

/// After a rollback, a page may have only items that this version cannot read.
#[test]
fn page_without_a_readable_item_does_not_skip_the_rest() {
    let cursor = Cursor::beginning(start());
    let page = FeedPage::new(cursor, Vec::new(), Some(Revision(7)), Revision(99), start());
    assert_eq!((page.next.position(), page.has_more), (Revision(7), true));
    assert!(page.next.complete == cursor.complete);
}

#[test]
fn presence_keeps_the_last_changes_of_a_row_that_comes_and_goes() {
    let mut table = Table::default();
    for import in (1..60).step_by(2) {
        table.put(import, row("a", 1, 1));
        table.remove(import + 1, &row("a", 1, 1));
    }
    assert_eq!(table.since(59), ids([[""], [""], ["a"]]));
    let entry = table.0.into_values().next().unwrap();
    assert_eq!(entry.presence.revisions().len(), MOST_REVISIONS - 1);
    assert!(!entry.presence.includes(entry.revision));
}

#[test]
fn running_import_is_invisible_until_it_ends_or_its_lease_expires() {
    let mut world = World::new();
    world.take(Step::Begin);
    let number = world.account.import_number;
    let first = Revisions::of(number).next();
    assert!(world.account.visible_revision(world.now) < first);
    world.take(Step::Crash);
    assert!(world.account.visible_revision(world.now) < first);
    let expired = world.account.import.unwrap().until;
    assert!(world.account.visible_revision(expired) > first);
    world.take(Step::Wait);
    world.take(Step::Begin);
    world.take(Step::End);
    let last = Revision::end_of(world.account.import_number);
    assert_eq!(world.account.visible_revision(world.now), last);
    assert!(last > Revision::end_of(number));
}

#[test]
fn cursor_text_is_read_back_and_other_text_is_rejected() {
    let text = "29690125123.29690125120.1769547638856";
    assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
    for invalid in [
        "",
        "1",
        "1.1",
        "1.1.1.1",
        "1.2.1",
        "01.1.1",
        "-1.1.1",
        "+1.1.1",
        "a.1.1",
        "18446744073709551616.1.1",
    ] {
        assert_eq!(invalid.parse::<Cursor>(), Err(InvalidCursor), "{invalid}");
    }
}

#[test]
fn cursor_expires_a_day_before_the_tombstones_of_its_time() {
    let cursor = Cursor::beginning(start());
    assert!(!cursor.is_expired(start() + CURSOR_PERIOD - Duration::from_secs(1)));
    assert!(cursor.is_expired(start() + CURSOR_PERIOD));
}

/// After an erasure is forgotten, a new link creates a younger record.
#[test]
fn cursor_that_is_older_than_the_record_is_reset() {
    let cursor = Cursor::beginning(start());
    let mut account = World::new().account;
    assert!(!account.resets(cursor, start()));
    account.registers.first_seen = Some(start());
    assert!(!account.resets(cursor, start()));
    account.registers.first_seen = Some(start() + MINUTE);
    assert!(account.resets(cursor, start() + MINUTE));
    assert!(!account.resets(Cursor::beginning(start() + MINUTE), start() + MINUTE));
}
