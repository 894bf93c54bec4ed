//! TLS from PEM files that are reloaded when they change, tokens likewise, and a local CA.
