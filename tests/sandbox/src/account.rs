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

pub(crate) const INSTITUTIONS: [Institution; 3] = [
    Institution::new("First Sandbox Bank", "901"),
    Institution::new("Pretend Trust Bank", "902"),
    Institution::new("Bank of Make-Believe", "903"),
];

/// The amount that new data adds to the balance, in kobo or cents.
const NEW_DATA_AMOUNT: i64 = 12_345;

/// A fictional bank.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Institution {
    pub name: &'static str,
    pub bank_code: &'static str,
}

impl Institution {
    const fn new(name: &'static str, bank_code: &'static str) -> Self {
        Self { name, bank_code }
    }
}

/// The completeness of an account's data at Mono, in Mono's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DataStatus {
    /// Still being fetched.
    Processing,
    /// Balance and transactions.
    Available,
    /// Balance or transactions.
    Partial,
    /// Neither: the bank is down, or has nothing.
    Unavailable,
    /// Neither: Mono is at fault.
    Failed,
}

impl DataStatus {
    /// The status after a successful fetch. After an outage, the first fetch gets only one half of the
    /// data, so the status is partial first.
    pub fn after_fetch(self) -> Self {
        match self {
            Self::Unavailable | Self::Failed => Self::Partial,
            Self::Processing | Self::Partial | Self::Available => Self::Available,
        }
    }

    /// The value of `retrieved_data` for this status.
    pub fn retrieved_data(self) -> &'static [&'static str] {
        match self {
            Self::Available => &["identity", "balance", "transactions"],
            Self::Partial => &["identity", "balance"],
            Self::Processing | Self::Unavailable | Self::Failed => &[],
        }
    }
}

/// The chosen properties of a new account. The sandbox generates the others.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// Mono's id. Default: generated.
    pub account_id: Option<String>,
    /// The fintech's own reference, which Mono returns as `meta.ref`.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The wording of Mono's webhooks about this account.
    pub dialect: Option<Dialect>,
    /// The first balance, in kobo or cents.
    pub balance: Option<i64>,
    /// Default: NGN, or USD if there is only a balance.
    pub currency: Option<String>,
    /// The code of a fictional bank. Default: each bank in turn.
    pub bank_code: Option<String>,
    /// Whether the account is domiciliary: it never has transactions.
    pub balance_only: bool,
    /// Whether no webhook is sent about the link, as if the link were older than the receiver.
    pub silent: bool,
    /// The transactions. Default: a few dozen. A domiciliary account has none.
    pub history: Option<History>,
}

/// A linked account as Mono stores it.
#[derive(Clone, Debug, Serialize)]
pub struct Account {
    /// Mono's id of the link.
    pub account_id: String,
    /// Mono's id of the person.
    pub customer_id: String,
    /// The fintech's own reference.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The wording of Mono's webhooks about the account.
    pub dialect: Dialect,
    /// The account holder.
    pub name: String,
    /// Ten fictional digits.
    pub account_number: String,
    pub institution: Institution,
    /// In kobo or cents.
    pub balance: i64,
    /// The currency of the balance and the transactions.
    pub currency: String,
    /// Whether the account never has transactions.
    pub balance_only: bool,
    /// The completeness of the data at Mono.
    pub data_status: DataStatus,
    /// The newest job that fetched the account.
    pub job_id: String,
    /// The name of that job.
    pub job_name: JobName,
    /// Mono's reference for its support desk.
    pub data_request_id: String,
    /// Whether the account is unlinked.
    pub unlinked: bool,
    /// Eleven fictional digits. A receiver must neither store nor log them.
    #[serde(skip)]
    pub bvn: String,
    /// The time of the link.
    #[serde(skip)]
    pub created_at: OffsetDateTime,
    /// The copies of an account share the ledger until one of them changes it.
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
        let chosen =
            INSTITUTIONS.iter().find(|one| link.bank_code.as_deref() == Some(one.bank_code));
        let ledger = Ledger::new(&account_id, &history, balance);
        Self {
            account_id,
            customer_id: id_generator.object_id(),
            reference: link.reference.unwrap_or_else(|| format!("customer-{number}")),
            dialect: link.dialect.unwrap_or(dialect),
            name: NAMES[number % NAMES.len()].to_owned(),
            account_number: format!("{number:010}"),
            institution: *chosen.unwrap_or(&INSTITUTIONS[number % INSTITUTIONS.len()]),
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

    /// The data status after a complete fetch.
    pub(crate) fn complete_status(&self) -> DataStatus {
        if self.balance_only { DataStatus::Partial } else { DataStatus::Available }
    }

    /// The data status after a successful fetch.
    pub(crate) fn after_fetch(&self) -> DataStatus {
        if self.balance_only { DataStatus::Partial } else { self.data_status.after_fetch() }
    }

    /// Applies the result of a fetch: the bank's complete statement, or an incomplete one.
    pub(crate) fn apply_fetch(&mut self, new_data: bool, incomplete: bool) {
        let change = new_data.then_some(NEW_DATA_AMOUNT);
        if self.balance_only {
            self.balance += change.unwrap_or_default();
        } else {
            self.edit(|ledger| ledger.apply_fetch(change, incomplete));
        }
    }

    /// The page of the history that Mono returns.
    pub(crate) fn page(&self, selection: &Selection) -> Page {
        match self.data_status {
            DataStatus::Available => self.ledger.page(selection),
            _ => Page::empty(selection),
        }
    }

    /// A new row that is not in the history yet.
    pub(crate) fn draft(&mut self) -> Transaction {
        Arc::make_mut(&mut self.ledger).draft()
    }

    /// Changes the history, and the balance accordingly.
    pub(crate) fn edit<T>(&mut self, edit: impl FnOnce(&mut Ledger) -> T) -> T {
        Arc::make_mut(&mut self.ledger).edit(&mut self.balance, edit)
    }

    /// The part of the BVN that Mono shows: the last four digits.
    pub(crate) fn bvn_ending(&self) -> &str {
        &self.bvn[self.bvn.len() - 4..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_link_are_kept() {
        let link = Link {
            account_id: Some("a-link".to_owned()),
            reference: Some("owner-1".to_owned()),
            dialect: Some(Dialect::V1),
            balance: Some(5),
            currency: Some("GHS".to_owned()),
            bank_code: Some("903".to_owned()),
            ..Link::default()
        };
        let account = Account::fictional(1, link, Dialect::V2, &mut IdGenerator::new(1));
        assert_eq!(account.account_id, "a-link");
        assert_eq!(account.reference, "owner-1");
        assert_eq!(account.dialect, Dialect::V1);
        assert_eq!(account.balance, 5);
        assert_eq!(account.currency, "GHS");
        assert_eq!(account.institution.bank_code, "903");
    }

    #[test]
    fn balance_only_account_is_partial_and_in_dollars() {
        let link = Link { balance_only: true, ..Link::default() };
        let account = Account::fictional(1, link, Dialect::V2, &mut IdGenerator::new(1));
        assert_eq!(account.complete_status(), DataStatus::Partial);
        assert_eq!(account.after_fetch(), DataStatus::Partial);
        assert_eq!(account.currency, "USD");
    }

    #[test]
    fn first_fetch_after_an_outage_is_partial_and_the_next_is_complete() {
        let once = DataStatus::Unavailable.after_fetch();
        assert_eq!(once, DataStatus::Partial);
        assert_eq!(once.after_fetch(), DataStatus::Available);
    }
}
