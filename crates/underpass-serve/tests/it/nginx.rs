//! nginx, next to the server under test.

use std::fs;
use std::path::Path;
use std::process::Command;

use underpass_testkit::server::{Server, free_address};

/// nginx that serves `root` with these directives, until it is dropped.
pub(crate) fn nginx(root: &Path, directives: &str) -> Nginx {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address().unwrap();
    let config = dir.path().join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid pid; error_log error.log;\n\
         events {{ }}\n\
         http {{ access_log off; sendfile on; default_type application/octet-stream;\n\
         client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;\n\
         uwsgi_temp_path t4; scgi_temp_path t5;\n\
         server {{ listen {address}; root {}; {directives} }} }}\n",
        root.display(),
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir.path()).arg("-c").arg(&config).args(["-e", "error.log"]);
    let server = Server::start(&mut command, address).unwrap();
    Nginx { server, _dir: dir }
}

pub(crate) struct Nginx {
    server: Server,
    _dir: tempfile::TempDir,
}

impl Nginx {
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }
}
