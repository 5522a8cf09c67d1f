//! Changes of an account's transactions, and the pages that calls get.

use time::Date;

use super::{Mono, found};
use crate::history::{Ledger, Page, Selection, Transaction};
use crate::lock;
use crate::plan::{Fault, PageFault, check_pages};
use crate::refusal::Refusal;

impl Mono {
    /// An account's transactions, the newest first. Mono returns them while the account is AVAILABLE. The
    /// list is empty if the account is unknown.
    pub fn transactions(&self, account_id: &str) -> Vec<Transaction> {
        let account = self.account(account_id);
        account.iter().flat_map(|account| account.ledger.rows()).cloned().collect()
    }

    /// A new row of today that is not yet in the account's history.
    ///
    /// # Errors
    ///
    /// If the account is unknown or unlinked.
    pub fn draft_transaction(&self, account_id: &str) -> Result<Transaction, Refusal> {
        let mut accounts = lock(&self.accounts);
        Ok(found(&mut accounts, account_id)?.draft())
    }

    /// Adds rows to an account's history, as if Mono had just fetched them, but without a webhook. Of rows
    /// with the same date, the last added row is the newest.
    ///
    /// # Errors
    ///
    /// If the account is unknown or unlinked.
    pub fn add_transactions(
        &self,
        account_id: &str,
        rows: impl IntoIterator<Item = Transaction>,
    ) -> Result<(), Refusal> {
        let mut accounts = lock(&self.accounts);
        found(&mut accounts, account_id)?.edit(|ledger| ledger.add(rows));
        Ok(())
    }

    /// Changes a row of an account's history. A new date moves the row. Later balances change accordingly.
    ///
    /// # Errors
    ///
    /// If the account is unknown or unlinked, or has no row with this id.
    pub fn change_transaction(
        &self,
        account_id: &str,
        id: &str,
        change: impl FnOnce(&mut Transaction),
    ) -> Result<(), Refusal> {
        self.edit(account_id, id, |ledger| ledger.find(id).map(change))
    }

    /// Removes a row from an account's history. Later balances change accordingly.
    ///
    /// # Errors
    ///
    /// If the account is unknown or unlinked, or has no row with this id.
    pub fn remove_transaction(&self, account_id: &str, id: &str) -> Result<(), Refusal> {
        self.edit(account_id, id, |ledger| ledger.remove(id))
    }

    /// Plans faults of pages of an account's transactions, replacing earlier plans. The first page is number one.
    /// Each fault happens once, at the first call for this page without real time that has no fault
    /// from [`plan_free`](Mono::plan_free).
    ///
    /// # Errors
    ///
    /// If the account is unknown, or a fault is invalid.
    pub fn plan_pages(
        &self,
        account_id: &str,
        pages: impl IntoIterator<Item = (usize, PageFault)>,
    ) -> Result<(), Refusal> {
        let pages = check_pages(pages)?;
        self.change_script(account_id, |script| script.page_faults = pages)
    }

    /// Plans the faults of pages for which [`plan_pages`](Mono::plan_pages) plans nothing.
    ///
    /// # Errors
    ///
    /// If the account is unknown, or a fault is invalid.
    pub fn plan_pages_always(
        &self,
        account_id: &str,
        pages: impl IntoIterator<Item = (usize, PageFault)>,
    ) -> Result<(), Refusal> {
        let pages = check_pages(pages)?;
        self.change_script(account_id, |script| script.page_faults_always = pages)
    }

    /// Makes Mono fail for every call whose range includes this day of an account's transactions. `None`
    /// ends this.
    ///
    /// # Errors
    ///
    /// If the account is unknown.
    pub fn stop_serving(&self, account_id: &str, day: Option<Date>) -> Result<(), Refusal> {
        self.change_script(account_id, |script| script.unserved_day = day)
    }

    /// The page that a call for transactions gets.
    pub(crate) fn page(&self, account_id: &str, selection: &Selection) -> Result<Page, Refusal> {
        let fault = self.next_page_fault(account_id, selection.number());
        let mut accounts = lock(&self.accounts);
        let account = found(&mut accounts, account_id)?;
        let mut page = account.page(selection);
        match fault {
            Some(PageFault::Fault(fault)) => page.fault = Some(fault),
            Some(PageFault::OtherTotal(total)) => page.total = total,
            Some(PageFault::WrongTotal(difference)) => {
                page.total = page.total.saturating_add_signed(difference);
            }
            Some(PageFault::Repeated) => page.rows = account.page(&selection.previous()).rows,
            Some(PageFault::Missing(rows)) => {
                page.rows.truncate(page.rows.len().saturating_sub(rows));
            }
            Some(PageFault::Changing) => {
                let mut row = account.draft();
                selection.make_first(&mut row, lock(&self.id_generator).now());
                account.edit(|ledger| ledger.add([row]));
            }
            None => {}
        }
        let unserved = lock(&self.scripts).get(account_id).and_then(|script| script.unserved_day);
        if unserved.is_some_and(|day| selection.includes(day)) {
            page.fault = Some(Fault::Status(500));
        }
        Ok(page)
    }

    fn next_page_fault(&self, account_id: &str, number: usize) -> Option<PageFault> {
        lock(&self.scripts).get_mut(account_id)?.next_page_fault(number)
    }

    fn edit<T>(
        &self,
        account_id: &str,
        id: &str,
        edit: impl FnOnce(&mut Ledger) -> Option<T>,
    ) -> Result<(), Refusal> {
        let mut accounts = lock(&self.accounts);
        let done = found(&mut accounts, account_id)?.edit(edit).is_some();
        if done { Ok(()) } else { Err(Refusal::UnknownTransaction(id.to_owned())) }
    }
}
