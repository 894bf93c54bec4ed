//! The services beside `SensorService` that libraries provide: health and reflection.

use tonic_health::server::{HealthReporter, HealthService};
use tonic_health::{ServingStatus, pb::health_server::HealthServer};
use tower::util::BoxCloneSyncService;

use crate::rpc::AuxiliaryService;

/// The name of our service in health checks; the empty name is the server as a whole.
const SERVICES: [&str; 2] = ["", "SensorService"];

/// `grpc.health.v1`, as `reporter` says.
pub(crate) fn health(reporter: HealthReporter, max_message_size: usize) -> AuxiliaryService {
    let service = HealthServer::new(HealthService::from_health_reporter(reporter))
        .max_decoding_message_size(max_message_size);
    AuxiliaryService { prefix: "/grpc.health.v1.Health/", service: BoxCloneSyncService::new(service) }
}

/// Says for every service whether it serves.
pub(crate) async fn set_serving(reporter: &HealthReporter, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}

/// Reflection of our contract, health, itself and the details of errors, in both versions that clients ask for.
pub(crate) fn reflection(max_message_size: usize) -> [AuxiliaryService; 2] {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(kelvin_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = builder()
        .build_v1()
        .expect("generated descriptors are valid")
        .max_decoding_message_size(max_message_size);
    let v1alpha = builder()
        .build_v1alpha()
        .expect("generated descriptors are valid")
        .max_decoding_message_size(max_message_size);
    [
        AuxiliaryService {
            prefix: "/grpc.reflection.v1.ServerReflection/",
            service: BoxCloneSyncService::new(v1),
        },
        AuxiliaryService {
            prefix: "/grpc.reflection.v1alpha.ServerReflection/",
            service: BoxCloneSyncService::new(v1alpha),
        },
    ]
}
