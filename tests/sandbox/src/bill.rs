//! What Mono charges, by its pay-as-you-go price list, in naira. The list is this crate's own, so that a test can
//! hold the meter of the system against it.

use std::collections::BTreeMap;

use serde::Serialize;

/// What Mono charges for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// A plain read of an account.
    Details,
    /// A page of transactions that holds rows.
    TransactionsPage,
    /// A plain read of a balance.
    Balance,
    /// A sync that brings new data, when it ends.
    Realtime,
}

impl Charge {
    /// Its price.
    pub const fn naira(self) -> u64 {
        match self {
            Self::Details | Self::Realtime => 100,
            Self::TransactionsPage => 150,
            Self::Balance => 200,
        }
    }
}

/// What was charged so far, by kind: how often, and how much in all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bill {
    /// How often each was charged.
    pub charges: BTreeMap<Charge, u64>,
    /// The sum.
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
