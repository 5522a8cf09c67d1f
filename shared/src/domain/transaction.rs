//! One transaction of an account, as Mono tells it.
//!
//! Facts about Mono here are from docs.mono.co (api/bank-data/transactions; docs/transactions-1 for
//! v1) as of April 2026; that a balance can be `null` was seen only in the code of Mono's users.

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
    /// Where it stands among the account's rows.
    pub position: Position,
    /// Which way the money went.
    pub direction: Direction,
    /// How much, whichever way: in minor units of the currency.
    pub amount: MinorUnits,
    /// The account's balance after it, where the bank tells it.
    pub balance: Option<MinorUnits>,
    /// ISO 4217 where it can be told. v1 alone has it; else it is the account's.
    pub currency: Option<String>,
    /// The bank's own words.
    pub narration: Option<String>,
    /// What Mono takes it for.
    pub category: Option<String>,
    /// The fields that this version does not know, or not in this form: a JSON object, each value
    /// written as it came.
    pub unknown: Option<String>,
}

/// Which way money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Out of the account.
    Debit,
    /// Into it.
    Credit,
}

impl Direction {
    /// Both, by their words.
    pub const WORDS: [(&str, Self); 2] = [("debit", Self::Debit), ("credit", Self::Credit)];

    /// The direction of this word, in any case.
    pub fn from_word(word: &str) -> Option<Self> {
        let known = Self::WORDS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known));
        known.map(|(_, direction)| *direction)
    }

    /// Its word in Mono's API, in ours and in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }
}

/// The place of a row among those of its account: by date, then by Mono's own order within one date, then
/// by Mono's id. Written so that the order of texts is that of positions:
/// `2023-12-14T00:02:00.500Z.0000001024.66141bbff58d2687e7d91234`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// When, as the bank dates it.
    pub date: Timestamp,
    /// Which of the rows of this date it is: the later it comes, the higher. Rows that Mono dates with the
    /// midnight of their day have one date all. Ids tell nothing of it: on a real statement they ascend
    /// from the newest row to the oldest.
    pub sequence: u32,
    /// Mono's id of the row, the same whenever it is told: 1 to 256 bytes, and no control
    /// character among them.
    pub id: String,
}

/// The text is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position among transactions")]
pub struct InvalidPosition;

impl Position {
    /// A place, if the id can be one.
    pub fn new(date: Timestamp, sequence: u32, id: &str) -> Option<Self> {
        is_usable_id(id).then(|| Self { date, sequence, id: id.to_owned() })
    }

    /// A text before those of all positions from this time on.
    pub fn from(time: Timestamp) -> String {
        format!("{time}.")
    }

    /// A text behind those of all positions up to and with this time.
    pub fn up_to(time: Timestamp) -> String {
        // The character behind the dot.
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

/// Larger than a bank's words ever are, and small enough to be an item of DynamoDB.
const MOST_BYTES: usize = 256 << 10;

impl Transaction {
    /// The day it counts for.
    pub fn business_day(&self) -> BusinessDay {
        BusinessDay::of(self.position.date)
    }

    /// Reads a row of either version of Mono's API. Its sequence is 0: that is for who sees all rows.
    ///
    /// # Errors
    ///
    /// [`UnreadableRow`] if it has no usable id, date, type or amount: money is never guessed.
    pub fn read(row: &RawValue) -> Result<Self, UnreadableRow> {
        if row.get().len() > MOST_BYTES {
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

/// A row cannot be stored. A pending row has no date as yet, for example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Mono's id of it, where that can be read.
    pub id: Option<String>,
}

/// What is not read of it yet.
struct Row(BTreeMap<String, Box<RawValue>>);

impl Row {
    /// A field that is as it should be. `null` is none; what is otherwise is left for
    /// [`rest`](Self::rest).
    fn take<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let value: Value = serde_json::from_str(self.0.get(name)?.get()).ok()?;
        let read = read(&value);
        if read.is_some() || value.is_null() {
            self.0.remove(name);
        }
        read
    }

    fn rest(self) -> Option<String> {
        // Names and raw values are written as they are: that cannot fail.
        (!self.0.is_empty()).then(|| serde_json::to_string(&self.0).unwrap_or_default())
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// RFC 3339; a bare date is that business day.
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

    /// A row as it should be, but for one field.
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
    fn monos_samples_are_read_in_both_versions() {
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
        assert_eq!((v1.currency.as_deref(), v1.unknown), (Some("NGN"), None), "null is nothing");
    }

    #[test]
    fn amounts_are_exact_beyond_the_53_bits_of_a_float() {
        let amount = |text| with("amount", text).map(|row| row.amount.0);
        assert_eq!(amount("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(amount("9223372036854775807"), Some(i64::MAX));
    }

    #[test]
    fn row_without_a_usable_id_date_type_or_amount_is_none() {
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
        assert_eq!(with("narration", &format!("{:?}", "x".repeat(MOST_BYTES))), None);
        for odd in ["[]", "7", "null"] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }

    #[test]
    fn unreadable_row_is_known_by_its_id() {
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
    fn bare_date_is_a_business_day_and_a_type_may_be_in_capitals() {
        let row = with("date", "\"2023-12-14\"").unwrap();
        assert_eq!(row.position.date.to_string(), "2023-12-13T23:00:00.000Z");
        assert_eq!(row.business_day().to_string(), "2023-12-14");
        assert_eq!(with("type", "\"CREDIT\"").unwrap().direction, Direction::Credit);
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
    fn position_is_read_as_it_was_written_and_nothing_else_is() {
        let text = "2023-12-14T00:02:00.500Z.0000000007.a.b";
        assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        for odd in [
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
            assert_eq!(odd.parse::<Position>(), Err(InvalidPosition), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn positions_and_their_texts_have_one_order(
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
