//! Two ends of a network made for one test: loopback, or veth between two namespaces.
//!
//! A namespace lives as long as a process in it. Each is held by a child that reads a pipe from
//! this process and ends with it, and none has a name, so that a test that is killed leaves
//! nothing behind. A program started in an end keeps its own process id: nsenter(1) becomes it.
//!
//! Source: ip-link(8), ip-netns(8), nsenter(1), unshare(1), ethtool(8), veth(4),
//! network_namespaces(7).

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::skip::{Capability, Missing, Requirement};
use crate::wait;

/// TEST-NET-1 (RFC 5737): nothing outside the two namespaces has such an address.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

const INTERFACES: [&str; 2] = ["near", "far"];

/// How long the kernel may take to report the pair as up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Two connected ends.
#[derive(Debug)]
pub struct Link {
    near: End,
    far: End,
    /// The namespace on the way, if there is one.
    _between: Option<Holder>,
}

/// One end: an address, and the namespace it is in.
#[derive(Debug)]
pub struct End {
    /// `None` is the namespace of this process.
    holder: Option<Holder>,
    address: Ipv4Addr,
    interface: &'static str,
}

impl Link {
    /// Both ends on the loopback device of this process's own namespace.
    #[must_use]
    pub fn loopback() -> Self {
        let end = || End { holder: None, address: Ipv4Addr::LOCALHOST, interface: "lo" };
        Self { near: end(), far: end(), _between: None }
    }

    /// A veth pair, one interface in each of two fresh namespaces, with the features it is born
    /// with: scatter-gather and segmentation offload.
    ///
    /// # Errors
    ///
    /// [`Missing`] if this is not root, or the kernel or a program cannot make it.
    pub fn veth() -> Result<Self, Missing> {
        Self::make(Self::pair)
    }

    /// Two veth pairs and a bridge between them, as containers have: each packet leaves a second
    /// device, in a third namespace, as the same socket buffer.
    ///
    /// # Errors
    ///
    /// Those of [`Link::veth`], and [`Missing`] if the kernel has no bridge.
    pub fn bridged() -> Result<Self, Missing> {
        Self::make(Self::bridged_pairs)
    }

    /// A veth pair whose near end sends by a macvlan device above its own: each packet passes
    /// two devices before it leaves the namespace.
    ///
    /// # Errors
    ///
    /// Those of [`Link::veth`], and [`Missing`] if the kernel has no macvlan.
    pub fn macvlan() -> Result<Self, Missing> {
        Self::make(Self::macvlan_pair)
    }

    /// A VXLAN tunnel over a veth pair: each packet passes a second device with another header
    /// before its own.
    ///
    /// # Errors
    ///
    /// Those of [`Link::veth`], and [`Missing`] if the kernel has no vxlan.
    pub fn tunnel() -> Result<Self, Missing> {
        Self::make(Self::vxlan_pair)
    }

    /// A veth pair that takes packets in one piece only: the kernel copies what it is given by
    /// reference together, packet by packet, because segmentation offload goes as well.
    ///
    /// # Errors
    ///
    /// Those of [`Link::veth`], and [`Missing`] if ethtool is not installed.
    pub fn veth_without_scatter_gather() -> Result<Self, Missing> {
        let link = Self::veth()?;
        Capability::Program("ethtool").meet()?;
        for end in [&link.near, &link.far] {
            end.switch_off("sg", "scatter-gather: off").map_err(|error| {
                Missing::new(format!("scatter-gather cannot be switched off: {error}"))
            })?;
        }
        Ok(link)
    }

    /// A veth pair whose far end loses one packet in eight on arrival, by the packet's
    /// identification and so differently each time it is sent.
    ///
    /// # Errors
    ///
    /// Those of [`Link::veth`], and [`Missing`] if tc is not installed or the kernel has no
    /// ifb device or u32 classifier.
    pub fn veth_with_loss() -> Result<Self, Missing> {
        let link = Self::veth()?;
        Capability::Program("tc").meet()?;
        link.far
            .lose_some()
            .map_err(|error| Missing::new(format!("no packet can be lost: {error}")))?;
        Ok(link)
    }

    /// The end where senders run.
    #[must_use]
    pub const fn near(&self) -> &End {
        &self.near
    }

    /// The end where receivers run.
    #[must_use]
    pub const fn far(&self) -> &End {
        &self.far
    }

    fn make(how: fn() -> io::Result<Self>) -> Result<Self, Missing> {
        Capability::Root.meet()?;
        for program in ["ip", "nsenter", "unshare"] {
            Capability::Program(program).meet()?;
        }
        how().map_err(|error| Missing::new(format!("no such link can be made: {error}")))
    }

    fn pair() -> io::Result<Self> {
        let (near, far) = (Holder::new()?, Holder::new()?);
        near.join(INTERFACES[0], &far, INTERFACES[1])?;
        Self::connect(near, far, None)
    }

    fn bridged_pairs() -> io::Result<Self> {
        let [near, between, far] = [Holder::new()?, Holder::new()?, Holder::new()?];
        run(between.command("ip").args(["link", "add", "bridge", "type", "bridge"]))?;
        run(between.command("ip").args(["link", "set", "bridge", "up"]))?;
        for (end, interface, port) in
            [(&near, INTERFACES[0], "port0"), (&far, INTERFACES[1], "port1")]
        {
            end.join(interface, &between, port)?;
            run(between.command("ip").args(["link", "set", port, "master", "bridge", "up"]))?;
        }
        Self::connect(near, far, Some(between))
    }

    fn macvlan_pair() -> io::Result<Self> {
        let (near, far) = (Holder::new()?, Holder::new()?);
        near.join("below", &far, INTERFACES[1])?;
        run(near.command("ip").args(["link", "set", "below", "up"]))?;
        let above = ["link", "add", "link", "below", "name", INTERFACES[0], "type", "macvlan"];
        run(near.command("ip").args(above))?;
        Self::connect(near, far, None)
    }

    fn vxlan_pair() -> io::Result<Self> {
        let (near, far) = (Holder::new()?, Holder::new()?);
        near.join("below", &far, "below")?;
        for (end, at, own, other) in [(&near, 0, 1, 2), (&far, 1, 2, 1)] {
            // TEST-NET-2.
            let (own, other) = (format!("198.51.100.{own}/24"), format!("198.51.100.{other}"));
            run(end.command("ip").args(["address", "add", &own, "dev", "below"]))?;
            run(end.command("ip").args(["link", "set", "below", "up"]))?;
            let tunnel = ["type", "vxlan", "id", "1", "dstport", "4789", "dev", "below"];
            let add = ["link", "add", "name", INTERFACES[at]];
            run(end.command("ip").args(add).args(tunnel).args(["remote", &other]))?;
        }
        Self::connect(near, far, None)
    }

    /// Gives the ends their addresses and waits until they are up.
    fn connect(near: Holder, far: Holder, between: Option<Holder>) -> io::Result<Self> {
        let [near, far] = [(near, 0), (far, 1)].map(|(holder, at)| End {
            holder: Some(holder),
            address: ADDRESSES[at],
            interface: INTERFACES[at],
        });
        for end in [&near, &far] {
            let address = format!("{}/24", end.address);
            run(end.command("ip").args(["address", "add", &address, "dev", end.interface]))?;
            run(end.command("ip").args(["link", "set", "lo", "up"]))?;
            run(end.command("ip").args(["link", "set", end.interface, "up"]))?;
            // A namespace takes the default of the first one, which may be bbr and pace. Of the
            // others it may set only what the first one allows: reno is always allowed
            // (net/ipv4/tcp_cong.c, TCP_CONG_NON_RESTRICTED).
            let reno = "echo reno >/proc/sys/net/ipv4/tcp_congestion_control";
            run(end.command("sh").args(["-c", reno]))?;
        }
        // Before that, the first packet may be dropped, and TCP waits a second to repeat it.
        let is_up = wait::until(PATIENCE, || match [&near, &far].map(End::is_up) {
            [Ok(true), Ok(true)] => Some(Ok(())),
            [Ok(_), Ok(_)] => None,
            [Err(error), _] | [_, Err(error)] => Some(Err(error)),
        });
        is_up.unwrap_or_else(|| Err(io::Error::other("the link does not come up")))?;
        Ok(Self { near, far, _between: between })
    }
}

impl End {
    /// The address of this end, for binding and connecting.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The name of its network interface.
    #[must_use]
    pub const fn interface(&self) -> &'static str {
        self.interface
    }

    /// The index of its network interface; unique within the namespace only.
    ///
    /// # Errors
    ///
    /// If ip(8) is not installed or does not say.
    pub fn interface_index(&self) -> io::Result<u32> {
        let shown = run(self.command("ip").args(["-o", "link", "show", "dev", self.interface]))?;
        let index = shown.split_once(':').and_then(|(index, _)| index.parse().ok());
        index.ok_or_else(|| io::Error::other(format!("no index in {shown}")))
    }

    /// The path of its namespace, for setns(2).
    #[must_use]
    pub fn network(&self) -> String {
        let of = self.holder.as_ref().map_or_else(std::process::id, |holder| holder.child.id());
        format!("/proc/{of}/ns/net")
    }

    /// A command that runs the program in this end's namespace, as the process that
    /// [`Command::spawn`] returns.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.holder {
            Some(holder) => holder.command(program),
            None => Command::new(program),
        }
    }

    fn is_up(&self) -> io::Result<bool> {
        let shown = run(self.command("ip").args(["-o", "link", "show", "dev", self.interface]))?;
        // A tunnel has no carrier.
        Ok(shown.contains(" state UP ") || shown.contains(" state UNKNOWN "))
    }

    fn switch_off(&self, feature: &str, seen: &str) -> io::Result<()> {
        run(self.command("ethtool").args(["-K", self.interface, feature, "off"]))?;
        let features = run(self.command("ethtool").args(["-k", self.interface]))?;
        let is_off = features.lines().any(|line| line.trim() == seen);
        if is_off { Ok(()) } else { Err(io::Error::other(format!("ethtool -k: {features}"))) }
    }

    /// Sends what arrives with three bits of the identification (RFC 791) clear to a device that
    /// is down. A packet that is sent again has another identification.
    fn lose_some(&self) -> io::Result<()> {
        let Self { interface, .. } = self;
        for line in [
            "ip link add drain type ifb".to_owned(),
            format!("tc qdisc add dev {interface} ingress"),
            // Bytes 4 and 5 of the header are the identification, 2 and 3 the length: of that
            // one bit must be set, so that handshakes pass, whose loss costs a second.
            format!(
                "tc filter add dev {interface} parent ffff: protocol ip u32 \
                 match u16 0x0 0x7 at 4 match u16 0x400 0x400 at 2 \
                 action mirred egress redirect dev drain"
            ),
        ] {
            let mut words = line.split_whitespace();
            run(self.command(words.next().unwrap_or_default()).args(words))?;
        }
        Ok(())
    }
}

/// A process in its own network namespace, which ends when its input does.
#[derive(Debug)]
struct Holder {
    child: Child,
    /// Open until the end, also when this process is killed: closing it ends the child.
    input: ChildStdin,
}

impl Holder {
    /// Returns when the namespace is there.
    fn new() -> io::Result<Self> {
        let mut cat = Command::new("unshare");
        cat.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = cat.stderr(Stdio::null()).spawn()?;
        let taken = child.stdin.take().zip(child.stdout.take());
        let (input, mut output) = taken.expect("both were asked to be pipes");
        let mut holder = Self { child, input };
        // cat answers once it runs, and it runs in the namespace.
        holder.input.write_all(b"\n")?;
        let mut echo = [0];
        if output.read(&mut echo)? == 0 {
            return Err(io::Error::other("unshare --net is not permitted"));
        }
        Ok(holder)
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.child.id())).arg("--").arg(program);
        command
    }

    /// Makes a veth pair, one interface here and one in the other namespace.
    fn join(&self, here: &str, other: &Self, there: &str) -> io::Result<()> {
        let [to, from] = [self, other].map(|holder| holder.child.id().to_string());
        let mut add = Command::new("ip");
        add.args(["link", "add", here, "netns", &to, "type", "veth"]);
        run(add.args(["peer", "name", there, "netns", &from])).map(drop)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself; here it only has to be gone.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the command printed.
fn run(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}", message.trim())))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_two_ends_reach_each_other_and_are_gone_with_the_link() {
        let link = crate::require!(Link::veth());
        assert!(link.near.is_up().unwrap() && link.far.is_up().unwrap());
        assert!(link.near.interface_index().unwrap() > 1);
        // A program in the near end sees only what is there, as the process that was started.
        let mut here = link.near.command("sh");
        let shown = run(here.args(["-c", "echo $$; cat /proc/net/dev"])).unwrap();
        assert!(shown.contains("near:") && !shown.contains("far:"), "{shown}");
        let holders = [&link.near, &link.far]
            .map(|end| PathBuf::from(format!("/proc/{}", end.holder.as_ref().unwrap().child.id())));
        assert!(holders.iter().all(|path| path.exists()));
        drop(link);
        assert!(!holders.iter().any(|path| path.exists()));
    }

    #[test]
    fn a_packet_passes_a_bridge_and_a_macvlan_device_on_its_way() {
        for make in [Link::bridged, Link::macvlan] {
            let link = crate::require!(make());
            // Answered at once by a port where nothing listens: the way there and back is open.
            let mut command = link.near.command("bash");
            let connect = format!("exec 3<>/dev/tcp/{}/9", link.far.address());
            let output = command.args(["-c", &connect]).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains("Connection refused"), "{said}");
        }
    }

    #[test]
    fn a_started_program_has_the_process_id_that_was_returned() {
        let link = crate::require!(Link::veth());
        let mut command = link.far.command("sh");
        let child = command.args(["-c", "echo $$"]).stdout(Stdio::piped()).spawn().unwrap();
        let id = child.id();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), id.to_string());
    }

    #[test]
    fn without_scatter_gather_both_ends_are_without_segmentation_offload_too() {
        let link = crate::require!(Link::veth_without_scatter_gather());
        for end in [link.near(), link.far()] {
            let features = run(end.command("ethtool").args(["-k", end.interface()])).unwrap();
            for feature in ["scatter-gather", "generic-segmentation-offload"] {
                let line = features.lines().find(|line| line.starts_with(feature)).unwrap();
                assert!(line.contains(": off"), "{line}");
            }
        }
    }
}
