//! The selection of rows for a call, and the pages of it.

use time::{Date, Duration, OffsetDateTime};

use super::{Direction, Ledger, Transaction, midnight};
use crate::plan::Fault;

/// The default number of rows of a page.
const ROWS: usize = 20;

/// The rows that a call requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The first business day.
    pub(crate) start: Option<Date>,
    /// The last one.
    pub(crate) end: Option<Date>,
    pub(crate) direction: Option<Direction>,
    /// A part of the narration; case does not matter.
    pub(crate) narration: Option<String>,
    /// The number of rows of a page.
    pub(crate) limit: Option<usize>,
    /// The number of the page, from 1. `None` requests all rows in one answer.
    pub(crate) page: Option<usize>,
}

impl Selection {
    fn selects(&self, row: &Transaction) -> bool {
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

    /// The previous page. For the first page, the first page again.
    pub(crate) fn previous(&self) -> Self {
        let page = self.page.map(|number| (number - 1).max(1));
        Self { page, ..self.clone() }
    }

    /// Changes a row so that the selection has it as its first row.
    pub(crate) fn make_first(&self, row: &mut Transaction, now: OffsetDateTime) {
        let last = |end: Date| midnight(end) + Duration::DAY - Duration::MILLISECOND;
        row.date = self.end.map_or(now, |end| now.min(last(end)));
        row.direction = self.direction.unwrap_or(row.direction);
        if let Some(narration) = &self.narration {
            row.narration.clone_from(narration);
        }
    }
}

/// The rows that a call gets.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Transaction>,
    /// The number of rows of all pages.
    pub(crate) total: usize,
    pub(crate) number: usize,
    pub(crate) is_last: bool,
    /// The fault that replaces the page.
    pub(crate) fault: Option<Fault>,
}

impl Page {
    /// The page of a history that Mono does not have.
    pub(crate) fn empty(selection: &Selection) -> Self {
        Self { number: selection.number(), is_last: true, ..Self::default() }
    }
}

impl Ledger {
    /// The newest row is first.
    pub(crate) fn page(&self, selection: &Selection) -> Page {
        let selected: Vec<_> = self.rows().filter(|row| selection.selects(row)).collect();
        let is_paged = selection.page.is_some() || self.always_paged;
        let size = if is_paged {
            selection.limit.unwrap_or(ROWS).clamp(1, self.largest_page)
        } else {
            selected.len().max(1)
        };
        let number = selection.number();
        let mut pages = selected.chunks(size).skip(number - 1);
        Page {
            rows: pages.next().unwrap_or_default().iter().copied().cloned().collect(),
            total: selected.len(),
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

    /// A history with one row at each of these dates.
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
    fn window_includes_its_first_and_last_business_day_in_full() {
        let (first, last) = (date!(2026 - 01 - 05), date!(2026 - 01 - 06));
        let moment = Duration::MILLISECOND;
        let after = midnight(date!(2026 - 01 - 07));
        let ledger = dated(&[midnight(first) - moment, midnight(first), after - moment, after]);
        let selects = |start, end| {
            let window = Selection { start, end, ..page(1) };
            ledger.page(&window).rows.iter().map(|row| row.date).collect::<Vec<_>>()
        };
        assert_eq!(selects(Some(first), Some(last)), [after - moment, midnight(first)]);
        assert_eq!(selects(Some(first), None), [after, after - moment, midnight(first)]);
        assert_eq!(selects(None, Some(first)), [midnight(first), midnight(first) - moment]);
        assert_eq!(selects(Some(last), Some(last)), [after - moment]);
    }

    #[test]
    fn page_has_twenty_rows_or_the_limit_up_to_the_largest_page() {
        let ledger = ledger(250);
        for (limit, rows) in [(None, 20), (Some(1), 1), (Some(100), 100), (Some(101), 100)] {
            let page = ledger.page(&Selection { limit, ..page(1) });
            assert_eq!((page.rows.len(), page.total), (rows, 250), "{limit:?}");
        }
        let history = History { largest_page: 10, transactions: 250, ..History::default() };
        assert_eq!(Ledger::new("a", &history, 0).page(&page(1)).rows.len(), 10);
    }

    #[test]
    fn unpaged_answer_has_all_rows_with_any_limit() {
        let all = ledger(250).page(&Selection { limit: Some(10), ..Selection::default() });
        assert_eq!((all.rows.len(), all.total, all.is_last), (250, 250, true));
    }

    #[test]
    fn forced_paging_uses_pages_of_the_limit() {
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
    fn full_last_page_is_last_and_pages_after_it_are_empty() {
        let ledger = ledger(100);
        let pages = [(1, 20, false), (5, 20, true), (6, 0, true), (usize::MAX, 0, true)];
        for (number, rows, is_last) in pages {
            let page = ledger.page(&page(number));
            assert_eq!((page.rows.len(), page.is_last), (rows, is_last), "{number}");
            assert_eq!((page.total, page.number), (100, number));
        }
    }

    #[test]
    fn rows_are_selected_by_type_and_by_any_part_of_the_narration() {
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
    fn make_first_puts_the_row_first_in_its_selection() {
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
            selection.make_first(&mut row, now);
            let id = row.id.clone();
            ledger.edit(&mut 0, |ledger| ledger.add([row]));
            assert_eq!(ledger.page(&selection).rows[0].id, id);
        }
    }
}
