//! The nodes: which one serves a slot ([`slots`]), the connections to them ([`pool`], [`connect`]), what a new
//! connection verifies ([`handshake`], [`layout`]) and what an error means for a retry ([`failure`]). [`nodes`] puts them
//! together.

mod connect;
mod failure;
mod handshake;
mod layout;
mod nodes;
mod pool;
mod slots;

pub(super) use self::{
    connect::{ConnectionRole, client, limits, validate, wait_limit},
    failure::Failure,
    nodes::Nodes,
    pool::Connection,
};
