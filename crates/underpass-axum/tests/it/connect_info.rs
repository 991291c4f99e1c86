//! Handlers learn the peer's address, over TCP and over Unix sockets.

use std::net::SocketAddr;
use std::process::Command;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::net::{TcpListener, UnixListener, unix};
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

/// What curl prints, while the server runs on this thread.
async fn curl(arguments: Vec<String>) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail"]).args(arguments);
    let output = tokio::task::spawn_blocking(move || curl.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_handler_is_given_the_address_of_its_tcp_peer() {
    require!(Capability::Program("curl"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
    let app = Router::new().route("/", get(peer));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let asking = curl(vec!["-w".into(), " %{local_ip}:%{local_port}".into(), url]);
    let serving = axum::serve(underpass_axum::listener(listener), app);
    tokio::select! {
        end = serving.into_future() => panic!("{end:?}"),
        answer = asking => {
            let (seen, own) = answer.split_once(' ').unwrap();
            assert_eq!(seen, own);
        }
    }
}

#[tokio::test]
async fn a_unix_socket_is_served_and_its_peer_has_no_name() {
    require!(Capability::Program("curl"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let peer = |ConnectInfo(peer): ConnectInfo<unix::SocketAddr>| async move {
        peer.is_unnamed().to_string()
    };
    let app = Router::new().route("/", get(peer));
    let app = app.into_make_service_with_connect_info::<unix::SocketAddr>();
    let path = path.to_str().unwrap().to_owned();
    let asking = curl(vec!["--unix-socket".into(), path, "http://localhost/".into()]);
    let serving = axum::serve(underpass_axum::listener(listener), app);
    tokio::select! {
        end = serving.into_future() => panic!("{end:?}"),
        answer = asking => assert_eq!(answer, "true"),
    }
}
