use bytes::Bytes;
use http::{Request, Response};
use kelvin_app::BoxError;
use tonic::{Status, body::Body};
use tower::{ServiceExt as _, util::BoxCloneSyncService};

/// The layers over all connections.
pub(super) type Service = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// Erases the type of a service and makes its errors statuses.
pub(super) fn boxed<S, B>(service: S) -> Service
where
    S: tower::Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>, Future: Send + 'static>,
    S: Clone + Send + Sync + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Service::new(
        service
            .map_response(|response| response.map(Body::new))
            .map_err(|error| Status::from_error(error.into())),
    )
}
