//! Several nodes in front of one origin, behind the proxies as docs/serve.md sets them up.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use underpass_testkit::origin::{Object, Origin};
use underpass_testkit::require;
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::wait;

use crate::client;
use crate::running::{Running, program};

const PAGE: &str = include_str!("../../../../docs/serve.md");

const PATIENCE: Duration = Duration::from_secs(20);

/// Enough that each node has some, by any hash.
const KEYS: usize = 48;

const LEN: u64 = 50_000;

/// The block of the page that begins with the name of its file.
fn of_the_page(file: &str) -> &'static str {
    let begin = format!("# {file}\n");
    let (_, block) = PAGE.split_once(&begin).expect("the page has the file");
    block.split_once("```").expect("a block has an end").0
}

/// A node with a directory for what it keeps, and its log.
struct Node {
    address: SocketAddr,
    dir: tempfile::TempDir,
    running: Option<Running>,
}

impl Node {
    fn new(origin: &Origin) -> Self {
        let (address, dir) = (free_address().unwrap(), tempfile::tempdir().unwrap());
        let mut node = Self { address, dir, running: None };
        node.start(origin);
        node
    }

    fn start(&mut self, origin: &Origin) {
        let mut command = program();
        command.args(["serve", "--origin", &origin.url(""), "--cache"]);
        command.arg(self.dir.path().join("cache")).args(["--listen", &self.address.to_string()]);
        command.arg("--access-log").arg(self.log()).args(["--workers", "1"]);
        fs::create_dir_all(self.dir.path().join("cache")).unwrap();
        self.running = Some(Running::start(&mut command));
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("log")
    }

    /// The targets of its log.
    fn targets(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.log()).unwrap();
        text.lines().map(|line| line.split(' ').nth(6).unwrap().to_owned()).collect()
    }
}

struct Nodes {
    origin: Origin,
    objects: Vec<(String, Arc<Object>)>,
    nodes: [Node; 3],
    front: SocketAddr,
}

impl Nodes {
    fn new() -> Self {
        let origin = Origin::start().unwrap();
        let object = || Object::new(LEN).cache_control("max-age=3600");
        // The query tells half of them apart.
        let target = |key| format!("/file{}?v={}", key / 2, key % 2);
        let targets = (0..KEYS).map(target);
        let objects = targets.map(|target| (target.clone(), origin.put(&target, object())));
        let objects = objects.collect();
        let nodes = [0; 3].map(|_| Node::new(&origin));
        Self { origin, objects, nodes, front: free_address().unwrap() }
    }

    /// The configuration of the page with the addresses that there are here.
    fn configuration(&self, file: &str) -> String {
        let [a, b, c] = self.nodes.each_ref().map(|node| node.address.to_string());
        let places = [
            ("192.0.2.1:8080", a),
            ("192.0.2.2:8080", b),
            ("192.0.2.3:8080", c),
            ("192.0.2.10:80", self.front.to_string()),
        ];
        places.iter().fold(of_the_page(file).to_owned(), |text, (there, here)| {
            assert!(text.contains(there), "{file} has {there}");
            text.replace(there, here)
        })
    }

    /// Every object comes through the proxy as the origin has it.
    fn ask_for_all(&self) {
        for (target, object) in &self.objects {
            let mut peer = client::connect(self.front);
            let fields = "Host: x\r\nConnection: close\r\n";
            write!(peer, "GET {target} HTTP/1.1\r\n{fields}\r\n").unwrap();
            let head = client::head(&mut peer).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
            let mut content = Vec::new();
            peer.read_to_end(&mut content).unwrap();
            assert_eq!(object.difference(0, &content), None, "{target}");
            assert_eq!(content.len() as u64, LEN, "{target}");
        }
    }

    /// What each node was asked for, when it has written that down.
    fn shares(&self) -> [BTreeSet<String>; 3] {
        let all = || {
            let shares = self.nodes.each_ref().map(Node::targets);
            (shares.iter().map(BTreeSet::len).sum::<usize>() >= KEYS).then_some(shares)
        };
        wait::until(PATIENCE, all).expect("there are as many lines")
    }

    fn are_one_cache(mut self) {
        self.ask_for_all();
        self.ask_for_all();
        assert_eq!(self.origin.request_count(), KEYS, "each object came once");
        let shares = self.shares();
        assert!(shares.iter().all(|share| !share.is_empty()), "{shares:?}");
        assert_eq!(shares.iter().map(BTreeSet::len).sum::<usize>(), KEYS, "{shares:?}");
        let [a, ..] = shares;

        self.nodes[0].running = None;
        self.ask_for_all();
        let moved = self.origin.requests().split_off(KEYS).into_iter().map(|it| it.target);
        assert_eq!(moved.collect::<BTreeSet<_>>(), a, "what the others had stayed there");

        let Self { origin, nodes, .. } = &mut self;
        nodes[0].start(origin);
        wait::until(PATIENCE, || TcpStream::connect(nodes[0].address).ok()).unwrap();
        self.ask_for_all();
        assert_eq!(self.origin.request_count(), KEYS + a.len(), "it still has its own");
    }
}

fn start(program: &str, flags: &[&str], file: &Path, front: SocketAddr) -> Server {
    let mut command = Command::new(program);
    command.args(flags).arg(file).stdout(Stdio::null()).stderr(Stdio::null());
    Server::start(&mut command, front).unwrap()
}

#[test]
fn haproxy_as_the_page_has_it_makes_one_cache_of_three_nodes() {
    require!(Program("haproxy"));
    let nodes = Nodes::new();
    let file = nodes.nodes[0].dir.path().join("haproxy.cfg");
    fs::write(&file, nodes.configuration("haproxy.cfg")).unwrap();
    let _proxy = start("haproxy", &["-db", "-q", "-f"], &file, nodes.front);
    nodes.are_one_cache();
}

#[test]
fn nginx_as_the_page_has_it_makes_one_cache_of_three_nodes() {
    require!(Program("nginx"));
    let nodes = Nodes::new();
    let dir = nodes.nodes[0].dir.path();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = temp.map(|of| format!("{of}_temp_path {}/{of};", dir.display())).join("\n");
    let text = format!(
        "daemon off;\nuser root;\npid {0}/pid;\nerror_log {0}/errors;\nevents {{}}\n\
         http {{\naccess_log off;\n{temp}\n{1}}}\n",
        dir.display(),
        nodes.configuration("nginx.conf"),
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let _proxy = start("nginx", &["-c"], &file, nodes.front);
    nodes.are_one_cache();
}
