//! Compiles the contract without protoc.

use std::{env, fs, path::Path};

use prost::Message as _;
use prost_types::FileDescriptorSet;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = Path::new("../../proto/sensor.proto");
    println!("cargo::rerun-if-changed={}", proto.display());
    let descriptors = protox::compile([proto], ["../../proto"])?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("sensor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors.clone())?;
    build_lookups(descriptors)
}

/// Generates a server of the methods that Kelvin's server leaves to tonic: the trait of the whole service would have a stub
/// for each of the others.
fn build_lookups(mut descriptors: FileDescriptorSet) -> Result<(), Box<dyn std::error::Error>> {
    let dir = Path::new(&env::var("OUT_DIR")?).join("lookups");
    fs::create_dir_all(&dir)?;
    // Imported files come before it.
    let file = descriptors.file.last_mut().expect("sensor.proto was compiled");
    file.service[0].method.retain(|method| ["GetSensorStats", "ListSensors"].contains(&method.name()));
    let messages = file.message_type.iter().map(|message| message.name().to_owned()).collect::<Vec<_>>();
    let code = tonic_prost_build::configure().build_client(false).out_dir(dir);
    let code = messages
        .iter()
        .fold(code, |code, name| code.extern_path(format!(".{name}"), format!("crate::{name}")));
    Ok(code.compile_fds(descriptors)?)
}
