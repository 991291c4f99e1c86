//! What to change, in the words of the program that would have to change.
//!
//! A change is told by the way the bytes went, the program, what its code runs on, and how much it
//! sends at a time: of a few kilobytes a copy is right, for lending them costs more.
//!
//! Source: nginx.org (sendfile, ssl_conf_command, gzip_static), docs.python.org (socket.sendfile,
//! http.server), httpd.apache.org (EnableSendfile), redmine.lighttpd.net (server.network-backend),
//! smb.conf(5), vsftpd.conf(5), docs.haproxy.org (option splice-auto), pkg.go.dev/net
//! (TCPConn.ReadFrom), java.nio.channels.FileChannel.

use crate::account::Way;
use crate::account::context::{Context, InterfaceKey, Runtime};

/// Who sent the bytes.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) program: &'a str,
    pub(crate) runtime: Option<Runtime>,
    /// Whether it sent a few kilobytes at a time.
    pub(crate) is_small: bool,
}

const SMALL: &str = "none: small pieces are copied on purpose, since a copy of them costs less \
                     than a reference";

const APACHE: &str = "EnableSendfile On";

/// Changes by the way, the program's family, and what its code runs on: the first that fits is
/// told, and one without a family or without a runtime fits all. What encrypts from a mapping is
/// told as what was read and encrypted.
#[rustfmt::skip]
const FIXES: [(Way, &str, Option<Runtime>, &str); 27] = [
    (Way::Read, "nginx", None, "sendfile on; in the location that serves the files"),
    (Way::Read, "python", None,
     "send files with socket.sendfile() or os.sendfile(); http.server reads and writes them \
      (shutil.copyfileobj)"),
    (Way::Read, "apache", None, APACHE),
    (Way::Read, "httpd", None, APACHE),
    (Way::Read, "lighttpd", None, "server.network-backend = \"sendfile\""),
    (Way::Read, "vsftpd", None, "use_sendfile=YES"),
    (Way::Read, "smbd", None, "use sendfile = yes, for clients that do not sign or encrypt"),
    (Way::Read, "rsync", None, "none: rsync compares and frames what it sends, and cannot lend it"),
    (Way::Read, "underpass", None, SMALL),
    (Way::Read, "", Some(Runtime::Go),
     "io.Copy from the *os.File to the *net.TCPConn or http.ResponseWriter itself: a wrapper \
      around either hides the ReadFrom by which Go uses sendfile(2)"),
    (Way::Read, "", Some(Runtime::Java), "FileChannel.transferTo() to the socket's channel"),
    (Way::Read, "", None, "sendfile(2), or splice(2) through a pipe"),
    (Way::Piped, "", None,
     "give the program that sends the file itself as its input, and not a pipe: it can then be \
      sendfile(2)d or spliced"),
    (Way::ReadTls, "nginx", None,
     "kernel TLS: modprobe tls; ssl_conf_command Options KTLS; sendfile on; with OpenSSL 3. The \
      kernel then encrypts in one pass; without any, only a card that encrypts"),
    (Way::ReadTls, "", None,
     "kernel TLS (modprobe tls; with OpenSSL 3 SSL_OP_ENABLE_KTLS and SSL_sendfile): one pass \
      instead of several"),
    (Way::ReadTransformed, "nginx", None,
     "gzip_static on; with the files compressed beforehand, and gzip off; there"),
    (Way::ReadTransformed, "", None,
     "keep what is sent in separate files, compressed beforehand, and sendfile those"),
    (Way::Mapped, "", None,
     "sendfile(2) of the file: a mapping saves the copy of read(2), not that of write(2)"),
    (Way::Perhaps, "", None,
     "none here: without TLS in the program, or with --budget 100, more of it would be seen"),
    (Way::Encrypted, "", None,
     "none in software, for encrypting writes every byte; a network card that encrypts (ethtool \
      -K DEVICE tls-hw-tx-offload on) and TLS_TX_ZEROCOPY_RO"),
    (Way::Uncached, "", None,
     "serve it from a file system that uses the page cache (not FUSE with direct_io, not procfs \
      or sysfs)"),
    (Way::Direct, "", None,
     "none needed; without O_DIRECT the next sendfile would find the pages cached"),
    (Way::Ring, "", None,
     "IORING_OP_SPLICE through a pipe for files; IORING_OP_SEND_ZC for memory, from 10 KB on, to \
      peers on other machines"),
    (Way::RelayedThroughMemory, "haproxy", None, "option splice-auto, where it does not encrypt"),
    (Way::RelayedThroughMemory, "nginx", None,
     "none in nginx, whose proxy copies; where it changes nothing, a proxy that splices"),
    (Way::RelayedThroughMemory, "", Some(Runtime::Go),
     "io.Copy between the *net.TCPConns themselves: a wrapper around one hides the ReadFrom by \
      which Go splices"),
    (Way::RelayedThroughMemory, "", None,
     "splice(2) through a pipe, from socket to socket, if it passes them on and changes nothing"),
];

/// What to change for bytes that went a way.
pub(crate) fn of(way: Way, about: &About<'_>, context: &Context) -> String {
    if let Way::Linear { interface } = way {
        return scattering(interface, context);
    }
    if about.is_small && matches!(way, Way::Read | Way::Mapped | Way::Piped) {
        return SMALL.to_owned();
    }
    let way = if way == Way::MappedTls { Way::ReadTls } else { way };
    let fits = |(of, family, runtime, _): &&(Way, &str, Option<Runtime>, &str)| {
        let is_program = family.is_empty() || *family == self::family(about.program);
        *of == way && is_program && (runtime.is_none() || *runtime == about.runtime)
    };
    FIXES.iter().find(fits).map_or_else(String::new, |(.., fix)| (*fix).to_owned())
}

/// The program's family, by the name of its executable: `python3.11` is `python`.
fn family(program: &str) -> &str {
    let end = program.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(program.len());
    program.get(..end).unwrap_or(program)
}

/// For what an interface took in whole packets.
fn scattering(key: InterfaceKey, context: &Context) -> String {
    let name = context.interface_name(key);
    match context.interfaces.get(&key).and_then(|interface| interface.has_scatter_gather) {
        Some(false) => format!("ethtool -K {name} sg on"),
        Some(true) => format!("look for what needs whole packets: ethtool -k {name} (checksums)"),
        None => format!("ethtool -K {name} sg on, if ethtool -k {name} says it is off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(way: Way, program: &str, runtime: Option<Runtime>, is_small: bool) -> String {
        of(way, &About { program, runtime, is_small }, &Context::default())
    }

    #[test]
    fn a_program_is_known_by_its_name_without_its_version_and_before_its_runtime() {
        let read = |program, runtime| fix(Way::Read, program, runtime, false);
        assert!(read("python3.11", None).contains("socket.sendfile()"));
        assert!(read("nginx", Some(Runtime::Go)).starts_with("sendfile on;"));
        assert!(read("nginxish", None).starts_with("sendfile(2)"));
        assert!(fix(Way::ReadTls, "nginx", None, true).contains("ssl_conf_command Options KTLS;"));
        assert!(fix(Way::ReadTransformed, "nginx", None, true).starts_with("gzip_static on;"));
        assert!(read("caddy", Some(Runtime::Go)).contains("ReadFrom"));
        assert!(read("app", Some(Runtime::Java)).contains("transferTo"));
        let relayed = |program, runtime| fix(Way::RelayedThroughMemory, program, runtime, false);
        assert!(relayed("haproxy", None).contains("splice-auto"));
        assert!(relayed("traefik", Some(Runtime::Go)).contains("ReadFrom"));
    }

    #[test]
    fn a_copy_of_little_is_right_whoever_makes_it() {
        let small = fix(Way::Read, "lighttpd", None, true);
        assert!(small.starts_with("none: small pieces"), "{small}");
        assert_eq!(small, fix(Way::Mapped, "apache2", None, true));
        assert!(fix(Way::Read, "lighttpd", None, false).contains("network-backend"));
    }
}
