//! Which certificates the client trusts, and which it shows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use x509_cert::der::Decode as _;

use super::{NetError, Plain};
use crate::files::{Texts, read_folder, read_text};

/// Largest PEM text read. Stops a wrong path from filling memory; the system bundle is 220 KB.
const PEM_BYTES: u64 = 4 << 20;
/// Most files of a kind read from one folder of `certs.d`. Stops a wrong folder from filling memory.
const CERTIFICATE_FILES: usize = 32;

/// How a [`super::Client`] speaks TLS.
#[derive(Debug, Default)]
pub struct Tls {
    /// Who may vouch for a server.
    pub roots: Roots,
    /// What the client shows when a server asks for a certificate.
    pub identity: Option<Identity>,
    /// Whether `http` URLs are taken at all.
    pub plain: Plain,
}

/// Certificates that may vouch for a server.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// The system's (`SSL_CERT_FILE`, `SSL_CERT_DIR`, or the distribution's bundle).
    #[default]
    System,
    /// These and no others.
    Only(Vec<CertificateDer<'static>>),
    /// The system's and these.
    SystemAnd(Vec<CertificateDer<'static>>),
}

/// A client certificate and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(<redacted>)")
    }
}

impl Roots {
    /// Only the certificates of a PEM text. White space and quotes around it are trimmed, as they come from env files.
    pub fn only_pem(text: &str) -> Result<Self, NetError> {
        certificates(text).map(Self::Only)
    }

    /// The system's and those of a PEM text.
    pub fn system_and_pem(text: &str) -> Result<Self, NetError> {
        certificates(text).map(Self::SystemAnd)
    }
}

impl Identity {
    /// Reads a certificate chain and a private key.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, NetError> {
        let key = PrivateKeyDer::from_pem_slice(trim(key).as_bytes())
            .map_err(|error| NetError::Bad(format!("private key of the client certificate: {error}")))?;
        Ok(Self { chain: certificates(chain)?, key })
    }
}

/// The certificates and keys in a folder, as docker lays it out: `*.crt`, and `NAME.cert` with `NAME.key`; none where there is no
/// folder. Keys without a certificate are nobody's business.
pub fn certificate_files(folder: &Path) -> Result<Texts, String> {
    let mut files = read_folder(folder, &["crt"], CERTIFICATE_FILES, PEM_BYTES)?;
    files.0.extend(client_files(folder)?.0);
    Ok(files)
}

/// Of the folders of a server (`certs.d/HOST:PORT`, `tls/HOST:PORT`; `server` is `host:port`) the first that is there, and what is
/// read of it: no CAs where their text is given.
pub fn server_files(server: &str, pem: Option<&str>, folders: &[PathBuf]) -> Result<Texts, String> {
    // The name comes from the operator; a slash in it would lead elsewhere.
    let named = folders.iter().map(|folder| folder.join(server)).find(|folder| folder.is_dir());
    match named.filter(|_| !server.contains('/')) {
        Some(folder) if pem.is_none() => certificate_files(&folder),
        Some(folder) => client_files(&folder),
        None => Ok(Texts::default()),
    }
}

fn client_files(folder: &Path) -> Result<Texts, String> {
    let mut files = read_folder(folder, &["cert"], CERTIFICATE_FILES, PEM_BYTES)?;
    for (path, _) in files.0.clone() {
        let key = path.with_extension("key");
        let text = read_text(&key, PEM_BYTES).map_err(|error| format!("`{}` cannot be read: {error}", key.display()))?;
        files.0.push((key, text));
    }
    Ok(files)
}

/// What stands around a PEM in an environment variable.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'')
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let text = trim(text);
    if text.len() as u64 > PEM_BYTES {
        return Err(NetError::Bad(format!("PEM of a CA is larger than {PEM_BYTES} bytes")));
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(NetError::Bad("PEM of a CA holds no certificate".to_owned())),
        Err(error) => Err(NetError::Bad(format!("PEM of a CA cannot be read: {error}"))),
    }
}

impl Tls {
    /// Trusts only the certificates of this PEM.
    pub fn only(pem: &str) -> Result<Self, NetError> {
        Ok(Self { roots: Roots::only_pem(pem)?, ..Self::default() })
    }

    /// What is configured for a server: see [`server_files`] and [`Tls::of_files`].
    pub fn for_server(server: &str, pem: Option<&str>, folders: &[PathBuf]) -> Result<Self, NetError> {
        Self::of_files(pem, &server_files(server, pem, folders).map_err(NetError::Bad)?)
    }

    /// The CA text given, which then stands alone; else the `*.crt` of these files besides the system's CAs. And the first client
    /// certificate `NAME.cert` with its `NAME.key`, which [`super::auth::Session`] shows to that server alone.
    pub fn of_files(pem: Option<&str>, files: &Texts) -> Result<Self, NetError> {
        let mut tls = match pem {
            Some(pem) => Self::only(pem)?,
            None => Self::default(),
        };
        let bad = |path: &Path, why: &dyn std::fmt::Display| NetError::Bad(format!("`{}`: {why}", path.display()));
        let mut own = Vec::new();
        for (path, text) in &files.0 {
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("crt") if pem.is_none() => own.extend(certificates(text).map_err(|error| bad(path, &error))?),
                Some("cert") if tls.identity.is_none() => {
                    let key = path.with_extension("key");
                    let key = files.0.iter().find(|(other, _)| *other == key).map_or("", |(_, text)| text);
                    tls.identity = Some(Identity::from_pem(text, key).map_err(|error| bad(path, &error))?);
                }
                _ => {}
            }
        }
        if !own.is_empty() {
            tls.roots = Roots::SystemAnd(own);
        }
        Ok(tls)
    }

    /// What rustls is told; `identity` is what the client shows.
    pub(super) fn config(&self, identity: Option<&Identity>) -> Result<rustls::ClientConfig, NetError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let late = |read| Late { read, provider: Arc::clone(&provider), chain: OnceLock::new() };
        let (chain, others, own) = match &self.roots {
            Roots::System => match by(bundle(), &provider) {
                Ok(chain) => (chain, vec![late(system)], Vec::new()),
                Err(_) => (by(system(), &provider)?, Vec::new(), Vec::new()),
            },
            Roots::Only(own) => (by_own(own, &provider)?, Vec::new(), own.clone()),
            Roots::SystemAnd(own) => (by_own(own, &provider)?, vec![late(bundle), late(system)], own.clone()),
        };
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| NetError::Bad(format!("TLS versions: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OwnOrChain { chain, others, own }));
        match identity {
            None => Ok(builder.with_no_client_auth()),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .map_err(|error| NetError::Bad(format!("client certificate: {error}"))),
        }
    }
}

/// Verifies by these alone, all of which must be good.
fn by_own(roots: &[CertificateDer<'static>], provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, NetError> {
    let mut store = rustls::RootCertStore::empty();
    for certificate in roots {
        store.add(certificate.clone()).map_err(|error| NetError::Bad(format!("a CA certificate cannot be used: {error}")))?;
    }
    built(store, provider)
}

/// Verifies by those of the system's that can be read.
fn by(roots: Vec<CertificateDer<'static>>, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, NetError> {
    let mut store = rustls::RootCertStore::empty();
    let (added, _ignored) = store.add_parsable_certificates(roots);
    if added == 0 {
        return Err(NetError::Bad("the system has no CA certificates (SSL_CERT_FILE names a bundle)".to_owned()));
    }
    built(store, provider)
}

fn built(store: rustls::RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, NetError> {
    let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
    builder.build().map_err(|error| NetError::Bad(format!("CA certificates: {error}")))
}

/// All of the system's CAs: its bundle, and some hundred files in folders, which mostly hold the same once more.
fn system() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// Those of its bundle alone; none where there is none.
fn bundle() -> Vec<CertificateDer<'static>> {
    // INVARIANT: it is one of the files that `system` reads. Where a variable names folders and no file, that is none.
    let [file, folders] = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
    let file = match (file, folders) {
        (None, None) => openssl_probe::probe().cert_file,
        (file, _) => file.map(PathBuf::from),
    };
    rustls_native_certs::load_certs_from_paths(file.as_deref(), None).certs
}

/// CAs that are read once a server's certificate is by none of those before: to read the system's costs more than all else of a verification.
#[derive(Debug)]
struct Late {
    read: fn() -> Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    /// None where there are none.
    chain: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl Late {
    fn chain(&self) -> Option<&WebPkiServerVerifier> {
        self.chain.get_or_init(|| by((self.read)(), &self.provider).ok()).as_deref()
    }
}

/// Verifies chains as usual, and besides takes a server certificate that is itself one of those the operator gave: a
/// self-signed one, which is marked as a CA and so may not stand at the end of a chain. Its name and dates count all the same.
#[derive(Debug)]
struct OwnOrChain {
    chain: Arc<WebPkiServerVerifier>,
    /// Where the chain ends at none of those, one after the other.
    others: Vec<Late>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OwnOrChain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let by =
            |chain: &WebPkiServerVerifier| chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let is_own = self.own.iter().any(|own| own.as_ref() == end_entity.as_ref());
        let mut verified = by(&self.chain);
        for other in &self.others {
            // Whether one of the operator's own is good is seen here.
            if verified.is_ok() || is_own {
                break;
            }
            match other.chain().map(by) {
                // What those before have to say of it says more.
                None | Some(Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))) => {}
                Some(said) => verified = said,
            }
        }
        if !is_own {
            // Another self-signed certificate is not from a CA of ours, whatever it is marked as.
            return match verified {
                Err(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
                    if other.to_string().contains("CaUsedAsEndEntity") =>
                {
                    Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
                }
                verified => verified,
            };
        }
        if verified.is_ok() {
            return verified;
        }
        let bad = |error| rustls::Error::InvalidCertificate(error);
        let read = x509_cert::Certificate::from_der(end_entity).map_err(|_| bad(CertificateError::BadEncoding))?;
        let validity = read.tbs_certificate().validity();
        if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
            return Err(bad(CertificateError::NotValidYet));
        }
        if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
            return Err(bad(CertificateError::Expired));
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
