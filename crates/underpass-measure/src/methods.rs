//! What is known of each method beforehand: its calls, what they do, and what textbooks say.
//!
//! The book's counts are of one pair of calls for the whole file, over a network card: one copy
//! by the disk's device, one by the card's. Nothing in it is measured.
//!
//! Source: sendfile(2) ("in_fd ... cannot be a socket"), `underpass::Method`.

use serde::Serialize;
use underpass::Method;

use crate::terms::{Cache, Link, Pair};

/// What is known of a method.
#[derive(Debug)]
pub(crate) struct Facts {
    /// What the kernel calls its calls, or those of io_uring its operations.
    pub(crate) call: &'static str,
    /// What it does.
    #[cfg_attr(not(feature = "html"), expect(dead_code, reason = "pages tell it"))]
    pub(crate) sentence: &'static str,
    /// How it copies, if it cannot but copy.
    pub(crate) copying: Option<Copying>,
    /// Whether it has the file mapped.
    pub(crate) maps: bool,
    /// Between which ends the engine has it.
    pub(crate) pairs: &'static [Pair],
}

/// How a method copies whose calls say so.
#[derive(Debug)]
pub(crate) struct Copying {
    /// Copies per byte.
    pub(crate) copies: f64,
    /// What that is derived from.
    pub(crate) from: &'static str,
    /// What it means.
    pub(crate) why: &'static str,
}

/// A row of the table that textbooks print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Textbook {
    /// What they call it.
    pub(crate) name: &'static str,
    /// Changes between user and kernel mode.
    pub(crate) switches: u32,
    /// Copies by the processor.
    pub(crate) cpu_copies: u32,
    /// Copies by devices.
    pub(crate) dma_copies: u32,
    /// Why the measured row differs from it.
    pub(crate) why: &'static str,
}

const TO_SOCKETS: &[Pair] = &[Pair::FileToTcp, Pair::FileToUnix];

const FROM_FILES: &[Pair] =
    &[Pair::FileToTcp, Pair::FileToUnix, Pair::FileToPipe, Pair::FileToFile];

/// What is true of a method that is not known here: it is tried, and says itself what it cannot
/// do.
const UNKNOWN: Facts = Facts {
    call: "unnamed",
    sentence: "A method that is not known here.",
    copying: None,
    maps: false,
    pairs: &Pair::ALL,
};

const FACTS: [(Method, Facts); 9] = [
    (
        Method::Copy,
        Facts {
            call: "read + write",
            sentence: "read(2) into the program's memory and write(2) out of it: two copies.",
            copying: Some(Copying {
                copies: 2.0,
                from: "read(2) and write(2) each copy what they return",
                why: "read(2) copies into the program's memory, and write(2) out of it",
            }),
            ..UNKNOWN
        },
    ),
    (
        Method::MmapWrite,
        Facts {
            call: "write",
            sentence: "The file is mapped, and write(2) copies from the mapping: one copy, and \
                       page faults.",
            copying: Some(Copying {
                copies: 1.0,
                from: "write(2) copies what it returns",
                why: "write(2) copies from the mapped pages",
            }),
            maps: true,
            pairs: FROM_FILES,
        },
    ),
    (
        Method::Sendfile,
        Facts {
            call: "sendfile",
            sentence: "sendfile(2): the kernel can hand references to the file's cached pages to \
                       the socket.",
            pairs: &[Pair::FileToTcp, Pair::FileToUnix, Pair::FileToPipe],
            ..UNKNOWN
        },
    ),
    (
        Method::Splice,
        Facts {
            call: "splice",
            sentence: "splice(2) can move references to pages through a pipe, from sockets too.",
            ..UNKNOWN
        },
    ),
    (
        Method::CopyFileRange,
        Facts {
            call: "copy_file_range",
            sentence: "copy_file_range(2): the file system copies, or shares extents, without the \
                       program.",
            pairs: &[Pair::FileToFile],
            ..UNKNOWN
        },
    ),
    (
        Method::Clone,
        Facts {
            call: "ioctl(FICLONERANGE)",
            sentence: "ioctl(FICLONERANGE): both files share extents until one of them is \
                       written.",
            pairs: &[Pair::FileToFile],
            ..UNKNOWN
        },
    ),
    (
        Method::ZeroCopySend,
        Facts {
            call: "send(MSG_ZEROCOPY)",
            sentence: "send(2) with MSG_ZEROCOPY lends mapped pages to the socket; for a receiver \
                       on the same machine the kernel copies them after all.",
            maps: true,
            pairs: TO_SOCKETS,
            ..UNKNOWN
        },
    ),
    (
        Method::UringSendZc,
        Facts {
            call: "IORING_OP_SEND_ZC",
            sentence: "IORING_OP_SEND_ZC of io_uring: lends pages as MSG_ZEROCOPY does.",
            maps: true,
            pairs: TO_SOCKETS,
            ..UNKNOWN
        },
    ),
    (
        Method::UringSplice,
        Facts {
            call: "IORING_OP_SPLICE",
            sentence: "IORING_OP_SPLICE of io_uring: moves references through a pipe as splice(2) \
                       does.",
            pairs: TO_SOCKETS,
            ..UNKNOWN
        },
    ),
];

/// What is known of a method.
pub(crate) fn facts(method: Method) -> &'static Facts {
    FACTS.iter().find(|(it, _)| *it == method).map_or(&UNKNOWN, |(_, facts)| facts)
}

/// A row of the book: of a method, of files in a state of the cache and of links with
/// scatter-gather or without, where it matters; name, switches and copies by the processor; why
/// what is measured differs.
type Told = (Method, Option<Cache>, Option<bool>, (&'static str, u32, u32), &'static str);

const BOOK: [Told; 5] = [
    (
        Method::Copy,
        Some(Cache::Warm),
        None,
        ("read+write", 4, 2),
        "its 4 switches are of one read and one write, and a file takes many of either, \
         so they grow with the file. A cached page needs no disk and a virtual link has \
         no card, so devices copy nothing; the receiver's own copy is not in the book",
    ),
    (
        Method::Copy,
        Some(Cache::Cold),
        None,
        ("read+write", 4, 2),
        "its 4 switches are of one read and one write, and a file takes many of either, \
         so they grow with the file. The disk's device copies, as the book says; a \
         virtual link has no card that would copy again. The receiver's own copy is not \
         in the book",
    ),
    (
        Method::MmapWrite,
        None,
        None,
        ("mmap+write", 4, 1),
        "its 4 switches are of one mmap and one write, and a file takes many writes. The \
         copy it saves is paid for in part by the faults that map the pages, which the \
         book leaves out; they are taken inside write(2) and cross no border",
    ),
    (
        Method::Sendfile,
        None,
        Some(true),
        ("sendfile, scatter-gather", 2, 0),
        "its 2 switches are of one call, and a file takes many. The processor copies \
         nothing at the sender, as the book says; the receiver's own copy out of the \
         socket is not in the book",
    ),
    (
        Method::Sendfile,
        None,
        Some(false),
        ("sendfile", 2, 1),
        "its 2 switches are of one call, and a file takes many. Without scatter-gather \
         the kernel copies the pages into the packets, as the book says, and no counter \
         that a program can read tells of it",
    ),
];

/// What the book says of a method, if it speaks of it.
pub(crate) fn book(
    method: Method,
    pair: Pair,
    link: Option<Link>,
    cache: Cache,
) -> Option<Textbook> {
    let gathers = link != Some(Link::VethWithoutScatterGather);
    let mut rows = BOOK.iter().filter(|_| pair == Pair::FileToTcp);
    let is = |(of, state, gather, ..): &&Told| {
        *of == method && state.is_none_or(|it| it == cache) && gather.is_none_or(|it| it == gathers)
    };
    rows.find(is).map(|&(.., (name, switches, cpu_copies), why)| Textbook {
        name,
        switches,
        cpu_copies,
        dma_copies: 2,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_rows_are_those_of_the_book() {
        let numbers = |method, link| {
            let it = book(method, Pair::FileToTcp, Some(link), Cache::Warm).unwrap();
            (it.switches, it.cpu_copies, it.dma_copies)
        };
        assert_eq!(numbers(Method::Copy, Link::Veth), (4, 2, 2));
        assert_eq!(numbers(Method::MmapWrite, Link::Loopback), (4, 1, 2));
        assert_eq!(numbers(Method::Sendfile, Link::VethWithoutScatterGather), (2, 1, 2));
        assert_eq!(numbers(Method::Sendfile, Link::Loopback), (2, 0, 2));
        assert_eq!(book(Method::Splice, Pair::FileToTcp, Some(Link::Veth), Cache::Warm), None);
        assert_eq!(book(Method::Copy, Pair::FileToPipe, None, Cache::Warm), None);
    }

    #[test]
    fn why_devices_differ_from_the_book_depends_on_the_cache() {
        let why = |cache| book(Method::Copy, Pair::FileToTcp, None, cache).unwrap().why;
        assert!(why(Cache::Warm).contains("devices copy nothing"));
        assert!(why(Cache::Cold).contains("The disk's device copies"));
    }

    #[test]
    fn each_method_has_its_facts() {
        for method in Method::ALL {
            assert_ne!(facts(*method).call, UNKNOWN.call, "{method}");
        }
    }
}
