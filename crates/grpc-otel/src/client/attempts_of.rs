//! The attempts at a call, from the layer of calls to that of attempts.

use std::sync::Arc;

use crate::{attempts::Attempts, shared::Shared};

/// Among the extensions of a request, from its call's layer to every attempt's: the attempts as each [`Shared`] whose
/// layers the request passes counts them.
#[derive(Clone, Default)]
pub(super) struct AttemptsOf(Vec<(Arc<Shared>, Arc<Attempts>)>);

impl AttemptsOf {
    /// Begins to count for `shared`.
    pub(super) fn begin(extensions: &mut http::Extensions, shared: &Arc<Shared>) -> Arc<Attempts> {
        let mut all = extensions.remove::<Self>().unwrap_or_default();
        all.0.retain(|(other, _)| !Arc::ptr_eq(other, shared));
        let attempts = Arc::<Attempts>::default();
        all.0.push((shared.clone(), attempts.clone()));
        extensions.insert(all);
        attempts
    }

    /// Returns the attempts that `shared` counts.
    pub(super) fn find(extensions: &http::Extensions, shared: &Arc<Shared>) -> Option<Arc<Attempts>> {
        let all = &extensions.get::<Self>()?.0;
        all.iter().find(|(other, _)| Arc::ptr_eq(other, shared)).map(|(_, attempts)| attempts.clone())
    }
}
