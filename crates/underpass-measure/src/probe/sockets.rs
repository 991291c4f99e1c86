//! Which TCP sockets are watched: learned when a followed process uses one, forgotten with it.
//!
//! The kernel gives the memory of a socket that was destroyed to the next one. Without the second
//! half, bytes of a stranger's socket would be charged to the socket that had the address before.
//!
//! Source: tracepoint `tcp:tcp_destroy_sock`; net/sock.h; net/inet_connection_sock.h.

use crate::assembler::Reg::{R0, R1, R6, R7, R8, R9, R10};
use crate::assembler::{If, Width};

use super::layout::{name, socket};
use super::program::{FREE, PROCESS, Program};

/// `IPPROTO_TCP`.
const TCP: i32 = 6;
const AF_INET6: i32 = 10;

/// The socket's address, a key.
pub(crate) const SOCKET: i16 = FREE - 8;
/// Its inode, a key.
pub(crate) const INODE: i16 = SOCKET - 8;
const VALUE: i16 = INODE - socket::VALUE;
const NAME: i16 = VALUE - name::VALUE;
/// Below this, programs that learn sockets may use the frame as they like.
pub(crate) const BELOW: i16 = NAME;

impl Program<'_> {
    /// Makes the socket at R7, whose inode is in [`INODE`], one that is watched, if it is of TCP.
    ///
    /// R7 to R9 are lost.
    pub(crate) fn learn_socket(&mut self) {
        let (known, done) = (self.asm.label(), self.asm.label());
        self.asm.store(Width::Eight, R10, SOCKET, R7);
        self.look_up(self.maps.sockets.as_fd(), SOCKET);
        self.asm.jump_if(If::NotEqual, R0, 0, known);
        self.read_number(Width::Two, R1, R7, self.offsets.sk_protocol);
        self.asm.jump_if(If::NotEqual, R1, TCP, done);
        self.clear(VALUE, socket::VALUE);
        self.asm.load(Width::Eight, R1, R10, INODE);
        self.asm.store(Width::Eight, R10, VALUE + socket::INODE, R1);
        // Not in place of one that another processor has just made and counts in.
        self.set_new(self.maps.sockets.as_fd(), SOCKET, VALUE);
        self.name_socket();
        self.asm.jump(done);
        self.asm.here(known);
        self.note_upper_layer();
        self.asm.here(done);
    }

    fn name_socket(&mut self) {
        let (version6, done) = (self.asm.label(), self.asm.label());
        self.clear(NAME, name::VALUE);
        self.asm.load(Width::Four, R1, R10, PROCESS);
        self.asm.store(Width::Four, R10, NAME + name::PROCESS, R1);
        self.find_network();
        self.read(NAME + name::FAMILY, 2, R7, self.offsets.sk_family);
        self.read(NAME + name::LOCAL_PORT, 2, R7, self.offsets.sk_local_port);
        self.read(NAME + name::PEER_PORT, 2, R7, self.offsets.sk_peer_port);
        self.asm.load(Width::Two, R1, R10, NAME + name::FAMILY);
        self.asm.jump_if(If::Equal, R1, AF_INET6, version6);
        self.read(NAME + name::PEER, 4, R7, self.offsets.sk_peer4);
        self.read(NAME + name::LOCAL, 4, R7, self.offsets.sk_local4);
        self.asm.jump(done);
        self.asm.here(version6);
        self.read(NAME + name::PEER, 16, R7, self.offsets.sk_peer6);
        self.read(NAME + name::LOCAL, 16, R7, self.offsets.sk_local6);
        self.asm.here(done);
        self.set(self.maps.names.as_fd(), INODE, NAME);
    }

    /// Of the socket at R7: two networks have interfaces of the same index. R8 is lost.
    fn find_network(&mut self) {
        let none = self.asm.label();
        self.follow(R8, R7, self.offsets.sk_network, none);
        let inode = self.offsets.network_names + self.offsets.names_inode;
        self.read(NAME + name::NETWORK, 4, R8, inode);
        self.asm.here(none);
    }

    /// Of the socket at R7, whose value is at R0: a protocol may be put above TCP at any time.
    fn note_upper_layer(&mut self) {
        let done = self.asm.label();
        self.asm.mov(R8, R0);
        self.asm.load(Width::Four, R1, R8, socket::HAS_UPPER);
        self.asm.jump_if(If::NotEqual, R1, 0, done);
        self.follow(R9, R7, self.offsets.sk_upper, done);
        self.asm.store(Width::Four, R8, socket::HAS_UPPER, 1);
        self.clear(NAME, 16);
        self.read(NAME, 16, R9, self.offsets.upper_name);
        self.look_up(self.maps.names.as_fd(), INODE);
        self.asm.jump_if(If::Equal, R0, 0, done);
        for half in [0, 8] {
            self.asm.load(Width::Eight, R1, R10, NAME + half);
            self.asm.store(Width::Eight, R0, name::UPPER + half, R1);
        }
        self.asm.here(done);
    }

    /// The whole program for `tcp_destroy_sock(sk)`.
    pub(crate) fn write_forget(&mut self) {
        self.asm.mov(R6, R1);
        self.asm.load(Width::Eight, R1, R6, 0);
        self.asm.store(Width::Eight, R10, SOCKET, R1);
        self.delete(self.maps.sockets.as_fd(), SOCKET);
    }
}
