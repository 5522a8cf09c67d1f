//! The kinds of webhooks.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Dialect;

/// Everything that arrives at a webhook URL. Each kind has one shape for each of its
/// [`dialects`](Kind::dialects).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Linked; `data_status` is PROCESSING in v2, v1 has the id alone.
    AccountConnected,
    /// As sent for some months of 2025: id, customer and an empty `meta`.
    AccountConnectedWithCustomer,
    /// The data fetched after a link.
    AccountUpdated,
    /// The data fetched by a refresh that found something new.
    AccountUpdatedBySync,
    /// A refresh that found nothing new: `has_new_data` is absent then.
    AccountUpdatedNothingNew,
    /// Still fetching; balance and BVN are null.
    AccountUpdatedProcessing,
    /// The balance came, the transactions did not.
    AccountUpdatedPartial,
    /// The bank is down; there is no balance at all.
    AccountUpdatedUnavailable,
    /// Mono failed; v2 has been seen to have retrieved the balance all the same.
    AccountUpdatedFailed,
    /// The stale cache, AVAILABLE, of a refresh that failed.
    AccountUpdatedSyncFailed,
    /// The stale cache, AVAILABLE, of a refresh that met a bank that wants the customer.
    AccountUpdatedReauthorisationRequired,
    /// The data fetched after a link, under the name that Mono's prose gives the event.
    AccountUpdatedByAnotherName,
    /// The bank wants the customer, in v1.
    ReauthorisationRequired,
    /// The same with `data` the account id alone, as Mono's blog words it.
    ReauthorisationRequiredString,
    /// The customer has been there; data is yet to come.
    AccountReauthorized,
    /// The link is gone; the account has an `id`, as in Mono's sample.
    AccountUnlinked,
    /// The same with an `_id`, as in the table beside that sample.
    AccountUnlinkedUnderscored,
    /// The same with an `account_id` and no account, as in one receiver's reading.
    AccountUnlinkedFlat,
    /// The same with the account a string, as in another's.
    AccountUnlinkedString,
    /// A job runs.
    JobProcessing,
    /// A job ended well.
    JobFinished,
    /// A job ended badly.
    JobFailed,
    /// `finished` as the changelog words it.
    JobSuccessfulInCapitals,
    /// `failed` as the changelog words it.
    JobFailedInCapitals,
    /// Why it failed, as the changelog words it.
    JobReauthorisationRequired,
    /// A job runs, as one receiver's tests have it: an account object and a `job_id`.
    JobRunningObject,
    /// A daily refresh failed, in v1.
    SyncFailed,
    /// A daily refresh succeeded; the account is a string in one receiver's reading.
    AccountSynced,
    /// The same, with an account object as in another's.
    AccountSyncedObject,
    /// A statement of income is ready.
    AccountIncome,
    /// An assessment is ready.
    AccountCreditWorthiness,
    /// Categories are ready.
    TransactionCategorisation,
    /// Metadata is ready.
    TransactionMetadata,
    /// Insights are ready.
    StatementInsights,
    /// The dashboard's test of the URL.
    WebhookTest,
    /// Another product's event.
    DirectDebitPayment,
    /// Another product's event, under `events` alone.
    MandateCreated,
    /// Another product's event, under `event` alone.
    DisbursementSuccessful,
    /// Another product's event, in an envelope within `data`.
    TransactionDispute,
    /// An event Mono has not invented yet.
    Unknown,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 40] = [
        Self::AccountConnected,
        Self::AccountConnectedWithCustomer,
        Self::AccountUpdated,
        Self::AccountUpdatedBySync,
        Self::AccountUpdatedNothingNew,
        Self::AccountUpdatedProcessing,
        Self::AccountUpdatedPartial,
        Self::AccountUpdatedUnavailable,
        Self::AccountUpdatedFailed,
        Self::AccountUpdatedSyncFailed,
        Self::AccountUpdatedReauthorisationRequired,
        Self::AccountUpdatedByAnotherName,
        Self::ReauthorisationRequired,
        Self::ReauthorisationRequiredString,
        Self::AccountReauthorized,
        Self::AccountUnlinked,
        Self::AccountUnlinkedUnderscored,
        Self::AccountUnlinkedFlat,
        Self::AccountUnlinkedString,
        Self::JobProcessing,
        Self::JobFinished,
        Self::JobFailed,
        Self::JobSuccessfulInCapitals,
        Self::JobFailedInCapitals,
        Self::JobReauthorisationRequired,
        Self::JobRunningObject,
        Self::SyncFailed,
        Self::AccountSynced,
        Self::AccountSyncedObject,
        Self::AccountIncome,
        Self::AccountCreditWorthiness,
        Self::TransactionCategorisation,
        Self::TransactionMetadata,
        Self::StatementInsights,
        Self::WebhookTest,
        Self::DirectDebitPayment,
        Self::MandateCreated,
        Self::DisbursementSuccessful,
        Self::TransactionDispute,
        Self::Unknown,
    ];

    /// The dialects it differs in. A kind with one shape only keeps it whatever is asked for.
    pub fn dialects(self) -> &'static [Dialect] {
        match self {
            Self::AccountConnected
            | Self::AccountUpdated
            | Self::AccountUpdatedBySync
            | Self::AccountUpdatedProcessing
            | Self::AccountUpdatedFailed
            | Self::AccountReauthorized => &[Dialect::V1, Dialect::V2],
            Self::ReauthorisationRequired
            | Self::ReauthorisationRequiredString
            | Self::SyncFailed
            | Self::AccountSynced
            | Self::AccountSyncedObject => &[Dialect::V1],
            _ => &[Dialect::V2],
        }
    }

    /// What its body says in `event`.
    pub fn wire_name(self) -> &'static str {
        match self {
            Self::AccountConnected | Self::AccountConnectedWithCustomer => {
                "mono.events.account_connected"
            }
            Self::AccountUpdated
            | Self::AccountUpdatedBySync
            | Self::AccountUpdatedNothingNew
            | Self::AccountUpdatedProcessing
            | Self::AccountUpdatedPartial
            | Self::AccountUpdatedUnavailable
            | Self::AccountUpdatedFailed
            | Self::AccountUpdatedSyncFailed
            | Self::AccountUpdatedReauthorisationRequired => "mono.events.account_updated",
            Self::AccountUpdatedByAnotherName => "mono.accounts.account_updated",
            Self::ReauthorisationRequired | Self::ReauthorisationRequiredString => {
                "mono.events.reauthorisation_required"
            }
            Self::AccountReauthorized => "mono.events.account_reauthorized",
            Self::AccountUnlinked
            | Self::AccountUnlinkedUnderscored
            | Self::AccountUnlinkedFlat
            | Self::AccountUnlinkedString => "mono.events.account_unlinked",
            Self::JobProcessing
            | Self::JobFinished
            | Self::JobFailed
            | Self::JobSuccessfulInCapitals
            | Self::JobFailedInCapitals
            | Self::JobReauthorisationRequired
            | Self::JobRunningObject => "mono.accounts.jobs.update",
            Self::SyncFailed => "mono.events.sync_failed",
            Self::AccountSynced | Self::AccountSyncedObject => "mono.events.account_synced",
            Self::AccountIncome => "mono.events.account_income",
            Self::AccountCreditWorthiness => "mono.events.account_credit_worthiness",
            Self::TransactionCategorisation => "mono.events.transaction_categorisation",
            Self::TransactionMetadata => "mono.events.transaction_metadata",
            Self::StatementInsights => "mono.events.statement_insights",
            Self::WebhookTest => "mono.events.webhook_test",
            Self::DirectDebitPayment => "direct_debit.payment_successful",
            Self::MandateCreated => "events.mandates.created",
            Self::DisbursementSuccessful => "event.disburse.successful",
            Self::TransactionDispute => "mono.transaction.dispute_initiated",
            Self::Unknown => "mono.events.not_yet_invented",
        }
    }

    /// Whether Mono gives it an `event_id` and a `timestamp`; v1 has neither anywhere.
    pub(super) fn is_stamped(self) -> bool {
        self != Self::AccountConnectedWithCustomer
            && matches!(
                self.wire_name(),
                "mono.events.account_connected"
                    | "mono.events.account_updated"
                    | "mono.accounts.account_updated"
                    | "mono.events.account_reauthorized"
            )
    }

    pub(super) fn shape_for(self, dialect: Dialect) -> Dialect {
        match self.dialects() {
            [only] => *only,
            _ => dialect,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of all variants, which serde lists when it is asked for one that does not exist.
    fn declared() -> Vec<String> {
        let refusal = serde_json::from_str::<Kind>("\"none\"").expect_err("no such kind");
        let refusal = refusal.to_string();
        let quoted = refusal.split('`').skip(1).step_by(2);
        quoted.skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn all_holds_every_kind_once_in_the_order_of_declaration() {
        assert_eq!(Kind::ALL.map(|kind| kind.to_string()).to_vec(), declared());
    }
}
