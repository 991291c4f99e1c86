//! The programs people use at both ends of a relay: nc, socat, curl and nginx.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use underpass_relay::Endpoint;
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::{require, wait};

use crate::fixture::{PATIENCE, Running, options, unix};

const LEN: u64 = 8_388_611;

/// A program that is ended with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

fn tcp(address: SocketAddr) -> Endpoint {
    Endpoint::Tcp(address)
}

/// Waits until a file has its length.
fn arrived(path: &Path) -> Vec<u8> {
    let len = || fs::metadata(path).map_or(0, |metadata| metadata.len());
    wait::until(PATIENCE, || (len() >= LEN).then_some(()))
        .unwrap_or_else(|| panic!("{} bytes of {LEN}", len()));
    fs::read(path).unwrap()
}

#[test]
fn nc_sends_through_the_relay_to_socat() {
    require!(Program("nc"));
    require!(Program("socat"));
    let dir = tempfile::tempdir().unwrap();
    let (out, file) = (dir.path().join("out"), dir.path().join("in"));
    fs::write(&file, pattern(0..LEN)).unwrap();
    let address = free_address().unwrap();
    let mut socat = Command::new("socat");
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr", address.port());
    let _socat = Ending(
        socat.args(["-u", &listen]).arg(format!("CREATE:{}", out.display())).spawn().unwrap(),
    );
    // socat takes one connection, so none is spent on finding out whether it listens.
    let table = || fs::read_to_string("/proc/net/tcp").unwrap();
    let line = format!("0100007F:{:04X} 00000000:0000 0A", address.port());
    wait::until(PATIENCE, || table().contains(&line).then_some(())).unwrap();
    let relay = Running::to(&[tcp(address)]);
    let sent = Command::new("nc")
        .args(["-N", "127.0.0.1", &relay.address().port().to_string()])
        .stdin(fs::File::open(&file).unwrap())
        .status();
    assert!(sent.unwrap().success());
    assert_eq!(difference(&arrived(&out), 0, LEN), None);
}

#[test]
fn socat_reads_through_the_relay_from_a_unix_socket_of_nc() {
    require!(Program("nc"));
    require!(Program("socat"));
    let dir = tempfile::tempdir().unwrap();
    let (file, path, listen) =
        (dir.path().join("in"), dir.path().join("target"), dir.path().join("listen"));
    fs::write(&file, pattern(0..LEN)).unwrap();
    let mut nc = Command::new("nc");
    nc.args(["-N", "-l", "-U"]).arg(&path).stdin(fs::File::open(&file).unwrap());
    let _nc = Ending(nc.stdout(Stdio::null()).spawn().unwrap());
    wait::until(PATIENCE, || path.exists().then_some(())).unwrap();
    let mut wanted = options(&[unix(&path)]);
    wanted.daemon.listen = vec![unix(&listen)];
    let _relay = Running::start(wanted);
    let mut socat = Command::new("socat");
    let output =
        socat.arg("-u").arg(format!("UNIX-CONNECT:{}", listen.display())).arg("-").output();
    assert_eq!(difference(&output.unwrap().stdout, 0, LEN), None);
}

#[test]
fn curl_fetches_and_uploads_through_the_relay_at_nginx() {
    require!(Program("curl"));
    require!(Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let file = dir.path().join("upload");
    fs::write(&file, pattern(0..LEN)).unwrap();
    let address = free_address().unwrap();
    let configuration = format!(
        "daemon off; master_process off; error_log stderr crit; pid {0}/pid;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {0}/body; client_max_body_size 0;\n\
         proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u;\n\
         scgi_temp_path {0}/s;\n\
         server {{ listen {address}; root {0}/root; dav_methods PUT; }} }}\n",
        dir.path().display(),
    );
    let path = dir.path().join("nginx.conf");
    fs::write(&path, configuration).unwrap();
    let mut nginx = Command::new("nginx");
    let nginx = Server::start(nginx.arg("-c").arg(&path).stderr(Stdio::null()), address).unwrap();
    let relay = Running::to(&[tcp(nginx.address())]);
    let url = format!("http://{}/a.bin", relay.address());
    let upload = Command::new("curl").args(["-sS", "--fail", "-T"]).arg(&file).arg(&url).output();
    let upload = upload.unwrap();
    assert!(upload.status.success(), "{}", String::from_utf8_lossy(&upload.stderr));
    assert_eq!(difference(&fs::read(root.join("a.bin")).unwrap(), 0, LEN), None);
    // Twice over one connection.
    let fetched = Command::new("curl").args(["-sS", "--fail", &url, &url]).output().unwrap();
    let twice = [pattern(0..LEN), pattern(0..LEN)].concat();
    assert!(fetched.stdout == twice, "{}", String::from_utf8_lossy(&fetched.stderr));
    nginx.stop().unwrap();
}
