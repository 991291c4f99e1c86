//! Files to serve, nginx to serve them, curl to ask for them, and a watch while it does.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use underpass_measure::{Finding, Reason, Report, Share, Tier, Watch};
use underpass_testkit::disk::disk_dir;
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::wait;

use crate::explain::made::totals;
use crate::hidden::tried;

/// How many children of a process with one thread wait in epoll_wait(2), which compilers know as
/// ep_poll, do_epoll_wait or so.
fn waiting_children(process: u32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let waits = |child: &&str| {
        std::fs::read_to_string(format!("/proc/{child}/wchan")).is_ok_and(|at| at.contains("poll"))
    };
    children.map_or(0, |children| children.split_whitespace().filter(waits).count())
}

/// A directory on a disk.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// A site with files of these names and contents.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir_in(disk_dir().unwrap().canonicalize().unwrap()).unwrap();
        let site = Self { dir };
        std::fs::create_dir(site.path("www")).unwrap();
        for (name, content) in files {
            // Dirty pages are written back at some later time, and differ meanwhile.
            let mut file = std::fs::File::create(site.path("www").join(name)).unwrap();
            file.write_all(content).unwrap();
            file.sync_all().unwrap();
        }
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The name by which a report knows a file.
    pub(crate) fn name(&self, file: &str) -> String {
        self.path("www").join(file).display().to_string()
    }

    /// nginx with two workers, which wait for a client; `lines` are those of the server.
    pub(crate) fn nginx(&self, listen: &str, lines: &str) -> Server {
        let (address, dir) = (free_address().unwrap(), self.dir.path().display());
        let config = format!(
            "daemon off; worker_processes 2; user root; pid {dir}/pid; error_log {dir}/log;\n\
             events {{}}\n\
             http {{ access_log off; default_type text/html;\n\
             client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;\n\
             uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
             server {{ listen {address} {listen}; root {dir}/www; {lines} }} }}\n"
        );
        std::fs::write(self.path("conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-e").arg(self.path("log")).arg("-c").arg(self.path("conf"));
        let nginx = Server::start(self.started_here(&mut command), address).unwrap();
        // The first of all processes listens before there are workers, and they read files first.
        let workers = wait::until(Duration::from_secs(30), || {
            (waiting_children(nginx.id()) == 2).then_some(())
        });
        workers.expect("nginx's workers wait for clients");
        nginx
    }

    /// `python3 -m http.server`.
    pub(crate) fn python(&self) -> Server {
        let address = free_address().unwrap();
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory", "www"]);
        command.arg(address.port().to_string());
        Server::start(self.started_here(&mut command), address).unwrap()
    }

    /// With this directory as its own, and silent.
    pub(crate) fn started_here<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.current_dir(self.dir.path()).stdout(Stdio::null()).stderr(Stdio::null())
    }
}

/// Asks for a path and returns what came.
pub(crate) fn curl(scheme: &str, server: SocketAddr, path: &str, options: &[&str]) -> Vec<u8> {
    let url = format!("{scheme}://{server}/{path}");
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "60"]);
    let output = command.args(options).arg(url).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    output.stdout
}

/// What is seen of a process and its children while something is asked of them, which has them
/// send `least` bytes.
pub(crate) fn watched(process: u32, least: u64, ask: impl Fn()) -> Report {
    let once = || {
        let mut watch = Watch::start(process).unwrap();
        assert_eq!(watch.tier(), Tier::A, "{:?}", watch.tier_why());
        ask();
        report(&mut watch)
    };
    tried(once, |report| totals(report).iter().sum::<u64>() >= least)
}

/// The report of a watch in tier A.
pub(crate) fn report(watch: &mut Watch) -> Report {
    let report = watch.summary().unwrap().report.unwrap();
    assert_eq!(report.lost_events, 0);
    report
}

/// The findings but for retransmissions, which even loopback has when a receiver is slow.
fn findings(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.reason != Reason::R11).collect()
}

/// The only finding, as its reason, bytes, evidence and fix.
pub(crate) fn only_finding(report: &Report) -> (Reason, u64, &str, &str) {
    let found = findings(report);
    let [finding] = found.as_slice() else { panic!("one finding in {:#?}", report.findings) };
    (finding.reason, finding.bytes, &finding.evidence, &finding.fix)
}

/// The reasons with their bytes.
pub(crate) fn reasons(report: &Report) -> Vec<(Reason, u64)> {
    findings(report).iter().map(|finding| (finding.reason, finding.bytes)).collect()
}

/// Name, by reference, copied.
pub(crate) fn rows(shares: &[Share]) -> Vec<(&str, u64, u64)> {
    shares
        .iter()
        .map(|share| (share.name.as_str(), share.by_reference_bytes, share.copied_bytes))
        .collect()
}

/// A self-signed certificate and its key, in a directory.
pub(crate) fn certificate(dir: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"]);
    let output = command.current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
