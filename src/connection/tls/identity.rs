//! The client's certificate and its private key, for mutual TLS.

use std::sync::Arc;

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::pem::PemLabel;
use pkcs8::der::{Document, SecretDocument};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::certificate::Certificate;
use super::{TlsOptions, certificates, wrong_pem};
use crate::error::{Error, Result};

/// Reads `cert`, `key` and `passphrase`; `None` where there is no certificate.
///
/// # Errors
/// `config`: one without the other, no PEM, the wrong passphrase, or a key of another certificate.
pub(super) fn read(given: &TlsOptions, provider: &CryptoProvider) -> Result<Option<SingleCertAndKey>> {
    let (cert, key) = match (&given.cert, &given.key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) => (cert.reveal(), key.reveal()),
        (Some(_), None) => {
            return Err(Error::config("RedisConfig.tls.key: expected the key of tls.cert, got none"));
        }
        (None, Some(_)) => {
            return Err(Error::config("RedisConfig.tls.cert: expected the certificate of tls.key, got none"));
        }
    };
    let passphrase = given.passphrase.as_ref().map(super::Secret::reveal);
    let key = provider
        .key_provider
        .load_private_key(private_key(key, passphrase)?)
        .map_err(|e| wrong_pem("key", "a private key", "one of an unknown kind").caused_by(e))?;
    let chain = certificates("cert", cert)?;
    // rustls compares the two keys itself, but cannot read certificates of version 1.
    let public = chain.first().and_then(|own| Certificate::read(own).ok()).and_then(|own| own.public_key().ok());
    if let (Some(public), Some(of_key)) = (public, key.public_key())
        && public != of_key.as_ref()
    {
        return Err(wrong_pem("key", "the private key of cert", "the key of another certificate"));
    }
    Ok(Some(SingleCertAndKey::from(CertifiedKey::new(chain, Arc::clone(&key)))))
}

/// The private key of a PEM text, decrypted where it is encrypted.
fn private_key(pem: &str, passphrase: Option<&str>) -> Result<PrivateKeyDer<'static>> {
    if pem.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(Error::config(
            "RedisConfig.tls.key: expected PKCS #8, got a key in OpenSSL's old encrypted format; \
             convert it with: openssl pkcs8 -topk8 -in old.key -out new.key",
        ));
    }
    let Some(encrypted) = encrypted_section(pem) else {
        return PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| wrong_pem("key", "a private key", "something else"));
    };
    let Some(passphrase) = passphrase else {
        return Err(Error::config(
            "RedisConfig.tls.passphrase: expected the passphrase of tls.key, which is encrypted, got none",
        ));
    };
    let (_, document) =
        Document::from_pem(encrypted).map_err(|_| wrong_pem("key", "a private key", "something else"))?;
    let info: EncryptedPrivateKeyInfoRef<'_> =
        document.decode_msg().map_err(|_| wrong_pem("key", "a private key", "something else"))?;
    let plain: SecretDocument = info.decrypt(passphrase).map_err(|_| {
        Error::config("RedisConfig.tls.passphrase: expected the passphrase of tls.key, got one that does not open it")
    })?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(plain.as_bytes().to_vec())))
}

/// The encrypted key among the sections of a PEM text.
fn encrypted_section(pem: &str) -> Option<&str> {
    let label = EncryptedPrivateKeyInfoRef::PEM_LABEL;
    let from = pem.find(&format!("-----BEGIN {label}-----"))?;
    let end = format!("-----END {label}-----");
    let to = from + pem[from..].find(&end)? + end.len();
    Some(&pem[from..to])
}
