//! The contract may only be added to.

use std::path::Path;

use prost::Message as _;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

fn ours() -> FileDescriptorProto {
    let mut set = FileDescriptorSet::decode(kelvin_proto::FILE_DESCRIPTOR_SET).unwrap();
    set.file.pop().unwrap()
}

fn fixed() -> FileDescriptorProto {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    protox::compile(["fixed.proto"], [folder]).unwrap().file.pop().unwrap()
}

#[test]
fn there_is_no_package() {
    assert_eq!(ours().package, None);
}

#[test]
fn original_four_calls_are_unchanged() {
    let (ours, fixed) = (ours(), fixed());
    let [service] = &ours.service[..] else { panic!("{:?}", ours.service) };
    assert_eq!(service.name, fixed.service[0].name);
    assert_eq!(fixed.service[0].method.len(), 4);
    for call in &fixed.service[0].method {
        assert!(service.method.contains(call), "{call:?} in {:?}", service.method);
    }
}

#[test]
fn published_fields_stay_and_added_fields_are_optional() {
    let (ours, fixed) = (ours(), fixed());
    for message in &fixed.message_type {
        let now = ours.message_type.iter().find(|now| now.name == message.name).unwrap();
        for field in &message.field {
            assert!(now.field.contains(field), "{field:?} in {now:?}");
        }
        for added in now.field.iter().filter(|field| !message.field.contains(field)) {
            let follows = added.number() > message.field.len().try_into().unwrap();
            // `follow` is off in every request that knows nothing of it.
            assert!(follows && (added.proto3_optional() || added.name() == "follow"), "{added:?}");
        }
    }
}
