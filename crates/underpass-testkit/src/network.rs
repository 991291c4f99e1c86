//! Two ends of a network made for one test: loopback, or a veth pair between two namespaces.
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
        Self { near: end(), far: end() }
    }

    /// A veth pair, one interface in each of two fresh namespaces, with the features it is born
    /// with: scatter-gather and segmentation offload.
    ///
    /// # Errors
    ///
    /// [`Missing`] if this is not root, or the kernel or a program cannot make it.
    pub fn veth() -> Result<Self, Missing> {
        Capability::Root.meet()?;
        for program in ["ip", "nsenter", "unshare"] {
            Capability::Program(program).meet()?;
        }
        Self::pair().map_err(|error| Missing::new(format!("no veth pair can be made: {error}")))
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

    fn pair() -> io::Result<Self> {
        let [near, far] = [0, 1].map(|at| {
            let holder = Some(Holder::new()?);
            Ok::<_, io::Error>(End { holder, address: ADDRESSES[at], interface: INTERFACES[at] })
        });
        let link = Self { near: near?, far: far? };
        let mut add = Command::new("ip");
        add.args(["link", "add", link.near.interface, "netns", &link.near.namespace()]);
        add.args(["type", "veth", "peer", "name", link.far.interface]);
        run(add.args(["netns", &link.far.namespace()]))?;
        for end in [&link.near, &link.far] {
            let address = format!("{}/24", end.address);
            run(end.command("ip").args(["address", "add", &address, "dev", end.interface]))?;
            run(end.command("ip").args(["link", "set", "lo", "up"]))?;
            run(end.command("ip").args(["link", "set", end.interface, "up"]))?;
            // A namespace takes the default of the first one, whatever that is set to there.
            let cubic = "echo cubic >/proc/sys/net/ipv4/tcp_congestion_control";
            run(end.command("sh").args(["-c", cubic]))?;
        }
        // Before that, the first packet may be dropped, and TCP waits a second to repeat it.
        let is_up = wait::until(PATIENCE, || match [&link.near, &link.far].map(End::is_up) {
            [Ok(true), Ok(true)] => Some(Ok(())),
            [Ok(_), Ok(_)] => None,
            [Err(error), _] | [_, Err(error)] => Some(Err(error)),
        });
        is_up.unwrap_or_else(|| Err(io::Error::other("the pair does not come up")))?;
        Ok(link)
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

    /// A command that runs the program in this end's namespace, as the process that
    /// [`Command::spawn`] returns.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(holder) = &self.holder else { return Command::new(program) };
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", holder.child.id())).arg("--").arg(program);
        command
    }

    fn namespace(&self) -> String {
        self.holder.as_ref().map_or_else(String::new, |holder| holder.child.id().to_string())
    }

    fn is_up(&self) -> io::Result<bool> {
        let shown = run(self.command("ip").args(["-o", "link", "show", "dev", self.interface]))?;
        Ok(shown.contains(" state UP "))
    }

    fn switch_off(&self, feature: &str, seen: &str) -> io::Result<()> {
        run(self.command("ethtool").args(["-K", self.interface, feature, "off"]))?;
        let features = run(self.command("ethtool").args(["-k", self.interface]))?;
        let is_off = features.lines().any(|line| line.trim() == seen);
        if is_off { Ok(()) } else { Err(io::Error::other(format!("ethtool -k: {features}"))) }
    }

    /// Sends what arrives with three bits of the identification (RFC 791) clear to a device that
    /// drops it. A packet that is sent again has another identification.
    fn lose_some(&self) -> io::Result<()> {
        let Self { interface, .. } = self;
        for line in [
            "ip link add drain type ifb".to_owned(),
            "ip link set drain up".to_owned(),
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

/// A process in a network namespace of its own, which ends when its input does.
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
