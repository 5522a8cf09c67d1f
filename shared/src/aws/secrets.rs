//! Reading a secret from Secrets Manager.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValueError, GetSecretValueOutput,
};

use crate::aws::sdk::AwsError;

pub struct StoredSecret {
    client: Client,
    arn: String,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum SecretUnavailable {
    #[error("Secrets Manager call failed: {0}")]
    Call(#[source] AwsError),
    #[error("Secrets Manager did not answer in time")]
    Late,
    /// The last read failed a moment ago, so no new call was made.
    #[error("the last read of the secret failed a moment ago")]
    FailedBefore,
    #[error("the secret has no usable value")]
    Unset,
}

impl StoredSecret {
    pub fn new(client: Client, arn: impl Into<String>) -> Self {
        Self { client, arn: arn.into() }
    }

    /// The version of the secret with this staging label, or `None` if there is none. One request.
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
