//! Where one signal is sent, with the TLS for the way there.

use kelvin_app::SettingsError;

use crate::{
    environment::{Environment, Signal, Target},
    tls::{CurrentTls, LoadTls},
};

/// Where one signal goes.
pub(crate) struct Destination {
    pub(crate) target: Target,
    /// For an `https` endpoint.
    pub(crate) tls: Option<CurrentTls>,
}

/// The destinations of the three signals, with all that is wrong at once. Files that several signals use are loaded once.
pub(crate) fn destinations(
    environment: &Environment,
    wanted: impl Fn(Signal) -> bool,
    load: Option<&LoadTls>,
) -> Result<[Option<Destination>; 3], SettingsError> {
    let mut error = SettingsError::default();
    let mut loaded: Vec<(_, CurrentTls)> = Vec::new();
    let destinations = Signal::ALL.map(|signal| {
        let target = environment.target(signal, &mut error).filter(|_| wanted(signal))?;
        if !target.is_https() {
            return Some(Destination { target, tls: None });
        }
        if let Some((_, tls)) = loaded.iter().find(|(files, _)| *files == target.tls) {
            let tls = Some(tls.clone());
            return Some(Destination { target, tls });
        }
        let Some(load) = load else {
            error.push(signal.endpoint(), "this program exports telemetry only without TLS: use http://");
            return None;
        };
        let tls = load(&target.tls).map_err(|cause| error.append(cause)).ok()?;
        loaded.push((target.tls.clone(), tls.clone()));
        Some(Destination { target, tls: Some(tls) })
    });
    if error.is_empty() { Ok(destinations) } else { Err(error) }
}
