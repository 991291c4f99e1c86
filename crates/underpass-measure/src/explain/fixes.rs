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

/// What to change for bytes that went a way.
pub(crate) fn of(way: Way, about: &About<'_>, context: &Context) -> String {
    let fix = match way {
        Way::Read | Way::Mapped | Way::Piped if about.is_small => SMALL,
        Way::Read => reading(about),
        Way::Piped => {
            "give the program that sends the file itself as its input, and not a pipe: it can \
             then be sendfile(2)d or spliced"
        }
        Way::ReadTls | Way::MappedTls => user_tls(about),
        Way::ReadTransformed => match family(about.program) {
            "nginx" => "gzip_static on; with the files compressed beforehand, and gzip off; there",
            _ => "keep what is sent in separate files, compressed beforehand, and sendfile those",
        },
        Way::Mapped => {
            "sendfile(2) of the file: a mapping saves the copy of read(2), not that of write(2)"
        }
        Way::Linear { interface } => return scattering(interface, context),
        Way::Encrypted => {
            "none in software, for encrypting writes every byte; a network card that encrypts \
             (ethtool -K DEVICE tls-hw-tx-offload on) and TLS_TX_ZEROCOPY_RO"
        }
        Way::Uncached => {
            "serve it from a file system that uses the page cache (not FUSE with direct_io, not \
             procfs or sysfs)"
        }
        Way::Direct => {
            "none needed; without O_DIRECT the next sendfile would find the pages cached"
        }
        Way::Ring => {
            "IORING_OP_SPLICE through a pipe for files; IORING_OP_SEND_ZC for memory, from 10 KB \
             on, to peers on other machines"
        }
        Way::RelayedThroughMemory => relaying(about),
        Way::Reference | Way::Memory | Way::Relayed | Way::FromPipe | Way::Unseen => "",
    };
    fix.to_owned()
}

/// The program's family, by the name of its executable: `python3.11` is `python`.
fn family(program: &str) -> &str {
    let end = program.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(program.len());
    program.get(..end).unwrap_or(program)
}

/// For what was read and written.
fn reading(about: &About<'_>) -> &'static str {
    match (family(about.program), about.runtime) {
        ("nginx", _) => "sendfile on; in the location that serves the files",
        ("python", _) => {
            "send files with socket.sendfile() or os.sendfile(); http.server reads and writes \
             them (shutil.copyfileobj)"
        }
        ("apache" | "httpd", _) => "EnableSendfile On",
        ("lighttpd", _) => "server.network-backend = \"sendfile\"",
        ("vsftpd", _) => "use_sendfile=YES",
        ("smbd", _) => "use sendfile = yes, for clients that do not sign or encrypt",
        ("rsync", _) => "none: rsync compares and frames what it sends, and cannot lend it",
        ("underpass", _) => SMALL,
        (_, Some(Runtime::Go)) => {
            "io.Copy from the *os.File to the *net.TCPConn or http.ResponseWriter itself: a \
             wrapper around either hides the ReadFrom by which Go uses sendfile(2)"
        }
        (_, Some(Runtime::Java)) => "FileChannel.transferTo() to the socket's channel",
        _ => "sendfile(2), or splice(2) through a pipe",
    }
}

/// For what was encrypted in user space.
fn user_tls(about: &About<'_>) -> &'static str {
    match family(about.program) {
        "nginx" => {
            "kernel TLS: modprobe tls; ssl_conf_command Options KTLS; sendfile on; with OpenSSL \
             3. The kernel then encrypts in one pass; without any, only a card that encrypts"
        }
        _ => {
            "kernel TLS (modprobe tls; with OpenSSL 3 SSL_OP_ENABLE_KTLS and SSL_sendfile): one \
             pass instead of several"
        }
    }
}

/// For what came from a socket.
fn relaying(about: &About<'_>) -> &'static str {
    match (family(about.program), about.runtime) {
        ("haproxy", _) => "option splice-auto, where it does not encrypt",
        ("nginx", _) => {
            "none in nginx, whose proxy copies; where it changes nothing, a proxy that splices"
        }
        (_, Some(Runtime::Go)) => {
            "io.Copy between the *net.TCPConns themselves: a wrapper around one hides the \
             ReadFrom by which Go splices"
        }
        _ => "splice(2) through a pipe, from socket to socket, where nothing is changed",
    }
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
