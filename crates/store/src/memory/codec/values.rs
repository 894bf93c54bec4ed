//! Temperatures, exact to the bit.
//!
//! Most sensors resolve a decimal or binary fraction of a degree. In a frame of such values, each is an integer
//! multiple of 1/scale, and the distances of the integers are written. A value is only taken for a multiple if the
//! integer divided by the scale gives back its very bits, so −0.0 and the rare odd one are written as they are. Other
//! frames hold the XOR with the value before, without the zeros that all of the frame have at both ends.

use super::{
    bits::{BitReader, BitWriter},
    frame::FRAME,
    integers::{self, Symbol, unzigzag, zigzag},
    state::State,
};
use crate::Reading;

/// Integers a degree. 16 and 256 are what digital sensors resolve. The first that fits is taken.
const SCALES: [f64; 8] = [1.0, 10.0, 16.0, 100.0, 256.0, 1e3, 1e4, 1e6];
/// The mode of frames that are not integers.
const XOR: u32 = 8;
const MODE_BITS: u32 = 4;
/// A frame with more values than this that are no integers is cheaper as XOR.
const MAX_LITERALS: u32 = 2;
/// 1.5 · 2^52: added to a number below 2^51 it leaves the number, rounded, in the lowest bits. Rounding and converting
/// by instructions of their own takes a function call on x86-64's base level.
const ROUND: f64 = 6_755_399_441_055_744.0;
const MAX_INTEGER: f64 = (1_u64 << 51) as f64;
const TRAILING_BITS: u32 = 6;
const WIDTH_BITS: u32 = 7;

struct Integers {
    values: [i64; FRAME],
    /// A bit for each value that is none.
    literals: u16,
}

pub(super) fn put(writer: &mut BitWriter<'_>, state: &mut State, readings: &[Reading; FRAME]) {
    let chosen = choose(state.mode, readings);
    let mode = chosen.as_ref().map_or(XOR, |(mode, _)| *mode);
    if mode == state.mode {
        writer.put(0, 1);
    } else {
        writer.put(1 | u64::from(mode) << 1, 1 + MODE_BITS);
        state.mode = mode;
    }
    match chosen {
        Some((mode, integers)) => {
            put_integers(writer, state.value, SCALES[mode as usize], &integers, readings);
        }
        None => put_xors(writer, state.value, readings),
    }
    state.value = readings[FRAME - 1].temperature;
}

#[inline]
pub(super) fn take(reader: &mut BitReader<'_>, state: &mut State, out: &mut [Reading; FRAME]) {
    if reader.take(1) == 1 {
        state.mode = reader.take_number(MODE_BITS);
    }
    match SCALES.get(state.mode as usize) {
        Some(scale) => take_integers(reader, state.value, *scale, out),
        None => take_xors(reader, state.value, out),
    }
    state.value = out[FRAME - 1].temperature;
}

/// Stays with the scale before as long as it fits. Two values decide whether another is worth a closer look: noise has
/// to fail quickly.
fn choose(mode: u32, readings: &[Reading; FRAME]) -> Option<(u32, Integers)> {
    let fits = |mode: u32| {
        let integers = Integers::new(SCALES[mode as usize], readings);
        (integers.literals.count_ones() <= MAX_LITERALS).then_some((mode, integers))
    };
    if mode != XOR
        && let Some(chosen) = fits(mode)
    {
        return Some(chosen);
    }
    let probes = [readings[0].temperature, readings[FRAME / 2].temperature];
    let likely = |mode: &u32| {
        let scale = SCALES[*mode as usize];
        probes.iter().any(|value| is_exact(*value, integer(*value, scale), scale))
    };
    (0..XOR).filter(|other| *other != mode).filter(likely).find_map(fits)
}

fn put_integers(
    writer: &mut BitWriter<'_>,
    before: f64,
    scale: f64,
    integers: &Integers,
    readings: &[Reading; FRAME],
) {
    let mut before = integer(before, scale);
    let mut distances = [0; FRAME];
    for (index, distance) in distances.iter_mut().enumerate() {
        if integers.literals >> index & 1 == 0 {
            *distance = zigzag(integers.values[index] - before);
            before = integers.values[index];
        }
    }
    integers::put(writer, &distances, integers.literals, |index| readings[index].temperature.to_bits());
}

#[inline]
fn take_integers(reader: &mut BitReader<'_>, before: f64, scale: f64, out: &mut [Reading; FRAME]) {
    let mut value = integer(before, scale);
    integers::take(reader, |index, symbol| {
        out[index].temperature = match symbol {
            Symbol::Integer(distance) => {
                value += unzigzag(distance);
                value as f64 / scale
            }
            Symbol::Literal(bits) => f64::from_bits(bits),
        };
    });
}

fn put_xors(writer: &mut BitWriter<'_>, before: f64, readings: &[Reading; FRAME]) {
    let mut before = before.to_bits();
    let xors = readings.map(|reading| std::mem::replace(&mut before, reading.temperature.to_bits()) ^ before);
    let any = xors.iter().fold(0, |any, xor| any | xor);
    let trailing = any.trailing_zeros().min(u64::BITS - 1);
    let width = u64::BITS - (any >> trailing).leading_zeros();
    writer.put(u64::from(trailing) | u64::from(width) << TRAILING_BITS, TRAILING_BITS + WIDTH_BITS);
    for xor in xors {
        writer.put(xor >> trailing, width);
    }
}

fn take_xors(reader: &mut BitReader<'_>, before: f64, out: &mut [Reading; FRAME]) {
    let trailing = reader.take_number(TRAILING_BITS);
    let width = reader.take_number(WIDTH_BITS);
    let mut bits = before.to_bits();
    for reading in out {
        bits ^= reader.take(width) << trailing;
        reading.temperature = f64::from_bits(bits);
    }
}

impl Integers {
    fn new(scale: f64, readings: &[Reading; FRAME]) -> Self {
        let values = readings.map(|reading| integer(reading.temperature, scale));
        let mut literals = 0;
        for (index, (value, reading)) in values.iter().zip(readings).enumerate() {
            literals |= u16::from(!is_exact(reading.temperature, *value, scale)) << index;
        }
        Self { values, literals }
    }
}

/// The multiple of 1/scale next to a value; 0 for a value too large.
#[inline]
fn integer(value: f64, scale: f64) -> i64 {
    let scaled = value * scale;
    let rounded = (scaled + ROUND).to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    if scaled.abs() < MAX_INTEGER { rounded } else { 0 }
}

#[inline]
fn is_exact(value: f64, integer: i64, scale: f64) -> bool {
    (integer as f64 / scale).to_bits() == value.to_bits()
}
