//! Small integers in few bits: Rice codes (R. F. Rice, "Some Practical Universal Noiseless Coding Techniques", JPL
//! 1979), with the parameter chosen for each frame.
//!
//! A value is its quotient by 2^k in unary (ones and a zero), then k bits. Two longer runs of ones are escapes: one for
//! an integer in 64 bits, so that one outlier costs 10 bytes and not a wide frame, one for 64 bits of another meaning.

use super::{
    bits::{BitReader, BitWriter, low_bits},
    frame::FRAME,
};

/// Quotients from here on are escaped.
const ESCAPE: u32 = 15;
/// With its quotient a code then fits into 64 bits.
const MAX_PARAMETER: u32 = 40;
const PARAMETER_BITS: u32 = 6;
/// The sum of all but one value, divided by this, is their mean times ln 2.
const MEAN_LN_2: u64 = 21;

/// The meaning of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Symbol {
    Integer(u64),
    /// 64 bits that are no integer of the frame.
    Literal(u64),
}

/// Maps small distances in both directions to small numbers.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Appends a frame of integers, one bit if all are zero; at the places of `literals` (a bit each) stand 64 other bits.
pub(super) fn put(
    writer: &mut BitWriter<'_>,
    integers: &[u64; FRAME],
    literals: u16,
    literal: impl Fn(usize) -> u64,
) {
    let any = integers.iter().fold(0, |any, integer| any | integer);
    if any == 0 && literals == 0 {
        writer.put(0, 1);
        return;
    }
    let parameter = parameter(integers);
    writer.put(1 | u64::from(parameter) << 1, 1 + PARAMETER_BITS);
    for (index, integer) in integers.iter().enumerate() {
        if literals != 0 && literals >> index & 1 == 1 {
            writer.put(low_bits(ESCAPE + 1), ESCAPE + 1);
            writer.put(literal(index), u64::BITS);
        } else {
            put_one(writer, *integer, parameter);
        }
    }
}

#[inline]
fn put_one(writer: &mut BitWriter<'_>, integer: u64, parameter: u32) {
    let quotient = u32::try_from(integer >> parameter).unwrap_or(u32::MAX);
    if quotient < ESCAPE {
        let unary = (1 << quotient) - 1;
        writer.put(unary | (integer & low_bits(parameter)) << (quotient + 1), quotient + 1 + parameter);
    } else {
        writer.put(low_bits(ESCAPE), ESCAPE + 1);
        writer.put(integer, u64::BITS);
    }
}

/// Hands the symbols of a frame on in order.
#[inline]
pub(super) fn take(reader: &mut BitReader<'_>, mut each: impl FnMut(usize, Symbol)) {
    if reader.take(1) == 0 {
        (0..FRAME).for_each(|index| each(index, Symbol::Integer(0)));
        return;
    }
    let parameter = reader.take_number(PARAMETER_BITS);
    let mask = low_bits(parameter);
    for index in 0..FRAME {
        let window = reader.peek();
        let quotient = window.trailing_ones();
        if quotient < ESCAPE {
            let remainder = (window >> (quotient + 1)) & mask;
            reader.skip(quotient + 1 + parameter);
            each(index, Symbol::Integer(u64::from(quotient) << parameter | remainder));
        } else {
            reader.skip(ESCAPE + 1);
            let bits = reader.take(u64::BITS);
            each(index, if quotient == ESCAPE { Symbol::Integer(bits) } else { Symbol::Literal(bits) });
        }
    }
}

/// About log2(mean · ln 2), the best for a geometric distribution. The largest is left out: it may be the one outlier.
fn parameter(integers: &[u64; FRAME]) -> u32 {
    let (mut sum, mut largest) = (0, 0);
    for integer in integers {
        // Sixteen of them must not overflow.
        let integer = (*integer).min(1 << 58);
        sum += integer;
        largest = largest.max(integer);
    }
    ((sum - largest) / MEAN_LN_2).max(1).ilog2().min(MAX_PARAMETER)
}
