//! The meter of calls to Mono. Every call passes it. The price is reserved before the call, and the reservation is
//! released if Mono charged nothing.

use tracing::{error, info, warn};

use crate::aws::store::{Entry, Ledger};
use crate::domain::account::CallError;
use crate::domain::account_id::AccountId;
use crate::domain::business_day::BusinessDay;
use crate::domain::spending::{CallKind, CallReason, Naira, Prices};
use crate::domain::timestamp::Timestamp;

/// Counts calls and their costs.
#[derive(Clone)]
pub struct Meter {
    prices: Prices,
    ledger: Ledger,
}

/// The kind, reason and account of a call.
#[derive(Clone, Copy)]
pub(super) struct Purpose<'a> {
    pub(super) kind: CallKind,
    pub(super) reason: CallReason,
    /// `None`: the call is about no account that is known yet.
    pub(super) account_id: Option<&'a AccountId>,
}

/// An admitted call, with its reservation if it has a price.
pub(super) struct Admitted<'a> {
    purpose: Purpose<'a>,
    entry: Entry,
    /// The used share of the budget, in per cent, this call included. `None` if the call is free or the budget has no
    /// limit.
    budget_used: Option<u64>,
}

impl Meter {
    pub const fn new(prices: Prices, ledger: Ledger) -> Self {
        Self { prices, ledger }
    }

    /// Reserves the maximum price of the call. A free call needs no reservation.
    pub(super) async fn admit<'a>(&self, purpose: Purpose<'a>) -> Result<Admitted<'a>, CallError> {
        let Purpose { kind, reason, account_id } = purpose;
        let account_id = account_id.map(AccountId::as_str);
        let now = Timestamp::now();
        let day = BusinessDay::of(now);
        let entry = Entry { day, kind, reason, price: self.prices.of(kind) };
        if entry.price == Naira(0) {
            return Ok(Admitted { purpose, entry, budget_used: None });
        }
        let budget = reason.budget_kind();
        match self.ledger.reserve(entry).await {
            Ok(Some(spent)) => {
                let budget_used = self.ledger.budgets().of(budget).percent(spent);
                Ok(Admitted { purpose, entry, budget_used })
            }
            Ok(None) => {
                let (code, budget, call) = ("BUDGET_EXHAUSTED", budget.as_str(), kind.as_str());
                let reason = reason.as_str();
                warn!(
                    account_id,
                    code, budget, call, reason, "call to Mono not made: budget exhausted"
                );
                Err(CallError::BudgetExhausted { until: (day + 1).begins_at() })
            }
            Err(error) => {
                error!(account_id, %error, "call to Mono not made: ledger could not be written");
                Err(CallError::Unmetered)
            }
        }
    }

    /// Logs the call, and releases the reservation if Mono did not charge the call.
    pub(super) async fn settle(&self, admitted: Admitted<'_>, is_charged: bool) {
        let Admitted { purpose: Purpose { kind, reason, account_id }, entry, budget_used } =
            admitted;
        let account_id = account_id.map(AccountId::as_str);
        let naira = if is_charged { entry.price } else { Naira(0) };
        let (call, budget) = (kind.as_str(), reason.budget_kind().as_str());
        let (reason, naira) = (reason.as_str(), naira.0);
        info!(account_id, call, reason, naira, budget, budget_used, "call to Mono");
        if !is_charged
            && entry.price > Naira(0)
            && let Err(error) = self.ledger.release(entry).await
        {
            warn!(account_id, %error, "budget reservation of an uncharged call could not be released");
        }
    }
}
