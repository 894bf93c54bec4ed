//! Selects the certificate that a server presents, by server name indication (SNI).

use std::sync::Arc;

use rustls::{
    client::verify_server_name,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::ServerName;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// The certificate for the names inside the cluster, and optionally one for public names.
///
/// The name that the client sends (SNI) selects the certificate. Clients that connect to an IP address send none, and only
/// the external certificate is meant for them. So without a name, or with a name that neither certificate contains, the
/// external certificate is presented if it contains IP addresses.
#[derive(Debug)]
pub(crate) struct Certificates {
    internal: Arc<CertifiedKey>,
    external: Option<External>,
}

#[derive(Debug)]
struct External {
    pair: Arc<CertifiedKey>,
    has_ip_addresses: bool,
}

impl Certificates {
    pub(crate) fn new(internal: Arc<CertifiedKey>, external: Option<Arc<CertifiedKey>>) -> Self {
        let external = external.map(|pair| External { has_ip_addresses: has_ip_addresses(&pair), pair });
        Self { internal, external }
    }

    fn select(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let Some(External { pair, has_ip_addresses }) = &self.external else {
            return Arc::clone(&self.internal);
        };
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let selected = match name {
            Some(name) if is_valid_for(&self.internal, &name) => &self.internal,
            Some(name) if is_valid_for(pair, &name) => pair,
            _ if *has_ip_addresses => pair,
            _ => &self.internal,
        };
        Arc::clone(selected)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.select(hello.server_name()))
    }
}

fn is_valid_for(pair: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = pair.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
    certificate.is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

fn has_ip_addresses(pair: &CertifiedKey) -> bool {
    let Some((_, leaf)) = pair.cert.first().and_then(|leaf| parse_x509_certificate(leaf).ok()) else {
        return false;
    };
    let names = leaf.subject_alternative_name().ok().flatten();
    names.is_some_and(|names| {
        names.value.general_names.iter().any(|name| matches!(name, GeneralName::IPAddress(_)))
    })
}
