//! A deployed stack, found by its name.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_cloudformation::Client as CloudFormation;
use aws_sdk_cloudformation::types::{Output, Parameter};
use aws_sdk_sqs::Client as Sqs;
use mono_sync::aws::sdk::{AwsError, https_client};
use mono_sync::lambda::environment::Environment;
use mono_sync::lambda::startup::Startup;

/// The clients and settings of a stack.
pub(crate) struct Stack {
    pub(crate) startup: Startup,
    /// The names and values of its outputs.
    pub(crate) outputs: Vec<(String, String)>,
    sdk: SdkConfig,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StackError {
    #[error("CloudFormation call failed for the stack {0}: {1}")]
    Call(String, AwsError),
    #[error("there is no stack {0}: name it with --stack")]
    Unknown(String),
}

/// The secret with Mono's key, as a resource of the template.
const MONO_KEY: &str = "MonoKey";

impl Stack {
    /// Reads the outputs and the parameters of a stack. Two requests.
    pub(crate) async fn find(name: &str) -> Result<Self, StackError> {
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https_client());
        let sdk = loader.load().await;
        let client = CloudFormation::new(&sdk);
        let failed = |error| StackError::Call(name.to_owned(), error);
        let stacks = client.describe_stacks().stack_name(name).send().await;
        let stacks = stacks.map_err(|error| failed(AwsError::new(error)))?.stacks;
        let stack = stacks.into_iter().flatten().next();
        let stack = stack.ok_or_else(|| StackError::Unknown(name.to_owned()))?;
        let resource = client.describe_stack_resource().stack_name(name);
        let key = resource.logical_resource_id(MONO_KEY).send().await;
        let key = key.map_err(|error| failed(AwsError::new(error)))?.stack_resource_detail;
        let output =
            |output: &Output| Some((output.output_key.clone()?, output.output_value.clone()?));
        let parameter = |parameter: &Parameter| {
            Some((parameter.parameter_key.clone()?, parameter.parameter_value.clone()?))
        };
        let outputs: Vec<_> = stack.outputs().iter().filter_map(output).collect();
        let parameters = stack.parameters().iter().filter_map(parameter);
        let settings = parameters.chain(outputs.iter().cloned());
        let settings = settings.map(|(name, value)| (variable(&name), value));
        let key = key.and_then(|key| key.physical_resource_id);
        let key = key.map(|arn| ("MONO_KEY_ARN".to_owned(), arn));
        let startup = Startup::new(Environment::new(settings.chain(key)), sdk.clone());
        Ok(Self { startup, outputs, sdk })
    }

    pub(crate) const fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    pub(crate) fn sqs(&self) -> Sqs {
        Sqs::new(&self.sdk)
    }
}

/// The functions' environment variable for an output or a parameter: `ACCOUNTS_TABLE` for `AccountsTableName`.
fn variable(name: &str) -> String {
    let name = name.strip_suffix("Name").unwrap_or(name);
    let mut variable = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !variable.is_empty() {
            variable.push('_');
        }
        variable.push(letter.to_ascii_uppercase());
    }
    variable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_and_parameters_have_the_names_of_the_functions_variables() {
        assert_eq!(variable("AccountsTableName"), "ACCOUNTS_TABLE");
        assert_eq!(variable("ImportQueueUrl"), "IMPORT_QUEUE_URL");
        assert_eq!(variable("RefreshIntervalHours"), "REFRESH_INTERVAL_HOURS");
    }
}
