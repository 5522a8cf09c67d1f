//! What calls to Mono cost, and how much may be spent in a day.
//!
//! Mono charges its customers by the call, in naira (pay-as-you-go prices: mono.co/pricing and
//! docs.mono.co/docs/pay-as-you-go as of April 2026; other plans differ). A charge is reserved in the day's
//! item before the call, and given back when Mono's answer shows that it charged nothing. So what is reserved is
//! never less than what is spent: a crash between the two leaves a reservation behind, and the day spends less.

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
    /// The difference; 0 where it would be negative.
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

/// A kind of call to Mono.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    /// A plain read of an account. Charged when Mono answers with the account.
    Details,
    /// A plain read of transactions. Charged when the answer holds rows, by the page.
    TransactionsPage,
    /// A sync: a read in real time (v2), or `POST …/sync` (v1). Charged when it brings new data.
    Realtime,
    /// The state of a job. Mono's price list does not name it.
    Job,
    /// The start of a re-authorisation. Mono's price list does not name it.
    Reauthorisation,
}

impl CallKind {
    /// Its word in the log, the metrics and the day's item.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Details => "details",
            Self::TransactionsPage => "transactions_page",
            Self::Realtime => "realtime",
            Self::Job => "job",
            Self::Reauthorisation => "reauthorisation",
        }
    }
}

/// Why Mono is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallReason {
    /// A person asks.
    Manual,
    /// The account is due for a refresh.
    Scheduled,
    /// A webhook whose time is unknown has to be verified.
    WeakEvidence,
    /// A webhook has reported an unlinking.
    LinkCheck,
    /// New transactions have to be listed.
    Import,
}

impl CallReason {
    /// Its word in the log, the metrics and the day's item.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
            Self::WeakEvidence => "weak_evidence",
            Self::LinkCheck => "link_check",
            Self::Import => "import",
        }
    }

    /// Which budget pays.
    pub const fn purse(self) -> Purse {
        match self {
            Self::Manual => Purse::Manual,
            Self::Scheduled | Self::WeakEvidence | Self::LinkCheck | Self::Import => {
                Purse::Automatic
            }
        }
    }
}

/// Which budget a call is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purse {
    /// The system by itself: refreshes, imports and verifications.
    Automatic,
    /// A person who asks for a sync.
    Manual,
}

impl Purse {
    /// The attribute of the day's item that holds its sum.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Manual => "manual",
        }
    }
}

/// What Mono charges for a call, in naira.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prices {
    /// A bank account that a customer links. No call of this system is charged so.
    pub link: Naira,
    /// A plain read of an account.
    pub details: Naira,
    /// A page of transactions.
    pub transactions_page: Naira,
    /// A plain read of a balance, which this system does not make.
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
    /// The most that a call of this kind can cost.
    pub const fn of(&self, kind: CallKind) -> Naira {
        match kind {
            CallKind::Details => self.details,
            CallKind::TransactionsPage => self.transactions_page,
            CallKind::Realtime => self.realtime,
            CallKind::Job | CallKind::Reauthorisation => Naira(0),
        }
    }
}

/// A list of prices is not `kind=naira` pairs with commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("prices are kind=naira pairs with commas, such as realtime=100,details=100")]
pub struct InvalidPrices;

/// `kind=naira` pairs with commas. What is not named has its default.
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

/// How much may be spent in a day; `None` is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub Option<Naira>);

/// Whether a price fits into what is left of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Whatever was spent.
    Always,
    /// If no more than this was spent.
    UpTo(Naira),
    /// The price is higher than the budget.
    Never,
}

impl Budget {
    /// The budget of a parameter, where 0 stands for no bound.
    pub fn new(naira: u64) -> Self {
        Self(Some(Naira(naira)).filter(|naira| *naira > Naira(0)))
    }

    /// How much may be spent before a call of this price.
    pub fn room_for(self, price: Naira) -> Room {
        match self.0 {
            None => Room::Always,
            Some(budget) if price > budget => Room::Never,
            Some(budget) => Room::UpTo(budget.saturating_sub(price)),
        }
    }

    /// What is left after so much was spent; `None` is no bound.
    pub fn rest(self, spent: Naira) -> Option<Naira> {
        self.0.map(|budget| budget.saturating_sub(spent))
    }

    /// What share of it was spent, in per cent.
    pub fn percent(self, spent: Naira) -> Option<u64> {
        self.0.map(|budget| spent.0.saturating_mul(100) / budget.0.max(1))
    }
}

/// The budgets of both purses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// `MonoDailyBudget`.
    pub automatic: Budget,
    /// `ManualDailyBudget`.
    pub manual: Budget,
}

impl Budgets {
    /// No bound for either.
    pub const UNLIMITED: Self = Self { automatic: Budget(None), manual: Budget(None) };

    /// That of a purse.
    pub const fn of(&self, purse: Purse) -> Budget {
        match purse {
            Purse::Automatic => self.automatic,
            Purse::Manual => self.manual,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prices_left_out_have_their_defaults() {
        let prices: Prices = "realtime=10,transactions_page=0".parse().unwrap();
        let default = Prices::default();
        let changed = Prices { realtime: Naira(10), transactions_page: Naira(0), ..default };
        assert_eq!(prices, changed);
        let of = [CallKind::Details, CallKind::TransactionsPage, CallKind::Realtime, CallKind::Job];
        assert_eq!(of.map(|kind| default.of(kind).0), [100, 150, 100, 0]);
    }

    #[test]
    fn prices_of_an_unknown_kind_or_no_whole_number_are_refused() {
        for text in ["", "realtime", "statement=300", "realtime=1.5", "realtime=-1", "link=+1"] {
            assert_eq!(text.parse::<Prices>(), Err(InvalidPrices), "{text}");
        }
        assert_eq!("realtime=1, link=2".parse::<Prices>(), Err(InvalidPrices), "no spaces");
    }

    #[test]
    fn budget_of_zero_is_no_bound() {
        assert_eq!(Budget::new(0).room_for(Naira(1_000)), Room::Always);
        assert_eq!(Budget::new(100).room_for(Naira(100)), Room::UpTo(Naira(0)));
        assert_eq!(Budget::new(99).room_for(Naira(100)), Room::Never);
        assert_eq!(Budget::new(1_000).percent(Naira(805)), Some(80));
    }

    /// What a caller does next. The day's item is changed by one atomic, conditional write at a time, as DynamoDB
    /// does it.
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
        fn no_interleaving_of_callers_and_crashes_spends_more_than_the_budget(
            budget in 1..2_000_u64,
            prices in vec(0..300_u64, 10),
            steps in vec(step(), 0..80),
        ) {
            let budget = Budget::new(budget);
            let (mut reserved, mut charged) = (Naira(0), Naira(0));
            let mut asked: Vec<Option<Naira>> = vec![None; 10];
            for step in steps {
                match step {
                    Step::Reserve(caller) if asked[caller].is_none() => {
                        let price = Naira(prices[caller]);
                        let fits = match budget.room_for(price) {
                            Room::Always => true,
                            Room::UpTo(most) => reserved <= most,
                            Room::Never => false,
                        };
                        if fits {
                            reserved = reserved + price;
                            asked[caller] = Some(price);
                        }
                    }
                    Step::Answer { caller, charged: is_charged } => {
                        if let Some(price) = asked[caller].take() {
                            if is_charged {
                                charged = charged + price;
                            } else {
                                reserved = reserved.saturating_sub(price);
                            }
                        }
                    }
                    // Mono may have charged all the same.
                    Step::Crash(caller) => charged = charged + asked[caller].take().unwrap_or_default(),
                    Step::Reserve(_) => {}
                }
                let under_way: Naira = asked.iter().flatten().copied().sum();
                prop_assert_eq!(reserved, charged + under_way);
                prop_assert!(Some(reserved) <= budget.0);
            }
        }
    }
}
