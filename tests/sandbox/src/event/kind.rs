//! The kinds of webhooks.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Dialect;

/// The kinds of events that a webhook URL receives. Each kind has one wording for each of its
/// [`dialects`](Kind::dialects).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The account is linked. `data_status` is PROCESSING in v2. v1 has only the id.
    AccountConnected,
    /// The account is linked, in the wording of some months of 2025: id, customer and an empty `meta`.
    AccountConnectedWithCustomer,
    /// The data fetched after a link.
    AccountUpdated,
    /// The data fetched by a refresh that found something new.
    AccountUpdatedBySync,
    /// A refresh that found nothing new. `has_new_data` is absent.
    AccountUpdatedNothingNew,
    /// Mono is still fetching. Balance and BVN are null.
    AccountUpdatedProcessing,
    /// The balance was fetched, but not the transactions.
    AccountUpdatedPartial,
    /// The bank is down. There is no balance.
    AccountUpdatedUnavailable,
    /// Mono failed. v2 has been observed with the balance nevertheless.
    AccountUpdatedFailed,
    /// A refresh that failed. The data is the stale cache, with the status AVAILABLE.
    AccountUpdatedSyncFailed,
    /// A refresh for which the bank requires re-authorisation. The data is the stale cache, with the
    /// status AVAILABLE.
    AccountUpdatedReauthorisationRequired,
    /// The data fetched after a link, under the event name in the text of Mono's documentation.
    AccountUpdatedByAnotherName,
    /// The bank requires re-authorisation, in v1.
    ReauthorisationRequired,
    /// The same, but `data` is only the account id, as in Mono's blog.
    ReauthorisationRequiredString,
    /// The customer has authenticated. The data follows later.
    AccountReauthorized,
    /// The account is unlinked. It has an `id`, as in Mono's sample.
    AccountUnlinked,
    /// The same with an `_id`, as in the table beside that sample.
    AccountUnlinkedUnderscored,
    /// The same with an `account_id` and without an account object, as one receiver reads it.
    AccountUnlinkedFlat,
    /// The same, but the account is a string, as another receiver reads it.
    AccountUnlinkedString,
    /// A job is running.
    JobProcessing,
    /// A job succeeded.
    JobFinished,
    /// A job failed.
    JobFailed,
    /// A job succeeded, in the wording of the changelog.
    JobSuccessfulInCapitals,
    /// A job failed, in the wording of the changelog.
    JobFailedInCapitals,
    /// A job failed because the bank requires re-authorisation, in the wording of the changelog.
    JobReauthorisationRequired,
    /// A job is running, as in one receiver's tests: an account object and a `job_id`.
    JobRunningObject,
    /// A daily refresh failed, in v1.
    SyncFailed,
    /// A daily refresh succeeded. The account is a string, as one receiver reads it.
    AccountSynced,
    /// The same with an account object, as another receiver reads it.
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
    /// Another product's event, with the prefix `events` only.
    MandateCreated,
    /// Another product's event, with the prefix `event` only.
    DisbursementSuccessful,
    /// Another product's event, in an envelope within `data`.
    TransactionDispute,
    /// An event that does not exist yet.
    Unknown,
}

impl Kind {
    /// All kinds.
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

    /// The dialects of the kind. A kind with only one dialect has it in both generations.
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

    /// The value of `event` in the body.
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

    /// Whether the event has an `event_id` and a `timestamp` in v2. v1 never has them.
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

    /// The names of all variants. serde lists them in the error about an unknown name.
    fn declared() -> Vec<String> {
        let refusal = serde_json::from_str::<Kind>("\"none\"").expect_err("no such kind");
        let refusal = refusal.to_string();
        let quoted = refusal.split('`').skip(1).step_by(2);
        quoted.skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn all_has_every_kind_once_in_the_order_of_declaration() {
        assert_eq!(Kind::ALL.map(|kind| kind.to_string()).to_vec(), declared());
    }
}
