//! Timestamps as the change of their distance: nothing changes at a steady interval.

use super::{
    bits::{BitReader, BitWriter},
    frame::FRAME,
    integers::{self, Symbol, unzigzag, zigzag},
    state::State,
};
use crate::Reading;

pub(super) fn put(writer: &mut BitWriter<'_>, state: &mut State, readings: &[Reading; FRAME]) {
    let mut changes = [0; FRAME];
    for (change, reading) in changes.iter_mut().zip(readings) {
        // Wrapping keeps extreme timestamps exact; the reader wraps back.
        let distance = reading.timestamp.wrapping_sub(state.timestamp);
        *change = zigzag(distance.wrapping_sub(state.distance));
        (state.timestamp, state.distance) = (reading.timestamp, distance);
    }
    integers::put(writer, &changes, 0, |_| 0);
}

#[inline]
pub(super) fn take(reader: &mut BitReader<'_>, state: &mut State, out: &mut [Reading; FRAME]) {
    let (mut timestamp, mut distance) = (state.timestamp, state.distance);
    integers::take(reader, |index, symbol| {
        let (Symbol::Integer(change) | Symbol::Literal(change)) = symbol;
        distance = distance.wrapping_add(unzigzag(change));
        timestamp = timestamp.wrapping_add(distance);
        out[index].timestamp = timestamp;
    });
    (state.timestamp, state.distance) = (timestamp, distance);
}
