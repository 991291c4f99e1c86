//! Where the running kernel keeps what the programs read.

use super::namespace::Namespace;
use crate::btf::{Btf, BtfError};

/// What makes an address one that a program may read from directly, since Linux 6.2.
///
/// A read of what is not memory yields zeros, as with `bpf_probe_read_kernel`, and costs a
/// nanosecond instead of twenty.
///
/// Source: `Documentation/bpf/kfuncs.rst`, `bpf_rdonly_cast`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cast {
    /// `bpf_rdonly_cast`.
    pub(crate) function: i32,
    /// A struct that begins with a plain word of eight bytes.
    pub(crate) as_type: i32,
}

impl Cast {
    fn of(btf: &Btf) -> Option<Self> {
        let function = btf.function_id("bpf_rdonly_cast")?;
        Some(Self { function, as_type: btf.struct_id("pt_regs")? })
    }
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident: $of:literal . $member:literal),+ $(,)?) => {
        /// Offsets of members, in bytes, named for struct and member.
        #[derive(Debug, Clone)]
        pub(crate) struct Offsets {
            $($(#[$doc])* pub(crate) $field: i16,)+
            /// Of a fragment's page within a fragment: a `netmem_ref` since 6.11.
            pub(crate) frag_page: i16,
            pub(crate) frag_len: i16,
            /// Distance between two fragments.
            pub(crate) frag_size: i16,
            /// Distance between two of a task's numbers.
            pub(crate) number_size: i16,
            /// Whose numbers processes have, where not those of the first PID namespace.
            pub(crate) namespace: Option<Namespace>,
            /// How memory is read without a call for each read, where that is possible.
            pub(crate) cast: Option<Cast>,
        }

        impl Offsets {
            /// Looks every one of them up.
            ///
            /// # Errors
            ///
            /// [`BtfError::Absent`] names the first that this kernel lacks.
            pub(crate) fn of(btf: &Btf) -> Result<Self, BtfError> {
                // Until 6.6 a fragment was a bio_vec.
                let frag = if btf.size("skb_frag").is_ok() { "skb_frag" } else { "bio_vec" };
                let page = ["netmem", "bv_page"].iter().find_map(|m| btf.offset(frag, m).ok());
                let len = ["len", "bv_len"].iter().find_map(|m| btf.offset(frag, m).ok());
                let absent = |member: &str| {
                    BtfError::Absent { of: frag.into(), member: member.into() }
                };
                Ok(Self {
                    $($field: btf.offset($of, $member)?,)+
                    frag_page: page.ok_or_else(|| absent("netmem"))?,
                    frag_len: len.ok_or_else(|| absent("len"))?,
                    frag_size: btf.size(frag)?,
                    number_size: btf.size("upid")?,
                    namespace: None,
                    cast: Cast::of(btf),
                })
            }
        }
    };
}

offsets! {
    regs_first: "pt_regs"."di",
    regs_second: "pt_regs"."si",
    regs_third: "pt_regs"."dx",
    regs_fourth: "pt_regs"."r10",
    regs_number: "pt_regs"."orig_ax",
    task_files: "task_struct"."files",
    task_tgid: "task_struct"."tgid",
    task_leader: "task_struct"."group_leader",
    task_pid: "task_struct"."thread_pid",
    pid_level: "pid"."level",
    pid_numbers: "pid"."numbers",
    number: "upid"."nr",
    number_namespace: "upid"."ns",
    namespace_names: "pid_namespace"."ns",
    task_signal: "task_struct"."signal",
    signal_live: "signal_struct"."live",
    files_fdt: "files_struct"."fdt",
    fdt_max: "fdtable"."max_fds",
    fdt_fd: "fdtable"."fd",
    file_flags: "file"."f_flags",
    file_inode: "file"."f_inode",
    file_private: "file"."private_data",
    inode_mode: "inode"."i_mode",
    inode_number: "inode"."i_ino",
    inode_super: "inode"."i_sb",
    super_device: "super_block"."s_dev",
    mapping_host: "address_space"."host",
    socket_sk: "socket"."sk",
    socket_inode: "socket_alloc"."vfs_inode",
    sk_socket: "sock"."sk_socket",
    sk_protocol: "sock"."sk_protocol",
    sk_family: "sock_common"."skc_family",
    sk_local_port: "sock_common"."skc_num",
    sk_peer_port: "sock_common"."skc_dport",
    sk_peer4: "sock_common"."skc_daddr",
    sk_local4: "sock_common"."skc_rcv_saddr",
    sk_peer6: "sock_common"."skc_v6_daddr",
    sk_local6: "sock_common"."skc_v6_rcv_saddr",
    sk_network: "sock_common"."skc_net",
    network_names: "net"."ns",
    names_inode: "ns_common"."inum",
    sk_upper: "inet_connection_sock"."icsk_ulp_ops",
    upper_name: "tcp_ulp_ops"."name",
    skb_len: "sk_buff"."len",
    skb_data_len: "sk_buff"."data_len",
    skb_end: "sk_buff"."end",
    skb_head: "sk_buff"."head",
    skb_data: "sk_buff"."data",
    skb_sk: "sk_buff"."sk",
    skb_transport: "sk_buff"."transport_header",
    shared_flags: "skb_shared_info"."flags",
    shared_frag_count: "skb_shared_info"."nr_frags",
    shared_frags: "skb_shared_info"."frags",
    page_compound: "page"."compound_head",
    page_mapping: "page"."mapping",
    device_index: "net_device"."ifindex",
}
