use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::ServerName;

use super::*;
use crate::listen::Protocol;
use crate::signals::Reload;
use crate::with_causes;

/// A folder with an authority `ca.pem`, and the pairs `a.pem` and `b.pem` with their keys `a.key` and `b.key`.
fn files() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, label: &str, der: &[u8]| {
        let pem = pem_of(label, der);
        std::fs::write(folder.path().join(name), pem).expect("the file can be written");
    };
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    write("ca.pem", "CERTIFICATE", ca.der());
    for name in ["a", "b"] {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &ca).expect("a certificate");
        write(&format!("{name}.pem"), "CERTIFICATE", certificate.der());
        write(&format!("{name}.key"), "PRIVATE KEY", key.serialized_der());
    }
    std::fs::write(folder.path().join("text"), "no PEM").expect("the file can be written");
    std::fs::write(folder.path().join("bad"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("the file can be written");
    folder
}

fn pem_of(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (index, chunk) in der.chunks(3).enumerate() {
        if index % 16 == 0 {
            text.push('\n');
        }
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let letter = |at: usize| match at <= chunk.len() {
            true => char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        text.extend((0..4).map(letter));
    }
    format!("-----BEGIN {label}-----{text}\n-----END {label}-----\n")
}

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const EVERYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1);

#[tokio::test]
async fn every_bad_file_is_told_with_its_flag() {
    let folder = files();
    let path = |name: &str| (!name.is_empty()).then(|| folder.path().join(name));
    let rows: [(&str, &str, &str, &[&str]); 12] = [
        ("a.pem", "a.key", "", &[]),
        ("a.pem", "a.key", "ca.pem", &[]),
        ("a.pem", "", "", &["--tls-cert (TLS_CERT) needs --tls-key (TLS_KEY): give both or neither"]),
        ("", "a.key", "", &["--tls-key (TLS_KEY) needs --tls-cert (TLS_CERT)"]),
        ("", "", "ca.pem", &["--tls-client-ca (TLS_CLIENT_CA) needs --tls-cert (TLS_CERT)"]),
        ("none", "a.key", "", &["--tls-cert (TLS_CERT): ", "none cannot be read: No such file"]),
        ("text", "a.key", "", &["--tls-cert (TLS_CERT): ", "text holds no certificate in PEM (BEGIN CERTIFICATE)"]),
        ("bad", "a.key", "", &["--tls-cert (TLS_CERT): ", "bad cannot be used: invalid peer certificate"]),
        ("a.pem", "none", "", &["--tls-key (TLS_KEY): ", "none cannot be read: No such file"]),
        ("a.pem", "a.pem", "", &["--tls-key (TLS_KEY): ", "a.pem holds no private key in PEM (BEGIN PRIVATE KEY)"]),
        ("a.pem", "b.key", "", &["--tls-key (TLS_KEY): the key in ", "b.key does not match", "certificate in "]),
        ("a.pem", "a.key", "text", &["--tls-client-ca (TLS_CLIENT_CA): ", "text holds no certificate"]),
    ];
    for (cert, key, ca, expected) in rows {
        let (tls_cert, tls_key, tls_client_ca) = (path(cert), path(key), path(ca));
        let protection = Protection { tls_cert, tls_key, tls_client_ca, allow_plaintext: false };
        let tls = protection.of_port("--x (X)", EVERYWHERE, Protocol::Http2, Reload::never());
        let error = tls.map(|_| ()).map_or_else(|error| with_causes(&error), |()| String::new());
        assert_eq!(error.is_empty(), expected.is_empty(), "{cert} {key} {ca}: {error}");
        assert!(expected.iter().all(|expected| error.contains(expected)), "{cert} {key} {ca}: {error}");
    }
}

#[tokio::test]
async fn a_port_beyond_loopback_needs_tls_or_permission() {
    let tls = |allow_plaintext, address| {
        let protection = Protection { allow_plaintext, ..Protection::default() };
        protection.of_port("--x (X)", address, Protocol::Http1, Reload::never())
    };
    assert!(tls(false, LOOPBACK).expect("loopback needs no TLS").is_none());
    assert!(tls(true, EVERYWHERE).expect("it is allowed").is_none());
    let error = tls(false, EVERYWHERE).expect_err("it is not allowed").to_string();
    assert!(error.starts_with("--x (X): 0.0.0.0:1 is not a loopback address"), "{error}");
}

#[derive(Debug, clap::Parser)]
struct Program {
    #[command(flatten)]
    upstreams: GrpcUpstreams,
}

/// What the program makes of `--grpc-upstream` and the flags behind it.
fn parse(arguments: &[&str]) -> Result<GrpcUpstreams, clap::Error> {
    let arguments = ["program", "--grpc-upstream"].iter().chain(arguments);
    <Program as clap::Parser>::try_parse_from(arguments).map(|program| program.upstreams)
}

#[tokio::test]
async fn every_wrong_upstream_is_told_with_its_flag() {
    let folder = files();
    let (ca, a, key) = ("--upstream-ca", "--upstream-cert", "--upstream-key");
    let rows: [(&[&str], &str); 13] = [
        (&["h:1"], ""),
        (&["h:1,http://g:2", "--grpc-upstream", "f:3"], ""),
        (&["https://h:1", ca, "ca.pem"], ""),
        (&["https://h:1", ca, "ca.pem", a, "a.pem", key, "a.key"], ""),
        (&["https://h:1,https://g:1", ca, "ca.pem"], ""),
        (&["https://h:1"], "https://h:1/ is https, so --upstream-ca (UPSTREAM_CA) is required"),
        (&["http://h:1", ca, "ca.pem"], "--upstream-ca (UPSTREAM_CA) is set, but --grpc-upstream (GRPC_UPSTREAM)"),
        (&["https://h:1,g:2", ca, "ca.pem"], "(GRPC_UPSTREAM) http://g:2/ is not https"),
        (&["g:2,https://h:1"], "https://h:1/ is https, so --upstream-ca (UPSTREAM_CA) is required"),
        (&["h:1,g:1,h:1"], "--grpc-upstream (GRPC_UPSTREAM): http://h:1/ is given twice"),
        (&["https://h:1", ca, "ca.pem", a, "a.pem"], "--upstream-cert (UPSTREAM_CERT) needs --upstream-key"),
        (&["https://h:1", ca, "none"], "none cannot be read: No such file"),
        (&["https://h:1", ca, "ca.pem", a, "a.pem", key, "b.key"], "--upstream-key (UPSTREAM_KEY): the key in "),
    ];
    for (arguments, expected) in rows {
        let named = |text: &&str| match text.contains(['-', ':']) {
            true => (*text).to_owned(),
            false => folder.path().join(text).display().to_string(),
        };
        let arguments: Vec<String> = arguments.iter().map(named).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let channels = parse(&arguments).expect("the form is right").channels(|endpoint| endpoint, &Reload::never());
        let error = channels.map(|_| ()).map_or_else(|error| with_causes(&error as &dyn Error), |()| String::new());
        assert_eq!(error.is_empty(), expected.is_empty(), "{error}");
        assert!(error.contains(expected), "{error} has not {expected}");
    }
}

#[tokio::test]
async fn upstreams_are_named_by_host_and_port() {
    let upstreams = parse(&["h:1,http://g:2", "--grpc-upstream", "[::1]:3"]).expect("the form is right");
    let channels = upstreams.channels(|endpoint| endpoint, &Reload::never()).expect("they can be called");
    let names: Vec<String> = channels.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["h:1", "g:2", "[::1]:3"]);
    for wrong in ["", "h", "h:1,", "h:1,x", "h:x", "ftp://h:1", "http://h:1/path", "h:1;g:2"] {
        let error = parse(&[wrong]).expect_err(wrong).to_string();
        let value = wrong.rsplit(',').next().unwrap_or_default();
        assert!(error.contains(&format!("'{value}'")) || value.is_empty(), "{error} does not name {value}");
        assert!(error.contains("--grpc-upstream"), "{error}");
    }
}

#[test]
fn a_chain_is_valid_until_its_first_certificate_expires() {
    let key = || KeyPair::generate().expect("a key");
    let params = |name: &str, year: i32| {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params
    };
    let of_authority = |name: &str, year: i32| {
        let mut params = params(name, year);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let root = CertifiedIssuer::self_signed(of_authority("root", 2030), key()).expect("an authority");
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).expect("the authority is good");
    let host = ServerName::try_from("localhost").expect("a good name");
    // The year of the authority between, that of the server, and the seconds from 1970 to the first of them. That of
    // the root does not count: it is trusted as it is.
    for (between, own, first) in [(2050, 2090, 2_524_608_000), (2090, 2050, 2_524_608_000), (2050, 2050, 2_524_608_000)]
    {
        let between = CertifiedIssuer::signed_by(of_authority("between", between), key(), &root).expect("an authority");
        let server = params("localhost", own).signed_by(&key(), &between).expect("a certificate");
        let chain = [server.der().clone(), between.der().clone()];
        assert_eq!(web::expiry(roots.clone(), &chain, &host), Some(first));
    }
}
