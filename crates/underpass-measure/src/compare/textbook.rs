//! The table that textbooks print for sending a file over a network, and why a row measured here
//! differs from it.
//!
//! The book's counts are of one pair of calls for the whole file, over a network card: one copy
//! by the disk's device, one by the card's. Nothing in it is measured.

use underpass::Method;

use super::report::{Cache, Link, Pair, Textbook};

/// What the book says of a method, if it speaks of it.
pub(super) fn row(
    method: Method,
    pair: Pair,
    link: Option<Link>,
    cache: Cache,
) -> Option<Textbook> {
    if pair != Pair::FileToTcp {
        return None;
    }
    let has_scatter_gather = link != Some(Link::VethWithoutScatterGather);
    match method {
        Method::Copy => Some(Textbook {
            name: "read+write",
            switches: 4,
            cpu_copies: 2,
            dma_copies: 2,
            why: match cache {
                Cache::Warm => {
                    "its 4 switches are of one read and one write, and a file takes many of \
                     either, so they grow with the file. A cached page needs no disk and a \
                     virtual link has no card, so devices copy nothing; the receiver's own copy \
                     is not in the book"
                }
                Cache::Cold => {
                    "its 4 switches are of one read and one write, and a file takes many of \
                     either, so they grow with the file. The disk's device copies, as the book \
                     says; a virtual link has no card that would copy again. The receiver's own \
                     copy is not in the book"
                }
            },
        }),
        Method::MmapWrite => Some(Textbook {
            name: "mmap+write",
            switches: 4,
            cpu_copies: 1,
            dma_copies: 2,
            why: "its 4 switches are of one mmap and one write, and a file takes many writes. The \
                  copy it saves is paid for in part by the faults that map the pages, which the \
                  book leaves out; they are taken inside write(2) and cross no border",
        }),
        Method::Sendfile if has_scatter_gather => Some(Textbook {
            name: "sendfile, scatter-gather",
            switches: 2,
            cpu_copies: 0,
            dma_copies: 2,
            why: "its 2 switches are of one call, and a file takes many. The processor copies \
                  nothing at the sender, as the book says; the receiver's own copy out of the \
                  socket is not in the book",
        }),
        Method::Sendfile => Some(Textbook {
            name: "sendfile",
            switches: 2,
            cpu_copies: 1,
            dma_copies: 2,
            why: "its 2 switches are of one call, and a file takes many. Without scatter-gather \
                  the kernel copies the pages into the packets, as the book says, and no counter \
                  that a program can read tells of it",
        }),
        Method::Splice
        | Method::CopyFileRange
        | Method::Clone
        | Method::ZeroCopySend
        | Method::UringSendZc
        | Method::UringSplice
        | _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_rows_are_those_of_the_book() {
        let numbers = |method, link| {
            let book = row(method, Pair::FileToTcp, Some(link), Cache::Warm).unwrap();
            (book.switches, book.cpu_copies, book.dma_copies)
        };
        assert_eq!(numbers(Method::Copy, Link::Veth), (4, 2, 2));
        assert_eq!(numbers(Method::MmapWrite, Link::Loopback), (4, 1, 2));
        assert_eq!(numbers(Method::Sendfile, Link::VethWithoutScatterGather), (2, 1, 2));
        assert_eq!(numbers(Method::Sendfile, Link::Loopback), (2, 0, 2));
        assert_eq!(row(Method::Splice, Pair::FileToTcp, Some(Link::Veth), Cache::Warm), None);
        assert_eq!(row(Method::Copy, Pair::FileToPipe, None, Cache::Warm), None);
    }

    #[test]
    fn why_devices_differ_from_the_book_depends_on_the_cache() {
        let why = |cache| row(Method::Copy, Pair::FileToTcp, None, cache).unwrap().why;
        assert!(why(Cache::Warm).contains("devices copy nothing"));
        assert!(why(Cache::Cold).contains("The disk's device copies"));
    }
}
