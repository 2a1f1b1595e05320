//! TLS by rustls with ring: the roots of webpki-roots, or those the user gives.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::secret::Secret;
use crate::error::{Error, Result};
use crate::options::Options;

/// How to speak TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    pub config: Arc<ClientConfig>,
    /// The name to expect in the certificate; `None`: the host connected to.
    pub server_name: Option<ServerName<'static>>,
    /// What it was made from.
    pub given: Given,
}

/// TLS as a user describes it; certificates and keys are PEM.
#[derive(Clone, Debug)]
pub struct Given {
    pub ca: Option<Secret>,
    pub cert: Option<Secret>,
    pub key: Option<Secret>,
    pub server_name: Option<String>,
    pub verify: bool,
}

impl Tls {
    /// TLS with the public roots.
    pub fn standard() -> Result<Self> {
        Self::from_options(Options::from_value("RedisConfig.tls", serde_json::Value::Null)?)
    }

    /// TLS with whoever answers, to find out whether anyone does.
    pub fn unverified() -> Result<Self> {
        let options = serde_json::json!({ "rejectUnauthorized": false });
        Self::from_options(Options::from_value("RedisConfig.tls", options)?)
    }

    /// Reads `{ ca, cert, key, servername, rejectUnauthorized }`; certificates and keys are PEM.
    pub fn from_options(mut options: Options) -> Result<Self> {
        let ca = options.secret("ca")?;
        let cert = options.secret("cert")?;
        let key = options.secret("key")?;
        let server_name = options.text("servername")?;
        let verify = options.flag("rejectUnauthorized")?.unwrap_or(true);
        options.finish()?;
        let hidden = |text: &Option<String>| text.clone().map(Secret::new);
        let given =
            Given { ca: hidden(&ca), cert: hidden(&cert), key: hidden(&key), server_name: server_name.clone(), verify };

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::config("RedisConfig.tls: no usable protocol version").caused_by(e))?;
        let builder = if verify {
            let mut roots = RootCertStore::empty();
            match ca {
                None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
                Some(pem) => {
                    for certificate in certificates("ca", &pem)? {
                        roots.add(certificate).map_err(|e| wrong_pem("ca", "certificates").caused_by(e))?;
                    }
                }
            }
            builder.with_root_certificates(roots)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        };
        let config = match (cert, key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let key =
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| wrong_pem("key", "a private key"))?;
                builder
                    .with_client_auth_cert(certificates("cert", &cert)?, key)
                    .map_err(|e| wrong_pem("key", "the private key of cert").caused_by(e))?
            }
            (Some(_), None) => {
                return Err(Error::config("RedisConfig.tls.key: expected the key of tls.cert, got none"));
            }
            (None, Some(_)) => {
                return Err(Error::config("RedisConfig.tls.cert: expected the certificate of tls.key, got none"));
            }
        };
        let server_name = server_name
            .map(|name| {
                ServerName::try_from(name).map_err(|e| {
                    Error::config("RedisConfig.tls.servername: expected a host name or an address").caused_by(e)
                })
            })
            .transpose()?;
        Ok(Self { config: Arc::new(config), server_name, given })
    }
}

fn certificates(option: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| wrong_pem(option, "certificates"))?;
    if list.is_empty() {
        return Err(wrong_pem(option, "certificates"));
    }
    Ok(list)
}

fn wrong_pem(option: &str, what: &str) -> Error {
    Error::config(format!("RedisConfig.tls.{option}: expected {what} in PEM, got something else"))
}

/// Accepts any certificate, because the user said `rejectUnauthorized: false`; signatures are still checked.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
