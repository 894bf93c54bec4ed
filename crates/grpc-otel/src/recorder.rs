//! What is ready for the calls of one method before the first of them comes.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use tonic::GrpcMethod;

use crate::{
    methods::Methods,
    names::{OTHER, intern},
    shared::Shared,
    side::Side,
    target::Target,
};

/// Records calls of one method on one side.
pub(crate) struct Recorder {
    pub(crate) side: Side,
    /// Whether its calls are recorded at all.
    enabled: bool,
    /// Whether a handler may still be at work when its response has begun.
    #[cfg(feature = "trace")]
    pub(crate) streams: bool,
    pub(crate) shared: Arc<Shared>,
    #[cfg(feature = "metrics")]
    pub(crate) metrics: crate::metrics::MethodMetrics,
    #[cfg(feature = "trace")]
    pub(crate) span: crate::trace::SpanTemplate,
}

/// A path, and the recorder of its method.
type Registered = (Box<str>, Arc<Recorder>);

/// The recorders of one layer, by path.
pub(crate) struct Recorders {
    side: Side,
    target: Option<Target>,
    shared: Arc<Shared>,
    /// Whether anything is recorded or passed on at all.
    enabled: bool,
    unregistered: Methods,
    /// By the length of the path, then sorted: mostly there is one.
    known: Box<[Vec<Registered>]>,
    /// Added at their first call: a client's methods, and unregistered ones a server is to name.
    added: RwLock<HashMap<Box<str>, Arc<Recorder>>>,
    other: Arc<Recorder>,
}

impl Recorders {
    pub(crate) fn server(shared: &Arc<Shared>, methods: Methods) -> Self {
        let mut this = Self::client(shared, Side::Server, None);
        let mut known = Vec::new();
        // The names are sorted already.
        for (name, streams) in &methods.names {
            let path = format!("/{name}").into_boxed_str();
            known.resize_with(known.len().max(path.len() + 1), Vec::new);
            known[path.len()].push((path, this.recorder(name, *streams)));
        }
        this.known = known.into();
        if this.enabled && this.known.is_empty() && methods.unregistered.is_none() {
            tracing::warn!(
                "server layer has no methods, every call is recorded as `other`: \
                 pass `server_layer` the file descriptor set of your services"
            );
        }
        this.unregistered = methods;
        this
    }

    pub(crate) fn client(shared: &Arc<Shared>, side: Side, target: Option<Target>) -> Self {
        Self {
            side,
            other: Arc::new(Recorder::new(shared, side, target.as_ref(), OTHER, true)),
            target,
            shared: shared.clone(),
            enabled: shared.enabled(),
            unregistered: Methods::default(),
            known: Box::default(),
            added: RwLock::default(),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the recorder of the method that a server is asked for.
    pub(crate) fn for_path(&self, path: &str) -> Option<Arc<Recorder>> {
        self.enabled.then(|| self.find(path)).filter(|recorder| recorder.enabled)
    }

    fn find(&self, path: &str) -> Arc<Recorder> {
        let known = self.known.get(path.len()).map_or(&[][..], Vec::as_slice);
        if let Ok(place) = known.binary_search_by(|(known, _)| (**known).cmp(path)) {
            return known[place].1.clone();
        }
        match (&self.unregistered.unregistered, path.strip_prefix('/')) {
            (Some(accept), Some(name)) if accept(name) => self.lookup_or_insert(path, || name.to_owned()),
            _ => self.other.clone(),
        }
    }

    /// Returns the recorder of the method that a client calls: registered if it comes from generated code.
    pub(crate) fn of_request<B>(&self, request: &http::Request<B>) -> Option<Arc<Recorder>> {
        if !self.enabled {
            return None;
        }
        let path = request.uri().path();
        let recorder = match request.extensions().get::<GrpcMethod<'static>>() {
            Some(method) => {
                self.lookup_or_insert(path, || format!("{}/{}", method.service(), method.method()))
            }
            None => match (&self.shared.client_methods, path.strip_prefix('/')) {
                (Some(accept), Some(name)) if accept(name) => self.lookup_or_insert(path, || name.to_owned()),
                _ => self.other.clone(),
            },
        };
        recorder.enabled.then_some(recorder)
    }

    fn lookup_or_insert(&self, path: &str, name: impl FnOnce() -> String) -> Arc<Recorder> {
        if let Some(recorder) = self.added.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return recorder.clone();
        }
        let mut added = self.added.write().unwrap_or_else(PoisonError::into_inner);
        added.entry(path.into()).or_insert_with(|| self.recorder(&name(), true)).clone()
    }

    fn recorder(&self, method: &str, streams: bool) -> Arc<Recorder> {
        Arc::new(Recorder::new(&self.shared, self.side, self.target.as_ref(), method, streams))
    }
}

impl Recorder {
    #[cfg_attr(not(feature = "trace"), expect(unused_variables, reason = "only spans care for streams"))]
    fn new(shared: &Arc<Shared>, side: Side, target: Option<&Target>, method: &str, streams: bool) -> Self {
        let method = intern(method);
        Self {
            side,
            enabled: shared.records(method),
            #[cfg(feature = "trace")]
            streams: streams && side == Side::Server,
            #[cfg(feature = "metrics")]
            metrics: shared.metrics.of_method(side, target, method, shared.semconv.status_code()),
            #[cfg(feature = "trace")]
            span: crate::trace::SpanTemplate::new(shared.tracing.kind(side), side, target, method),
            shared: shared.clone(),
        }
    }
}
