//! tonic's generated service on hyper, without tonic's router.

use std::{error::Error, net::SocketAddr, path::Path};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use kelvin_bench::tuned::{self, READINGS_PER_SENSOR};
use tonic::codegen::Service as _;

use super::{CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW, tls};

pub(crate) fn serve(address: SocketAddr, files: &Path) -> Result<(), Box<dyn Error>> {
    let service = tuned::service(READINGS_PER_SENSOR);
    tls::accept(address, files, move |stream| {
        let service = service.clone();
        async move {
            let service = service_fn(move |request| service.clone().call(request));
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(SEND_BUFFER)
                .auto_date_header(false)
                .serve_connection(TokioIo::new(stream), service);
            // An error means that the caller has gone.
            let _ = connection.await;
        }
    })
}
