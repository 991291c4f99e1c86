//! Label names and values as each format quotes them.
//!
//! A label value is bytes: Prometheus takes only UTF-8 from those it scrapes, but nothing in a
//! block says so.

use super::printable::is_printable;

/// As Go's strconv.Quote: what is not printable is escaped.
pub(crate) fn go(text: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    for piece in text.utf8_chunks() {
        for character in piece.valid().chars() {
            go_character(character, into);
        }
        invalid(piece.invalid(), into);
    }
    into.push(b'"');
}

fn go_character(character: char, into: &mut Vec<u8>) {
    let short: &[u8] = match character {
        '"' => b"\\\"",
        '\\' => b"\\\\",
        '\x07' => b"\\a",
        '\x08' => b"\\b",
        '\x0c' => b"\\f",
        '\n' => b"\\n",
        '\r' => b"\\r",
        '\t' => b"\\t",
        '\x0b' => b"\\v",
        printable if is_printable(printable) => return push(printable, into),
        other => return into.extend(escape(u32::from(other)).bytes()),
    };
    into.extend(short);
}

fn escape(number: u32) -> String {
    match number {
        0..0x20 | 0x7f => format!("\\x{number:02x}"),
        0x20..0x1_0000 => format!("\\u{number:04x}"),
        0x1_0000.. => format!("\\U{number:08x}"),
    }
}

fn invalid(bytes: &[u8], into: &mut Vec<u8>) {
    for byte in bytes {
        into.extend(format!("\\x{byte:02x}").bytes());
    }
}

fn push(character: char, into: &mut Vec<u8>) {
    into.extend(character.encode_utf8(&mut [0; 4]).bytes());
}

/// As OpenMetrics has it: only quotes, backslashes and line feeds are escaped. Bytes that are not
/// UTF-8, which it cannot hold, are written as Go would.
///
/// Source: the OpenMetrics specification, `escaped-char`.
pub(super) fn open_metrics(text: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    for piece in text.utf8_chunks() {
        for &byte in piece.valid().as_bytes() {
            match byte {
                b'"' => into.extend(b"\\\""),
                b'\\' => into.extend(b"\\\\"),
                b'\n' => into.extend(b"\\n"),
                other => into.push(other),
            }
        }
        invalid(piece.invalid(), into);
    }
    into.push(b'"');
}

/// As JSON has it. Bytes that are not UTF-8, which it cannot hold, become U+FFFD.
///
/// Source: RFC 8259, section 7.
pub(crate) fn json(text: &[u8], into: &mut Vec<u8>) {
    into.push(b'"');
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' => into.extend(b"\\\""),
            '\\' => into.extend(b"\\\\"),
            '\n' => into.extend(b"\\n"),
            '\r' => into.extend(b"\\r"),
            '\t' => into.extend(b"\\t"),
            '\0'..' ' => into.extend(format!("\\u{:04x}", u32::from(character)).bytes()),
            other => push(other, into),
        }
    }
    into.push(b'"');
}

/// As CSV has it: a field with a comma, a quote or a line end is quoted, and its quotes doubled.
///
/// Source: RFC 4180, section 2.
pub(super) fn csv(text: &[u8], into: &mut Vec<u8>) {
    if !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        return into.extend(text);
    }
    into.push(b'"');
    for &byte in text {
        if byte == b'"' {
            into.push(b'"');
        }
        into.push(byte);
    }
    into.push(b'"');
}

/// Whether a label name needs no quotes in any version of the text formats.
pub(crate) fn is_plain_label_name(name: &[u8]) -> bool {
    is_plain(name, |byte| byte == b'_')
}

/// Whether a metric name needs no quotes in any version of the text formats.
pub(super) fn is_plain_metric_name(name: &[u8]) -> bool {
    is_plain(name, |byte| matches!(byte, b'_' | b':'))
}

fn is_plain(name: &[u8], is_extra: fn(u8) -> bool) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_alphabetic() || is_extra(*byte);
    name.first().is_some_and(is_first)
        && name.iter().all(|byte| is_first(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(by: fn(&[u8], &mut Vec<u8>), text: &[u8]) -> Vec<u8> {
        let mut into = Vec::new();
        by(text, &mut into);
        into
    }

    /// Printed by Go 1.26's `%q`.
    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        let cases: [(&[u8], &str); 14] = [
            (b"", r#""""#),
            (b"plain text", r#""plain text""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            (b"\x00\x1f\x7f", r#""\x00\x1f\x7f""#),
            ("münchen ✓ 日本".as_bytes(), r#""münchen ✓ 日本""#),
            ("\u{80}\u{a0}\u{ad}".as_bytes(), r#""\u0080\u00a0\u00ad""#),
            ("\u{200b}\u{2028}\u{feff}".as_bytes(), r#""\u200b\u2028\ufeff""#),
            ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
            ("\u{1f600}\u{e0001}\u{10ffff}".as_bytes(), "\"\u{1f600}\\U000e0001\\U0010ffff\""),
            (b"\xff\xc3", r#""\xff\xc3""#),
            (b"a\xe6\x97z", r#""a\xe6\x97z""#),
            (b"\xed\xa0\x80", r#""\xed\xa0\x80""#),
            ("e\u{301}\u{378}".as_bytes(), "\"e\u{301}\\u0378\""),
        ];
        for (text, expected) in cases {
            let found = quoted(go, text);
            assert_eq!(String::from_utf8_lossy(&found), expected);
        }
    }

    #[test]
    fn openmetrics_escapes_what_its_grammar_has_and_nothing_else() {
        let found = quoted(open_metrics, b"a\"b\\c\nd\te\xff\xc3\xbc");
        assert_eq!(found, b"\"a\\\"b\\\\c\\nd\te\\xff\xc3\xbc\"");
    }

    #[test]
    fn json_strings_are_utf_8_and_hold_no_control_character() {
        let found = quoted(json, b"a\"b\\c\nd\te\r\x01/\xff\xc3\xbc");
        assert_eq!(found, b"\"a\\\"b\\\\c\\nd\\te\\r\\u0001/\xef\xbf\xbd\xc3\xbc\"");
    }

    #[test]
    fn a_field_is_quoted_if_it_would_not_end_where_it_does() {
        assert_eq!(quoted(csv, b"plain 'x'; y"), b"plain 'x'; y");
        assert_eq!(quoted(csv, b"a,b"), b"\"a,b\"");
        assert_eq!(quoted(csv, b"a\"b"), b"\"a\"\"b\"");
        assert_eq!(quoted(csv, b"a\rb"), b"\"a\rb\"");
        assert_eq!(quoted(csv, b"a\nb"), b"\"a\nb\"");
    }

    #[test]
    fn names_that_older_versions_know_need_no_quotes() {
        for name in [b"a".as_slice(), b"_", b"Z9_x"] {
            assert!(is_plain_label_name(name) && is_plain_metric_name(name));
        }
        for name in [b"".as_slice(), b"9a", b"a.b", b"a-b", "ä".as_bytes(), b"a b"] {
            assert!(!is_plain_label_name(name) && !is_plain_metric_name(name));
        }
        assert!(is_plain_metric_name(b":a:b") && !is_plain_label_name(b"a:b"));
    }
}
