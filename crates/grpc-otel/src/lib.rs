//! gRPC's own metrics (gRFC A66) and traces (gRFC A72) for any tonic service.
