//! An X.509 certificate of any version, for certificates that rustls' own parser refuses to read.

use std::time::Duration;

use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use x509_cert::certificate::Version;
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName,
    SubjectKeyIdentifier,
};

/// The extended key usages "any" and "TLS server".
const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
const SERVER_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// The extensions that this module reads. A certificate with any other critical extension cannot be verified.
const KNOWN: [ObjectIdentifier; 6] = [
    BasicConstraints::OID,
    KeyUsage::OID,
    ExtendedKeyUsage::OID,
    SubjectAltName::OID,
    SubjectKeyIdentifier::OID,
    AuthorityKeyIdentifier::OID,
];

type Outcome<T> = Result<T, x509_cert::der::Error>;

pub(super) struct Certificate<'a> {
    pub(super) der: &'a [u8],
    parsed: x509_cert::Certificate,
    /// The signed bytes, the algorithm and the signature, as they stand in the certificate.
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub(super) fn read(der: &'a CertificateDer<'_>) -> Outcome<Self> {
        let der = der.as_ref();
        let mut reader = SliceReader::new(der)?;
        let (signed, algorithm, signature) = reader.sequence(|inner: &mut SliceReader<'a>| {
            let signed = inner.tlv_bytes()?;
            let algorithm: AnyRef<'a> = inner.decode()?;
            let signature: BitStringRef<'a> = inner.decode()?;
            Ok::<_, x509_cert::der::Error>((signed, algorithm.value(), signature.raw_bytes()))
        })?;
        Ok(Self { der, parsed: x509_cert::Certificate::from_der(der)?, signed, algorithm, signature })
    }

    /// The public key with its algorithm, as DER.
    pub(super) fn public_key(&self) -> Outcome<Vec<u8>> {
        self.parsed.tbs_certificate().subject_public_key_info().to_der()
    }

    pub(super) fn is_valid_at(&self, since_1970: Duration) -> bool {
        let validity = self.parsed.tbs_certificate().validity();
        validity.not_before.to_unix_duration() <= since_1970 && since_1970 <= validity.not_after.to_unix_duration()
    }

    /// May this certificate sign others, with `below` certificates between it and the server's? A certificate of version 1 cannot say
    /// so; it may where the user trusts it.
    pub(super) fn is_authority(&self, below: usize) -> bool {
        self.parsed.tbs_certificate().version() == Version::V1 || self.says_authority(below)
    }

    /// Does this certificate say that it may sign others, with `below` certificates between it and the server's?
    pub(super) fn says_authority(&self, below: usize) -> bool {
        let signs = self.extension::<KeyUsage>().is_none_or(|usage| usage.is_ok_and(|usage| usage.key_cert_sign()));
        let basic = self.extension::<BasicConstraints>().and_then(Outcome::ok);
        signs && basic.is_some_and(|it| it.ca && it.path_len_constraint.is_none_or(|most| below <= most.into()))
    }

    /// May this certificate be a TLS server's?
    pub(super) fn is_for_servers(&self) -> bool {
        self.extension::<ExtendedKeyUsage>().is_none_or(|usage| {
            usage.is_ok_and(|usage| usage.0.contains(&SERVER_USAGE) || usage.0.contains(&ANY_USAGE))
        })
    }

    /// Has the certificate a critical extension that this module does not read, or name constraints?
    pub(super) fn is_beyond_us(&self) -> bool {
        let beyond = |one: &Extension| match one.extn_id {
            NameConstraints::OID => true,
            other => one.critical && !KNOWN.contains(&other),
        };
        self.parsed.tbs_certificate().extensions().is_some_and(|list| list.iter().any(beyond))
    }

    /// The subject's common name, where the certificate has no alternative names. Alternative names take precedence.
    pub(super) fn common_name_alone(&self) -> Option<String> {
        if self.extension::<SubjectAltName>().is_some() {
            return None;
        }
        let name = self.parsed.tbs_certificate().subject().common_name().ok()??;
        Some(name.value().into_owned())
    }

    /// Was this certificate signed by the key of `issuer`?
    pub(super) fn is_signed_by(&self, issuer: &Certificate<'_>, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        if self.parsed.tbs_certificate().issuer() != issuer.parsed.tbs_certificate().subject() {
            return false;
        }
        let key = issuer.parsed.tbs_certificate().subject_public_key_info();
        let Some(bits) = key.subject_public_key.as_bytes() else { return false };
        algorithms.all.iter().any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.verify_signature(bits, self.signed, self.signature).is_ok()
        })
    }

    /// Was `message` signed by this certificate's own key, by `scheme`?
    pub(super) fn has_signed(
        &self,
        message: &[u8],
        signature: &[u8],
        scheme: SignatureScheme,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> bool {
        let key = self.parsed.tbs_certificate().subject_public_key_info();
        let Some(bits) = key.subject_public_key.as_bytes() else { return false };
        algorithms.mapping.iter().filter(|(of, _)| *of == scheme).any(|(_, algorithms)| {
            algorithms.iter().any(|algorithm| algorithm.verify_signature(bits, message, signature).is_ok())
        })
    }

    fn extension<T: AssociatedOid + for<'b> Decode<'b, Error = x509_cert::der::Error>>(&self) -> Option<Outcome<T>> {
        let extensions = self.parsed.tbs_certificate().extensions()?;
        let found = extensions.iter().find(|one| one.extn_id == T::OID)?;
        Some(T::from_der(found.extn_value.as_bytes()))
    }
}
