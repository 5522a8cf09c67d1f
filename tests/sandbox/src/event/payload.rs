//! The `data` of every event.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Dialect, Kind, Stamp};
use crate::account::{Account, DataStatus};
use crate::id_generator::iso;
use crate::job::JobName;

/// The app in which all accounts are linked.
const APP: &str = "a99000000000000000000001";
/// The business that owns the app.
const BUSINESS: &str = "b05000000000000000000001";

pub(crate) const AUTH_METHOD: &str = "internet_banking";

pub(super) fn data(kind: Kind, dialect: Dialect, account: &Account, stamp: &Stamp) -> Value {
    match kind {
        Kind::AccountConnected => connected(dialect, account),
        Kind::AccountConnectedWithCustomer => {
            json!({ "id": account.account_id, "customer": account.customer_id, "meta": {} })
        }
        Kind::AccountUpdated
        | Kind::AccountUpdatedBySync
        | Kind::AccountUpdatedNothingNew
        | Kind::AccountUpdatedProcessing
        | Kind::AccountUpdatedPartial
        | Kind::AccountUpdatedUnavailable
        | Kind::AccountUpdatedFailed
        | Kind::AccountUpdatedSyncFailed
        | Kind::AccountUpdatedReauthorisationRequired
        | Kind::AccountUpdatedByAnotherName => updated(kind, dialect, account, stamp),
        Kind::ReauthorisationRequired
        | Kind::AccountUnlinkedUnderscored
        | Kind::SyncFailed
        | Kind::AccountSyncedObject => account_object(account),
        Kind::ReauthorisationRequiredString => json!(account.account_id),
        Kind::AccountReauthorized => match dialect {
            Dialect::V1 => account_object(account),
            Dialect::V2 => signed(account_object(account)),
        },
        Kind::AccountUnlinked => json!({ "account": { "id": account.account_id } }),
        Kind::AccountUnlinkedFlat => json!({ "account_id": account.account_id }),
        Kind::AccountUnlinkedString => json!({ "account": account.account_id }),
        Kind::JobProcessing => newest_job(account, "processing"),
        Kind::JobFinished => newest_job(account, "finished"),
        Kind::JobFailed => newest_job(account, "failed"),
        Kind::JobSuccessfulInCapitals => newest_job(account, "SUCCESSFUL"),
        Kind::JobFailedInCapitals => newest_job(account, "FAILED"),
        Kind::JobReauthorisationRequired => newest_job(account, "REAUTHORISATION_REQUIRED"),
        Kind::JobRunningObject => job_running(account),
        Kind::AccountSynced => json!({ "account": account.account_id, "updated": true }),
        Kind::AccountIncome => income(account),
        Kind::AccountCreditWorthiness => credit_worthiness(account),
        Kind::TransactionCategorisation | Kind::TransactionMetadata | Kind::StatementInsights => {
            signed(json!({ "account": account.account_id }))
        }
        Kind::WebhookTest => signed(json!({ "webhook": "e00000000000000000000001" })),
        Kind::DirectDebitPayment => direct_debit(),
        Kind::MandateCreated => mandate(),
        Kind::DisbursementSuccessful => disbursement(),
        Kind::TransactionDispute => dispute(stamp),
        Kind::Unknown => {
            let mut data = account_object(account);
            data["novelty"] = json!({ "depth": 1 });
            data
        }
    }
}

/// Adds the app and the business, which most of Mono's events have.
fn signed(mut data: Value) -> Value {
    data["app"] = json!(APP);
    data["business"] = json!(BUSINESS);
    data
}

fn account_object(account: &Account) -> Value {
    json!({ "account": { "_id": account.account_id } })
}

fn connected(dialect: Dialect, account: &Account) -> Value {
    match dialect {
        Dialect::V1 => json!({ "id": account.account_id }),
        Dialect::V2 => signed(json!({
            "id": account.account_id,
            "customer": account.customer_id,
            "meta": Meta {
                auth_method: Some(AUTH_METHOD),
                reference: Some(&account.reference),
                ..Meta::new(DataStatus::Processing)
            },
        })),
    }
}

fn updated(kind: Kind, dialect: Dialect, account: &Account, stamp: &Stamp) -> Value {
    match dialect {
        Dialect::V1 => json!({
            "meta": meta_v1(kind, account),
            "account": account_v1(kind, account, stamp),
        }),
        Dialect::V2 => signed(json!({
            "account": account_v2(kind, account, stamp),
            "meta": meta_v2(kind, account),
        })),
    }
}

/// The `meta` object of an `account_updated`: facts about the data. Fields that are `None` are not sent.
#[derive(Clone, Copy, Serialize)]
struct Meta<'a> {
    data_status: DataStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_method: Option<&'a str>,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_new_data: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retrieved_data: Option<&'a [&'a str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_request_id: Option<&'a str>,
}

impl Meta<'_> {
    fn new(data_status: DataStatus) -> Self {
        Self {
            data_status,
            auth_method: None,
            reference: None,
            sync_status: None,
            job_id: None,
            has_new_data: None,
            retrieved_data: None,
            data_request_id: None,
        }
    }
}

fn meta_v1(kind: Kind, account: &Account) -> Meta<'static> {
    Meta {
        auth_method: (kind == Kind::AccountUpdatedBySync).then_some(AUTH_METHOD),
        ..Meta::new(data_status(kind, account))
    }
}

fn meta_v2(kind: Kind, account: &Account) -> Meta<'_> {
    let data_status = data_status(kind, account);
    let base = Meta {
        auth_method: Some(AUTH_METHOD),
        reference: Some(&account.reference),
        retrieved_data: Some(data_status.retrieved_data()),
        ..Meta::new(data_status)
    };
    match kind {
        Kind::AccountUpdatedProcessing => Meta { retrieved_data: None, ..base },
        Kind::AccountUpdatedBySync => {
            Meta { has_new_data: Some(true), ..refreshed(account, "SUCCESSFUL", base) }
        }
        Kind::AccountUpdatedNothingNew | Kind::AccountUpdatedPartial => {
            refreshed(account, "SUCCESSFUL", base)
        }
        Kind::AccountUpdatedUnavailable => refreshed(account, "FAILED", base),
        Kind::AccountUpdatedSyncFailed => stale(account, refreshed(account, "FAILED", base)),
        Kind::AccountUpdatedReauthorisationRequired => Meta {
            data_request_id: Some(&account.data_request_id),
            ..stale(account, refreshed(account, "REAUTHORISATION_REQUIRED", base))
        },
        // Observed in practice. By Mono's documentation, the status should be PARTIAL.
        Kind::AccountUpdatedFailed => Meta {
            reference: None,
            retrieved_data: Some(&["balance"]),
            data_request_id: Some(&account.data_request_id),
            ..base
        },
        _ => base,
    }
}

fn refreshed<'a>(account: &'a Account, sync_status: &'a str, meta: Meta<'a>) -> Meta<'a> {
    Meta { sync_status: Some(sync_status), job_id: Some(&account.job_id), ..meta }
}

/// Mono documents that `has_new_data` is sent only if it is true. With a stale cache, false has been
/// observed.
fn stale<'a>(account: &Account, meta: Meta<'a>) -> Meta<'a> {
    let retrieved: &[&str] =
        if account.balance_only { &["balance"] } else { &["balance", "transactions"] };
    Meta { has_new_data: Some(false), retrieved_data: Some(retrieved), ..meta }
}

fn data_status(kind: Kind, account: &Account) -> DataStatus {
    match kind {
        Kind::AccountUpdatedProcessing => DataStatus::Processing,
        Kind::AccountUpdatedPartial => DataStatus::Partial,
        Kind::AccountUpdatedUnavailable => DataStatus::Unavailable,
        Kind::AccountUpdatedFailed => DataStatus::Failed,
        _ => account.data_status,
    }
}

fn account_v1(kind: Kind, account: &Account, stamp: &Stamp) -> Value {
    let mut body = json!({
        "_id": account.account_id,
        "institution": institution(account),
        "accountNumber": account.account_number,
        "name": account.name,
        "type": "SAVINGS_ACCOUNT",
        "currency": currency_v1(&account.currency),
        "bvn": account.bvn_ending(),
        "balance": account.balance,
        "created_at": iso(account.created_at),
        "updated_at": iso(stamp.at),
        "__v": 0,
    });
    if kind == Kind::AccountUpdatedBySync {
        body["scope"] = json!(["financial_data"]);
        body["liveMode"] = json!(true);
        body["accessType"] = json!("PERSISTENT");
    }
    body
}

/// The old samples name the currency instead of giving its code.
fn currency_v1(code: &str) -> &str {
    if code == "NGN" { "Naira" } else { code }
}

fn account_v2(kind: Kind, account: &Account, stamp: &Stamp) -> Value {
    let mut body = json!({
        "_id": account.account_id,
        "name": account.name,
        "accountNumber": account.account_number,
        "currency": account.currency,
        "balance": account.balance,
        "type": "Tier 3 Savings Account",
        "bvn": account.bvn_ending(),
        "authMethod": AUTH_METHOD,
        "institution": institution(account),
        "created_at": iso(account.created_at),
        "updated_at": iso(stamp.at),
    });
    match kind {
        // One documented refresh has all eleven digits.
        Kind::AccountUpdatedBySync => body["bvn"] = json!(account.bvn),
        Kind::AccountUpdatedProcessing => {
            body["balance"] = Value::Null;
            body["bvn"] = Value::Null;
        }
        Kind::AccountUpdatedUnavailable => {
            body.as_object_mut().map(|fields| fields.remove("balance"));
        }
        _ => {}
    }
    body
}

/// The institution as in webhooks and in v1.
pub(crate) fn institution(account: &Account) -> Value {
    json!({
        "name": account.institution.name,
        "bankCode": account.institution.bank_code,
        "type": "PERSONAL_BANKING",
    })
}

fn newest_job(account: &Account, status: &str) -> Value {
    job(&account.account_id, &account.job_id, account.job_name, status)
}

/// A job, as in webhooks and in answers.
pub(crate) fn job(account_id: &str, job_id: &str, name: JobName, status: &str) -> Value {
    signed(json!({ "account": account_id, "id": job_id, "name": name, "status": status }))
}

fn job_running(account: &Account) -> Value {
    let mut data = account_object(account);
    data["job_id"] = json!(account.job_id);
    data["status"] = json!("RUNNING");
    data
}

/// The fields beside the account differ between product versions.
fn income(account: &Account) -> Value {
    signed(json!({
        "account": account.account_id,
        "total_income": 4_200_000,
        "income_streams": [{ "income_type": "SALARY", "monthly_average": 350_000 }],
    }))
}

fn credit_worthiness(account: &Account) -> Value {
    signed(json!({
        "account": account.account_id,
        "months_assessed": { "start": "2025-07", "end": "2025-12" },
        "summary": { "can_afford": true, "monthly_payment": 25_000 },
        "debt": { "total_debt": 0 },
    }))
}

fn direct_debit() -> Value {
    signed(json!({
        "reference_number": "fictional-debit-1",
        "amount": 150_000,
        "status": "successful",
    }))
}

/// An invented example, like [`disbursement`]. Its `id` is the id of the mandate, not of an account.
fn mandate() -> Value {
    signed(json!({
        "id": "d00000000000000000000001",
        "reference": "fictional-mandate-1",
        "status": "initiated",
    }))
}

fn disbursement() -> Value {
    signed(json!({
        "reference": "fictional-disbursement-1",
        "amount": 150_000,
        "status": "successful",
    }))
}

fn dispute(stamp: &Stamp) -> Value {
    json!({
        "event": Kind::TransactionDispute.wire_name(),
        "event_id": stamp.event_id,
        "data": signed(json!({ "reference": "fictional-transfer-1" })),
    })
}
