//! The sensor server.
