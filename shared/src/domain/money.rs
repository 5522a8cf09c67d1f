//! Amounts of money in whole minor units.

use serde::Serialize;
use serde_json::Value;

/// An amount in the minor unit of its currency (kobo, pesewa, cent), exact over the whole range of `i64`. Mono sends
/// balances in minor units [docs.mono.co/api/bank-data/accounts/details].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct MinorUnits(pub i64);

impl MinorUnits {
    /// Reads a whole number: a JSON integer, a float without a fraction (`22967.0`) or a text (`"22967"`). Some
    /// senders use the last two. `None` for anything else: `null`, a fraction, a number beyond `i64`, a float beyond
    /// 53 bits. An amount is never guessed or rounded.
    pub fn from_json(value: &Value) -> Option<Self> {
        let amount = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        amount.map(Self)
    }
}

/// Converts a float that is a whole number and exact. `None` for any other float.
fn whole(float: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "of a whole number below 2^53")]
    let amount = float as i64;
    #[expect(clippy::float_cmp, reason = "whether it is exactly whole")]
    let is_whole = float.trunc() == float;
    (is_whole && float.abs() < EXACT).then_some(amount)
}

/// The ISO 4217 code of a currency, or the unchanged word if the code is unknown. Mono's samples have `NGN`, `ngn`
/// and, in 2020, `Naira`.
pub(crate) fn currency(word: &str) -> String {
    let is_code = word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    match word {
        _ if word.eq_ignore_ascii_case("naira") => "NGN".to_owned(),
        _ if is_code => word.to_ascii_uppercase(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<i64> {
        MinorUnits::from_json(&serde_json::from_str(json).unwrap()).map(|amount| amount.0)
    }

    #[test]
    fn integer_is_exact_beyond_the_53_bits_of_a_float() {
        assert_eq!(read("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(read("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(read("0"), Some(0));
    }

    #[test]
    fn whole_number_in_a_float_or_a_text_is_an_amount() {
        for json in ["22967", "22967.0", "\"22967\"", "\" 22967 \"", "2.2967e4"] {
            assert_eq!(read(json), Some(22_967), "{json}");
        }
        assert_eq!(read("\"-9223372036854775808\""), Some(i64::MIN));
    }

    #[test]
    fn fraction_or_overflow_is_not_an_amount() {
        let floats = ["1.5", "9007199254740992.0", "9223372036854775808"];
        let texts = ["\"1.5\"", "\"\"", "\"NGN 5\"", "\"9223372036854775808\""];
        for json in floats.into_iter().chain(texts).chain(["null", "[]", "true"]) {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
