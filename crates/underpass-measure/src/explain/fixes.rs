//! What to change, in the words of the program that would have to change.
//!
//! Source: nginx.org (sendfile, ssl_conf_command, gzip_static), docs.python.org (socket.sendfile,
//! http.server), httpd.apache.org (EnableSendfile), java.nio.channels.FileChannel.

/// The program's family, by the name of its executable: `python3.11` is `python`.
fn family(program: &str) -> &str {
    let end = program.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(program.len());
    program.get(..end).unwrap_or(program)
}

/// For what was read and written.
pub(crate) fn reading(program: &str) -> &'static str {
    match family(program) {
        "nginx" => "sendfile on; in the location that serves the files",
        "python" => {
            "send files with socket.sendfile() or os.sendfile(); http.server reads and writes \
             them (shutil.copyfileobj)"
        }
        "apache" | "httpd" => "EnableSendfile On",
        "java" => "FileChannel.transferTo() to the socket's channel",
        "underpass" => {
            "none: small pieces are copied on purpose, since a copy of them costs less than a \
             reference"
        }
        _ => "sendfile(2), or splice(2) through a pipe",
    }
}

/// For what was read by one program and sent by another.
pub(crate) const PIPED: &str = "give the program that sends the file itself as its input, and not \
                                a pipe: it can then be sendfile(2)d or spliced";

/// For what was encrypted in user space.
pub(crate) fn user_tls(program: &str) -> &'static str {
    match family(program) {
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

/// For what was transformed.
pub(crate) fn transforming(program: &str) -> &'static str {
    match family(program) {
        "nginx" => "gzip_static on; with the files compressed beforehand, and gzip off; there",
        _ => "keep what is sent in separate files, compressed beforehand, and sendfile those",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_name_without_its_version() {
        assert!(reading("python3.11").contains("socket.sendfile()"));
        assert!(reading("nginx").starts_with("sendfile on;"));
        assert!(reading("nginxish").starts_with("sendfile(2)"));
        assert!(user_tls("nginx").contains("ssl_conf_command Options KTLS;"));
        assert!(transforming("nginx").starts_with("gzip_static on;"));
    }
}
