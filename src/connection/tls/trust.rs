//! Which certificates of a server are trusted.
//!
//! webpki verifies first, by the rules for public authorities. It refuses three kinds of certificates that private authorities commonly
//! issue, and that OpenSSL, and so Node's own TLS, accepts: a self-signed certificate that is its own authority, X.509 version 1, and
//! a host named by the common name alone. Where the user named the authorities, a second check accepts these three kinds. The second
//! check also verifies dates, signatures, purposes and critical extensions.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use super::certificate::Certificate;
use super::{TlsOptions, certificates, wrong_pem};
use crate::error::{Error, Result};

/// The environment variable with the name of a file of further authorities, as in Node.
const EXTRA: &str = "NODE_EXTRA_CA_CERTS";

/// How many certificates may stand between the server's certificate and an authority.
const LONGEST_CHAIN: usize = 4;

type TlsResult<T> = Result<T, rustls::Error>;

/// The verifier of a server's certificate. It trusts the authorities in `ca`, or else the public authorities and the ones of
/// `NODE_EXTRA_CA_CERTS`. With `rejectUnauthorized: false` it trusts every certificate.
pub(super) fn verifier(given: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let algorithms = provider.signature_verification_algorithms;
    let trusted = if given.verify { Some(Trusted::by(given, provider)?) } else { None };
    Ok(Arc::new(Verifier { trusted, algorithms }))
}

/// The authorities in the file that `NODE_EXTRA_CA_CERTS` names.
fn extra_authorities() -> Result<Vec<CertificateDer<'static>>> {
    let Some(file) = std::env::var_os(EXTRA).filter(|file| !file.is_empty()) else { return Ok(Vec::new()) };
    let wrong = |why: String| Error::config(format!("{EXTRA}: expected a file with certificates in PEM, got {why}"));
    let text = std::fs::read_to_string(&file).map_err(|e| wrong(format!("a file that cannot be read: {e}")))?;
    certificates("ca", &text).map_err(|_| wrong("a file without".to_owned()))
}

/// Trusts what webpki trusts, and what OpenSSL trusts in addition, for the user's own authorities.
#[derive(Debug)]
struct Trusted {
    webpki: Arc<WebPkiServerVerifier>,
    /// The user's own authorities. Public authorities issue only certificates that webpki accepts.
    authorities: Vec<CertificateDer<'static>>,
}

impl Trusted {
    fn by(given: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let authorities = if let Some(pem) = &given.ca {
            certificates("ca", pem.reveal())?
        } else {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            extra_authorities()?
        };
        for authority in &authorities {
            roots
                .add(authority.clone())
                .map_err(|e| wrong_pem("ca", "certificates", "one that cannot be read").caused_by(e))?;
        }
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|e| wrong_pem("ca", "certificates", "none that can be used").caused_by(e))?;
        Ok(Self { webpki, authorities })
    }

    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> TlsResult<()> {
        let refusal = match self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(refusal)) if !self.authorities.is_empty() => refusal,
            judged => return judged.map(|_| ()),
        };
        self.look_again(end_entity, intermediates, server_name, now, algorithms).map_err(|why| match refusal {
            CertificateError::BadEncoding | CertificateError::Other(_) => {
                CertificateError::Other(OtherError(Arc::new(Refused(why)))).into()
            }
            refusal => refusal.into(),
        })
    }

    /// The second check: accepts the three kinds that webpki refuses.
    fn look_again(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> std::result::Result<(), &'static str> {
        let unread = |_| "a certificate in it cannot be read";
        let now = std::time::Duration::from_secs(now.as_secs());
        let own = Certificate::read(end_entity).map_err(unread)?;
        if !own.is_for_servers() {
            return Err("the certificate is not for servers");
        }
        let authorities: Vec<_> = self.authorities.iter().filter_map(|one| Certificate::read(one).ok()).collect();
        let between: Vec<_> =
            intermediates.iter().map(Certificate::read).collect::<std::result::Result<_, _>>().map_err(unread)?;
        let mut chain = vec![&own];
        loop {
            let last = chain[chain.len() - 1];
            if !last.is_valid_at(now) {
                return Err("a certificate is not valid at this time");
            }
            if last.is_beyond_us() {
                return Err("a certificate has a critical extension that is not known, or name constraints");
            }
            if authorities.iter().any(|authority| authority.der == last.der) {
                break;
            }
            let below = chain.len() - 1;
            let trusted = authorities.iter().filter(|one| one.is_authority(below));
            // A certificate that the server sent is an authority only if the certificate says so.
            let sent = between.iter().filter(|one| one.says_authority(below));
            let new = |one: &&Certificate<'_>| !chain.iter().any(|earlier| earlier.der == one.der);
            let mut issuers = trusted.chain(sent).filter(new);
            let Some(issuer) = issuers.find(|one| last.is_signed_by(one, algorithms)) else {
                return Err("no authority in tls.ca has signed the certificate");
            };
            if chain.len() > LONGEST_CHAIN {
                return Err("the chain of certificates is too long");
            }
            chain.push(issuer);
        }
        is_named(&own, end_entity, server_name)
    }
}

/// Checks that the certificate names the host: by an alternative name, or by the common name where it has no alternative names.
fn is_named(
    own: &Certificate<'_>,
    der: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
) -> std::result::Result<(), &'static str> {
    const OTHER: &str = "the certificate is for another host";
    if let Some(common) = own.common_name_alone() {
        let ServerName::DnsName(host) = server_name else {
            return Err("an address has to be among the certificate's alternative names");
        };
        return if covers(&common, host.as_ref()) { Ok(()) } else { Err(OTHER) };
    }
    let parsed = ParsedCertificate::try_from(der).map_err(|_| "the certificate cannot be read")?;
    rustls::client::verify_server_name(&parsed, server_name).map_err(|_| OTHER)
}

/// Does a name in a certificate cover `host`? A `*` stands for the first label.
fn covers(name: &str, host: &str) -> bool {
    let (name, host) = (name.trim_end_matches('.'), host.trim_end_matches('.'));
    match (name.strip_prefix("*."), host.split_once('.')) {
        (Some(rest), Some((label, domain))) => {
            !label.is_empty() && rest.contains('.') && rest.eq_ignore_ascii_case(domain)
        }
        _ => name.eq_ignore_ascii_case(host),
    }
}

/// Verifies certificates, and the server's signatures.
#[derive(Debug)]
struct Verifier {
    /// `None` accepts any certificate, because the user said `rejectUnauthorized: false`; signatures are still checked.
    trusted: Option<Trusted>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> TlsResult<ServerCertVerified> {
        if let Some(trusted) = &self.trusted {
            trusted.judge(end_entity, intermediates, server_name, ocsp, now, &self.algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    /// rustls reads the key of a certificate of version 3 only.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> TlsResult<HandshakeSignatureValid> {
        if ParsedCertificate::try_from(cert).is_ok() {
            return rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms);
        }
        let own = Certificate::read(cert).map_err(|_| CertificateError::BadEncoding)?;
        if own.has_signed(message, dss.signature(), dss.scheme, &self.algorithms) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> TlsResult<HandshakeSignatureValid> {
        if ParsedCertificate::try_from(cert).is_ok() {
            return rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms);
        }
        let key =
            Certificate::read(cert).and_then(|own| own.public_key()).map_err(|_| CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(key.as_slice());
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The reason of a TLS failure, as text. rustls itself shows a foreign error by its `Debug` text.
pub(in crate::connection) fn reason(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(refused)))) => {
            format!("invalid peer certificate: {refused}")
        }
        _ => error.to_string(),
    }
}

/// Why a certificate that webpki cannot read is refused.
#[derive(Debug)]
struct Refused(&'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_common_name_covers_the_host_and_a_star_one_label() {
        for (name, host, covered) in [
            ("localhost", "localhost", true),
            ("Redis.Example.com", "redis.example.COM", true),
            ("*.example.com", "redis.example.com", true),
            ("*.example.com", "a.redis.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.com", "example.com", false),
            ("*", "localhost", false),
            ("redis.example.com", "redis.example.org", false),
        ] {
            assert_eq!(covers(name, host), covered, "{name} {host}");
        }
    }
}
