//! vsftpd, whose sessions are processes that end with them.

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::fetch;
use crate::programs::judged::{Expected, Known};
use crate::programs::site::{Site, address, programs};
use crate::programs::watched::{Watched, watched};

fn vsftpd(sendfile: &str) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let empty = site.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let text = format!(
        "listen=YES\nlisten_address={}\nlisten_port={}\nbackground=NO\nanonymous_enable=YES\n\
         no_anon_password=YES\nanon_root={}\nftp_username=daemon\nsecure_chroot_dir={}\n\
         seccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\nuse_sendfile={sendfile}\n\
         xferlog_enable=NO\n",
        address.ip(),
        address.port(),
        site.root().display(),
        empty.display()
    );
    let mut command = recorded.command("vsftpd");
    command.arg(site.write("vsftpd.conf", &text));
    let server = site.start(&mut command, address);
    watched(&recorded, server.id(), || fetch(&site, "ftp", address))
}

const OF_OLD_ROOT: Known =
    ("what it read before it changed its root has no name and counts as sent", 100, "bytes");

#[test]
fn with_sendfile_it_lends_all() {
    require!(programs(&["vsftpd"]));
    let watched = vsftpd("YES");
    Expected::of("vsftpd", "use_sendfile=YES").wrong_at_times(OF_OLD_ROOT).judge(&watched);
}

#[test]
fn without_sendfile_it_copies_all() {
    require!(programs(&["vsftpd"]));
    let watched = vsftpd("NO");
    assert!(watched.truth.is_read);
    Expected::of("vsftpd", "use_sendfile=NO")
        .because("R1", "sendfile")
        .wrong_at_times(OF_OLD_ROOT)
        .judge(&watched);
}
