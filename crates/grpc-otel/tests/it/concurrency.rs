//! Exact counting, whatever is dropped whenever.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

use crate::{
    observed::Observed,
    support::{Client, client, hello, serve},
};

const TASKS: u64 = 32;
const CALLS: u64 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_started_call_ends_once_and_no_span_stays_open() {
    let (server, caller) = (Observed::new(), Observed::new());
    let endpoint = serve(&server.builder().build()).await;
    let greeter = client(&caller.builder().build(), &endpoint);

    let mut tasks = JoinSet::new();
    for seed in 0..TASKS {
        let greeter = greeter.clone();
        tasks.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..CALLS {
                let patience = Duration::from_micros(random.u64(0..5_000));
                let _ = tokio::time::timeout(patience, call(greeter.clone(), random.u8(0..6))).await;
            }
        });
    }
    tasks.join_all().await;

    // A timeout of nothing may drop the call before the channel has seen it.
    let started = caller.count("grpc.client.attempt.started", &[]);
    assert!(started > TASKS * CALLS / 2, "{started} calls");
    caller
        .until("every attempt and call ends once", |caller| {
            caller.count("grpc.client.attempt.duration", &[]) == started
                && caller.count("grpc.client.call.duration", &[]) == started
        })
        .await;
    assert_eq!(caller.spans().len() as u64, 2 * started);
    server
        .until("so do the server's", |server| {
            let started = server.count("grpc.server.call.started", &[]);
            started == server.count("grpc.server.call.duration", &[])
                && started == server.spans().len() as u64
        })
        .await;
    assert!(server.count("grpc.server.call.duration", &[("grpc.status", "OK")]) > 0);
    assert!(server.count("grpc.server.call.duration", &[("grpc.status", "CANCELLED")]) > 0);
}

async fn call(mut greeter: Client, kind: u8) {
    match kind {
        0 => drop(greeter.say_hello(hello("a")).await),
        1 => drop(greeter.say_hello(hello("fail 5")).await),
        2 => drop(greeter.say_hello(hello("wait")).await),
        3 => {
            if let Ok(replies) = greeter.lots_of_replies(hello("a,bytes 100000,b,fail 9")).await {
                let mut replies = replies.into_inner();
                while let Some(Ok(_)) = replies.next().await {}
            }
        }
        4 => drop(greeter.lots_of_greetings(tokio_stream::iter(["a", "b"].map(hello))).await),
        _ => {
            if let Ok(replies) = greeter.bidi_hello(tokio_stream::iter(["a", "wait"].map(hello))).await {
                let mut replies = replies.into_inner();
                while let Some(Ok(_)) = replies.next().await {}
            }
        }
    }
}
