use std::fmt;

use kelvin_app::pluralize;
use kelvin_proto::CallType;
use serde::Serialize;

/// What `--json` prints at the end.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) rpc: Rpc,
    pub(super) readings_stored: u64,
    pub(super) alerts: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Rpc {
    pub(super) unary: CallStats,
    pub(super) client_streaming: CallStats,
    pub(super) server_streaming: CallStats,
    pub(super) bidi_streaming: CallStats,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct CallStats {
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rpc { unary, client_streaming, server_streaming, bidi_streaming } = self.rpc;
        writeln!(f, "{:<17} {:>9} {:>7} {:>10} {:>10}", "", "calls", "errors", "p50 ms", "p99 ms")?;
        for (kind, calls) in
            CallType::ALL.into_iter().zip([unary, client_streaming, server_streaming, bidi_streaming])
        {
            let CallStats { calls, errors, p50_ms, p99_ms } = calls;
            writeln!(f, "{:<17} {calls:>9} {errors:>7} {p50_ms:>10.3} {p99_ms:>10.3}", kind.name())?;
        }
        let (readings, alerts) =
            (pluralize(self.readings_stored, "reading"), pluralize(self.alerts, "alert"));
        writeln!(f, "{readings} stored, {alerts}")
    }
}
