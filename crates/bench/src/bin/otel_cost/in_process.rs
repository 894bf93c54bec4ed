//! Unary calls of a service in this process, without a transport: small differences show.

use std::{
    error::Error,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use clap::ValueEnum as _;
use grpc_otel::Methods;
use http_body_util::Full;
use kelvin_bench::tuned::{self, READINGS_PER_SENSOR};
use kelvin_proto::{FILE_DESCRIPTOR_SET, SensorReading};
use prost::Message as _;
use tonic::{
    body::Body,
    codegen::{
        Body as _, Service,
        http::{Request, Response, Version, header},
    },
    service::Routes,
};
use tower_layer::Layer as _;

use crate::{
    instructions,
    variant::{CALLS, Variant},
};

/// Calls that were open at once.
const OPEN: usize = 64;

const PATH: &str = "http://localhost:50051/SensorService/SendSingleReading";

/// What one call takes.
struct Cost {
    instructions: f64,
    nanoseconds: f64,
}

/// Prints instructions and time of a call of every variant.
pub(crate) fn compare(rounds: usize) -> Result<(), Box<dyn Error>> {
    let variants = Variant::value_variants();
    let mut turns = variants.iter().map(|variant| turn(*variant)).collect::<Result<Vec<_>, _>>()?;
    let mut times = vec![Vec::new(); turns.len()];
    for round in 0..=rounds {
        for (turn, times) in turns.iter_mut().zip(&mut times) {
            let time = turn();
            // The first is for getting warm.
            if round > 0 {
                times.push(time);
            }
        }
    }
    let costs = variants.iter().zip(&mut times).map(|(variant, times)| {
        times.sort_unstable();
        let nanoseconds = times[times.len() / 2].as_secs_f64() * 1e9;
        Ok::<_, Box<dyn Error>>(Cost { instructions: instructions::per_call(*variant)?, nanoseconds })
    });
    let costs = costs.collect::<Result<Vec<_>, _>>()?;
    println!(
        "{:<10}{:>14}{:>15}{:>16}{:>10}{:>15}",
        "variant", "instructions", "vs no layer", "goal", "ns", "vs no layer"
    );
    for (variant, Cost { instructions, nanoseconds }) in variants.iter().zip(&costs) {
        let over = instructions - costs[0].instructions;
        let goal = variant.goal().map_or_else(String::new, |goal| {
            format!("≤ {goal} {}", if over <= goal { "reached" } else { "MISSED" })
        });
        println!(
            "{:<10}{instructions:>14.0}{over:>15.0}{goal:>16}{nanoseconds:>10.0}{:>15.0}",
            format!("{variant:?}"),
            nanoseconds - costs[0].nanoseconds,
        );
    }
    let of = |wanted| variants.iter().zip(&costs).find_map(|(one, cost)| (*one == wanted).then_some(cost));
    if let (Some(off), Some(spans)) = (of(Variant::Off), of(Variant::Spans100)) {
        println!(
            "turning telemetry off saves {:.0} instructions and {:.0} ns compared with Spans100",
            spans.instructions - off.instructions,
            spans.nanoseconds - off.nanoseconds
        );
    }
    Ok(())
}

/// Makes the calls of so many turns, for callgrind to count.
pub(crate) fn run(variant: Variant, rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut turn = turn(variant)?;
    for _ in 0..rounds {
        turn();
    }
    Ok(())
}

type Turn = Box<dyn FnMut() -> Duration>;

fn turn(variant: Variant) -> Result<Turn, Box<dyn Error>> {
    let routes = Routes::new(tuned::service(READINGS_PER_SENSOR)).prepare();
    Ok(match variant.otel() {
        None => calls(routes),
        Some(otel) => {
            calls(otel.server_layer(Methods::from_descriptor_set(FILE_DESCRIPTOR_SET)?).layer(routes))
        }
    })
}

/// Makes the calls of one turn, one after the other; what one of them took is returned.
///
/// The heap is that of a server in which [`OPEN`] calls were open at once and one still is. In one that is empty after
/// each call, the allocator gives memory back and fetches it again, some hundred instructions a call in one variant and
/// none in the next.
fn calls<S, B>(mut service: S) -> Turn
where
    S: Service<Request<Body>, Response = Response<B>> + 'static,
    S::Error: std::fmt::Debug,
    B: tonic::codegen::Body<Data = Bytes, Error: Into<tonic::codegen::StdError>> + Send + 'static,
{
    let message = message();
    let mut requests: Vec<_> = (0..OPEN).map(|_| request(message.clone())).collect();
    let open_request = requests.pop();
    let mut responses: Vec<_> = requests.into_iter().map(|request| respond(&mut service, request)).collect();
    let open_response = responses.pop();
    drop(responses);
    Box::new(move || {
        let _open = (&open_request, &open_response);
        let begin = Instant::now();
        for _ in 0..CALLS {
            finish(respond(&mut service, request(message.clone())));
        }
        begin.elapsed() / CALLS
    })
}

fn respond<S, B>(service: &mut S, request: Request<Body>) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: tonic::codegen::Body<Data = Bytes, Error: Into<tonic::codegen::StdError>> + Send + 'static,
{
    match pin!(service.call(request)).poll(&mut Context::from_waker(Waker::noop())) {
        // As tonic's transport takes it.
        Poll::Ready(Ok(response)) => response.map(Body::new),
        Poll::Ready(Err(_)) | Poll::Pending => panic!("the service waits or fails"),
    }
}

fn finish(response: Response<Body>) {
    let mut body = pin!(response.into_body());
    let mut cx = Context::from_waker(Waker::noop());
    let mut frames = std::iter::from_fn(|| match body.as_mut().poll_frame(&mut cx) {
        Poll::Ready(frame) => frame,
        Poll::Pending => panic!("the body waits"),
    });
    assert!(frames.any(|frame| frame.is_ok_and(|frame| frame.is_trailers())), "no trailers");
}

/// What a tonic client sends.
fn request(message: Bytes) -> Request<Body> {
    let request = Request::post(PATH)
        .version(Version::HTTP_2)
        .header(header::TE, "trailers")
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::USER_AGENT, "tonic/0.14");
    request.body(Body::new(Full::new(message))).expect("all parts are valid")
}

fn message() -> Bytes {
    let reading = SensorReading { sensor_id: "sensor-1".into(), temperature: 21.5, ..Default::default() };
    let mut bytes = BytesMut::from(&[0][..]);
    bytes.put_u32(u32::try_from(reading.encoded_len()).expect("a reading is short"));
    reading.encode(&mut bytes).expect("the buffer grows");
    bytes.freeze()
}
