//! The OpenTelemetry SDK, set up from OTEL_* variables.
