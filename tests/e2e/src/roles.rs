//! Permissions that the emulator requires and AWS does not.

use reqwest::header::HeaderMap;
use reqwest::{Client, Url};
use serde_json::{Value, json};

use crate::emulator::LocalError;

/// The emulator checks `SendMessageBatch` as a separate action. In AWS, `sqs:SendMessage` covers it. So
/// each role that may send a message to a queue here also gets the permission to send a batch.
///
/// # Errors
///
/// [`LocalError`] if a role does not have the policy of the template.
pub(crate) async fn allow_batches(
    http: &Client,
    endpoint: &str,
    operator: HeaderMap,
    roles: impl Iterator<Item = (&str, &str)>,
) -> Result<(), LocalError> {
    let call = async |parameters: &[(&str, &str)]| {
        let mut url = Url::parse(endpoint).map_err(|error| failed(&error))?;
        url.query_pairs_mut().append_pair("Version", "2010-05-08").extend_pairs(parameters);
        let answer = http.post(url).headers(operator.clone()).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        answer.map_err(|error| failed(&error))?.text().await.map_err(|error| failed(&error))
    };
    for (id, role) in roles {
        let policy = kebab(id.trim_end_matches("Role"));
        let parameters_of_role = [("RoleName", role), ("PolicyName", policy.as_str())];
        let answer =
            call(&[&[("Action", "GetRolePolicy")], &parameters_of_role[..]].concat()).await?;
        let Some(document) = document(&answer) else {
            return Err(failed(&format!("{id} has no policy {policy}")));
        };
        let widened = widened(document).to_string();
        let change = [("Action", "PutRolePolicy"), ("PolicyDocument", widened.as_str())];
        call(&[&change, &parameters_of_role[..]].concat()).await?;
    }
    Ok(())
}

fn failed(error: &impl ToString) -> LocalError {
    LocalError::NotDeployed(error.to_string())
}

/// `ManualSync` becomes `manual-sync`, as in the policy names of the template.
fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(character.to_lowercase());
    }
    kebab
}

/// The policy document in an answer of IAM.
fn document(answer: &str) -> Option<Value> {
    let (_, rest) = answer.split_once("<PolicyDocument>")?;
    let (encoded, _) = rest.split_once("</PolicyDocument>")?;
    let url = Url::parse(&format!("http://localhost/?document={encoded}")).ok()?;
    let (_, document) = url.query_pairs().next()?;
    serde_json::from_str(&document).ok()
}

fn widened(mut document: Value) -> Value {
    for statement in document["Statement"].as_array_mut().into_iter().flatten() {
        if statement["Action"] == "sqs:SendMessage" {
            statement["Action"] = json!(["sqs:SendMessage", "sqs:SendMessageBatch"]);
        }
    }
    document
}
