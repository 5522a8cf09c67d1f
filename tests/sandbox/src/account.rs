//! Fictional linked accounts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::event::Dialect;
use crate::history::{History, Ledger, Page, Selection, Transaction};
use crate::id_generator::IdGenerator;
use crate::job::JobName;

const NAMES: [&str; 4] =
    ["Adaeze Fictional", "Babatunde Invented", "Chiamaka Placeholder", "Danladi Nobody"];

const INSTITUTIONS: [Institution; 3] = [
    Institution::new("First Sandbox Bank", "901"),
    Institution::new("Pretend Trust Bank", "902"),
    Institution::new("Bank of Make-Believe", "903"),
];

/// What new data adds to the balance.
const NEWS: i64 = 12_345;

/// A bank that does not exist.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Institution {
    /// What it calls itself.
    pub name: &'static str,
    /// Its number among banks.
    pub bank_code: &'static str,
}

impl Institution {
    const fn new(name: &'static str, bank_code: &'static str) -> Self {
        Self { name, bank_code }
    }
}

/// How much of an account's data Mono holds, in Mono's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DataStatus {
    /// Still being fetched.
    Processing,
    /// Balance and transactions.
    Available,
    /// One of the two.
    Partial,
    /// Neither: the bank is down, or has nothing.
    Unavailable,
    /// Neither: Mono is at fault.
    Failed,
}

impl DataStatus {
    /// What a successful fetch makes of it: one fetch mends one half, so a lost account is partial
    /// first.
    pub fn after_fetch(self) -> Self {
        match self {
            Self::Unavailable | Self::Failed => Self::Partial,
            Self::Processing | Self::Partial | Self::Available => Self::Available,
        }
    }

    /// The matching `retrieved_data`.
    pub fn retrieved_data(self) -> &'static [&'static str] {
        match self {
            Self::Available => &["identity", "balance", "transactions"],
            Self::Partial => &["identity", "balance"],
            Self::Processing | Self::Unavailable | Self::Failed => &[],
        }
    }
}

/// What the caller decides about an account to be linked; the rest is made up.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// Mono's id of it; made up if left out.
    pub account_id: Option<String>,
    /// The fintech's own reference, which Mono hands back as `meta.ref`.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// Which wording Mono uses for this account.
    pub dialect: Option<Dialect>,
    /// The first balance, in kobo or cents.
    pub balance: Option<i64>,
    /// NGN, unless there is a balance only: USD then.
    pub currency: Option<String>,
    /// Whether it is domiciliary: its transactions can never be had.
    pub balance_only: bool,
    /// Whether no webhook tells of the link: it is older than the receiver.
    pub silent: bool,
    /// Its transactions; a few dozen if left out. A domiciliary account has none.
    pub history: Option<History>,
}

/// A linked account as Mono remembers it.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Mono's id of the link.
    pub account_id: String,
    /// Mono's id of the person.
    pub customer_id: String,
    /// The fintech's own reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Which wording Mono uses for it.
    pub dialect: Dialect,
    /// Who holds it.
    pub name: String,
    /// Ten digits that belong to nobody.
    pub account_number: String,
    /// Where it is held.
    pub institution: Institution,
    /// In kobo or cents.
    pub balance: i64,
    /// Of the balance and the transactions.
    pub currency: String,
    /// Whether its transactions can never be had.
    pub balance_only: bool,
    /// How much Mono holds of it.
    pub data_status: DataStatus,
    /// The newest job that fetched it.
    pub job_id: String,
    /// What that job fetched.
    pub job_name: JobName,
    /// Mono's reference for its support desk.
    pub data_request_id: String,
    /// Whether the link is gone.
    pub unlinked: bool,
    /// Eleven digits that belong to nobody. A receiver must never keep nor log it.
    #[serde(skip)]
    pub bvn: String,
    /// When it was linked.
    #[serde(skip)]
    pub created_at: OffsetDateTime,
    /// Shared between the copies of the account until one of them changes it.
    #[serde(skip)]
    pub(crate) ledger: Arc<Ledger>,
}

impl Account {
    /// The `number`th account of a sandbox.
    pub(crate) fn fictional(
        number: usize,
        link: Link,
        dialect: Dialect,
        id_generator: &mut IdGenerator,
    ) -> Self {
        let currency = if link.balance_only { "USD" } else { "NGN" };
        let account_id = link.account_id.unwrap_or_else(|| id_generator.object_id());
        let balance = link.balance.unwrap_or(1_000_000);
        let mut history = link.history.unwrap_or_default();
        if link.balance_only {
            history.transactions = 0;
        }
        let ledger = Ledger::new(&account_id, &history, balance);
        Self {
            account_id,
            customer_id: id_generator.object_id(),
            reference: link.reference.unwrap_or_else(|| format!("customer-{number}")),
            dialect: link.dialect.unwrap_or(dialect),
            name: NAMES[number % NAMES.len()].to_owned(),
            account_number: format!("{number:010}"),
            institution: INSTITUTIONS[number % INSTITUTIONS.len()],
            balance,
            currency: link.currency.unwrap_or_else(|| currency.to_owned()),
            balance_only: link.balance_only,
            data_status: DataStatus::Processing,
            job_id: id_generator.object_id(),
            job_name: JobName::Statement,
            data_request_id: id_generator.data_request_id(),
            unlinked: false,
            bvn: format!("{:011}", 990_000 + number),
            created_at: id_generator.now(),
            ledger: Arc::new(ledger),
        }
    }

    /// What Mono holds of it once it has fetched all there is.
    pub(crate) fn whole(&self) -> DataStatus {
        if self.balance_only { DataStatus::Partial } else { DataStatus::Available }
    }

    /// What a successful fetch makes of what Mono holds of it.
    pub(crate) fn after_fetch(&self) -> DataStatus {
        if self.balance_only { DataStatus::Partial } else { self.data_status.after_fetch() }
    }

    /// Keeps what a fetch brought: the bank's whole statement, or too little of it.
    pub(crate) fn take_in(&mut self, new_data: bool, incomplete: bool) {
        let news = new_data.then_some(NEWS);
        if self.balance_only {
            self.balance += news.unwrap_or_default();
        } else {
            self.edit(|ledger| ledger.take_in(news, incomplete));
        }
    }

    /// What Mono gives of its history.
    pub(crate) fn page(&self, selection: &Selection) -> Page {
        match self.data_status {
            DataStatus::Available => self.ledger.page(selection),
            _ => Page::empty(selection),
        }
    }

    /// A row that is not in its history yet.
    pub(crate) fn draft(&mut self) -> Transaction {
        Arc::make_mut(&mut self.ledger).draft()
    }

    /// Changes its history, and with it the balance.
    pub(crate) fn edit<T>(&mut self, edit: impl FnOnce(&mut Ledger) -> T) -> T {
        Arc::make_mut(&mut self.ledger).edit(&mut self.balance, edit)
    }

    /// As much of the BVN as Mono shows.
    pub(crate) fn bvn_ending(&self) -> &str {
        &self.bvn[self.bvn.len() - 4..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_fields_of_an_account_are_kept() {
        let link = Link {
            account_id: Some("a-link".to_owned()),
            reference: Some("owner-1".to_owned()),
            dialect: Some(Dialect::V1),
            balance: Some(5),
            currency: Some("GHS".to_owned()),
            ..Link::default()
        };
        let account = Account::fictional(1, link, Dialect::V2, &mut IdGenerator::new(1));
        assert_eq!(account.account_id, "a-link");
        assert_eq!(account.reference, "owner-1");
        assert_eq!(account.dialect, Dialect::V1);
        assert_eq!(account.balance, 5);
        assert_eq!(account.currency, "GHS");
    }

    #[test]
    fn account_with_a_balance_only_is_partial_at_best_and_in_dollars() {
        let link = Link { balance_only: true, ..Link::default() };
        let account = Account::fictional(1, link, Dialect::V2, &mut IdGenerator::new(1));
        assert_eq!(account.whole(), DataStatus::Partial);
        assert_eq!(account.after_fetch(), DataStatus::Partial);
        assert_eq!(account.currency, "USD");
    }

    #[test]
    fn fetch_after_an_outage_is_partial_and_the_next_one_complete() {
        let once = DataStatus::Unavailable.after_fetch();
        assert_eq!(once, DataStatus::Partial);
        assert_eq!(once.after_fetch(), DataStatus::Available);
    }
}
