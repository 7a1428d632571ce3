//! Fetches one page by HTTPS, confined to what that takes: to look up a name, to read the certificates of authorities,
//! and to connect to one TCP port.
//!
//! ```sh
//! cargo run -p palisade-examples --bin https_client -- https://example.org/
//! cargo run -p palisade-examples --bin https_client -- --ca my-ca.pem https://localhost:8443/
//! ```
//!
//! `--ca` names a PEM file with the certificate of the authority that signed the server's. A server's certificate that
//! signed itself is one if it does not say that it is an authority, as those made by `openssl req -x509` do
//! (`CaUsedAsEndEntity` is the error then): make it with `-addext basicConstraints=CA:FALSE`, and name the server in
//! it, with `-addext subjectAltName=DNS:localhost`.
//!
//! When it confines: as soon as the port is known, which is from the command line alone, and before it sends or
//! receives a byte. Whatever the server answers, TLS, HTTP and certificates are parsed confined. If it sends the client
//! elsewhere by a redirect, it can do so to this port only: the kernel knows ports and no addresses.
//!
//! The authorities that the system trusts are read afterwards, with the preset `certs`. A file of one's own given with
//! `--ca` may be anywhere: it is opened before, and what is open stays so. Thus no rule is needed for it, and it is
//! parsed confined like all else.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io};

use palisade::{Policy, Preset, printable};
use rustls::crypto::{CryptoProvider, ring};
use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("https_client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let (url, ca) = arguments(env::args_os().skip(1))?;
    let port = port(&url)?;

    confine(port)?;

    let authorities = authorities(ca)?;
    let page = fetch(&url, &authorities).map_err(|e| format!("{url}: {e}"))?;
    let mut out = io::stdout();
    out.write_all(&page).and_then(|()| out.flush()).map_err(|e| format!("standard output: {e}"))?;
    Ok(())
}

/// The file of authorities: its name, to be told in errors, and itself, open.
type Ca = (OsString, File);

/// The URL, and the file of authorities.
fn arguments(mut args: impl Iterator<Item = OsString>) -> Result<(Uri, Option<Ca>)> {
    let (mut url, mut ca) = (None, None);
    while let Some(arg) = args.next() {
        if arg == "--ca" {
            let path = args.next().ok_or("--ca needs a file")?;
            let open = File::open(&path).map_err(|e| format!("{}: {e}", printable(&path)))?;
            ca = Some((path, open));
        } else {
            let text = arg.to_str().ok_or("the URL is not UTF-8")?;
            url = Some(text.parse().map_err(|e| format!("{text}: {e}"))?);
        }
    }
    Ok((url.ok_or("usage: https_client [--ca FILE] URL")?, ca))
}

/// The one port that is connected to.
pub fn port(url: &Uri) -> Result<u16> {
    match url.scheme_str() {
        Some("https") => Ok(url.port_u16().unwrap_or(443)),
        _ => Err(format!("{url}: not an https URL").into()),
    }
}

/// What the client may do from here on. The preset `dns` allows port 53 besides.
pub fn confine(port: u16) -> palisade::Result<()> {
    Policy::new().preset(Preset::Dns).preset(Preset::Certs).connect_tcp(port).enforce()?;
    Ok(())
}

/// The page, from a server that one of the authorities vouches for.
pub fn fetch(url: &Uri, authorities: &[Certificate<'static>]) -> Result<Vec<u8>> {
    // An error means that there is one already.
    let _ = CryptoProvider::install_default(ring::default_provider());
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(authorities)).build();
    let agent = Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        // One from the environment would be on another port.
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .new_agent();
    Ok(agent.get(url).call()?.body_mut().read_to_vec()?)
}

/// The system's authorities, and those of the file.
pub fn authorities(ca: Option<Ca>) -> Result<Vec<Certificate<'static>>> {
    let system = rustls_native_certs::load_native_certs();
    for error in system.errors {
        eprintln!("https_client: {error}");
    }
    let mut found: Vec<_> = system.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    if let Some((name, mut file)) = ca {
        let name = printable(&name);
        let before = found.len();
        let mut pem = Vec::new();
        file.read_to_end(&mut pem).map_err(|e| format!("{name}: {e}"))?;
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.map_err(|e| format!("{name}: {e}"))? {
                found.push(certificate);
            }
        }
        if found.len() == before {
            return Err(format!("{name}: no certificate in it").into());
        }
    }
    Ok(found)
}
