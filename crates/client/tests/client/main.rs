//! Clients against the real server over TLS, and what they must survive.

mod balancing;
mod binary;
mod credentials;
mod deadline;
mod delivery;
mod old_server;
mod reading;
mod restart;
mod rolling;
mod setup;
