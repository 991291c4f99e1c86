//! nginx as the server of files, of a WebDAV place and of connections that it keeps.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use underpass::Sink;
use underpass_client::{Ask, Client, Condition, Method, Response, Url};
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability;
use underpass_testkit::tls::Identity;
use underpass_testkit::{payload, require};

use super::{interrupt, trusting};

const LEN: u64 = 3_456_789;

/// nginx over `root` in `directory`, with a field that tells which connection it was asked over; by
/// TLS with the certificate next to it, if there is one.
fn nginx(directory: &Path) -> Server {
    let server = start(directory, free_address().unwrap());
    server.unwrap()
}

fn start(directory: &Path, address: SocketAddr) -> io::Result<Server> {
    let (ssl, tls) = match directory.join("key.pem").exists() {
        true => (" ssl", "ssl_certificate cert.pem; ssl_certificate_key key.pem;"),
        false => ("", ""),
    };
    std::fs::create_dir_all(directory.join("root")).unwrap();
    std::fs::write(directory.join("root/file"), payload::pattern(0..LEN)).unwrap();
    let configuration = format!(
        "daemon off; pid nginx.pid; error_log stderr crit; worker_processes 1; user root;\n\
         events {{ }}\n\
         http {{ access_log off; client_body_temp_path {d}/body; proxy_temp_path {d}/p;\n\
         fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;\n\
         server {{ listen {address}{ssl}; {tls} root {d}/root; client_max_body_size 0;\n\
         add_header X-Connection $connection always;\n\
         location / {{ dav_methods PUT DELETE; }}\n\
         location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }} }} }}\n",
        d = directory.display(),
    );
    std::fs::write(directory.join("nginx.conf"), configuration).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(directory).args(["-c", "nginx.conf"]).stderr(Stdio::null());
    Server::start(&mut nginx, address)
}

fn url(server: &Server, path: &str) -> Url {
    Url::parse(&format!("http://{}{path}", server.address())).unwrap()
}

fn tag(response: &Response<'_>) -> String {
    response.head.field("etag").unwrap().to_owned()
}

#[test]
fn nginx_answers_conditions_ranges_and_heads() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let server = nginx(dir.path());
    let (client, interrupt) = (Client::default(), interrupt());
    let file = url(&server, "/moved/file");
    let head = client.ask(&Ask::new(Method::Head, &file), &interrupt).unwrap();
    assert_eq!((head.status, head.body.total), (200, Some(LEN)));
    let tag = tag(&head);
    let get = Ask::new(Method::Get, &file);
    for (range, condition, status, total) in [
        ("0-", Condition::IfNoneMatch(&tag), 304, None),
        ("0-", Condition::IfMatch("\"other\""), 412, None),
        ("99999999-", Condition::IfMatch(&tag), 416, Some(LEN)),
        ("1000-4999", Condition::IfMatch(&tag), 206, Some(LEN)),
        ("-77", Condition::IfRange(head.body.validator.as_ref().unwrap()), 206, Some(LEN)),
    ] {
        let ask = Ask { range: range.parse().unwrap(), condition, ..get };
        let response = client.ask(&ask, &interrupt).unwrap();
        let is_known = total.is_none() || response.body.total == total;
        assert!(response.status == status && is_known, "{range}: {response:?}");
        let mut response = response.accepted().unwrap();
        let (at, mut got) = (response.body.place.at, Vec::new());
        response.body.read_to_end(&mut got).unwrap();
        if status == 206 {
            assert_eq!(payload::difference(&got, at, got.len() as u64), None, "{range}");
        }
    }
}

#[test]
fn content_of_nginx_is_spliced_into_a_file() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let server = nginx(dir.path());
    let (client, interrupt) = (Client::default(), interrupt());
    let file = url(&server, "/file");
    let response = client.ask(&Ask::new(Method::Get, &file), &interrupt).unwrap();
    let to = dir.path().join("to");
    let sink = File::create(&to).unwrap();
    let source = response.body.source().unwrap();
    let ledger = underpass::transfer(source, Sink::file(&sink, 0)).unwrap();
    assert_eq!(ledger.of(underpass::Method::Splice).bytes, LEN);
    assert_eq!(payload::difference(&std::fs::read(&to).unwrap(), 0, LEN), None);
}

#[test]
fn nginx_deletes_what_it_is_told_to() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let server = nginx(dir.path());
    let (client, interrupt) = (Client::default(), interrupt());
    let file = url(&server, "/file");
    let status = |method| client.ask(&Ask::new(method, &file), &interrupt).unwrap().status;
    assert_eq!(status(Method::Delete), 204);
    assert!(!dir.path().join("root/file").exists());
    assert_eq!((status(Method::Get), status(Method::Delete)), (404, 404));
}

/// Which connection nginx was asked over; the answer is taken to its end.
fn connection(client: &Client, ask: &Ask<'_>) -> (u16, String) {
    let interrupt = interrupt();
    let mut response = client.ask(ask, &interrupt).unwrap();
    io::copy(&mut response.body, &mut io::sink()).unwrap();
    (response.status, response.head.field("x-connection").unwrap().to_owned())
}

/// Asks in ways that have content or none, all over one connection.
fn assert_one_connection(client: &Client, url: &str) {
    let file = Url::parse(&format!("{url}/file")).unwrap();
    let none = Url::parse(&format!("{url}/none")).unwrap();
    let get = Ask::new(Method::Get, &file);
    let (status, first) = connection(client, &get);
    assert_eq!(status, 200);
    let asks = [
        (206, Ask { range: "1000-4999".parse().unwrap(), ..get }),
        (200, Ask::new(Method::Head, &file)),
        (404, Ask::new(Method::Get, &none)),
        (404, Ask::new(Method::Head, &none)),
        (200, get),
    ];
    for (status, ask) in asks {
        assert_eq!(connection(client, &ask), (status, first.clone()), "{ask:?}");
    }
    // nginx says that it keeps the connection, and closes it.
    let ask = Ask { condition: Condition::IfMatch("\"other\""), ..get };
    assert_eq!(connection(client, &ask), (412, first.clone()));
    let (status, other) = connection(client, &get);
    assert!(status == 200 && other != first, "{status} {other}");
}

#[test]
fn nginx_is_asked_over_one_connection_and_over_another_after_it_has_ended() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let server = nginx(dir.path());
    let client = Client::default().keeping_connections();
    let (address, url) = (server.address(), format!("http://{}", server.address()));
    assert_one_connection(&client, &url);
    server.stop().unwrap();
    let _server = start(dir.path(), address).unwrap();
    assert_one_connection(&client, &url);
}

#[test]
fn nginx_is_asked_over_one_secured_connection() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::new().unwrap();
    let client = trusting(&identity, dir.path()).keeping_connections();
    std::fs::write(dir.path().join("key.pem"), identity.key_pem()).unwrap();
    let server = nginx(dir.path());
    assert_one_connection(&client, &format!("https://{}", server.address()));
}
