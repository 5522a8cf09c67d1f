//! The spending of all accounts of a stack at Mono, from one daily budget.

use mono_sync::domain::business_day::BusinessDay;
use mono_sync::domain::spending::{Budget, Naira, Prices, Room};
use mono_sync::domain::timestamp::Timestamp;

/// The daily budget, and the amounts spent from it.
#[derive(Debug)]
pub struct Wallet {
    /// Mono's prices.
    pub prices: Prices,
    budget: Budget,
    day: BusinessDay,
    today: Naira,
    /// The total spending.
    pub total: Naira,
    /// The spending of the most expensive day.
    pub most: Naira,
    /// The number of syncs.
    pub syncs: u64,
    /// The number of pages of transactions.
    pub pages: u64,
    /// The number of reads by age of the account's data, in full hours.
    ages: Vec<u64>,
}

impl Wallet {
    /// A wallet with this budget and the default prices.
    pub fn new(budget: Budget) -> Self {
        Self {
            prices: Prices::default(),
            budget,
            day: BusinessDay::from_number(0),
            today: Naira(0),
            total: Naira(0),
            most: Naira(0),
            syncs: 0,
            pages: 0,
            ages: Vec::new(),
        }
    }

    /// The rest of the day's budget.
    pub fn rest(&mut self, now: Timestamp) -> Option<Naira> {
        self.begin_day(now);
        self.budget.rest(self.today)
    }

    /// Spends a price if the day's budget allows it. Returns whether it does.
    pub fn pay(&mut self, price: Naira, now: Timestamp) -> bool {
        self.begin_day(now);
        let has_room = match self.budget.room_for(price) {
            Room::Always => true,
            Room::UpTo(most) => self.today <= most,
            Room::Never => false,
        };
        if has_room {
            self.today = self.today + price;
            self.total = self.total + price;
            self.most = self.most.max(self.today);
        }
        has_room
    }

    /// Releases a price that Mono did not charge.
    pub fn release(&mut self, price: Naira) {
        self.today = self.today.saturating_sub(price);
        self.total = self.total.saturating_sub(price);
    }

    pub(crate) fn read(&mut self, age_hours: u64) {
        let hours = usize::try_from(age_hours).unwrap_or(0);
        if self.ages.len() <= hours {
            self.ages.resize(hours + 1, 0);
        }
        self.ages[hours] += 1;
    }

    /// The age in hours that this share of the reads does not exceed.
    pub fn age_at_read(&self, share: f64) -> usize {
        let reads: u64 = self.ages.iter().sum();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "of counts"
        )]
        let rank = (reads as f64 * share).ceil() as u64;
        let mut seen = 0;
        self.ages
            .iter()
            .take_while(|count| {
                seen += **count;
                seen < rank
            })
            .count()
    }

    fn begin_day(&mut self, now: Timestamp) {
        let day = BusinessDay::of(now);
        if day != self.day {
            (self.day, self.today) = (day, Naira(0));
        }
    }
}
