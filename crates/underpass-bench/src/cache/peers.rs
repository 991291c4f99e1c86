//! The caches that are compared, and how each is started: with one worker, bound to one CPU.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use underpass_testkit::server::{Server, free_address};

use crate::cpu;
use crate::peers::{Build, fill_in};

/// A cache in front of an origin.
#[derive(Debug, Clone)]
pub(super) enum Cache {
    /// nginx, where every client of what is not there fills.
    NginxPlain,
    /// nginx, where one fills and the others wait until it has.
    NginxLock,
    /// nginx, which fills by slices of 1 MiB.
    NginxSlice,
    /// Varnish, which keeps objects in memory.
    Varnish,
    Underpass(Build),
}

const LOCK: &str = "proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;";

const SLICE: &str = "slice 1m; proxy_cache_key $uri$is_args$args$slice_range; \
                     proxy_set_header Range $slice_range; proxy_cache_valid 200 206 1h;";

impl Cache {
    /// The word for it in tables.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::NginxPlain => "nginx",
            Self::NginxLock => "nginx lock",
            Self::NginxSlice => "nginx slice",
            Self::Varnish => "Varnish",
            Self::Underpass(build) => build.name,
        }
    }

    /// Starts it with nothing in it; `scratch` is a directory for its own files.
    pub(super) fn start(&self, origin: SocketAddr, scratch: &Path) -> Result<Server> {
        let address = free_address()?;
        let dir = scratch.join(format!("cache-{}", address.port()));
        std::fs::create_dir(&dir)?;
        let mut command = match self {
            Self::NginxPlain => nginx("", address, origin, &dir)?,
            Self::NginxLock => nginx(LOCK, address, origin, &dir)?,
            Self::NginxSlice => nginx(&format!("{LOCK} {SLICE}"), address, origin, &dir)?,
            Self::Varnish => {
                let mut command = cpu::pinned("varnishd")?;
                command.args(["-F", "-j", "none", "-n"]).arg(&dir);
                command.args(["-a", &address.to_string(), "-b", &origin.to_string()]);
                command.args(["-s", "malloc,4g"]).stderr(Stdio::null());
                command
            }
            Self::Underpass(build) => {
                let mut command = build.command("serve")?;
                command.args(["--origin", &format!("http://{origin}"), "--cache"]).arg(&dir);
                command.args(["--listen", &address.to_string()]);
                command.args(["--workers", "1", "--access-log", "off"]);
                command
            }
        };
        command.stdout(Stdio::null());
        let name = self.name();
        Server::start(&mut command, address).with_context(|| format!("{name} did not start"))
    }
}

fn nginx(fill: &str, at: SocketAddr, origin: SocketAddr, dir: &Path) -> Result<Command> {
    let words = [
        ("@DIR@", dir.to_string_lossy().into_owned()),
        ("@ADDRESS@", at.to_string()),
        ("@ORIGIN@", origin.to_string()),
        ("@FILL@", fill.to_owned()),
    ];
    let file = fill_in("nginx-cache/nginx.conf", &words, dir)?;
    let mut command = cpu::pinned("nginx")?;
    command.arg("-c").arg(file);
    Ok(command)
}
