//! Fetches one page by HTTPS, confined to what that takes: to look up a name, to read the certificates of authorities,
//! and to connect to one TCP port.
//!
//! ```sh
//! cargo run -p palisade-examples --bin https_client -- https://example.org/
//! cargo run -p palisade-examples --bin https_client -- --ca my-ca.pem https://localhost:8443/
//! ```
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
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io};

use palisade::{Policy, Preset};
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

    io::stdout().write_all(&fetch(&url, ca)?)?;
    Ok(())
}

/// The URL, and the file of authorities, open.
fn arguments(mut args: impl Iterator<Item = OsString>) -> Result<(Uri, Option<File>)> {
    let (mut url, mut ca) = (None, None);
    while let Some(arg) = args.next() {
        if arg == "--ca" {
            let path = args.next().ok_or("--ca needs a file")?;
            let open = File::open(&path).map_err(|e| format!("{}: {e}", Path::new(&path).display()))?;
            ca = Some(open);
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

/// The page.
pub fn fetch(url: &Uri, ca: Option<File>) -> Result<Vec<u8>> {
    // An error means that there is one already.
    let _ = CryptoProvider::install_default(ring::default_provider());
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&authorities(ca)?)).build();
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
fn authorities(ca: Option<File>) -> Result<Vec<Certificate<'static>>> {
    let system = rustls_native_certs::load_native_certs();
    for error in system.errors {
        eprintln!("https_client: {error}");
    }
    let mut found: Vec<_> = system.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    if let Some(mut file) = ca {
        let mut pem = Vec::new();
        file.read_to_end(&mut pem)?;
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item? {
                found.push(certificate);
            }
        }
    }
    Ok(found)
}
