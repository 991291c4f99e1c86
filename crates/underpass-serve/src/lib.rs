//! Static file service over HTTP/1.1.
