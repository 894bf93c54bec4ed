//! Kelvin on one machine: demo, certificates, load.
