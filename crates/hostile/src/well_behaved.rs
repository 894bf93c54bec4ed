//! Cases with well-behaved callers close to the limits: they fail if a limit is too strict.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use kelvin_proto::{SensorRequest, ServerMessage};
use prost::Message as _;
use tokio::time::{Instant, sleep, timeout};
use tonic_health::pb::HealthCheckRequest;

use crate::{
    attacks::{AUTHENTICATED, Case, DEFAULTS, UNAUTHENTICATED, case},
    client::{CHAT, Client, HEALTH_CHECK, HEALTH_WATCH, READ, Reply, UNARY, reading},
    test_server::{Failure, TestServer, text},
};

/// Time for which a chat does not read its responses.
const STALL: Duration = Duration::from_millis(500);

/// Returns all cases with well-behaved callers.
pub(crate) fn all() -> Vec<Case> {
    const MANY: [(&str, &str); 1] = [("KELVIN_MAX_CONCURRENT_STREAMS", "1100")];
    const AGE: [(&str, &str); 1] = [("KELVIN_MAX_STREAM_AGE", "700ms")];
    const IDLE: [(&str, &str); 1] = [("KELVIN_UNAUTHENTICATED_IDLE_TIMEOUT", "500ms")];
    vec![
        case!(
            chats_64_short_ids,
            AUTHENTICATED,
            DEFAULTS,
            "64 chats, one message per frame, ids of 1 byte, 0.5 s stall"
        ),
        case!(
            chats_64_long_ids,
            AUTHENTICATED,
            DEFAULTS,
            "64 chats, one message per frame, ids of 128 bytes, 0.5 s stall"
        ),
        case!(
            chats_128_short_ids,
            AUTHENTICATED,
            DEFAULTS,
            "128 chats, one message per frame, ids of 1 byte, 0.5 s stall"
        ),
        case!(
            chats_128_long_ids,
            AUTHENTICATED,
            DEFAULTS,
            "128 chats, one message per frame, ids of 128 bytes, 0.5 s stall"
        ),
        case!(followers_on_8_connections, AUTHENTICATED, DEFAULTS, "1,000 followers over 8 connections"),
        case!(
            followers_on_1_connection,
            AUTHENTICATED,
            MANY,
            "1,000 followers on one connection, limit raised"
        ),
        case!(chats_of_full_age, AUTHENTICATED, AGE, "chats as long as the stream age"),
        case!(
            health_checker,
            UNAUTHENTICATED,
            IDLE,
            "Health/Check without a token, an hour's worth on one connection"
        ),
        case!(health_watcher, UNAUTHENTICATED, IDLE, "Health/Watch without a token beyond the idle timeout"),
        case!(missing_token, UNAUTHENTICATED, DEFAULTS, "calls without a token receive UNAUTHENTICATED"),
        case!(gateway, AUTHENTICATED, DEFAULTS, "a connection on which every second call is refused"),
    ]
}

async fn chats_64_short_ids(server: &TestServer) -> Result<String, Failure> {
    chats(server, 64, 1).await
}

async fn chats_64_long_ids(server: &TestServer) -> Result<String, Failure> {
    chats(server, 64, 128).await
}

async fn chats_128_short_ids(server: &TestServer) -> Result<String, Failure> {
    chats(server, 128, 1).await
}

async fn chats_128_long_ids(server: &TestServer) -> Result<String, Failure> {
    chats(server, 128, 128).await
}

/// Checks that all readings of concurrent chats are acknowledged, although their responses stay unread for [`STALL`].
async fn chats(server: &TestServer, streams: usize, id_length: usize) -> Result<String, Failure> {
    let client = Client::connect(server).await?;
    let mut total = 0;
    loop {
        let chat = || async {
            let message = reading(&"x".repeat(id_length)).encode_to_vec();
            let (mut sender, response) = client.open(CHAT).await?;
            let (stop, mut count) = (Instant::now() + STALL, 0_u64);
            let send = async {
                // Enough messages to fill the flow-control windows.
                while count < 4_000 && (count < 200 || Instant::now() < stop) {
                    sender.send_message(&message).await?;
                    count += 1;
                    if count.is_multiple_of(16) {
                        tokio::task::yield_now().await;
                    }
                }
                sender.finish()?;
                Ok::<_, Failure>(count)
            };
            let receive = async {
                sleep(STALL).await;
                let mut reply = Reply::receive(response).await?;
                let mut accepted = 0;
                while let Some(message) = reply.next().await? {
                    accepted = ServerMessage::decode(&message[..]).map_err(text)?.accepted.unwrap_or(0);
                }
                match reply.status().await?.as_str() {
                    "0" => Ok(accepted),
                    status => Err(format!("a chat ended with status {status}")),
                }
            };
            let (readings, accepted) = tokio::try_join!(send, receive)?;
            if readings == accepted {
                Ok(readings)
            } else {
                Err(format!("{accepted} of {readings} readings were acknowledged"))
            }
        };
        let sent = try_join_all((0..streams).map(|_| chat())).await?;
        total += sent.iter().sum::<u64>();
        if server.remaining().is_zero() {
            return Ok(format!("{total} readings"));
        }
    }
}

async fn followers_on_8_connections(server: &TestServer) -> Result<String, Failure> {
    followers(server, 8).await
}

async fn followers_on_1_connection(server: &TestServer) -> Result<String, Failure> {
    followers(server, 1).await
}

async fn followers(server: &TestServer, connections: usize) -> Result<String, Failure> {
    const FOLLOWERS: usize = 1_000;
    let writer = Client::connect(server).await?;
    writer.store("followed").await?;
    let clients = try_join_all((0..connections).map(|_| Client::connect(server))).await?;
    let request =
        SensorRequest { sensor_id: "followed".to_owned(), follow: true, ..SensorRequest::default() };
    let request = &request.encode_to_vec();
    let follow = |n: usize| {
        let client = &clients[n % connections];
        async move {
            let (mut sender, response) = client.open(READ).await?;
            sender.send_message(request).await?;
            sender.finish()?;
            let mut reply = Reply::receive(response).await?;
            reply.next().await?.ok_or("the server ended a follower's call")?;
            Ok::<_, Failure>(reply)
        }
    };
    let mut replies = try_join_all((0..FOLLOWERS).map(follow)).await?;
    let mut stored = 0;
    loop {
        writer.store("followed").await?;
        stored += 1;
        for reply in join_all(replies.iter_mut().map(Reply::next)).await {
            reply?.ok_or("the server ended a follower's call")?;
        }
        if server.remaining().is_zero() {
            return Ok(format!("{stored} readings to each"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn chats_of_full_age(server: &TestServer) -> Result<String, Failure> {
    let client = Client::connect(server).await?;
    let message = &reading("aged").encode_to_vec();
    let mut chats = 0;
    loop {
        let (mut sender, response) = client.open(CHAT).await?;
        let send = async {
            let mut sent = 0_u64;
            // The server ends the stream.
            while sender.send_message(message).await.is_ok() {
                sent += 1;
                sleep(Duration::from_millis(20)).await;
            }
            sent
        };
        let receive = async {
            let mut reply = Reply::receive(response).await?;
            let mut answers = 0_u64;
            while reply.next().await?.is_some() {
                answers += 1;
            }
            Ok::<_, Failure>((reply.status().await?, answers))
        };
        let (_, ended) = tokio::join!(timeout(Duration::from_secs(5), send), receive);
        let (status, answers) = ended?;
        if status != "0" || answers < 10 {
            return Err(format!("a chat ended with status {status} after {answers} answers"));
        }
        chats += 1;
        if server.remaining().is_zero() {
            return Ok(format!("{chats} chats"));
        }
    }
}

async fn health_checker(server: &TestServer) -> Result<String, Failure> {
    const HOUR: usize = 3_600;
    let mut client = Client::connect(server).await?;
    client.tokens.clear();
    let mut checks = 0;
    while checks < HOUR || !server.remaining().is_zero() {
        check(&client).await?;
        checks += 1;
        // Then pauses between checks, but shorter than the idle timeout.
        if checks > HOUR {
            sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(format!("{checks} checks"))
}

/// Makes a health check and expects `OK` with one message.
async fn check(client: &Client) -> Result<(), Failure> {
    match client.call(HEALTH_CHECK, &HealthCheckRequest::default()).await? {
        (status, 1) if status == "0" => Ok(()),
        (status, _) => Err(format!("a health check returned status {status}")),
    }
}

async fn health_watcher(server: &TestServer) -> Result<String, Failure> {
    let mut client = Client::connect(server).await?;
    client.tokens.clear();
    let (mut sender, response) = client.open(HEALTH_WATCH).await?;
    sender.send_message(&HealthCheckRequest::default().encode_to_vec()).await?;
    sender.finish()?;
    let mut reply = Reply::receive(response).await?;
    reply.next().await?.ok_or("the server ended the watch")?;
    match timeout(server.remaining(), reply.next()).await {
        Err(_) => check(&client).await.map(|()| format!("open for {} s", server.seconds)),
        Ok(ended) => Err(format!("the server ended the watch: {ended:?}")),
    }
}

async fn missing_token(server: &TestServer) -> Result<String, Failure> {
    let mut calls = 0;
    while !server.remaining().is_zero() {
        let mut client = Client::connect(server).await?;
        client.tokens.clear();
        for _ in 0..50 {
            let (status, _) = client.call(UNARY, &reading("x")).await?;
            if status != "16" {
                return Err(format!("a call without a token returned status {status}"));
            }
            calls += 1;
        }
    }
    Ok(format!("{calls} calls"))
}

async fn gateway(server: &TestServer) -> Result<String, Failure> {
    let good = Client::connect(server).await?;
    let mut bad = good.clone();
    bad.tokens = vec!["wrong"];
    let mut calls = 0;
    while calls < 300 || !server.remaining().is_zero() {
        good.store("gateway").await?;
        let (status, _) = bad.call(UNARY, &reading("x")).await?;
        if status != "16" {
            return Err(format!("a call with a wrong token returned status {status}"));
        }
        calls += 1;
    }
    Ok(format!("{calls} calls of each"))
}
