//! Which rows of a history a call gets.

use time::{Date, Duration, OffsetDateTime};

use super::{Direction, Ledger, Transaction, midnight};
use crate::plan::Fault;

/// The rows of a page where the caller does not say.
const ROWS: usize = 20;

/// What a call asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The first business day.
    pub(crate) start: Option<Date>,
    /// The last one.
    pub(crate) end: Option<Date>,
    pub(crate) direction: Option<Direction>,
    /// A part of it, in capitals or not.
    pub(crate) narration: Option<String>,
    /// How many rows are a page.
    pub(crate) limit: Option<usize>,
    /// Counted from 1; `None` asks for all pages in one.
    pub(crate) page: Option<usize>,
}

impl Selection {
    fn takes(&self, row: &Transaction) -> bool {
        let contains = |part: &String| row.narration.to_lowercase().contains(&part.to_lowercase());
        self.includes(row.business_day())
            && self.direction.is_none_or(|direction| direction == row.direction)
            && self.narration.as_ref().is_none_or(contains)
    }

    pub(crate) fn includes(&self, day: Date) -> bool {
        self.start.is_none_or(|start| start <= day) && self.end.is_none_or(|end| day <= end)
    }

    pub(crate) fn number(&self) -> usize {
        self.page.unwrap_or(1)
    }

    /// The page before, or the first one again.
    pub(crate) fn before(&self) -> Self {
        let page = self.page.map(|number| (number - 1).max(1));
        Self { page, ..self.clone() }
    }

    /// Makes of a row one that is taken, and before all others.
    pub(crate) fn attract(&self, row: &mut Transaction, now: OffsetDateTime) {
        let last = |end: Date| midnight(end) + Duration::DAY - Duration::MILLISECOND;
        row.date = self.end.map_or(now, |end| now.min(last(end)));
        row.direction = self.direction.unwrap_or(row.direction);
        if let Some(narration) = &self.narration {
            row.narration.clone_from(narration);
        }
    }
}

/// What a call gets.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Transaction>,
    /// Of all pages together.
    pub(crate) total: usize,
    pub(crate) number: usize,
    pub(crate) is_last: bool,
    /// What the caller meets instead.
    pub(crate) fault: Option<Fault>,
}

impl Page {
    /// Of a history that Mono does not hold.
    pub(crate) fn empty(selection: &Selection) -> Self {
        Self { number: selection.number(), is_last: true, ..Self::default() }
    }
}

impl Ledger {
    /// The newest rows come first.
    pub(crate) fn page(&self, selection: &Selection) -> Page {
        let taken: Vec<_> = self.rows().filter(|row| selection.takes(row)).collect();
        let is_paged = selection.page.is_some() || self.always_paged;
        let size = if is_paged {
            selection.limit.unwrap_or(ROWS).clamp(1, self.largest_page)
        } else {
            taken.len().max(1)
        };
        let number = selection.number();
        let mut pages = taken.chunks(size).skip(number - 1);
        Page {
            rows: pages.next().unwrap_or_default().iter().copied().cloned().collect(),
            total: taken.len(),
            number,
            is_last: pages.next().is_none(),
            fault: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;
    use crate::history::{History, today};

    fn ledger(transactions: usize) -> Ledger {
        Ledger::new("a", &History { transactions, ..History::default() }, 1_000_000)
    }

    fn page(number: usize) -> Selection {
        Selection { page: Some(number), ..Selection::default() }
    }

    /// A history with these dates alone.
    fn dated(dates: &[OffsetDateTime]) -> Ledger {
        let mut ledger = ledger(0);
        ledger.edit(&mut 0, |ledger| {
            for date in dates {
                let row = Transaction { date: *date, ..ledger.draft() };
                ledger.add([row]);
            }
        });
        ledger
    }

    #[test]
    fn window_has_its_first_and_its_last_business_day_from_midnight_to_midnight() {
        let (first, last) = (date!(2026 - 01 - 05), date!(2026 - 01 - 06));
        let moment = Duration::MILLISECOND;
        let after = midnight(date!(2026 - 01 - 07));
        let ledger = dated(&[midnight(first) - moment, midnight(first), after - moment, after]);
        let takes = |start, end| {
            let window = Selection { start, end, ..page(1) };
            ledger.page(&window).rows.iter().map(|row| row.date).collect::<Vec<_>>()
        };
        assert_eq!(takes(Some(first), Some(last)), [after - moment, midnight(first)]);
        assert_eq!(takes(Some(first), None), [after, after - moment, midnight(first)]);
        assert_eq!(takes(None, Some(first)), [midnight(first), midnight(first) - moment]);
        assert_eq!(takes(Some(last), Some(last)), [after - moment]);
    }

    #[test]
    fn page_has_twenty_rows_unless_the_caller_says_otherwise_up_to_the_largest_page() {
        let ledger = ledger(250);
        for (limit, rows) in [(None, 20), (Some(1), 1), (Some(100), 100), (Some(101), 100)] {
            let page = ledger.page(&Selection { limit, ..page(1) });
            assert_eq!((page.rows.len(), page.total), (rows, 250), "{limit:?}");
        }
        let history = History { largest_page: 10, transactions: 250, ..History::default() };
        assert_eq!(Ledger::new("a", &history, 0).page(&page(1)).rows.len(), 10);
    }

    #[test]
    fn all_pages_in_one_are_all_rows_whatever_the_limit() {
        let all = ledger(250).page(&Selection { limit: Some(10), ..Selection::default() });
        assert_eq!((all.rows.len(), all.total, all.is_last), (250, 250, true));
    }

    #[test]
    fn paging_that_cannot_be_turned_off_uses_pages_of_the_limit() {
        let history = History {
            transactions: 250,
            always_paged: true,
            largest_page: usize::MAX,
            ..History::default()
        };
        let ledger = Ledger::new("a", &history, 0);
        let rows = |limit| ledger.page(&Selection { limit, ..Selection::default() }).rows.len();
        assert_eq!((rows(None), rows(Some(200))), (20, 200));
    }

    #[test]
    fn last_page_is_the_last_even_if_it_is_full_and_beyond_it_there_is_nothing() {
        let ledger = ledger(100);
        let pages = [(1, 20, false), (5, 20, true), (6, 0, true), (usize::MAX, 0, true)];
        for (number, rows, is_last) in pages {
            let page = ledger.page(&page(number));
            assert_eq!((page.rows.len(), page.is_last), (rows, is_last), "{number}");
            assert_eq!((page.total, page.number), (100, number));
        }
    }

    #[test]
    fn rows_are_taken_by_type_and_by_any_part_of_the_narration() {
        let ledger = ledger(250);
        let count = |selection| ledger.page(&selection).total;
        let typed = |direction| Selection { direction: Some(direction), ..page(1) };
        let narrated =
            |part: &str| Selection { narration: Some(part.to_owned()), ..Selection::default() };
        let (debits, credits) = (count(typed(Direction::Debit)), count(typed(Direction::Credit)));
        assert!(debits > 0 && credits > 0);
        assert_eq!(debits + credits, 250);
        assert!((1..250).contains(&count(narrated("ÌBÀDÀN"))));
        assert_eq!(count(narrated("no such row")), 0);
    }

    #[test]
    fn attracted_row_is_the_first_that_is_taken() {
        let now = OffsetDateTime::now_utc();
        let week_ago = today() - Duration::WEEK;
        let selections = [
            Selection { end: Some(week_ago), ..page(1) },
            Selection { direction: Some(Direction::Credit), ..page(1) },
            Selection { narration: Some("refund".to_owned()), ..page(1) },
        ];
        for selection in selections {
            let mut ledger = ledger(250);
            let mut row = ledger.draft();
            selection.attract(&mut row, now);
            let id = row.id.clone();
            ledger.edit(&mut 0, |ledger| ledger.add([row]));
            assert_eq!(ledger.page(&selection).rows[0].id, id);
        }
    }
}
