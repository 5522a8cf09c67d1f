//! One transaction of an account, as Mono lists it.
//!
//! Statements about Mono in this file are from docs.mono.co (api/bank-data/transactions; docs/transactions-1 for v1)
//! as of April 2026. A `null` balance was seen only in the code of Mono's users.

mod page;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::business_day::BusinessDay;
use crate::domain::money::{MinorUnits, currency};
use crate::domain::timestamp::Timestamp;

pub use page::{SyncedPage, TransactionPage};
pub use view::TransactionView;

/// A row of an account's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub position: Position,
    pub direction: Direction,
    /// The amount in minor units of the currency.
    pub amount: MinorUnits,
    /// The account's balance after the transaction, in minor units. `None` if the bank does not report it.
    pub balance: Option<MinorUnits>,
    /// The ISO 4217 code, if known. Only v1 sends it. In v2 the account's currency applies.
    pub currency: Option<String>,
    /// The bank's description.
    pub narration: Option<String>,
    /// The category that Mono assigns.
    pub category: Option<String>,
    /// The fields that this version does not know, or that have an unknown form. It is a JSON object in which each
    /// value is unchanged.
    pub unknown: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Money left the account.
    Debit,
    /// Money arrived in the account.
    Credit,
}

impl Direction {
    /// Both directions with their words.
    pub const WORDS: [(&str, Self); 2] = [("debit", Self::Debit), ("credit", Self::Credit)];

    /// Reads a word, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        let known = Self::WORDS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known));
        known.map(|(_, direction)| *direction)
    }

    /// The word in Mono's API, in the API of this system and in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}

/// The position of a row in its account. Positions are ordered by date, then by Mono's order within one date, then by
/// Mono's id. Texts of positions sort in the same order:
/// `2023-12-14T00:02:00.500Z.0000001024.66141bbff58d2687e7d91234`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The bank's date of the transaction.
    pub date: Timestamp,
    /// Orders the rows of one date: a newer row has a higher number. Mono dates many rows with the midnight of their
    /// day, so they have the same date. Ids do not show the order: on a real statement they ascend from the newest
    /// row to the oldest.
    pub sequence: u32,
    /// Mono's id of the row, the same in every listing. It has 1 to 256 bytes and no control characters.
    pub id: String,
}

/// The text is not a valid position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position among transactions")]
pub struct InvalidPosition;

impl Position {
    /// `None` if the id is not usable in a position.
    pub fn new(date: Timestamp, sequence: u32, id: &str) -> Option<Self> {
        is_usable_id(id).then(|| Self { date, sequence, id: id.to_owned() })
    }

    /// A text that sorts before all positions at or after this time.
    pub fn from(time: Timestamp) -> String {
        format!("{time}.")
    }

    /// A text that sorts after all positions at or before this time.
    pub fn up_to(time: Timestamp) -> String {
        // `/` is the next character after `.`.
        format!("{time}/")
    }
}

fn is_usable_id(id: &str) -> bool {
    (1..=256).contains(&id.len()) && !id.contains(char::is_control)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:010}.{}", self.date, self.sequence, self.id)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        const DATE: usize = "2023-12-14T00:02:00.500Z".len();
        let (date, rest) = text.split_at_checked(DATE).ok_or(InvalidPosition)?;
        let date = Timestamp::parse_rfc3339(date).ok_or(InvalidPosition)?;
        let rest = rest.strip_prefix('.').ok_or(InvalidPosition)?;
        let (sequence, id) = rest.split_once('.').ok_or(InvalidPosition)?;
        let sequence = sequence.parse().map_err(|_| InvalidPosition)?;
        let position = Self::new(date, sequence, id).ok_or(InvalidPosition)?;
        if position.to_string() == text { Ok(position) } else { Err(InvalidPosition) }
    }
}

/// The maximum size of a row. It is larger than any real row. DynamoDB allows 400 KB for an item and its copy in the local
/// index together.
const MAX_BYTES: usize = 128 << 10;

impl Transaction {
    pub fn business_day(&self) -> BusinessDay {
        BusinessDay::of(self.position.date)
    }

    /// Reads a row of either version of Mono's API. The sequence is 0, because it depends on the other rows of the
    /// date.
    ///
    /// # Errors
    ///
    /// [`UnreadableRow`]: the row has no usable id, date, type or amount. A missing amount is never guessed.
    pub fn read(row: &RawValue) -> Result<Self, UnreadableRow> {
        if row.get().len() > MAX_BYTES {
            return Err(UnreadableRow { id: None });
        }
        let row = serde_json::from_str(row.get()).map_err(|_| UnreadableRow { id: None })?;
        let mut row = Row(row);
        let id = row.take("id", text).or_else(|| row.take("_id", text));
        let id = id.filter(|id| is_usable_id(id));
        Self::identified(row, id.clone()).ok_or(UnreadableRow { id })
    }

    fn identified(mut row: Row, id: Option<String>) -> Option<Self> {
        Some(Self {
            position: Position { date: row.take("date", date)?, sequence: 0, id: id? },
            direction: row.take("type", |value| Direction::from_word(value.as_str()?))?,
            amount: row.take("amount", MinorUnits::from_json)?,
            balance: row.take("balance", MinorUnits::from_json),
            currency: row.take("currency", |value| Some(currency(&text(value)?))),
            narration: row.take("narration", text),
            category: row.take("category", text),
            unknown: row.rest(),
        })
    }
}

/// A row that cannot be stored. For example, a pending row has no date yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Mono's id of the row, if it is readable.
    pub id: Option<String>,
}

/// The fields of a row that are not read yet.
struct Row(BTreeMap<String, Box<RawValue>>);

impl Row {
    /// Removes and reads a field. `None` if the field is missing, `null`, or of an unknown form. A field of an
    /// unknown form is not removed, so [`rest`](Self::rest) keeps it.
    fn take<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value: Value = serde_json::from_str(self.0.get(name)?.get()).ok()?;
        let read = read(&value);
        if read.is_some() || value.is_null() {
            self.0.remove(name);
        }
        read
    }

    fn rest(self) -> Option<String> {
        // Names and raw values are written unchanged, so this cannot fail.
        (!self.0.is_empty()).then(|| serde_json::to_string(&self.0).unwrap_or_default())
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Reads RFC 3339, or a bare date as the start of that business day.
fn date(value: &Value) -> Option<Timestamp> {
    let text = value.as_str()?;
    let day = || BusinessDay::parse(text).map(BusinessDay::begins_at);
    Timestamp::parse_rfc3339(text).or_else(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Option<Transaction> {
        Transaction::read(&RawValue::from_string(json.to_owned()).unwrap()).ok()
    }

    /// A valid row in which one field has this value.
    fn with(name: &str, value: &str) -> Option<Transaction> {
        let mut fields = BTreeMap::from([
            ("id", "\"row-1\""),
            ("date", "\"2023-12-14T00:02:00.500Z\""),
            ("type", "\"debit\""),
            ("amount", "500"),
        ]);
        fields.insert(name, value);
        let fields: Vec<_> = fields.iter().map(|(name, raw)| format!("{name:?}:{raw}")).collect();
        read(&format!("{{{}}}", fields.join(",")))
    }

    #[test]
    fn sample_rows_of_both_versions_are_read() {
        let v2 = read(
            r#"{ "id": "66141bbff58d2687e7d91234", "narration": "PG00001", "amount": 500, "type": "debit",
                "balance": 1500, "date": "2023-12-14T00:02:00.500Z", "category": "unknown" }"#,
        );
        let v2 = v2.unwrap();
        let text = "2023-12-14T00:02:00.500Z.0000000000.66141bbff58d2687e7d91234";
        assert_eq!(v2.position.to_string(), text);
        assert_eq!((v2.direction, v2.amount.0), (Direction::Debit, 500));
        assert_eq!((v2.balance, v2.unknown.as_deref()), (Some(MinorUnits(1500)), None));
        let v1 = read(
            r#"{ "_id": "66141bbff58d2687e7d91234", "narration": "PG00001", "amount": 500, "type": "credit",
                "balance": null, "date": "2023-12-14T00:02:00.500Z", "currency": "ngn" }"#,
        );
        let v1 = v1.unwrap();
        assert_eq!((v1.position, v1.balance), (v2.position, None));
        assert_eq!(
            (v1.currency.as_deref(), v1.unknown),
            (Some("NGN"), None),
            "a null balance is missing, and not unknown"
        );
    }

    #[test]
    fn amounts_are_exact_beyond_the_53_bits_of_a_float() {
        let amount = |text| with("amount", text).map(|row| row.amount.0);
        assert_eq!(amount("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(amount("9223372036854775807"), Some(i64::MAX));
    }

    #[test]
    fn row_without_a_usable_id_date_type_or_amount_is_unreadable() {
        for (name, values) in [
            ("id", &["null", "7", "\"\"", "\"a\\nb\""][..]),
            ("date", &["null", "1702512120500", "\"14-12-2023\"", "\"1969-12-31T00:00:00Z\""]),
            ("type", &["null", "\"transfer\"", "1"]),
            ("amount", &["null", "1.5", "\"five\"", "9223372036854775808"]),
        ] {
            for value in values {
                assert_eq!(with(name, value), None, "{name}: {value}");
            }
        }
        assert_eq!(with("id", &format!("{:?}", "x".repeat(257))), None);
        assert_eq!(with("narration", &format!("{:?}", "x".repeat(MAX_BYTES))), None);
        for json in ["[]", "7", "null"] {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn unreadable_row_keeps_its_id() {
        let id = |json: &str| {
            let row = RawValue::from_string(json.to_owned()).unwrap();
            Transaction::read(&row).unwrap_err().id
        };
        assert_eq!(id(r#"{"id":"pending","type":"debit","amount":5}"#).as_deref(), Some("pending"));
        assert_eq!(id(r#"{"_id":"pending","date":"soon"}"#).as_deref(), Some("pending"));
        for json in ["7", "{}", r#"{"id":7}"#, r#"{"id":""}"#] {
            assert_eq!(id(json), None, "{json}");
        }
    }

    #[test]
    fn bare_date_is_a_business_day_and_type_is_read_in_any_case() {
        let row = with("date", "\"2023-12-14\"").unwrap();
        assert_eq!(row.position.date.to_string(), "2023-12-13T23:00:00.000Z");
        assert_eq!(row.business_day().to_string(), "2023-12-14");
        assert_eq!(with("type", "\"CREDIT\"").unwrap().direction, Direction::Credit);
    }

    #[test]
    fn page_without_unknown_fields_keeps_the_known_ones() {
        let rows = r#"[{ "id": "a", "type": "debit", "amount": 5, "date": "2026-01-27", "novelty": "x" }]"#;
        let page = TransactionPage::of_rows(rows).unwrap();
        assert_eq!(page.rows[0].unknown.as_deref(), Some(r#"{"novelty":"x"}"#));
        let without = page.without_unknown_fields();
        assert_eq!((without.rows[0].amount, &without.rows[0].unknown), (MinorUnits(5), &None));
    }

    #[test]
    fn unknown_fields_are_kept_unchanged() {
        let raw = r#"{"rate": 1.10, "big": 123456789012345678901234567890}"#;
        let row = with("metadata", raw).unwrap();
        assert_eq!(row.unknown, Some(format!("{{\"metadata\":{raw}}}")));
        let row = with("balance", "12.50").unwrap();
        assert_eq!((row.balance, row.unknown.as_deref()), (None, Some(r#"{"balance":12.50}"#)));
        let row = with("narration", "[1]").unwrap();
        assert_eq!((row.narration, row.unknown.as_deref()), (None, Some(r#"{"narration":[1]}"#)));
    }

    #[test]
    fn position_text_is_read_back_and_other_text_is_rejected() {
        let text = "2023-12-14T00:02:00.500Z.0000000007.a.b";
        assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        for invalid in [
            "",
            "2023-12-14T00:02:00.500Z",
            "2023-12-14T00:02:00.500Z.",
            "2023-12-14T00:02:00.500Z.a",
            "2023-12-14T00:02:00.500Z.7.a",
            "2023-12-14T00:02:00.500Z.0000000007.",
            "2023-12-14T00:02:00.500Z.9999999999.a",
            "2023-12-14T00:02:00.500Z/0000000007.a",
            "2023-12-14T01:02:00+01:00.0000000007.a",
            "what.0000000007.a",
            "2023-12-14T00:02:00.50éZ.0000000007.a",
        ] {
            assert_eq!(invalid.parse::<Position>(), Err(InvalidPosition), "{invalid}");
        }
    }

    proptest! {
        #[test]
        fn position_texts_sort_like_positions(
            one in (0..3_u64, 0..3_u32, "[a-z.]{1,3}"),
            other in (0..3_u64, 0..3_u32, "[a-z.]{1,3}"),
        ) {
            let position = |(millis, sequence, id): &(u64, u32, String)| {
                Position::new(Timestamp::from_millis(*millis), *sequence, id).unwrap()
            };
            let (one, other) = (position(&one), position(&other));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
            let within = other.date >= one.date;
            prop_assert_eq!(Position::from(one.date) <= other.to_string(), within);
            prop_assert_eq!(other.to_string() < Position::up_to(one.date), other.date <= one.date);
        }
    }
}
