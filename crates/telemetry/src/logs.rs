//! Log lines: on stdout, as JSON or, on a terminal, as text; and to the collector.

use std::{
    collections::HashMap,
    env, fmt, io,
    io::IsTerminal,
    panic,
    time::{Duration, Instant},
};

use opentelemetry::{Context, trace::TraceContextExt};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber, callsite::Identifier, level_filters::LevelFilter,
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, dynamic_filter_fn, filter_fn},
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format, format::Writer},
    layer::{self, SubscriberExt},
    registry::LookupSpan,
};

/// What the exporters are made of. Their own log lines would feed the exporter that they come from.
const TRANSPORTS: [&str; 7] = ["h2", "hyper", "hyper_util", "opentelemetry", "rustls", "tonic", "tower"];

/// How often the SDK may say the same thing. An unreachable collector would be logged every second.
const REPEAT: Duration = Duration::from_mins(1);

/// Makes log lines go to stdout and, if there is one, to `provider`, at the levels of `RUST_LOG` (`info`
/// where it is not set). Panics become log lines. The first call in a process stands. `measured` says
/// whether anything reads metrics: the SDK takes it for an error when an instrument is a no-op.
pub(crate) fn init(provider: Option<&SdkLoggerProvider>, measured: bool) {
    if tracing::subscriber::set_global_default(subscriber(provider, measured)).is_ok() {
        panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    }
}

/// Prints log lines of this thread, until the guard is dropped, before there is a provider for [`init`]: what the SDK
/// warns of while it builds providers would otherwise be lost.
pub(crate) fn before_init(measured: bool) -> DefaultGuard {
    tracing::subscriber::set_default(subscriber(None, measured))
}

fn subscriber(provider: Option<&SdkLoggerProvider>, measured: bool) -> impl Subscriber + Send + Sync + use<> {
    let terminal = io::stdout().is_terminal();
    let colours = terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = lines(terminal, colours, io::stdout);
    let bridge = provider.map(|provider| {
        let others = filter_fn(|metadata| !of_transports(metadata)).with_max_level_hint(LevelFilter::TRACE);
        OpenTelemetryTracingBridge::new(provider).with_filter(levels().and(others))
    });
    let libraries = rate_limit_libraries(measured);
    tracing_subscriber::registry().with(lines.with_filter(levels().and(libraries))).with(bridge)
}

/// Text for a terminal, else JSON.
fn lines<S, W>(terminal: bool, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    if terminal {
        let format = format().with_ansi(colours);
        lines.with_ansi(colours).event_format(WithTrace { format, json: false }).boxed()
    } else {
        let format = format().json().flatten_event(true);
        lines.json().event_format(WithTrace { format, json: true }).boxed()
    }
}

fn levels() -> EnvFilter {
    EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy()
}

fn of_transports(metadata: &Metadata<'_>) -> bool {
    let root = metadata.target().split("::").next().unwrap_or_default();
    TRANSPORTS.contains(&root) || root.starts_with("opentelemetry")
}

/// Limits how often libraries repeat themselves, and drops what the SDK says after the last export: the line that says
/// that it failed.
fn rate_limit_libraries<S: Subscriber>(measured: bool) -> impl layer::Filter<S> + Send + Sync + 'static {
    let last = Mutex::new(HashMap::<Identifier, Instant>::new());
    dynamic_filter_fn(move |metadata: &Metadata<'_>, _: &layer::Context<'_, S>| {
        // HTTP/2 and TLS warn of what peers do, as often as they do it.
        let of_peers = of_transports(metadata) && *metadata.level() <= Level::WARN;
        if !of_peers && !metadata.target().starts_with("opentelemetry") {
            return true;
        }
        let is_noop_instrument = !measured && metadata.name() == "InstrumentCreationFailed";
        // Wrong values of variables are warned of by `variables`.
        let of_variables = metadata.name().starts_with("TracerProvider.Config.")
            || metadata.name() == "Exporter.Config.InvalidEnvironmentVariable";
        // That a global provider is set is of no use to whoever runs the program.
        let of_set_up = metadata.name().ends_with(".GlobalSet");
        if is_noop_instrument || of_variables || of_set_up || metadata.name().ends_with(".AfterShutdown") {
            return false;
        }
        let now = Instant::now();
        let mut last = last.lock();
        let due = last.get(&metadata.callsite()).is_none_or(|last| now.duration_since(*last) >= REPEAT);
        if due {
            last.insert(metadata.callsite(), now);
        }
        due
    })
    .with_max_level_hint(LevelFilter::TRACE)
}

/// Adds the ids of the current trace and span to a line of another format.
///
/// The formatters of tracing-subscriber write the fields of the event and of `tracing` spans, and take no others
/// (<https://github.com/tokio-rs/tracing/issues/1531>). Calls have only OpenTelemetry spans, so the ids are added to the
/// finished line. A line of JSON is one object, never an empty one: it has the level.
struct WithTrace<F> {
    format: F,
    json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let span = Context::map_current(|context| context.span().span_context().clone());
        if !span.is_valid() {
            return self.format.format_event(context, writer, event);
        }
        let (trace, span) = (span.trace_id(), span.span_id());
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        match line.strip_suffix('}') {
            Some(object) if self.json => {
                writeln!(writer, r#"{object},"trace_id":"{trace}","span_id":"{span}"}}"#)
            }
            _ => writeln!(writer, "{line} trace_id={trace} span_id={span}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
    use tracing::subscriber::with_default;

    use super::*;

    const IDS: &str = "trace_id=000000000000000000000000000000ab span_id=00000000000000cd";

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A line logged in a span and one outside.
    fn logged(terminal: bool, colours: bool) -> [String; 2] {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber =
            tracing_subscriber::registry().with(lines(terminal, colours, move || writer.clone()));
        let (trace, span) = (TraceId::from(0xab_u128), SpanId::from(0xcd_u64));
        let span = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE);
        with_default(subscriber, || {
            let inside = Context::new().with_remote_span_context(span).attach();
            tracing::warn!(answer = 42, "inside");
            drop(inside);
            tracing::warn!("outside");
        });
        let text = String::from_utf8(buffer.0.lock().clone()).unwrap();
        let lines: Vec<_> = text.lines().map(ToOwned::to_owned).collect();
        lines.try_into().unwrap()
    }

    #[test]
    fn terminal_log_is_text_ending_with_ids() {
        let [inside, outside] = logged(true, false);
        assert!(inside.ends_with(&format!("inside answer=42 {IDS}")), "{inside}");
        assert!(outside.ends_with("outside"), "{outside}");
        assert!(!inside.contains('\u{1b}') && logged(true, true)[0].contains('\u{1b}'));
    }

    #[test]
    fn everything_else_gets_json_without_colours() {
        let [inside, outside] = logged(false, true);
        assert!(!inside.contains('\u{1b}'), "{inside}");
        let inside: serde_json::Value = serde_json::from_str(&inside).unwrap();
        assert_eq!((&inside["message"], &inside["answer"]), (&"inside".into(), &42.into()));
        assert_eq!(
            format!("trace_id={} span_id={}", text(&inside["trace_id"]), text(&inside["span_id"])),
            IDS
        );
        let outside: serde_json::Value = serde_json::from_str(&outside).unwrap();
        assert_eq!(outside["trace_id"], serde_json::Value::Null);
    }

    fn text(value: &serde_json::Value) -> &str {
        value.as_str().unwrap()
    }
}
