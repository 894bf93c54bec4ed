//! The compiled `greeter.proto` of the examples is what the compiler makes of it today.
//! `UPDATE=1 cargo test generated` writes it again.

use std::{env, fs, path::Path};

use prost::Message as _;

#[test]
fn examples_use_the_current_proto() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/greeter");
    let out = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(["greeter.proto"], [&folder]).unwrap();
    fs::write(out.path().join("helloworld.bin"), descriptors.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .emit_rerun_if_changed(false)
        .generate_default_stubs(true)
        .out_dir(out.path())
        .compile_fds(descriptors)
        .unwrap();

    for file in ["helloworld.rs", "helloworld.bin"] {
        let current = fs::read(out.path().join(file)).unwrap();
        if env::var_os("UPDATE").is_some() {
            fs::write(folder.join(file), &current).unwrap();
        }
        assert!(fs::read(folder.join(file)).unwrap() == current, "{file} is out of date: UPDATE=1 writes it");
    }
}
