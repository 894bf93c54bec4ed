//! The client that reads.

use kelvin_proto::CallType;
use kelvin_testing::eventually;

use crate::setup::Setup;

async fn returns_every_reading_once(follow: &str) {
    let setup = Setup::new();
    let server = setup.server(&[]);
    let few = [("KELVIN_SENSORS", "3"), ("KELVIN_FOLLOW", follow)];
    let mut reader = setup.client(CallType::ServerStreaming, server.address, &few);
    let mut writer = setup.client(CallType::Unary, server.address, &few);
    eventually("readings are read", async || reader.readings("received") > 100).await;
    writer.stop().await;
    let stored = writer.readings("acknowledged");
    eventually("all readings are read", async || reader.readings("received") >= stored).await;
    reader.stop().await;
    assert_eq!(reader.readings("received"), stored);
    server.stop().await;
}

#[tokio::test]
async fn polling_returns_every_reading_once() {
    returns_every_reading_once("false").await;
}

#[tokio::test]
async fn follow_returns_every_reading_once() {
    returns_every_reading_once("true").await;
}
