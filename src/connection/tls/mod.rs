//! TLS by rustls with ring: the user's options, made into rustls' configuration.
//!
//! | file | what |
//! |---|---|
//! | `trust` | which certificates of a server are trusted |
//! | `identity` | the client's certificate and its private key |
//! | `certificate` | certificates that rustls cannot read: X.509 version 1, common name only, self-signed for a server |

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use super::secret::Secret;
use crate::error::{Error, Result};
use crate::options::{self, Options};

mod certificate;
mod identity;
mod trust;

pub(super) use trust::reason;

/// The TLS configuration of a manager.
#[derive(Clone, Debug)]
pub struct Tls {
    pub config: Arc<ClientConfig>,
    /// The name that the certificate must have; `None` is the host of the connection.
    pub server_name: Option<ServerName<'static>>,
    /// The user's options.
    pub given: TlsOptions,
}

/// The user's options for TLS; certificates and keys are PEM.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// All authorities, one after another.
    pub ca: Option<Secret>,
    pub cert: Option<Secret>,
    pub key: Option<Secret>,
    pub passphrase: Option<Secret>,
    pub server_name: Option<String>,
    pub verify: bool,
}

impl Tls {
    /// TLS with the public roots.
    pub fn standard() -> Result<Self> {
        Self::from_options(Options::from_value("RedisConfig.tls", Value::Null)?)
    }

    /// TLS with any server, to find out whether one answers.
    pub fn unverified() -> Result<Self> {
        let options = serde_json::json!({ "rejectUnauthorized": false });
        Self::from_options(Options::from_value("RedisConfig.tls", options)?)
    }

    /// Reads `{ ca, cert, key, passphrase, servername, rejectUnauthorized }`; certificates and keys are PEM.
    pub fn from_options(mut options: Options) -> Result<Self> {
        let given = TlsOptions {
            ca: read_authorities(&mut options)?,
            cert: read_pem(&mut options, "cert", "a certificate")?,
            key: read_pem(&mut options, "key", "a private key")?,
            passphrase: options.secret("passphrase")?.map(Secret::new),
            server_name: options.text("servername")?,
            verify: options.flag("rejectUnauthorized")?.unwrap_or(true),
        };
        options.finish()?;
        let server_name = given.server_name.clone().map(|name| {
            ServerName::try_from(name).map_err(|e| {
                Error::config("RedisConfig.tls.servername: expected a host name or an address").caused_by(e)
            })
        });

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::config("RedisConfig.tls: no usable protocol version").caused_by(e))?
            .dangerous()
            .with_custom_certificate_verifier(trust::verifier(&given, &provider)?);
        let config = match identity::read(&given, &provider)? {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(Arc::new(identity)),
        };
        Ok(Self { config: Arc::new(config), server_name: server_name.transpose()?, given })
    }
}

/// `ca`: one text or a list of texts.
fn read_authorities(options: &mut Options) -> Result<Option<Secret>> {
    let Some(value) = options.take("ca") else { return Ok(None) };
    let texts = match &value {
        Value::Array(items) => items.iter().map(|item| pem("ca", "certificates", item)).collect::<Result<Vec<_>>>()?,
        other => vec![pem("ca", "certificates", other)?],
    };
    Ok(Some(Secret::new(texts.join("\n"))))
}

fn read_pem(options: &mut Options, option: &'static str, what: &str) -> Result<Option<Secret>> {
    let value = options.take(option);
    value.map(|value| pem(option, what, &value).map(|text| Secret::new(text.to_owned()))).transpose()
}

/// A text, or its bytes. The PEM sections are ASCII; the text around them does not matter.
fn pem<'a>(option: &str, what: &str, value: &'a Value) -> Result<&'a str> {
    let text = value.as_str().or_else(|| options::latin1(value));
    text.ok_or_else(|| wrong_pem(option, what, options::type_name(value)))
}

/// The certificates of a PEM text, at least one.
fn certificates(option: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| wrong_pem(option, "certificates", "something else"))?;
    if list.is_empty() {
        return Err(wrong_pem(option, "certificates", "a text without one"));
    }
    Ok(list)
}

fn wrong_pem(option: &str, what: &str, got: &str) -> Error {
    Error::config(format!("RedisConfig.tls.{option}: expected {what} in PEM, got {got}"))
}
