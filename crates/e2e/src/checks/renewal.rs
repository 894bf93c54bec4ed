//! Renewal of the CA and all certificates while calls run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kelvin_proto::CallType;
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::json;

use super::attempts::Attempts;
use crate::{
    cluster::{Cluster, Store},
    ledger::Ledger,
    poll,
    server::Caller,
};

/// Exceeds the time that the kubelet takes to update a Secret in its pods, about a minute and a half.
const DELIVERY_LIMIT: Duration = Duration::from_mins(4);

/// Checks that the server and the clients reload new certificates, and that no call of the clients or the ledger fails.
///
/// The CA is renewed first, so that for a while some of them trust only the old CA certificate.
pub async fn no_call_fails(cluster: &Cluster) -> Result<String> {
    let caller = Caller::new(cluster).await?;
    let certificate = caller.server_certificate().await?;
    let reloads = format!("kelvin_reloads_total{{k8s_namespace_name=\"{}\"}}", cluster.namespace);
    let reloads = cluster.counters(reloads).await?;
    let attempts = Attempts::start(cluster).await?;
    let ledger = Ledger::start(&caller, 1).await?;

    renew_ca(cluster).await?;
    // cert-manager reissues a certificate immediately after its Secret is deleted.
    let secrets = CallType::ALL.map(|kind| format!("{}-client-{kind}-tls", cluster.release));
    for secret in [format!("{}-server-tls", cluster.release)].iter().chain(&secrets) {
        cluster.secret_api().delete(secret, &DeleteParams::default()).await?;
    }
    poll::until(DELIVERY_LIMIT, async || {
        ensure!(
            caller.server_certificate().await? != certificate,
            "the server still presents its old certificate"
        );
        Ok(())
    })
    .await?;
    poll::until(DELIVERY_LIMIT, async || {
        let growth = reloads.growth_by(cluster, "service_name").await?;
        for component in
            CallType::ALL.map(|kind| format!("client-{kind}")).into_iter().chain(["server".to_owned()])
        {
            let service = format!("{}-{component}", cluster.release);
            ensure!(growth.get(&service) > Some(&0.0), "{service} has not reloaded its certificate");
        }
        Ok(())
    })
    .await?;

    let outcome = ledger.finish().await?;
    outcome.verify()?;
    attempts.all_succeeded(cluster).await?;
    Ok(format!("{} test calls and all client calls succeeded", outcome.acknowledged))
}

/// Renews the CA certificate with the condition that `cmctl renew` sets, and waits for the new one.
///
/// This keeps the private key. Deleting the Secret would generate another key, and peers that still trust the old CA would
/// reject the new certificates.
async fn renew_ca(cluster: &Cluster) -> Result<()> {
    let (namespace, name) = match cluster.store {
        Store::Memory => (cluster.namespace.as_str(), format!("{}-ca", cluster.release)),
        // Valkey has the same CA: k8s/ca.yaml.
        Store::Valkey => ("cert-manager", "kelvin-ca".to_owned()),
    };
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), namespace);
    let pair = async || -> Result<[Option<ByteString>; 2]> {
        let data = secrets.get(&name).await?.data.unwrap_or_default();
        Ok(["tls.crt", "tls.key"].map(|key| data.get(key).cloned()))
    };
    let [old, key] = pair().await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate"));
    let certificates = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), namespace, &kind);
    let mut status = certificates.get(&name).await?.data["status"].take();
    let conditions = status["conditions"].as_array_mut().context("the CA's certificate has no conditions")?;
    conditions.retain(|condition| condition["type"] != "Issuing");
    conditions.push(json!({"type": "Issuing", "status": "True", "reason": "Test", "message": "renewal"}));
    let patch = json!({"status": {"conditions": conditions}});
    certificates.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    poll::until(DELIVERY_LIMIT, async || {
        let [new, kept] = pair().await?;
        ensure!(new != old, "{name} has not been renewed");
        ensure!(kept == key, "the private key of {name} has changed");
        Ok(())
    })
    .await
}
