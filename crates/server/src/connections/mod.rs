//! Limits the resources of connections, and serves HTTP/2 within them.
//!
//! [`Registry`] admits connections and owns the process-wide budget; [`Account`] counts what one connection uses of it.

mod account;
mod backpressure;
mod call;
mod frames;
mod http2;
mod incoming_body;
mod ledger;
mod metered;
mod preface;
mod registry;
mod settings_rate;
mod state;
mod turns;

pub(crate) use account::Account;
pub(crate) use call::HandlerMemory;
pub(crate) use http2::serve;
pub(crate) use incoming_body::IncomingBody;
pub(crate) use preface::PrefaceChecked;
pub(crate) use registry::{Limits, Registry};
pub(crate) use turns::Turns;
