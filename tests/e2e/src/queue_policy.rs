//! The policy of the queues, without the statement that the emulator cannot satisfy.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::http::HttpRequest;
use aws_sdk_sqs::types::QueueAttributeName::Policy;
use mono_sync::aws::sdk::Timeouts;
use serde_json::Value;

use crate::emulator::{LocalError, sdk_config};

/// Removes the statement that denies plain HTTP from the policy of each queue. The emulator enforces this statement,
/// but has no TLS.
///
/// # Errors
///
/// [`LocalError`] if a queue has no policy, or the emulator rejects the change.
pub(crate) async fn allow_plain_http(
    endpoint: &str,
    queues: impl Iterator<Item = &str>,
) -> Result<(), LocalError> {
    let sqs = Client::new(&sdk_config(endpoint, Timeouts::LONG));
    for queue in queues {
        let read = sqs.get_queue_attributes().queue_url(queue).attribute_names(Policy);
        let read = read.customize().mutate_request(claim_tls).send().await;
        let read = read.map_err(|error| failed(&error))?;
        let policy = read.attributes().and_then(|attributes| attributes.get(&Policy));
        let Some(policy) = policy.and_then(|policy| without_transport(policy)) else {
            return Err(failed(&format!("{queue} has no policy")));
        };
        let write = sqs.set_queue_attributes().queue_url(queue).attributes(Policy, policy);
        let write = write.customize().mutate_request(claim_tls).send().await;
        write.map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// The emulator treats a request with this header as a request over TLS.
fn claim_tls(request: &mut HttpRequest) {
    request.headers_mut().insert("x-forwarded-proto", "https");
}

fn failed(error: &impl ToString) -> LocalError {
    LocalError::NotDeployed(error.to_string())
}

fn without_transport(policy: &str) -> Option<String> {
    let mut policy: Value = serde_json::from_str(policy).ok()?;
    let statements = policy["Statement"].as_array_mut()?;
    statements.retain(|statement| statement["Sid"] != "DenyPlainHttp");
    Some(policy.to_string())
}
