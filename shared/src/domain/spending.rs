//! The prices of calls to Mono, and the daily budgets.
//!
//! Mono charges its customers per call, in naira (pay-as-you-go prices: mono.co/pricing and
//! docs.mono.co/docs/pay-as-you-go as of April 2026; other plans differ). The price is reserved in the day's item
//! before the call. The reservation is released if Mono's response shows that Mono charged nothing. The reserved sum
//! is therefore never less than the spent sum. After a crash between the two steps, the reservation stays, and less
//! of the day's budget can be spent.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul};
use std::str::FromStr;

use serde::Serialize;

/// An amount of whole naira.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Naira(pub u64);

impl Naira {
    /// The difference. 0 if it would be negative.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Naira {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Mul<u64> for Naira {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}

impl Sum for Naira {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Naira {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    /// A plain read of an account. Charged if the response contains the account.
    Details,
    /// A plain read of transactions. Charged per page that contains rows.
    TransactionsPage,
    /// A sync: a read in real time (v2), or `POST …/sync` (v1). Charged if it brings new data.
    Realtime,
    /// The state of a job. Mono's price list does not name it.
    Job,
    /// The start of a re-authorisation. Mono's price list does not name it.
    Reauthorisation,
    /// The start of a link. Mono charges the link only when the customer has logged in at the bank.
    Link,
    /// The exchange of a code for an account. Mono's price list does not name it.
    Exchange,
    /// An unlinking. Mono's price list does not name it.
    Unlink,
    /// A page of the list of accounts. Mono's price list does not name it.
    List,
}

impl CallKind {
    /// The word in the log, the metrics and the day's item.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Details => "details",
            Self::TransactionsPage => "transactions_page",
            Self::Realtime => "realtime",
            Self::Job => "job",
            Self::Reauthorisation => "reauthorisation",
            Self::Link => "link",
            Self::Exchange => "exchange",
            Self::Unlink => "unlink",
            Self::List => "list",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallReason {
    /// A person requested the call.
    Manual,
    /// The account is due for a refresh.
    Scheduled,
    /// The status depends on a webhook without a time, which must be verified.
    WeakEvidence,
    /// The link or the identity of the account is in doubt.
    Verification,
    /// New transactions must be listed.
    Import,
}

impl CallReason {
    /// The word in the log, the metrics and the day's item.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::WeakEvidence => "weak_evidence",
            Self::Verification => "verification",
            Self::Import => "import",
        }
    }

    /// The budget that pays for the call.
    pub const fn budget_kind(self) -> BudgetKind {
        match self {
            Self::Manual => BudgetKind::Manual,
            Self::Scheduled | Self::WeakEvidence | Self::Verification | Self::Import => {
                BudgetKind::Automatic
            }
        }
    }
}

/// The budget to which a call is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetKind {
    /// Calls of the system itself: refreshes, imports and verifications.
    Automatic,
    /// Calls that a person requested.
    Manual,
}

impl BudgetKind {
    /// The attribute of the day's item that holds the naira that the budget has reserved or spent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Manual => "manual",
        }
    }
}

/// Mono's prices of calls, in naira.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// A customer's link of a bank account. No call of this system has this price.
    pub link: Naira,
    /// A plain read of an account.
    pub details: Naira,
    /// A page of transactions.
    pub transactions_page: Naira,
    /// A plain read of a balance. This system makes no such call.
    pub balance: Naira,
    /// A sync that brings new data.
    pub realtime: Naira,
}

impl Default for Prices {
    fn default() -> Self {
        Self {
            link: Naira(80),
            details: Naira(100),
            transactions_page: Naira(150),
            balance: Naira(200),
            realtime: Naira(100),
        }
    }
}

impl Prices {
    /// The maximum price of a call of this kind.
    pub const fn of(&self, kind: CallKind) -> Naira {
        match kind {
            CallKind::Details => self.details,
            CallKind::TransactionsPage => self.transactions_page,
            CallKind::Realtime => self.realtime,
            CallKind::Job
            | CallKind::Reauthorisation
            | CallKind::Link
            | CallKind::Exchange
            | CallKind::Unlink
            | CallKind::List => Naira(0),
        }
    }
}

/// The text is not a list of `kind=naira` pairs, separated by commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("prices are kind=naira pairs with commas, such as realtime=100,details=100")]
pub struct InvalidPrices;

/// Reads `kind=naira` pairs, separated by commas. Kinds that are not named have their defaults.
impl FromStr for Prices {
    type Err = InvalidPrices;

    fn from_str(text: &str) -> Result<Self, InvalidPrices> {
        let mut prices = Self::default();
        for pair in text.split(',') {
            let (kind, amount) = pair.split_once('=').ok_or(InvalidPrices)?;
            let price = match kind {
                "link" => &mut prices.link,
                "details" => &mut prices.details,
                "transactions_page" => &mut prices.transactions_page,
                "balance" => &mut prices.balance,
                "realtime" => &mut prices.realtime,
                _ => return Err(InvalidPrices),
            };
            let is_number = amount.bytes().all(|byte| byte.is_ascii_digit());
            let amount: Option<u32> = amount.parse().ok().filter(|_| is_number);
            *price = Naira(amount.ok_or(InvalidPrices)?.into());
        }
        Ok(prices)
    }
}

/// The maximum spending of a day. `None` means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub Option<Naira>);

/// Whether a price fits into the remaining budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The price always fits.
    Always,
    /// The price fits if the spent sum is at most this.
    UpTo(Naira),
    /// The price is higher than the budget.
    Never,
}

impl Budget {
    /// Reads a parameter, in which 0 means no limit.
    pub fn new(naira: u64) -> Self {
        Self(Some(Naira(naira)).filter(|naira| *naira > Naira(0)))
    }

    /// The spent sum up to which a call of this price fits.
    pub fn room_for(self, price: Naira) -> Room {
        match self.0 {
            None => Room::Always,
            Some(budget) if price > budget => Room::Never,
            Some(budget) => Room::UpTo(budget.saturating_sub(price)),
        }
    }

    /// The remaining budget. `None` means no limit.
    pub fn rest(self, spent: Naira) -> Option<Naira> {
        self.0.map(|budget| budget.saturating_sub(spent))
    }

    /// The spent share of the budget, in per cent. `None` means no limit.
    pub fn percent(self, spent: Naira) -> Option<u64> {
        self.0.map(|budget| spent.0.saturating_mul(100) / budget.0.max(1))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// `MonoDailyBudget`.
    pub automatic: Budget,
    /// `ManualDailyBudget`.
    pub manual: Budget,
}

impl Budgets {
    /// A call of this price fits if the calls of its kind and reason have spent at most this sum. `max` is the limit
    /// for all calls of the budget. Webhooks cause verifications, and can be forged. So verifications use at most
    /// half of the budget.
    pub fn share(reason: CallReason, price: Naira, max: Naira) -> Naira {
        match reason {
            CallReason::Verification => Naira((max + price).0 / 2).saturating_sub(price),
            _ => max,
        }
    }

    /// What verifications may still spend on a day on which they have spent this sum.
    pub fn left_for_verifications(&self, spent: Naira) -> Option<Naira> {
        self.automatic.0.map(|budget| Naira(budget.0 / 2).saturating_sub(spent))
    }

    pub const fn of(&self, budget: BudgetKind) -> Budget {
        match budget {
            BudgetKind::Automatic => self.automatic,
            BudgetKind::Manual => self.manual,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn omitted_prices_have_their_defaults() {
        let prices: Prices = "realtime=10,transactions_page=0".parse().unwrap();
        let default = Prices::default();
        let changed = Prices { realtime: Naira(10), transactions_page: Naira(0), ..default };
        assert_eq!(prices, changed);
        let kinds =
            [CallKind::Details, CallKind::TransactionsPage, CallKind::Realtime, CallKind::Job];
        assert_eq!(kinds.map(|kind| default.of(kind).0), [100, 150, 100, 0]);
    }

    #[test]
    fn price_of_an_unknown_kind_or_a_fraction_is_rejected() {
        for text in ["", "realtime", "statement=300", "realtime=1.5", "realtime=-1", "link=+1"] {
            assert_eq!(text.parse::<Prices>(), Err(InvalidPrices), "{text}");
        }
        assert_eq!(
            "realtime=1, link=2".parse::<Prices>(),
            Err(InvalidPrices),
            "spaces are not allowed"
        );
    }

    #[test]
    fn budget_of_zero_is_no_limit() {
        assert_eq!(Budget::new(0).room_for(Naira(1_000)), Room::Always);
        assert_eq!(Budget::new(100).room_for(Naira(100)), Room::UpTo(Naira(0)));
        assert_eq!(Budget::new(99).room_for(Naira(100)), Room::Never);
        assert_eq!(Budget::new(1_000).percent(Naira(805)), Some(80));
    }

    /// The next step of a caller. Each change of the day's item is one atomic, conditional write, as in DynamoDB.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Reserve(usize),
        Answer { caller: usize, charged: bool },
        Crash(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let caller = 0..10_usize;
        prop_oneof![
            caller.clone().prop_map(Step::Reserve),
            (caller.clone(), any::<bool>())
                .prop_map(|(caller, charged)| Step::Answer { caller, charged }),
            caller.prop_map(Step::Crash),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn concurrent_callers_and_crashes_never_spend_more_than_the_budget(
            budget in 1..2_000_u64,
            prices in vec(0..300_u64, 10),
            steps in vec(step(), 0..80),
        ) {
            let budget = Budget::new(budget);
            let (mut reserved, mut charged) = (Naira(0), Naira(0));
            let mut reservations: Vec<Option<Naira>> = vec![None; 10];
            for step in steps {
                match step {
                    Step::Reserve(caller) if reservations[caller].is_none() => {
                        let price = Naira(prices[caller]);
                        let fits = match budget.room_for(price) {
                            Room::Always => true,
                            Room::UpTo(max) => reserved <= max,
                            Room::Never => false,
                        };
                        if fits {
                            reserved = reserved + price;
                            reservations[caller] = Some(price);
                        }
                    }
                    Step::Answer { caller, charged: is_charged } => {
                        if let Some(price) = reservations[caller].take() {
                            if is_charged {
                                charged = charged + price;
                            } else {
                                reserved = reserved.saturating_sub(price);
                            }
                        }
                    }
                    // Mono may have charged the call before the crash.
                    Step::Crash(caller) => charged = charged + reservations[caller].take().unwrap_or_default(),
                    Step::Reserve(_) => {}
                }
                let pending: Naira = reservations.iter().flatten().copied().sum();
                prop_assert_eq!(reserved, charged + pending);
                prop_assert!(Some(reserved) <= budget.0);
            }
        }
    }
}
