//! The environment variables of a function, read once at its start.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use crate::domain::account::{RefreshPolicy, RefreshRule};
use crate::domain::redirect_url::RedirectOrigins;
use crate::domain::retention::Retention;
use crate::domain::spending::{Budget, Budgets, Prices};
use crate::domain::webhook::forwarding::ForwardEvents;
use crate::mono::{ApiVersion, BaseUrl};
use crate::receiver::ReceiverUrl;

#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

/// A variable is missing or invalid, so the function cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set or is blank.
    #[error("the environment variable {0} is missing")]
    Missing(&'static str),
    #[error("the environment variable {name} must be {expected}")]
    Invalid { name: &'static str, expected: &'static str },
}

impl Environment {
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// The value of a variable. `None`: the variable is not set or is blank.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// # Errors
    ///
    /// [`ConfigError::Missing`] if the variable is not set or is blank.
    pub fn required(&self, name: &'static str) -> Result<&str, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing(name))
    }

    /// `OWNER_CLAIM`: the claim of the token that names the owner. The value `none` gives `None`, so that every
    /// caller may see every account.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] if it is not set, so that a missing setting never gives access to all accounts.
    pub fn owner_claim(&self) -> Result<Option<String>, ConfigError> {
        let claim = self.required("OWNER_CLAIM")?;
        Ok(Some(claim.to_owned()).filter(|claim| claim != "none"))
    }

    /// `REFRESH_INTERVAL_HOURS` (0 is off), `REFRESH_POLICY` (the word of a rule) and `SYNC_COOLDOWN_SECONDS`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a variable is missing, or is not a whole number or not a rule.
    pub fn refresh_policy(&self) -> Result<RefreshPolicy, ConfigError> {
        let hours: u32 = self.number("REFRESH_INTERVAL_HOURS")?;
        let seconds: u32 = self.number("SYNC_COOLDOWN_SECONDS")?;
        let days: u32 = self.number("UNLINKED_RETENTION_DAYS")?;
        let name = "REFRESH_POLICY";
        let rule = RefreshRule::from_word(self.required(name)?).ok_or(ConfigError::Invalid {
            name,
            expected: "interval, off, 6h, 12h, 24h, weekly or on_read",
        })?;
        Ok(RefreshPolicy {
            rule,
            interval: (hours > 0).then(|| Duration::from_hours(hours.into())),
            cooldown: Duration::from_secs(seconds.into()),
            unlinked_retention: (days > 0).then(|| Duration::from_hours(24) * days),
        })
    }

    /// `EVENT_RETENTION_DAYS`: the days for which histories are kept. 0: no history is kept.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is missing or is not a whole number.
    pub fn event_retention(&self) -> Result<Duration, ConfigError> {
        let days: u32 = self.number("EVENT_RETENTION_DAYS")?;
        Ok(Duration::from_hours(24 * u64::from(days)))
    }

    /// `KEEP_UNKNOWN_FIELDS`: whether fields of transactions that this system does not know are stored.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is missing, or neither `true` nor `false`.
    pub fn keeps_unknown_fields(&self) -> Result<bool, ConfigError> {
        let (name, expected) = ("KEEP_UNKNOWN_FIELDS", "true or false");
        self.required(name)?.parse().map_err(|_| ConfigError::Invalid { name, expected })
    }

    /// `PREVIOUS_SECRET_HOURS`: how long the previous webhook secret is accepted after a rotation. 0: not at all.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is missing or is not a whole number.
    pub fn previous_secret_hours(&self) -> Result<Duration, ConfigError> {
        let hours: u32 = self.number("PREVIOUS_SECRET_HOURS")?;
        Ok(Duration::from_hours(hours.into()))
    }

    /// `REDIRECT_ORIGINS`: origins with commas between them. Blank: none.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for any other value.
    pub fn redirect_origins(&self) -> Result<RedirectOrigins, ConfigError> {
        self.parsed_or_default(
            "REDIRECT_ORIGINS",
            "origins with commas, such as https://app.example",
        )
    }

    /// `FORWARD_EVENTS`: which of Mono's events are forwarded.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is missing, or is not `none`, `unhandled` or `all`.
    pub fn forward_events(&self) -> Result<ForwardEvents, ConfigError> {
        let (name, expected) = ("FORWARD_EVENTS", "none, unhandled or all");
        self.required(name)?.parse().map_err(|_| ConfigError::Invalid { name, expected })
    }

    /// The URL of a receiver in this variable. `None`: the variable is blank.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: the value is not a valid URL of a receiver.
    pub fn receiver_url(&self, name: &'static str) -> Result<Option<ReceiverUrl>, ConfigError> {
        let expected = "an https:// URL of a public host, or http:// on localhost";
        let url = self.optional(name).map(str::parse).transpose();
        url.map_err(|_| ConfigError::Invalid { name, expected })
    }

    /// `TRANSACTION_RETENTION_DAYS`: the days for which transactions are kept. 0: for ever.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if it is missing or is not a whole number.
    pub fn transaction_retention(&self) -> Result<Retention, ConfigError> {
        self.number("TRANSACTION_RETENTION_DAYS").map(Retention::of_days)
    }

    /// `IMPORT_HISTORY_DAYS`: the days up to today that the first import of transactions covers. Never more than the
    /// [retention](Self::transaction_retention).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a variable is missing or is not a whole number.
    pub fn import_history_days(&self) -> Result<u32, ConfigError> {
        Ok(self.transaction_retention()?.limit(self.number("IMPORT_HISTORY_DAYS")?))
    }

    /// `MONO_API_VERSION` (`v1` or `v2`) and `MONO_API_BASE_URL`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if either is missing or invalid.
    pub fn mono_api(&self) -> Result<(ApiVersion, BaseUrl), ConfigError> {
        let name = "MONO_API_VERSION";
        let version = match self.required(name)? {
            "v1" => ApiVersion::V1,
            "v2" => ApiVersion::V2,
            _ => return Err(ConfigError::Invalid { name, expected: "v1 or v2" }),
        };
        let name = "MONO_API_BASE_URL";
        let expected = "an https:// URL, or http:// on a loopback host";
        let url = self.required(name)?.parse();
        Ok((version, url.map_err(|_| ConfigError::Invalid { name, expected })?))
    }

    /// `MONO_PRICES`: `kind=naira` pairs, separated by commas. They override the defaults. Blank: the defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for any other value.
    pub fn mono_prices(&self) -> Result<Prices, ConfigError> {
        self.parsed_or_default(
            "MONO_PRICES",
            "kind=naira pairs with commas, such as realtime=100,details=100",
        )
    }

    /// `MONO_DAILY_BUDGET` and `MANUAL_DAILY_BUDGET`, in naira. 0: unlimited.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if either is missing or is not a whole number.
    pub fn daily_budgets(&self) -> Result<Budgets, ConfigError> {
        let automatic = Budget::new(self.number("MONO_DAILY_BUDGET")?);
        let manual = Budget::new(self.number("MANUAL_DAILY_BUDGET")?);
        Ok(Budgets { automatic, manual })
    }

    fn parsed_or_default<T: FromStr + Default>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<T, ConfigError> {
        let Some(value) = self.optional(name) else {
            return Ok(T::default());
        };
        value.parse().map_err(|_| ConfigError::Invalid { name, expected })
    }

    fn number<T: FromStr>(&self, name: &'static str) -> Result<T, ConfigError> {
        let expected = "a whole number";
        self.required(name)?.parse().map_err(|_| ConfigError::Invalid { name, expected })
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_or_blank_required_variable_is_named_in_the_error() {
        for environment in [Environment::default(), Environment::from([("ACCOUNTS_TABLE", " ")])] {
            let error = environment.required("ACCOUNTS_TABLE").unwrap_err();
            assert_eq!(error.to_string(), "the environment variable ACCOUNTS_TABLE is missing");
        }
    }

    #[test]
    fn owner_claim_is_required_and_may_be_none() {
        let claim = |value| Environment::from([("OWNER_CLAIM", value)]).owner_claim();
        assert_eq!(claim("sub").unwrap().as_deref(), Some("sub"));
        assert_eq!(claim("none").unwrap(), None);
        assert!(claim(" ").is_err());
        assert!(Environment::default().owner_claim().is_err());
    }

    #[test]
    fn error_of_an_invalid_variable_has_its_name_and_the_expected_value() {
        let environment = Environment::from([
            ("REFRESH_POLICY", "interval"),
            ("REFRESH_INTERVAL_HOURS", "daily"),
            ("SYNC_COOLDOWN_SECONDS", "1"),
        ]);
        let error = environment.refresh_policy().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the environment variable REFRESH_INTERVAL_HOURS must be a whole number"
        );
    }

    #[test]
    fn mono_api_requires_a_known_version_and_an_https_url() {
        let api = |version, url| {
            Environment::from([("MONO_API_VERSION", version), ("MONO_API_BASE_URL", url)])
                .mono_api()
        };
        let mono = "https://api.withmono.com";
        assert_eq!(api("v1", mono), Ok((ApiVersion::V1, mono.parse().unwrap())));
        assert_eq!(api("v2", mono), Ok((ApiVersion::V2, mono.parse().unwrap())));
        let error = api("v3", mono).unwrap_err();
        assert_eq!(error.to_string(), "the environment variable MONO_API_VERSION must be v1 or v2");
        assert!(api("v2", "http://api.withmono.com").is_err());
    }

    #[test]
    fn history_window_is_not_longer_than_the_retention() {
        let days = |retention| {
            let variables =
                [("IMPORT_HISTORY_DAYS", "365"), ("TRANSACTION_RETENTION_DAYS", retention)];
            Environment::from(variables).import_history_days()
        };
        assert_eq!((days("0"), days("90"), days("900")), (Ok(365), Ok(90), Ok(365)));
        assert!(days("many").is_err());
    }

    #[test]
    fn interval_of_zero_hours_switches_refreshing_off() {
        let policy = |hours| {
            let variables = [
                ("REFRESH_INTERVAL_HOURS", hours),
                ("REFRESH_POLICY", "on_read"),
                ("SYNC_COOLDOWN_SECONDS", "300"),
                ("UNLINKED_RETENTION_DAYS", "30"),
            ];
            Environment::from(variables).refresh_policy().unwrap()
        };
        assert_eq!(policy("0").unlinked_retention, Some(Duration::from_hours(30 * 24)));
        assert_eq!(policy("0").interval, None);
        assert_eq!(policy("24").interval, Some(Duration::from_hours(24)));
        assert_eq!(policy("24").cooldown, Duration::from_mins(5));
        assert_eq!(policy("24").rule, RefreshRule::OnRead);
    }
}
