//! HAProxy, which relays what is of no file here, by splice(2) and through its memory.

use std::process::{Command, Stdio};

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;
use underpass_testkit::server::Server;
use underpass_testkit::strace;

use crate::programs::client::fetch;
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::watched::{Watched, watched};

fn haproxy(option: &str) -> Watched {
    let (site, recorded, address, behind) =
        (Site::new(), Recorded::new().unwrap(), address(), address());
    let mut python = Command::new("python3");
    python.args(["-m", "http.server", "--bind", "127.0.0.1", &behind.port().to_string()]);
    python.current_dir(site.root()).stdout(Stdio::null()).stderr(Stdio::null());
    let _behind = Server::start(&mut python, behind).unwrap();
    let text = format!(
        "global\n nbthread 1\ndefaults\n mode tcp\n timeout client 100s\n timeout server 100s\n \
         timeout connect 100s\n {option}\nlisten it\n bind {address}\n server behind {behind}\n"
    );
    let mut command = recorded.command("haproxy");
    command.args(["-db", "-q", "-f"]).arg(site.write("haproxy.cfg", &text));
    let server = site.start(&mut command, address);
    let watched = watched(&recorded, server.id(), || {
        fetch(&site, "http", address);
        Vec::new()
    });
    let calls = recorded.calls().unwrap();
    assert_eq!(strace::count(&calls, "splice") > 0, !option.is_empty());
    watched
}

#[test]
fn what_is_spliced_from_socket_to_socket_is_no_files() {
    require!(programs(&["haproxy", "python3"]));
    let watched = haproxy("option splice-request\n option splice-response");
    Expected::of("HAProxy", "splicing").named("haproxy").judge(&watched);
}

#[test]
fn what_is_received_and_sent_is_no_files() {
    require!(programs(&["haproxy", "python3"]));
    Expected::of("HAProxy", "no splicing")
        .named("haproxy")
        .because("R12", "option splice-auto")
        .judge(&haproxy(""));
}
