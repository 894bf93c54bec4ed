//! The greeter of the examples.

use tonic::{Request, Response, Status};

use crate::greeter::{HelloReply, HelloRequest, greeter_server::Greeter};

pub(crate) struct Polite;

#[tonic::async_trait]
impl Greeter for Polite {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        tracing::info!("greeting");
        let message = format!("Hello {}!", request.into_inner().name);
        Ok(Response::new(HelloReply { message }))
    }
}
