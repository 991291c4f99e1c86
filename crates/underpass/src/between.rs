//! What stands between the content of a TLS source: the engine's use of kernel TLS.
//!
//! Without the feature `ktls` no source is one, and there is nothing to ask.

#[cfg(not(feature = "ktls"))]
pub(crate) use absent::Records;
#[cfg(feature = "ktls")]
pub(crate) use present::Records;

#[cfg(feature = "ktls")]
mod present {
    use std::os::fd::BorrowedFd;

    use rustix::io::Errno;

    use crate::error::ErrorKind;
    pub(crate) use crate::ktls::Records;
    use crate::ktls::{Halt, Turn};

    impl Records {
        /// The answer that a stream of nothing but content would have given instead.
        pub(crate) fn past(
            &self,
            socket: BorrowedFd<'_>,
            answer: Result<u64, Errno>,
        ) -> Result<Result<u64, Errno>, ErrorKind> {
            if !matches!(answer, Ok(0) | Err(Errno::INVAL | Errno::IO)) {
                return Ok(answer);
            }
            match self.turn(socket) {
                // Behind a record of no content.
                Ok(Turn::Content) if answer == Ok(0) => Ok(Err(Errno::INTR)),
                Ok(Turn::Content) => Ok(answer),
                Ok(Turn::Passed) => Ok(Err(Errno::INTR)),
                Ok(Turn::Nothing) => Ok(Err(Errno::AGAIN)),
                Ok(Turn::End) => Ok(Ok(0)),
                Err(Halt::Tls(error)) => Err(ErrorKind::Tls(error)),
                Err(Halt::Call(errno)) => Ok(Err(errno)),
            }
        }
    }
}

#[cfg(not(feature = "ktls"))]
mod absent {
    use std::os::fd::BorrowedFd;

    use rustix::io::Errno;

    use crate::error::ErrorKind;

    #[derive(Debug, Clone)]
    pub(crate) enum Records {}

    impl Records {
        pub(crate) fn is_ended(&self) -> bool {
            match *self {}
        }

        pub(crate) fn past(
            &self,
            _: BorrowedFd<'_>,
            _: Result<u64, Errno>,
        ) -> Result<Result<u64, Errno>, ErrorKind> {
            match *self {}
        }
    }
}
