//! Compiles the contract without protoc.

use std::{env, fs, path::Path};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = Path::new("../../proto/sensor.proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    let descriptors = protox::compile([proto], ["../../proto"])?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("sensor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
