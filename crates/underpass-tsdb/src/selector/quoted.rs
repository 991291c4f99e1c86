//! Strings of the query language, and what their escapes stand for.
//!
//! Those of Go, but `'` quotes as `"` does. `\xff` is one byte, so a string need not be UTF-8.
//!
//! Source: Prometheus' `promql/parser/lex.go`, `util/strutil/quote.go`.

use super::SelectorFault;

/// A name or string, and whether it stood in quotes.
pub(super) struct Quoted {
    pub(super) bytes: Vec<u8>,
    pub(super) is_quoted: bool,
}

/// Where and what is wrong.
type Wrong = (usize, SelectorFault);

/// What a string holds whose opening quote was passed, and its length with the closing quote.
pub(super) fn unquote(text: &str, quote: char) -> Result<(Vec<u8>, usize), Wrong> {
    let is_raw = quote == '`';
    let (mut bytes, mut at) = (Vec::new(), 0);
    while let Some(char) = text[at..].chars().next() {
        let begin = at;
        at += char.len_utf8();
        match char {
            _ if char == quote => return Ok((bytes, at)),
            '\n' if !is_raw => return Err((begin, SelectorFault::Open(quote))),
            '\\' if !is_raw => {
                let escape = escape(&text[at..], quote, &mut bytes);
                at += escape.ok_or((begin, SelectorFault::Escape))?;
            }
            _ => bytes.extend(&text.as_bytes()[begin..at]),
        }
    }
    Err((at, SelectorFault::Open(quote)))
}

/// Adds what a backslash and this text stand for; gives the length without the backslash.
fn escape(text: &str, quote: char, into: &mut Vec<u8>) -> Option<usize> {
    let first = text.chars().next()?;
    let simple = match first {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        'x' => return byte(text.get(1..3)?, 16, into).map(|()| 3),
        '0'..='7' => return byte(text.get(..3)?, 8, into).map(|()| 3),
        'u' => return character(text.get(1..5)?, into).map(|()| 5),
        'U' => return character(text.get(1..9)?, into).map(|()| 9),
        _ if first == quote => u8::try_from(quote).ok()?,
        _ => return None,
    };
    into.push(simple);
    Some(1)
}

/// A byte by its number.
fn byte(digits: &str, radix: u32, into: &mut Vec<u8>) -> Option<()> {
    into.push(u8::try_from(number(digits, radix)?).ok()?);
    Some(())
}

/// A character by its number.
fn character(digits: &str, into: &mut Vec<u8>) -> Option<()> {
    let char = char::from_u32(number(digits, 16)?)?;
    into.extend(char.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

/// Digits alone: the standard library would take a plus sign too.
fn number(digits: &str, radix: u32) -> Option<u32> {
    let is_number = digits.chars().all(|char| char.is_digit(radix));
    is_number.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}
