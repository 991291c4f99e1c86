//! Connected TCP sockets over the loopback device or over a separate veth pair.
//!
//! Sockets belong to the namespace that they are made in, and their user stays in its own. Only
//! descriptors hold the namespaces, so they and their devices go when this process does, however it
//! ends.
//!
//! Source: network_namespaces(7), veth(4), setns(2), ip-link(8), ethtool(8).

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use super::report::Link;
use crate::namespace::{self, within};

/// TEST-NET-1 of RFC 5737; nothing outside of the two namespaces ever sees it.
const SENDER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// What TCP connections run over.
#[derive(Debug)]
pub(super) struct Network {
    /// The sender's and the receiver's namespace; `None` over the loopback device.
    spaces: Option<(File, File)>,
}

impl Network {
    /// The loopback device of the machine.
    pub(super) const fn loopback() -> Self {
        Self { spaces: None }
    }

    /// Makes the devices that `link` needs, or says why that is not possible.
    pub(super) fn new(link: Link) -> Result<Self, String> {
        if link == Link::Loopback {
            return Ok(Self::loopback());
        }
        let new = || {
            namespace::new().map_err(|error| {
                format!("no network namespace is given ({error}); '--over veth' needs root")
            })
        };
        let (sender, receiver) = (new()?, new()?);
        let far = format!("/proc/{}/fd/{}", std::process::id(), receiver.as_raw_fd());
        ip(&sender, &["link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", &far])?;
        for (space, device, address) in [(&sender, "v0", SENDER), (&receiver, "v1", RECEIVER)] {
            ip(space, &["address", "add", &format!("{address}/30"), "dev", device])?;
            ip(space, &["link", "set", device, "up"])?;
        }
        if link == Link::VethWithoutScatterGather {
            run(&sender, "ethtool", "ethtool", &["-K", "v0", "sg", "off"])?;
        }
        Ok(Self { spaces: Some((sender, receiver)) })
    }

    /// Connects the sender to the receiver. With another congestion control than the machine's
    /// where one is named.
    pub(super) fn connect(
        &self,
        congestion_control: Option<&str>,
    ) -> io::Result<(OwnedFd, OwnedFd)> {
        let Some((sender, receiver)) = &self.spaces else {
            return connect(
                || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
                |address| dial(address, congestion_control),
            );
        };
        connect(
            || within(receiver, || TcpListener::bind((RECEIVER, 0)))?,
            |address| within(sender, || dial(address, congestion_control))?,
        )
    }
}

fn connect(
    listen: impl FnOnce() -> io::Result<TcpListener>,
    dial: impl FnOnce(SocketAddr) -> io::Result<TcpStream>,
) -> io::Result<(OwnedFd, OwnedFd)> {
    let listener = listen()?;
    let sender = dial(listener.local_addr()?)?;
    let own = sender.local_addr()?;
    loop {
        let (receiver, from) = listener.accept()?;
        // Anybody on the machine may have dialled the port.
        if from == own {
            return Ok((sender.into(), receiver.into()));
        }
    }
}

/// Connects a socket whose congestion control is set before its first packet.
fn dial(address: SocketAddr, congestion_control: Option<&str>) -> io::Result<TcpStream> {
    let family = match address.ip() {
        IpAddr::V4(_) => rustix::net::AddressFamily::INET,
        IpAddr::V6(_) => rustix::net::AddressFamily::INET6,
    };
    let flags = rustix::net::SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, rustix::net::SocketType::STREAM, flags, None)?;
    if let Some(name) = congestion_control {
        rustix::net::sockopt::set_tcp_congestion(&socket, name)?;
    }
    rustix::net::connect(&socket, &address)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn ip(space: &File, arguments: &[&str]) -> Result<(), String> {
    run(space, "ip", "iproute2", arguments)
}

fn run(space: &File, program: &str, package: &str, arguments: &[&str]) -> Result<(), String> {
    let command = format!("{program} {}", arguments.join(" "));
    let output =
        within(space, || Command::new(program).args(arguments).stdin(Stdio::null()).output());
    match output.and_then(|output| output) {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(format!("'{command}' failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("the program {program} is not installed; it is in the package {package}"))
        }
        Err(error) => Err(format!("'{command}' cannot be run: {error}")),
    }
}

/// Whether sockets can have this congestion control.
pub(super) fn has_congestion_control(name: &str) -> bool {
    let family = rustix::net::AddressFamily::INET;
    rustix::net::socket(family, rustix::net::SocketType::STREAM, None)
        .and_then(|socket| rustix::net::sockopt::set_tcp_congestion(&socket, name))
        .is_ok()
}
