//! The real template, deployed to an emulator.

use std::collections::HashMap;
use std::process::Stdio;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::types::QueueAttributeName;
use mono_sync::aws::sdk::Timeouts;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::contract_proxy::ContractProxy;
use crate::emulator::{Emulator, LocalError, OPERATOR, REGION, sdk_config};
use crate::project;
use crate::roles::allow_batches;

/// A deployed stack.
#[derive(Clone, Debug)]
pub struct Stack {
    name: String,
    endpoint: String,
    port: u16,
    outputs: HashMap<String, String>,
    resources: HashMap<String, String>,
    contract_proxy: ContractProxy,
    http: Client,
}

impl Stack {
    /// Deploys what `sam build` has built, with these parameters, and reads what came of it.
    pub async fn deploy(
        emulator: &Emulator,
        name: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Self, LocalError> {
        let template = project().join(".aws-sam/local/template.yaml");
        if !template.exists() {
            return Err(LocalError::NotBuilt);
        }
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let architecture = [("Architecture", architecture)];
        let all = architecture.iter().chain(parameters);
        let all = all.map(|(name, value)| format!("{name}={value}"));
        let mut deploy = sam(emulator)?;
        deploy.arg("deploy").arg("--template-file").arg(template);
        deploy.args(["--stack-name", name, "--resolve-s3", "--capabilities", "CAPABILITY_IAM"]);
        deploy.args(["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]);
        deploy.arg("--parameter-overrides").args(all);
        {
            // The first one makes a bucket that all share, and two at once get in each other's way.
            static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
            let _turn = ONE_AT_A_TIME.lock().await;
            output(deploy).await?;
        }
        let outputs = list(emulator, name, "stack-outputs", "OutputKey", "OutputValue").await?;
        let resources =
            list(emulator, name, "resources", "LogicalResourceId", "PhysicalResourceId").await?;
        // Without a pool: a connection ends with the runtime, and so with the test, that made it.
        let http = Client::builder().pool_max_idle_per_host(0).build().unwrap_or_default();
        let roles = resources.iter().filter(|(id, _)| id.ends_with("Role"));
        let roles = roles.map(|(id, name)| (id.as_str(), name.as_str()));
        allow_batches(&http, &emulator.endpoint(), operator("iam"), roles).await?;
        for (mapping, parameter) in [
            ("ProcessorFunctionWebhookQueue", "ProcessorMaximumConcurrency"),
            ("ImporterFunctionImportQueue", "ImportMaximumConcurrency"),
            ("RefreshWorkerFunctionRefreshQueue", "RefreshMaximumConcurrency"),
        ] {
            // More than the template's default, to keep the tests short.
            let maximum = parameters_of(parameters, parameter).unwrap_or("10");
            limit_concurrency(&http, &emulator.endpoint(), resources.get(mapping), maximum).await?;
        }
        Ok(Self {
            name: name.to_owned(),
            endpoint: emulator.endpoint(),
            port: emulator.port(),
            outputs,
            resources,
            contract_proxy: ContractProxy::start(emulator.endpoint()).await?,
            http,
        })
    }

    /// An output of the template.
    ///
    /// # Panics
    ///
    /// When the template has none of that name.
    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).unwrap_or_else(|| panic!("the stack has no output {name}"))
    }

    /// The physical id of a resource.
    ///
    /// # Panics
    ///
    /// When the stack has none of that name.
    pub fn resource(&self, name: &str) -> &str {
        self.resources.get(name).unwrap_or_else(|| panic!("the stack has no resource {name}"))
    }

    /// The address of the emulator it is on.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The webhook's URL as it is on this machine: the API has a name of its own below `localhost`.
    pub fn webhook_url(&self) -> String {
        format!("http://{}/webhooks/mono", self.api_host())
    }

    /// The API's URL as it is on this machine.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api_host())
    }

    /// A request to the API. It connects to loopback whatever the system makes of the API's name,
    /// and an answer that `openapi.yaml` does not allow comes back as 599.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.contract_proxy.endpoint()))
            .header("host", self.api_host())
    }

    /// The account as the API shows it to a caller that signed its request, and the status.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn account(&self, account_id: &str) -> reqwest::Result<(StatusCode, Value)> {
        let request = self.request(Method::GET, &format!("/accounts/{account_id}"));
        // The emulator asks for this header and lets through what is no signature at all.
        let answer = request.header("authorization", "signed").send().await?;
        let status = answer.status();
        Ok((status, answer.json().await?))
    }

    /// What the API answers to a caller that signed its request.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> reqwest::Result<Response> {
        self.request(Method::GET, path).header("authorization", "signed").send().await
    }

    /// Has an account synced by a caller that signed its request, with a query such as
    /// `?data=balance`.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn sync(&self, account_id: &str, query: &str) -> reqwest::Result<Response> {
        let request = self.request(Method::POST, &format!("/accounts/{account_id}/sync{query}"));
        request.header("authorization", "signed").send().await
    }

    /// Invokes a function with an event, past the API. Answers what it returned.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn invoke(&self, function: &str, event: &Value) -> reqwest::Result<Value> {
        let name = self.resource(function);
        let url = format!("{}/2015-03-31/functions/{name}/invocations", self.endpoint);
        self.http.post(url).headers(operator("lambda")).json(event).send().await?.json().await
    }

    /// Plans the automatic refresh, as the schedule does once an hour. Answers with the plan.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn plan_refresh(&self) -> reqwest::Result<Value> {
        self.invoke("RefreshPlannerFunction", &json!({})).await
    }

    /// The lines that a function has logged so far.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn log(&self, function: &str) -> reqwest::Result<Vec<String>> {
        let request = self
            .http
            .post(&self.endpoint)
            .headers(operator("logs"))
            .header("x-amz-target", "Logs_20140328.FilterLogEvents")
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .json(&json!({ "logGroupName": format!("/{}/{function}", self.name) }));
        let answer: Value = request.send().await?.json().await?;
        let events = answer["events"].as_array().into_iter().flatten();
        Ok(events.filter_map(|event| event["message"].as_str().map(str::to_owned)).collect())
    }

    /// Has messages that were given back delivered again sooner than the template says, so that a test
    /// need not wait for them. Those of an import not before the function's time is over: what is
    /// given back on purpose comes when the function says.
    ///
    /// # Panics
    ///
    /// When the emulator refuses.
    pub async fn redeliver_soon(&self) {
        for (queue, seconds) in
            [("WebhookQueueUrl", "2"), ("ImportQueueUrl", "125"), ("RefreshQueueUrl", "80")]
        {
            Sqs::new(&self.sdk())
                .set_queue_attributes()
                .queue_url(self.output(queue))
                .attributes(QueueAttributeName::VisibilityTimeout, seconds)
                .send()
                .await
                .expect("the queue takes another visibility timeout");
        }
    }

    /// The SDK's configuration for the emulator that the stack is on.
    pub fn sdk(&self) -> SdkConfig {
        // A query of very many rows takes the emulator seconds.
        sdk_config(&self.endpoint, Timeouts::LONG)
    }

    fn api_host(&self) -> String {
        let url = self.output("ApiUrl").trim_start_matches("https://");
        let api_id = url.split('.').next().unwrap_or_default();
        format!("{api_id}.execute-api.localhost:{}", self.port)
    }
}

fn parameters_of<'a>(parameters: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// The emulator takes a maximum that comes from a parameter for text, and its pollers stop at that: so
/// it is set once more, as a number.
async fn limit_concurrency(
    http: &Client,
    endpoint: &str,
    mapping: Option<&String>,
    maximum: &str,
) -> Result<(), LocalError> {
    let failed = |error: &dyn ToString| LocalError::NotDeployed(error.to_string());
    let mapping = mapping.ok_or_else(|| failed(&"a queue has no event source mapping"))?;
    let maximum: u32 = maximum.parse().map_err(|error| failed(&error))?;
    let url = format!("{endpoint}/2015-03-31/event-source-mappings/{mapping}");
    let update = json!({ "ScalingConfig": { "MaximumConcurrency": maximum } });
    let answer = http.put(url).headers(operator("lambda")).json(&update).send().await;
    answer.and_then(Response::error_for_status).map(drop).map_err(|error| failed(&error))
}

/// The operator's key for requests that no SDK makes here. The emulator does not check its
/// signature.
fn operator(service: &str) -> HeaderMap {
    let scope = format!("{OPERATOR}/20260101/{REGION}/{service}/aws4_request");
    let value = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
    HeaderValue::from_str(&value).map(|value| (AUTHORIZATION, value)).into_iter().collect()
}

/// What `sam list` knows of the stack, by name.
async fn list(
    emulator: &Emulator,
    name: &str,
    what: &str,
    key: &str,
    value: &str,
) -> Result<HashMap<String, String>, LocalError> {
    let mut list = sam(emulator)?;
    list.args(["list", what, "--stack-name", name, "--output", "json"]);
    let printed = output(list).await?;
    let rows: Vec<Value> = serde_json::from_str(&printed).unwrap_or_default();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    Ok(rows.iter().map(|row| (text(row, key), text(row, value))).collect())
}

fn sam(emulator: &Emulator) -> Result<Command, LocalError> {
    let program = project().join(".venv/bin/sam");
    if !program.exists() {
        return Err(LocalError::NotInstalled(program));
    }
    let mut sam = Command::new(program);
    sam.current_dir(project())
        // Nothing of a real account's: whoever has one must not deploy to it by a test.
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .env("AWS_ENDPOINT_URL", emulator.endpoint())
        .env("AWS_ACCESS_KEY_ID", OPERATOR)
        .env("AWS_SECRET_ACCESS_KEY", OPERATOR)
        .env("AWS_REGION", REGION)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("SAM_CLI_TELEMETRY", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(sam)
}

async fn output(mut command: Command) -> Result<String, LocalError> {
    let output = command.output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(LocalError::NotDeployed(String::from_utf8_lossy(&printed).into_owned()))
}
