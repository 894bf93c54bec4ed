//! What is checked against a running cluster.
