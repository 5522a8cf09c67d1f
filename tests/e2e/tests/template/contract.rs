//! The names and permissions of the deployment contract.

use serde_json::{Value, json};

use super::document::{no_value, when};

pub(crate) const READ: &[&str] = &["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"];
pub(crate) const QUERY: &[&str] = &["dynamodb:Query"];
pub(crate) const WRITE: &[&str] =
    &["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:BatchWriteItem"];
pub(crate) const SCAN: &[&str] = &["dynamodb:Scan"];
pub(crate) const UPDATE: &[&str] = &["dynamodb:UpdateItem"];
pub(crate) const DELETE: &[&str] = &["dynamodb:DeleteItem"];
pub(crate) const PLAN: &[&str] = &["dynamodb:Scan", "dynamodb:UpdateItem"];
pub(crate) const SEND: &[&str] = &["sqs:SendMessage"];
pub(crate) const CONSUME: &[&str] = &[
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:GetQueueAttributes",
];
pub(crate) const STREAM: &[&str] = &[
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
];
pub(crate) const PUBLISH: &[&str] = &["events:PutEvents"];
pub(crate) const SECRET: &[&str] = &["secretsmanager:GetSecretValue"];
/// On the key of `KmsKeyArn`, for a function that uses no table.
pub(crate) const KEY: &[&str] = &["kms:Decrypt", "kms:GenerateDataKey"];
/// The same for a function that uses a table. DynamoDB uses the key on behalf of its caller.
pub(crate) const TABLE_KEY: &[&str] = &[
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
];
pub(crate) const LOG: &[&str] = &["logs:CreateLogStream", "logs:PutLogEvents"];
pub(crate) const TRACE: &[&str] = &["xray:PutTraceSegments", "xray:PutTelemetryRecords"];

/// The permissions that each function may have at most, apart from those on its own logs and traces, and
/// on the key of `KmsKeyArn`: function, resource, actions.
pub(crate) const ALLOWED: &[(&str, &str, &[&str])] = &[
    ("webhook", "WebhookQueue", SEND),
    ("webhook", "WebhookSecret", SECRET),
    ("processor", "WebhookQueue", CONSUME),
    ("processor", "AccountsTable", READ),
    ("processor", "AccountsTable", WRITE),
    ("processor", "EventsTable", WRITE),
    ("processor", "RefreshQueue", SEND),
    ("processor", "ImportQueue", SEND),
    ("processor", "WebhookDeadLetterQueue", SEND),
    ("manual-sync", "AccountsTable", READ),
    ("manual-sync", "AccountsTable", WRITE),
    ("manual-sync", "AccountsTable", DELETE),
    ("manual-sync", "ImportQueue", SEND),
    ("manual-sync", "MonoKey", SECRET),
    ("accounts", "AccountsTable", READ),
    ("accounts", "AccountsTable", UPDATE),
    ("links", "AccountsTable", READ),
    ("links", "AccountsTable", WRITE),
    ("links", "AccountsTable", DELETE),
    ("links", "EventsTable", WRITE),
    ("links", "RefreshQueue", SEND),
    ("links", "MonoKey", SECRET),
    ("accounts", "AccountsTable/index/AttentionIndex", QUERY),
    ("accounts", "AccountsTable/index/AttentionByOwnerIndex", QUERY),
    ("accounts", "AccountsTable/index/RefIndex", QUERY),
    ("accounts", "AccountsTable/index/CustomerIndex", QUERY),
    ("accounts", "AccountsTable", SCAN),
    ("accounts", "TransactionsTable", READ),
    ("accounts", "TransactionsTable/index/RevisionIndex", QUERY),
    ("accounts", "EventsTable", READ),
    ("importer", "ImportQueue", CONSUME),
    ("importer", "ImportQueue", SEND),
    ("importer", "TransactionsTable", READ),
    ("importer", "TransactionsTable", WRITE),
    ("importer", "TransactionsTable", DELETE),
    ("importer", "AccountsTable", READ),
    ("importer", "AccountsTable", WRITE),
    ("importer", "MonoKey", SECRET),
    ("refresh-planner", "AccountsTable", PLAN),
    ("refresh-planner", "RefreshQueue", SEND),
    ("refresh-worker", "RefreshQueue", CONSUME),
    ("refresh-worker", "AccountsTable", READ),
    ("refresh-worker", "AccountsTable", WRITE),
    ("refresh-worker", "AccountsTable", DELETE),
    ("refresh-worker", "EventsTable", READ),
    ("refresh-worker", "EventsTable", WRITE),
    ("refresh-worker", "TransactionsTable", READ),
    ("refresh-worker", "TransactionsTable", WRITE),
    ("refresh-worker", "RefreshQueue", SEND),
    ("refresh-worker", "ImportQueue", SEND),
    ("refresh-worker", "MonoKey", SECRET),
    ("processor", "ForwardQueue", SEND),
    ("notifier", "AccountsTable", STREAM),
    ("notifier", "NotificationBus", PUBLISH),
    ("notifier", "NotifierDeadLetterQueue", SEND),
    ("deliverer", "NotificationQueue", CONSUME),
    ("deliverer", "ForwardQueue", CONSUME),
    ("deliverer", "NotificationDeadLetterQueue", SEND),
    ("deliverer", "ForwardDeadLetterQueue", SEND),
    ("deliverer", "NotifySecret", SECRET),
    ("deliverer", "WebhookSecret", SECRET),
];

/// Codes of log lines that must raise an alarm, with the folder of the function that logs them.
pub(crate) const OPERATOR_CODES: &[(&str, &str)] = &[
    ("functions/manual-sync", "MONO_KEY_REFUSED"),
    ("functions/links", "MONO_KEY_REFUSED"),
    ("functions/importer", "MONO_KEY_REFUSED"),
    ("functions/refresh-worker", "MONO_KEY_REFUSED"),
    ("functions/manual-sync", "MONO_PAYMENT_REQUIRED"),
    ("functions/links", "MONO_PAYMENT_REQUIRED"),
    ("functions/importer", "MONO_PAYMENT_REQUIRED"),
    ("functions/refresh-worker", "MONO_PAYMENT_REQUIRED"),
    ("functions/manual-sync", "MONO_UNAVAILABLE"),
    ("functions/links", "MONO_UNAVAILABLE"),
    ("functions/importer", "MONO_UNAVAILABLE"),
    ("functions/refresh-worker", "MONO_UNAVAILABLE"),
    ("functions/importer", "TRANSACTIONS_UNREADABLE"),
    ("functions/manual-sync", "BUDGET_EXHAUSTED"),
    ("functions/importer", "BUDGET_EXHAUSTED"),
    ("functions/refresh-worker", "BUDGET_EXHAUSTED"),
    ("functions/refresh-planner", "BUDGET_EXHAUSTED"),
    ("functions/refresh-planner", "PLAN_INCOMPLETE"),
    ("functions/refresh-planner", "UNPROVEN_ACCOUNTS_WAIT"),
    ("functions/refresh-worker", "OWNER_CHANGED"),
    ("functions/refresh-worker", "UNLINK_REFUSED"),
    ("functions/links", "OWNER_CHANGED"),
    ("functions/deliverer", "RECEIVER_GONE"),
    ("functions/deliverer", "DELIVERY_LATE"),
];

/// The scopes that a token needs for a route with this method.
pub(crate) fn scopes(method: &str) -> Value {
    let (condition, parameter) = match method {
        "GET" => ("UseReadScope", "JwtReadScope"),
        "DELETE" => ("UseEraseScope", "JwtEraseScope"),
        _ => ("UseSyncScope", "JwtSyncScope"),
    };
    when(condition, &json!([{ "Ref": parameter }]), &no_value())
}

/// The tables: the keys of the table and of its indexes, and the attribute for time to live.
pub(crate) fn tables() -> Value {
    json!({
        "AccountsTable": {
            "keys": [{ "account_id": "S" }],
            "indexes": {
                "AttentionIndex": [{ "attention": "S" }, { "attention_place": "B" }],
                "AttentionByOwnerIndex": [{ "attention_owner": "B" }, { "attention_place": "B" }],
                "RefIndex": [{ "ref": "S" }, { "account_id": "S" }],
                "CustomerIndex": [{ "customer_id": "S" }, { "account_id": "S" }],
            },
            "local": {},
            "ttl": { "AttributeName": "expires_at", "Enabled": true },
        },
        "TransactionsTable": {
            "keys": [{ "account_id": "S" }, { "position": "S" }],
            "indexes": {},
            "local": { "RevisionIndex": [{ "account_id": "S" }, { "revision": "N" }] },
            "ttl": { "AttributeName": "expires_at", "Enabled": true },
        },
        "EventsTable": {
            "keys": [{ "account_id": "S" }, { "position": "S" }],
            "indexes": {},
            "local": {},
            "ttl": { "AttributeName": "expires_at", "Enabled": true },
        },
    })
}

pub(crate) const SECRET_PARAMETERS: &[&str] = &["MonoSecretKey", "MonoWebhookSecret"];

/// All parameters of the stack, secret ones included, with their defaults; null where there is none.
pub(crate) fn defaults() -> Value {
    json!({
        "MonoSecretKey": null,
        "MonoWebhookSecret": "unset",
        "PreviousSecretHours": 72,
        "MonoApiBaseUrl": "https://api.withmono.com",
        "MonoApiVersion": "v2",
        "Architecture": "arm64",
        "KmsKeyArn": "",
        "ApiAuthorization": "AWS_IAM",
        "JwtIssuer": "",
        "JwtAudience": "",
        "JwtOwnerClaim": "",
        "JwtReadScope": "accounts:read",
        "JwtSyncScope": "accounts:sync",
        "JwtEraseScope": "accounts:erase",
        "CorsAllowOrigin": "",
        "RedirectOrigins": "",
        "RefreshIntervalHours": 24,
        "RefreshPolicy": "interval",
        "RefreshMaximumConcurrency": 2,
        "ImportMaximumConcurrency": 2,
        "ProcessorMaximumConcurrency": 2,
        "WebhookReservedConcurrency": 0,
        "MonoPrices": "",
        "MonoDailyBudget": 25000,
        "ManualDailyBudget": 5000,
        "SyncCooldownSeconds": 300,
        "ImportHistoryDays": 365,
        "TransactionRetentionDays": 0,
        "KeepUnknownFields": "false",
        "EventRetentionDays": 30,
        "UnlinkedRetentionDays": 30,
        "NotifyUrl": "",
        "ForwardEvents": "none",
        "ForwardUrl": "",
        "LogRetentionDays": 30,
        "AccessLogRetentionDays": 30,
        "Tracing": "PassThrough",
        "LogLevel": "INFO",
        "AlarmEmail": "",
    })
}

pub(crate) const OUTPUTS: &[&str] = &[
    "WebhookUrl",
    "ApiUrl",
    "AccountsTableName",
    "TransactionsTableName",
    "EventsTableName",
    "WebhookQueueUrl",
    "ImportQueueUrl",
    "RefreshQueueUrl",
    "WebhookDeadLetterQueueUrl",
    "ImportDeadLetterQueueUrl",
    "RefreshDeadLetterQueueUrl",
    "NotifierDeadLetterQueueUrl",
    "NotificationQueueUrl",
    "NotificationDeadLetterQueueUrl",
    "ForwardQueueUrl",
    "ForwardDeadLetterQueueUrl",
    "EventBusName",
    "NotifySecretArn",
    "RefreshPlannerFunctionName",
    "DashboardUrl",
];

/// Resource types that could grant permissions or open an endpoint without being covered by the rules.
pub(crate) const FORBIDDEN_TYPES: &[&str] = &[
    "AWS::IAM::Group",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::RolePolicy",
    "AWS::IAM::User",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Lambda::Url",
    "AWS::Serverless::Api",
    "AWS::Serverless::HttpApi",
    // It would replace the policy of a queue.
    "AWS::SQS::QueueInlinePolicy",
];
