//! Mono's charges by its pay-as-you-go price list, in naira. This crate has its own copy of the list, so
//! that a test can compare the system's meter with it.

use std::collections::BTreeMap;

use serde::Serialize;

/// The kinds of calls that Mono charges for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// A plain read of an account.
    Details,
    /// A page of transactions with at least one row.
    TransactionsPage,
    /// A plain read of a balance.
    Balance,
    /// A sync with new data, charged when it ends.
    Realtime,
}

impl Charge {
    /// The price in naira.
    pub const fn naira(self) -> u64 {
        match self {
            Self::Details | Self::Realtime => 100,
            Self::TransactionsPage => 150,
            Self::Balance => 200,
        }
    }
}

/// The charges so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// The number of charges of each kind.
    pub charges: BTreeMap<Charge, u64>,
    /// The sum in naira.
    pub naira: u64,
}

impl FromIterator<Charge> for Bill {
    fn from_iter<I: IntoIterator<Item = Charge>>(charges: I) -> Self {
        let mut bill = Self::default();
        for charge in charges {
            *bill.charges.entry(charge).or_default() += 1;
            bill.naira += charge.naira();
        }
        bill
    }
}
