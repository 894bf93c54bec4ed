//! The binary trace context of `OpenCensus`.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator, text_map_propagator::FieldIter},
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};

/// gRPC writes binary metadata without padding and reads it with and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of the header: a version, then three fields (16, 8 and 1 bytes), each with its number before it (gRFC A72).
const LENGTH: usize = 29;

/// Carries the trace context in `grpc-trace-bin`, as gRPC with `OpenCensus` did.
///
/// gRFC A72 keeps it for the time of migration only: combine it with `TraceContextPropagator` in a
/// `TextMapCompositePropagator`, and drop it when the last peer speaks W3C.
#[derive(Debug)]
pub struct GrpcTraceBinPropagator {
    fields: [String; 1],
}

impl GrpcTraceBinPropagator {
    /// Creates the propagator; it has no settings.
    #[must_use]
    pub fn new() -> Self {
        Self { fields: ["grpc-trace-bin".to_owned()] }
    }
}

impl Default for GrpcTraceBinPropagator {
    fn default() -> Self {
        Self::new()
    }
}

impl TextMapPropagator for GrpcTraceBinPropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let span = cx.span();
        if span.span_context().is_valid() {
            injector.set(&self.fields[0], BASE64.encode(encode(span.span_context())));
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let remote = extractor
            .get(&self.fields[0])
            .and_then(|header| BASE64.decode(header).ok())
            .and_then(|bytes| decode(&bytes));
        remote.map_or_else(|| cx.clone(), |remote| cx.with_remote_span_context(remote))
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(&self.fields)
    }
}

fn encode(context: &SpanContext) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[2..18].copy_from_slice(&context.trace_id().to_bytes());
    bytes[18] = 1;
    bytes[19..27].copy_from_slice(&context.span_id().to_bytes());
    bytes[27] = 2;
    bytes[28] = context.trace_flags().to_u8();
    bytes
}

fn decode(bytes: &[u8]) -> Option<SpanContext> {
    let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
    let [0, 0, trace_id @ .., _, _, _, _, _, _, _, _, _, _, _] = bytes else { return None };
    let [.., 1, s0, s1, s2, s3, s4, s5, s6, s7, 2, flags] = *bytes else { return None };
    let context = SpanContext::new(
        TraceId::from_bytes(*trace_id),
        SpanId::from_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        TraceFlags::new(flags),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn injected_context_is_extracted(
            trace in 1_u128..,
            span in 1_u64..,
            sampled in any::<bool>(),
        ) {
            let sent = SpanContext::new(
                trace.into(),
                span.into(),
                TraceFlags::default().with_sampled(sampled),
                true,
                TraceState::NONE,
            );
            let mut carrier = HashMap::new();
            let propagator = GrpcTraceBinPropagator::new();
            propagator.inject_context(&Context::new().with_remote_span_context(sent.clone()), &mut carrier);
            let received = propagator.extract_with_context(&Context::new(), &carrier);
            let received = received.span().span_context().clone();
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn anything_else_is_no_parent(header in "[A-Za-z0-9+/]{0,60}={0,2}") {
            let carrier = HashMap::from([("grpc-trace-bin".to_owned(), header.clone())]);
            let received = GrpcTraceBinPropagator::new().extract_with_context(&Context::new(), &carrier);
            // 29 bytes are 39 characters; the four field numbers among them are rarely met.
            let right = BASE64.decode(header).is_ok_and(|b| b.len() == LENGTH && [b[0], b[1], b[18], b[27]] == [0, 0, 1, 2]);
            prop_assert!(!received.span().span_context().is_valid() || right);
        }
    }

    #[test]
    fn encoding_equals_opencensus() {
        let context = SpanContext::new(
            0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10_u128.into(),
            0x1112_1314_1516_1718_u64.into(),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let mut expected = vec![0, 0];
        expected.extend(1..=16);
        expected.push(1);
        expected.extend(17..=24);
        expected.extend([2, 1]);
        assert_eq!(encode(&context).as_slice(), expected);
    }
}
