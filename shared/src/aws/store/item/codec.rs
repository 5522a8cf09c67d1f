//! Encodes and decodes the attributes that are bytes.

use crate::domain::account::{Gap, GapReason, ImportNotes, ImportState, ShortHash};
use crate::domain::business_day::BusinessDay;
use crate::domain::timestamp::Timestamp;

/// The length of a [`Gap`] in bytes.
const GAP_LENGTH: usize = 4 + 4 + 6 + 6 + 1;

/// A number in groups of seven bits, the lowest first. All bytes but the last have the highest bit (LEB128).
pub(super) fn varint(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
    bytes
}

pub(super) fn read_varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..u32::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

pub(super) fn state_to_bytes(state: &ImportState) -> Vec<u8> {
    let ImportState { through, gaps, notes } = state;
    let ImportNotes { total, looked_back_on, is_paged, unexplained, job } = notes;
    let mut bytes = through.unwrap_or(Timestamp::from_millis(0)).to_bytes().to_vec();
    bytes.extend(total.unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend(looked_back_on.map_or(0, BusinessDay::number).to_be_bytes());
    bytes.push(u8::from(*is_paged));
    bytes.extend(unexplained.to_be_bytes());
    bytes.extend(job.map_or([0; 4], ShortHash::to_bytes));
    for gap in gaps {
        bytes.extend([gap.first, gap.last].map(|day| day.number().to_be_bytes()).concat());
        bytes.extend([gap.since, gap.tried].map(Timestamp::to_bytes).concat());
        bytes.push(gap.reason as u8);
    }
    bytes
}

pub(super) fn state(bytes: &[u8]) -> Option<ImportState> {
    let (through, rest) = bytes.split_first_chunk()?;
    let (total, rest) = rest.split_first_chunk()?;
    let (looked_back_on, rest) = rest.split_first_chunk()?;
    let ([is_paged], rest) = rest.split_first_chunk()?;
    let (unexplained, rest) = rest.split_first_chunk()?;
    let (job, gaps) = rest.split_first_chunk()?;
    let day = u32::from_be_bytes(*looked_back_on);
    let notes = ImportNotes {
        total: Some(u32::from_be_bytes(*total)).filter(|total| *total < u32::MAX),
        looked_back_on: (day > 0).then(|| BusinessDay::from_number(day)),
        is_paged: *is_paged != 0,
        unexplained: i32::from_be_bytes(*unexplained),
        job: Some(ShortHash::from_bytes(*job)).filter(|_| *job != [0; 4]),
    };
    let through = Some(Timestamp::from_bytes(*through)).filter(|through| through.millis() > 0);
    let gaps = gaps.chunks(GAP_LENGTH).map(gap).collect::<Option<_>>()?;
    Some(ImportState { through, gaps, notes })
}

fn gap(bytes: &[u8]) -> Option<Gap> {
    let (first, rest) = bytes.split_first_chunk()?;
    let (last, rest) = rest.split_first_chunk()?;
    let (since, rest) = rest.split_first_chunk()?;
    let (tried, reason) = rest.split_first_chunk()?;
    let day = |bytes: &[u8; 4]| BusinessDay::from_number(u32::from_be_bytes(*bytes));
    let reasons = [GapReason::NotWhole, GapReason::MostRowsGone, GapReason::NotServed];
    Some(Gap {
        first: day(first),
        last: day(last),
        since: Timestamp::from_bytes(*since),
        tried: Timestamp::from_bytes(*tried),
        reason: reasons.into_iter().find(|known| [*known as u8] == reason)?,
    })
}
