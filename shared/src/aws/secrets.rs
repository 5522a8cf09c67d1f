//! A secret as Secrets Manager keeps it.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValueError, GetSecretValueOutput,
};

use crate::aws::sdk::AwsError;

/// How long what was read of a secret is used before it is read again: a rotation needs no redeploy.
pub const MAX_AGE: std::time::Duration = std::time::Duration::from_hours(1);

/// One secret.
pub struct StoredSecret {
    client: Client,
    arn: String,
}

/// The secret could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretUnavailable {
    #[error("Secrets Manager call failed: {0}")]
    Call(#[source] AwsError),
    #[error("Secrets Manager did not answer in time")]
    Late,
    /// No new call is made right after a failed one.
    #[error("the secret could not be read a moment ago")]
    FailedBefore,
    #[error("the secret has no usable value")]
    Unset,
}

impl StoredSecret {
    /// The secret of this ARN.
    pub fn new(client: Client, arn: impl Into<String>) -> Self {
        Self { client, arn: arn.into() }
    }

    /// A version of the secret, or nothing where there is none. One request.
    pub async fn version(
        &self,
        stage: &str,
    ) -> Result<Option<GetSecretValueOutput>, SecretUnavailable> {
        let request = self.client.get_secret_value().secret_id(&self.arn);
        match request.version_stage(stage).send().await {
            Ok(version) => Ok(Some(version)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetSecretValueError::is_resource_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(SecretUnavailable::Call(AwsError::new(error))),
        }
    }
}
