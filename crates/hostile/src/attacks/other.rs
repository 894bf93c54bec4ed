//! Attacks that are not a flood of frames.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    time::Duration,
};

use futures_util::future::{Either, join_all, select};
use kelvin_proto::{ListSensorsRequest, ListSensorsResponse, SensorRequest};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{AUTHENTICATED, Case, DEFAULTS, UNAUTHENTICATED, case};
use crate::{
    client::{CALL_TIMEOUT, CHAT, CLIENT_STREAM, Client, HEALTH_CHECK, LIST, READ, Reply, UNARY, reading},
    frames::{Call, DATA, Frames, INITIAL_WINDOW_SIZE},
    test_server::{Failure, TOKEN, TestServer, text},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(
            overtaken_reader,
            AUTHENTICATED,
            [("KELVIN_MAX_READINGS_PER_SENSOR", "10")],
            "a reader overtaken by evictions"
        ),
        case!(
            silent_health_port,
            UNAUTHENTICATED,
            DEFAULTS,
            "connections to the health port that send nothing"
        ),
        case!(
            closed_windows,
            AUTHENTICATED,
            [("KELVIN_MAX_STREAM_AGE", "1s")],
            "stream age and deadline with closed windows"
        ),
        case!(
            full_store,
            AUTHENTICATED,
            [("KELVIN_MAX_READINGS", "6500"), ("KELVIN_MAX_READINGS_PER_SENSOR", "1000")],
            "new sensors are stored while streams keep other sensors at their limit; the store has room for all"
        ),
        case!(empty_bearer, UNAUTHENTICATED, DEFAULTS, "a token file with an empty token is refused"),
        case!(
            ambiguous_calls,
            UNAUTHENTICATED,
            DEFAULTS,
            "calls with two authorization headers, with none and with one"
        ),
        case!(half_open_tls, UNAUTHENTICATED, DEFAULTS, "TLS handshakes that are never completed"),
        case!(
            expired_certificate,
            UNAUTHENTICATED,
            DEFAULTS,
            "a client certificate that expires on an open connection"
        ),
        case!(
            page_tokens,
            UNAUTHENTICATED,
            DEFAULTS,
            "page tokens are identical on every server, so they cannot contain a server's secret"
        ),
    ]
}

/// Stores up to 25 more readings, of which the server keeps 10, while a follower that has read everything waits.
async fn overtaken_reader(server: &TestServer) -> Result<String, Failure> {
    let client = Client::connect(server).await?;
    let mut readers = 0;
    while !server.remaining().is_zero() {
        for beyond in [9, 10, 11, 12, 25] {
            let sensor_id = format!("overtaken-{readers}");
            for _ in 0..10 {
                client.store(&sensor_id).await?;
            }
            let (mut sender, response) = client.open(READ).await?;
            let request =
                SensorRequest { sensor_id: sensor_id.clone(), follow: true, ..SensorRequest::default() };
            sender.send_message(&request.encode_to_vec()).await?;
            sender.finish()?;
            let mut reply = Reply::receive(response).await?;
            for _ in 0..10 {
                reply.next().await?.ok_or("the server ended the reader's call")?;
            }
            for _ in 0..beyond {
                client.store(&sensor_id).await?;
            }
            timeout(CALL_TIMEOUT, reply.next())
                .await
                .map_err(text)??
                .ok_or("the server ended the overtaken reader's call")?;
            readers += 1;
        }
    }
    Ok(format!("{readers} readers"))
}

async fn silent_health_port(server: &TestServer) -> Result<String, Failure> {
    let mut open = Vec::new();
    while !server.remaining().is_zero() {
        open.extend(TcpStream::connect(server.health).await);
        sleep(Duration::from_millis(10)).await;
    }
    Ok(format!("{} connections", open.len()))
}

async fn half_open_tls(server: &TestServer) -> Result<String, Failure> {
    /// Far more than the server admits, and within this process's limit of open files.
    const MAX_OPEN: usize = 5_000;
    let mut open = Vec::new();
    let mut connections = 0;
    let mut message = vec![1, 0, 0xfd, 0xe8];
    message.resize(60_000, 0);
    let mut hello = Vec::new();
    for record in message.chunks(10_000) {
        hello.extend([22, 3, 1, 0x27, 0x10]);
        hello.extend(record);
    }
    while !server.remaining().is_zero() {
        if let Ok(mut stream) = TcpStream::connect(server.address).await {
            // Either a record header whose 512 bytes never follow, or most of a ClientHello of 65,000 bytes.
            let unfinished: &[u8] = if open.len() % 2 == 0 { &[22, 3, 1, 2, 0] } else { &hello };
            let _ = stream.write_all(unfinished).await;
            if open.len() == MAX_OPEN {
                open.clear();
            }
            open.push(stream);
            connections += 1;
        }
        if open.len() % 50 == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(format!("{connections} connections"))
}

/// Checks that deadlines and the stream age end calls whose callers do not open their flow-control windows.
async fn closed_windows(server: &TestServer) -> Result<String, Failure> {
    const LIMIT: Duration = Duration::from_secs(4);
    let mut calls = 0;
    while !server.remaining().is_zero() {
        for (window, timeout) in [(0, None), (0, Some("300m")), (3, None), (3, Some("300m"))] {
            for path in [UNARY, CHAT] {
                let took = time_until_reset(server, path, window, timeout).await?;
                if took > LIMIT {
                    return Err(format!(
                        "{path} with a window of {window} and timeout {timeout:?}: open for {took:?}"
                    ));
                }
                calls += 1;
            }
        }
    }
    Ok(format!("{calls} calls ended"))
}

/// Returns the time from the request until `RST_STREAM` or trailers arrive.
async fn time_until_reset(
    server: &TestServer,
    path: &str,
    window: u32,
    deadline: Option<&str>,
) -> Result<Duration, Failure> {
    let mut io = server.connect().await?;
    let mut frames = Frames::default();
    frames.preface(&[(INITIAL_WINDOW_SIZE, window)]);
    let mut call = Call::new(path, Some(TOKEN));
    if let Some(deadline) = deadline {
        call = call.with("grpc-timeout", deadline);
    }
    let stream = frames.call(&call);
    for _ in 0..10 {
        frames.message(stream, &reading("window").encode_to_vec());
        if path == UNARY {
            break;
        }
    }
    if path == UNARY {
        frames.raw(DATA, 1, stream, &[]);
    }
    io.write_all(&frames.bytes).await.map_err(text)?;
    io.flush().await.map_err(text)?;
    let begun = Instant::now();
    let ended = async {
        loop {
            let mut head = [0; 9];
            io.read_exact(&mut head).await.map_err(text)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            io.read_exact(&mut vec![0; length]).await.map_err(text)?;
            let is_this_stream = head[5..] == stream.to_be_bytes();
            // RST_STREAM, or HEADERS with END_STREAM, which are trailers.
            if is_this_stream && (head[3] == 3 || head[3] == 1 && head[4] & 1 != 0) {
                return Ok::<_, Failure>(begun.elapsed());
            }
        }
    };
    timeout(CALL_TIMEOUT, ended)
        .await
        .map_err(|_| format!("{path} with a window of {window}: still open after {CALL_TIMEOUT:?}"))?
}

async fn empty_bearer(server: &TestServer) -> Result<String, Failure> {
    let tokens = server.files.path("empty-bearer");
    std::fs::write(&tokens, "Bearer \n").map_err(text)?;
    let mut process = Command::new(&server.binary)
        .env_clear()
        .env("KELVIN_LISTEN", "127.0.0.1:0")
        .env("KELVIN_HEALTH_LISTEN", "")
        .env("KELVIN_TLS_CERT", server.files.path("server.pem"))
        .env("KELVIN_TLS_KEY", server.files.path("server.key"))
        .env("KELVIN_TOKEN_FILE", tokens)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(text)?;
    let begun = Instant::now();
    while begun.elapsed() < CALL_TIMEOUT {
        if let Some(status) = process.try_wait().map_err(text)? {
            sleep(server.remaining()).await;
            return match status.code() {
                Some(64) => Ok("exit code 64".to_owned()),
                _ => Err(format!("the server exited with {status}, expected exit code 64")),
            };
        }
        sleep(Duration::from_millis(10)).await;
    }
    let _ = process.kill();
    Err("the server started with an empty token".to_owned())
}

async fn ambiguous_calls(server: &TestServer) -> Result<String, Failure> {
    let mut calls = 0;
    while !server.remaining().is_zero() {
        let mut client = Client::connect(server).await?;
        for (tokens, path, expected) in [
            (vec![TOKEN, TOKEN], UNARY, "16"),
            (vec![], UNARY, "16"),
            (vec![], HEALTH_CHECK, "0"),
            (vec![TOKEN], UNARY, "0"),
        ] {
            client.tokens = tokens;
            let (status, _) = client.call(path, &reading("")).await?;
            // INVALID_ARGUMENT means that the call passed authentication: the sensor ID is empty.
            let status = if status == "3" { "0".to_owned() } else { status };
            if status != expected {
                return Err(format!(
                    "{path} with tokens {:?} is answered with status {status}",
                    client.tokens
                ));
            }
            calls += 1;
        }
    }
    Ok(format!("{calls} calls"))
}

/// Stores readings of new sensors while streams keep other sensors at their limit.
///
/// Four sensors with 1,000 readings each, 1,000 new sensors and the well-behaved callers stay below the limit of 6,500
/// readings.
async fn full_store(server: &TestServer) -> Result<String, Failure> {
    // Beside 4,000 capped readings and those of the well-behaved callers: at most 1,000 of one sensor, and 5 others a second.
    const NEW: usize = 1_000;
    let filler = |n: usize| async move {
        let message = reading(&format!("capped-{n}")).encode_to_vec();
        let (mut sender, _response) = Client::connect(server).await?.open(CLIENT_STREAM).await?;
        loop {
            sender.send_messages(&message, 500).await?;
            tokio::task::yield_now().await;
        }
    };
    let new_sensors = async {
        let client = Client::connect(server).await?;
        for n in 0..NEW {
            client
                .store(&format!("new-{n}"))
                .await
                .map_err(|failure| format!("new sensor {n}: {failure}"))?;
        }
        Ok::<_, Failure>(())
    };
    let fillers = std::pin::pin!(join_all((0..4).map(filler)));
    let outcome = match select(std::pin::pin!(new_sensors), fillers).await {
        Either::Left((stored, _)) => stored,
        Either::Right((ended, _)) => {
            let ended: Vec<Result<(), Failure>> = ended;
            Err(format!("the streams to capped sensors ended: {ended:?}"))
        }
    };
    sleep(server.remaining()).await;
    outcome.map(|()| format!("{NEW} new sensors"))
}

/// Checks that calls end when the client certificate expires, and that the connection accepts no further call.
async fn expired_certificate(server: &TestServer) -> Result<String, Failure> {
    let tls = server.files.client_tls_for(Duration::from_secs(2))?;
    let mut client = Client::handshake(server.connect_with(&tls).await?).await?;
    client.tokens.clear();
    client.store("certified").await?;
    let (mut sender, response) = client.open(CHAT).await?;
    sender.send_message(&reading("certified").encode_to_vec()).await?;
    let mut reply = Reply::receive(response).await?;
    let ended = async {
        while reply.next().await?.is_some() {}
        reply.status().await
    };
    let status = timeout(CALL_TIMEOUT, ended).await.map_err(|_| "the call outlives its certificate")??;
    if status != "16" {
        return Err(format!("a call whose certificate has expired ends with status {status}"));
    }
    if client.store("certified").await.is_ok() {
        return Err("a call is accepted although the certificate has expired".to_owned());
    }
    sleep(server.remaining()).await;
    Ok("ended".to_owned())
}

/// Compares the page tokens of two servers. A token derived from a server's secret would differ between them.
async fn page_tokens(server: &TestServer) -> Result<String, Failure> {
    let other = TestServer::start(&server.binary, &[], server.seconds).await?;
    let (first, second) = (tokens_by_sensor(server).await?, tokens_by_sensor(&other).await?);
    sleep(server.remaining()).await;
    let mut same = 0;
    for (sensor_id, token) in &first {
        match second.get(sensor_id) {
            Some(other) if other != token => {
                return Err(format!(
                    "page tokens of {sensor_id} differ between servers: {token:?} and {other:?}"
                ));
            }
            Some(_) => same += 1,
            None => {}
        }
    }
    if same == 0 { Err("no page tokens".to_owned()) } else { Ok(format!("{same} tokens")) }
}

/// Lists sensors one per page, and returns the `next_page_token` of each page by its sensor.
async fn tokens_by_sensor(server: &TestServer) -> Result<BTreeMap<String, String>, Failure> {
    let client = Client::connect(server).await?;
    for n in 0..20 {
        client.store(&format!("listed-{n}")).await?;
    }
    let mut tokens = BTreeMap::new();
    let mut request = ListSensorsRequest { page_size: 1, ..ListSensorsRequest::default() };
    loop {
        let message = client.call_for_message(LIST, &request).await?;
        let page = ListSensorsResponse::decode(&message[..]).map_err(text)?;
        if page.next_page_token.is_empty() {
            return Ok(tokens);
        }
        tokens
            .extend(page.sensors.into_iter().map(|sensor| (sensor.sensor_id, page.next_page_token.clone())));
        request.page_token = page.next_page_token;
    }
}
