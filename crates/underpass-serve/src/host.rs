//! The host and port that a request names, in `Host` or in an absolute-form target.
//!
//! Sites are chosen by them, here or by what stands in front of a server, and a value that two
//! programs read differently is how requests are smuggled. Refused where the grammar
//! allows more: an empty host, empty labels, and ports past 65535.
//!
//! Source: RFC 9110 §4.2.1 (empty host), §4.2.4 (userinfo), §7.2; RFC 9112 §3.2; RFC 3986 §3.2.2,
//! §3.2.3; RFC 1034 §3.5 (labels).

use std::net::Ipv6Addr;

/// Whether this is a host, and a port if there is one: `uri-host [ ":" port ]`.
pub(crate) fn is_host(value: &[u8]) -> bool {
    split(value).is_some_and(|(host, port)| is_uri_host(host) && port.is_none_or(is_port))
}

/// Whether this is a host with a port: the target of a `CONNECT`.
pub(crate) fn is_host_with_port(value: &[u8]) -> bool {
    let split = split(value);
    split.is_some_and(|(host, port)| {
        is_uri_host(host) && port.is_some_and(|it| !it.is_empty() && is_port(it))
    })
}

/// Host and port. The colons of an address in brackets are its own.
pub(crate) fn split(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let from = if value.first() == Some(&b'[') {
        value.iter().position(|&byte| byte == b']')?
    } else {
        0
    };
    match value.get(from..)?.iter().position(|&byte| byte == b':') {
        Some(colon) => Some((value.get(..from + colon)?, value.get(from + colon + 1..))),
        None => Some((value, None)),
    }
}

fn is_uri_host(host: &[u8]) -> bool {
    match host.strip_prefix(b"[") {
        Some(literal) => literal.strip_suffix(b"]").is_some_and(is_ip_literal),
        None => is_name(host),
    }
}

/// An IPv6 address, or one of a version to come: `"v" 1*HEXDIG "." 1*( … )`.
fn is_ip_literal(literal: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(literal) else { return false };
    let Some(future) = text.strip_prefix(['v', 'V']) else {
        return text.parse::<Ipv6Addr>().is_ok();
    };
    future.split_once('.').is_some_and(|(version, address)| {
        !version.is_empty()
            && version.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !address.is_empty()
            && address.bytes().all(|byte| byte == b':' || is_of_name(byte))
    })
}

/// A name for the DNS, a dot at its end allowed, or an IPv4 address.
fn is_name(name: &[u8]) -> bool {
    let labels = name.strip_suffix(b".").unwrap_or(name);
    labels.split(|&byte| byte == b'.').all(|label| !label.is_empty()) && is_encoded(name)
}

/// Whether each byte may stand in a name, and each percent sign has its two digits.
fn is_encoded(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest
            }
            [byte, rest @ ..] if is_of_name(*byte) => rest,
            _ => return false,
        };
    }
}

/// `unreserved / sub-delims`.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// `*DIGIT`, and a number that a port can have.
fn is_port(port: &[u8]) -> bool {
    let digits = port.iter().try_fold(0_u32, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number.saturating_mul(10).saturating_add(u32::from(byte - b'0')))
    });
    digits.is_some_and(|number| number <= u32::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_addresses_and_literals_with_or_without_a_port() {
        for value in [
            "x",
            "localhost:8080",
            "www.example.com.",
            "www.example.com.:80",
            "example.com:",
            "a_b-c~d",
            "caf%C3%A9.example",
            "192.0.2.1",
            "192.0.2.1:65535",
            "x:00080",
            "[::1]",
            "[::1]:80",
            "[::ffff:192.0.2.1]:",
            "[v1F.a:b!$&'()*+,;=]:5",
        ] {
            assert!(is_host(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn what_is_not_a_host_is_refused() {
        for value in [
            "",
            ":80",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            "a/b",
            "a b",
            "a\\b",
            "u@x",
            "u:p@x",
            "x:port",
            "x:-1",
            "x:+1",
            "x:65536",
            "x:99999999999999999999",
            "x:80:80",
            "x:8 0",
            "%",
            "%4",
            "%zz",
            "a\tb",
            "a\"b",
            "<x>",
            "x, y",
            "x?y",
            "x#y",
            "[::1",
            "::1",
            "[::1]x",
            "[::1].",
            "[::1]:x",
            "[::1%25lo]",
            "[1.2.3.4]",
            "[]",
            "x[::1]",
            "[v.a]",
            "[v1.]",
            "[vg.a]",
            "caf\u{e9}",
        ] {
            assert!(!is_host(value.as_bytes()), "{value:?}");
        }
    }

    #[test]
    fn a_connect_names_a_port() {
        for (target, is_one) in [
            ("x:80", true),
            ("[::1]:80", true),
            ("x", false),
            ("x:", false),
            (":80", false),
            ("x:0x", false),
        ] {
            assert_eq!(is_host_with_port(target.as_bytes()), is_one, "{target}");
        }
    }
}
