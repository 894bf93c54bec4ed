//! What every binary of Kelvin does: settings, signals, the health port, exit codes.
