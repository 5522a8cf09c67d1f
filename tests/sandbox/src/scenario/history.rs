//! What happens to an account's transactions, and what calls get of them.

use time::Date;

use super::{Mono, found};
use crate::history::{Ledger, Page, Selection, Transaction};
use crate::lock;
use crate::plan::{Fault, PageFault, check_pages};
use crate::refusal::Refusal;

impl Mono {
    /// An account's transactions, the newest first: what Mono gives of it whenever it is AVAILABLE.
    /// None, if the account is unknown.
    pub fn transactions(&self, account_id: &str) -> Vec<Transaction> {
        let account = self.account(account_id);
        account.iter().flat_map(|account| account.ledger.rows()).cloned().collect()
    }

    /// A row of today, made up and not yet in the account's history.
    ///
    /// # Errors
    ///
    /// When the account is unknown or unlinked.
    pub fn draft_transaction(&self, account_id: &str) -> Result<Transaction, Refusal> {
        let mut accounts = lock(&self.accounts);
        Ok(found(&mut accounts, account_id)?.draft())
    }

    /// Has these rows in an account's history from now on, as if Mono had just fetched them; no
    /// webhook says so. Of rows with the same date, the last one added is the newest.
    ///
    /// # Errors
    ///
    /// When the account is unknown or unlinked.
    pub fn add_transactions(
        &self,
        account_id: &str,
        rows: impl IntoIterator<Item = Transaction>,
    ) -> Result<(), Refusal> {
        let mut accounts = lock(&self.accounts);
        found(&mut accounts, account_id)?.edit(|ledger| ledger.add(rows));
        Ok(())
    }

    /// Changes a row of an account's history; a new date moves it. The balances after it follow.
    ///
    /// # Errors
    ///
    /// When the account is unknown or unlinked, or has no such row.
    pub fn change_transaction(
        &self,
        account_id: &str,
        id: &str,
        change: impl FnOnce(&mut Transaction),
    ) -> Result<(), Refusal> {
        self.edit(account_id, id, |ledger| ledger.find(id).map(change))
    }

    /// Takes a row out of an account's history. The balances after it follow.
    ///
    /// # Errors
    ///
    /// When the account is unknown or unlinked, or has no such row.
    pub fn remove_transaction(&self, account_id: &str, id: &str) -> Result<(), Refusal> {
        self.edit(account_id, id, |ledger| ledger.remove(id))
    }

    /// Has things go wrong about pages of an account's transactions, counted from 1, instead of
    /// what was to go wrong before. Each happens once, to the first free call for that page that
    /// meets no fault planned for [free calls](Mono::plan_free).
    ///
    /// # Errors
    ///
    /// When the account is unknown, or a fault cannot be carried out.
    pub fn plan_pages(
        &self,
        account_id: &str,
        pages: impl IntoIterator<Item = (usize, PageFault)>,
    ) -> Result<(), Refusal> {
        let pages = check_pages(pages)?;
        self.rewrite(account_id, |script| script.page_faults = pages)
    }

    /// Has things go wrong whenever nothing else is planned for a page.
    ///
    /// # Errors
    ///
    /// When the account is unknown, or a fault cannot be carried out.
    pub fn plan_pages_always(
        &self,
        account_id: &str,
        pages: impl IntoIterator<Item = (usize, PageFault)>,
    ) -> Result<(), Refusal> {
        let pages = check_pages(pages)?;
        self.rewrite(account_id, |script| script.page_faults_always = pages)
    }

    /// Has Mono fail whenever it is asked for this day of an account's transactions, or for none if there
    /// is none.
    ///
    /// # Errors
    ///
    /// When the account is unknown.
    pub fn stop_serving(&self, account_id: &str, day: Option<Date>) -> Result<(), Refusal> {
        self.rewrite(account_id, |script| script.unserved_day = day)
    }

    /// What a call for transactions gets.
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
            Some(PageFault::Repeated) => page.rows = account.page(&selection.before()).rows,
            Some(PageFault::Missing(rows)) => {
                page.rows.truncate(page.rows.len().saturating_sub(rows));
            }
            Some(PageFault::Changing) => {
                let mut row = account.draft();
                selection.attract(&mut row, lock(&self.id_generator).now());
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
