//! What a server is known by.

use std::num::NonZeroU16;
use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use underpass::tls;
use underpass_serve::{Endpoint, Pair, TlsOptions, ToHttps};

use crate::exit::say;

/// The flags about TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArguments {
    /// Serve over HTTPS, with the certificates in this PEM file: the server's own, then its chain.
    ///
    /// May be given several times, each with a --tls-key: a client gets the one for the name that
    /// it asks for (SNI), and the first if there is none. SIGHUP reads the files again, and no
    /// connection is dropped; if they cannot be used, those before stay.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,

    /// The file of the certificate's private key, in PEM: PKCS #8, PKCS #1 or SEC1.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,

    /// Where to listen for HTTP in the clear, next to HTTPS: clients are sent there by a 308.
    ///
    /// To the same host, path and query. What is served here is /.well-known/acme-challenge/ of
    /// the directory, so that certbot --webroot can prove whose the host is. May be repeated. Of
    /// sockets that a service manager passes, those with the same ports are meant.
    #[arg(long, value_name = "ADDR", requires = "tls_cert")]
    listen_http: Vec<Endpoint>,

    /// The port of https to which they are sent [default: that of the first TLS listener].
    ///
    /// Where clients reach that by another port, as behind a container's.
    #[arg(long, value_name = "PORT", requires = "listen_http")]
    https_port: Option<NonZeroU16>,

    /// The oldest version of TLS that is spoken.
    #[arg(long, value_name = "VERSION", default_value = "1.2", requires = "tls_cert")]
    tls_min_version: Version,

    /// Whether the kernel makes the records, so that files leave by sendfile: auto or off.
    ///
    /// auto: where it can, and rustls in this process elsewhere. A connection whose client changes
    /// its keys is ended by the former.
    #[arg(long, value_name = "WHEN", default_value = "auto", requires = "tls_cert")]
    ktls: Ktls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Version {
    #[value(name = "1.2")]
    Tls12,
    #[value(name = "1.3")]
    Tls13,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ktls {
    Auto,
    Off,
}

impl TlsArguments {
    /// What was asked for, if any TLS was.
    ///
    /// # Errors
    ///
    /// That a certificate lacks its key, or a key its certificate.
    pub(super) fn options(&self) -> anyhow::Result<Option<TlsOptions>> {
        let Self { tls_cert, tls_key, tls_min_version, ktls, .. } = self;
        let (certificates, keys) = (tls_cert.len(), tls_key.len());
        ensure!(
            certificates == keys,
            "there are {certificates} of --tls-cert and {keys} of --tls-key: give each \
             certificate its key, in the same order"
        );
        let pairs = tls_cert.iter().zip(tls_key);
        let pairs = pairs.map(|(certificates, key)| Pair {
            certificates: certificates.clone(),
            key: key.clone(),
        });
        Ok((certificates > 0).then(|| TlsOptions {
            pairs: pairs.collect(),
            only_13: *tls_min_version == Version::Tls13,
            in_kernel: *ktls == Ktls::Auto,
        }))
    }

    /// Which listeners are in the clear next to it.
    pub(super) fn in_the_clear(self) -> ToHttps {
        ToHttps { listen: self.listen_http, port: self.https_port.map(NonZeroU16::get) }
    }
}

/// Says who makes the records, and if that is not the kernel, why.
pub(super) fn say_who_encrypts(may_be_kernel: bool) {
    let why = match may_be_kernel.then(tls::is_available) {
        Some(Ok(())) => return say("TLS by the kernel: files leave by sendfile"),
        Some(Err(why)) => why.to_string(),
        None => "--ktls off".to_owned(),
    };
    say(&format!("TLS in user space: {why}"));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    fn options(words: &[&str]) -> Result<Option<TlsOptions>, String> {
        let words = [&["underpass", "serve"], words].concat();
        let parsed = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Serve(wanted) = parsed.command else { panic!("the command is serve") };
        wanted.0.tls.options().map_err(|error| error.to_string())
    }

    #[test]
    fn each_certificate_has_its_key() {
        assert!(options(&[]).unwrap().is_none());
        let two = ["--tls-cert=a", "--tls-key=b", "--tls-key=d", "--tls-cert=c"];
        let pair = |certificates: &str, key: &str| Pair {
            certificates: certificates.into(),
            key: key.into(),
        };
        let wanted = options(&two).unwrap().unwrap();
        assert_eq!(wanted.pairs, [pair("a", "b"), pair("c", "d")]);
        assert_eq!((wanted.only_13, wanted.in_kernel), (false, true));
        let strict = [&two[..], &["--tls-min-version=1.3", "--ktls=off"]].concat();
        let wanted = options(&strict).unwrap().unwrap();
        assert_eq!((wanted.only_13, wanted.in_kernel), (true, false));
        for half in [
            &["--tls-cert=a"][..],
            &["--tls-key=a"],
            &["--ktls=off"],
            &two[..3],
            &["--listen-http=80"],
        ] {
            assert!(options(half).is_err(), "{half:?}");
        }
    }
}
