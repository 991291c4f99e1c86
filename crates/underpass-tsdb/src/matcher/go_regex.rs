//! Go's regular expressions in the syntax of the crate `regex`.
//!
//! Both descend from RE2 and mostly agree. Where they do not, the same text would select other
//! series: `\d`, `\s`, `\w` and `\b` are of ASCII in Go; a `{` that repeats nothing, and `[`,
//! `&&`, `--` and `~~` in a class, stand for themselves there; `\Q…\E` quotes; `\<` is a `<`.
//! So a pattern is read as Go reads it, and written so that nothing in it is special by accident.
//!
//! Source: Go's `regexp/syntax`, its documentation and `parse.go` of Go 1.26.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::CharIndices;

/// Why a regular expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the regular expression is wrong at byte {at}: {reason}")]
pub struct PatternError {
    /// Offset in its text, in bytes.
    pub at: usize,
    /// What is wrong.
    pub reason: String,
}

/// Go refuses more (`maxRepeat`).
const REPETITIONS_MAX: u32 = 1000;

/// The ASCII classes of POSIX, which both know by the same names.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

pub(super) fn translate(text: &str) -> Result<String, PatternError> {
    let mut reader = Reader { text, chars: text.char_indices().peekable() };
    let mut rust = String::with_capacity(text.len() + 16);
    while let Some((at, char)) = reader.chars.next() {
        match char {
            '\\' => reader.escape(at, &mut rust)?,
            '[' => reader.class(at, &mut rust)?,
            '{' => reader.repetition(at, &mut rust)?,
            '(' => reader.group(at, &mut rust)?,
            _ => rust.push(char),
        }
    }
    Ok(rust)
}

fn error<T>(at: usize, reason: impl Into<String>) -> Result<T, PatternError> {
    Err(PatternError { at, reason: reason.into() })
}

struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
}

impl<'a> Reader<'a> {
    fn rest(&mut self) -> &'a str {
        let at = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        &self.text[at..]
    }

    /// Passes these bytes, which are in the rest.
    fn pass(&mut self, len: usize) {
        let end = self.text.len() - self.rest().len() + len;
        while self.chars.next_if(|(at, _)| *at < end).is_some() {}
    }

    /// What stands after a backslash outside a class.
    fn escape(&mut self, at: usize, rust: &mut String) -> Result<(), PatternError> {
        let rest = self.rest();
        match rest.chars().next() {
            Some('Q') => self.quoted(rust),
            Some(kind @ ('b' | 'B')) => {
                self.pass(1);
                // Of ASCII words, in Go.
                write!(rust, r"(?-u:\{kind})").unwrap_or_default();
            }
            Some(kind @ ('A' | 'z')) => {
                self.pass(1);
                rust.extend(['\\', kind]);
            }
            _ if self.shorthand(rust)? => {}
            _ => push_char(self.escaped_char(at)?, rust),
        }
        Ok(())
    }

    /// `\Q` and what it quotes, to `\E` or the end.
    fn quoted(&mut self, rust: &mut String) {
        self.pass(1);
        let rest = self.rest();
        let quoted = rest.find(r"\E").map_or(rest, |end| &rest[..end]);
        self.pass(quoted.len());
        let closing = self.rest().len().min(2);
        self.pass(closing);
        for char in quoted.chars() {
            push_char(char, rust);
        }
    }

    /// A class of one letter, or of a Unicode property: the same in and outside brackets.
    fn shorthand(&mut self, rust: &mut String) -> Result<bool, PatternError> {
        let Some(letter) = self.rest().chars().next() else { return Ok(false) };
        let class = match letter {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            // Without the vertical tab, unlike [[:space:]].
            's' => r"[\t\n\f\r ]",
            'S' => r"[^\t\n\f\r ]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            'p' | 'P' => return self.property(letter == 'P', rust).map(|()| true),
            _ => return Ok(false),
        };
        self.pass(1);
        rust.push_str(class);
        Ok(true)
    }

    /// `\pL`, `\p{Greek}` and, in Go, `\p{^Greek}`.
    fn property(&mut self, is_negated: bool, rust: &mut String) -> Result<(), PatternError> {
        let at = self.text.len() - self.rest().len();
        self.pass(1);
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return error(at, "a property has no name");
        };
        let len = match first {
            '{' => rest.find('}').map(|end| end + 1),
            _ => Some(first.len_utf8()),
        };
        let Some(len) = len else { return error(at, "a property's name has no }") };
        self.pass(len);
        let name = rest[..len].trim_matches(['{', '}']);
        let (name, is_inverse) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
        let letter = if is_negated == is_inverse { 'p' } else { 'P' };
        write!(rust, r"\{letter}{{{name}}}").unwrap_or_default();
        Ok(())
    }

    /// A character after a backslash.
    fn escaped_char(&mut self, at: usize) -> Result<char, PatternError> {
        let Some((_, char)) = self.chars.next() else {
            return error(at, "it ends with a backslash");
        };
        match char {
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            'x' => self.hexadecimal(at),
            '0'..='7' => self.octal(at, char),
            _ if char.is_ascii_punctuation() || char.is_ascii_control() || char == ' ' => Ok(char),
            _ => error(at, format!(r"\{char} is not known")),
        }
    }

    /// `\123`; a single digit but 0 would refer to a group, which RE2 cannot.
    fn octal(&mut self, at: usize, first: char) -> Result<char, PatternError> {
        let rest = self.rest();
        let more = rest.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        if first != '0' && more == 0 {
            return error(at, "it refers to a group, which RE2 cannot");
        }
        self.pass(more);
        let digits = format!("{first}{}", &rest[..more]);
        let code = u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32);
        code.map_or_else(|| error(at, "the octal number is not a character"), Ok)
    }

    /// `\x7F` and `\x{10FFFF}`.
    fn hexadecimal(&mut self, at: usize) -> Result<char, PatternError> {
        let rest = self.rest();
        let (digits, len) = match rest.strip_prefix('{') {
            Some(inside) => {
                let digits = inside.split_once('}').map_or("", |(digits, _)| digits);
                (digits, digits.len() + 2)
            }
            None => (rest.get(..2).unwrap_or_default(), 2),
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = is_number.then(|| u32::from_str_radix(digits, 16).ok()).flatten();
        let Some(char) = code.and_then(char::from_u32) else {
            return error(at, r"\x needs two hexadecimal digits, or some in braces");
        };
        self.pass(len);
        Ok(char)
    }

    /// `{2}`, `{2,}`, `{2,5}`; any other brace stands for itself.
    fn repetition(&mut self, at: usize, rust: &mut String) -> Result<(), PatternError> {
        let inside = self.rest().split_once('}').map(|(inside, _)| inside);
        let Some((inside, (min, max))) = inside.and_then(|text| Some((text, bounds(text)?))) else {
            rust.push_str(r"\{");
            return Ok(());
        };
        if min > REPETITIONS_MAX || max.is_some_and(|max| max > REPETITIONS_MAX || max < min) {
            return error(at, format!("{{{inside}}} is not a repetition of up to 1000"));
        }
        self.pass(inside.len() + 1);
        write!(rust, "{{{inside}}}").unwrap_or_default();
        Ok(())
    }

    /// An opening parenthesis, with its name or flags.
    fn group(&mut self, at: usize, rust: &mut String) -> Result<(), PatternError> {
        rust.push('(');
        let rest = self.rest();
        let Some(extension) = rest.strip_prefix('?') else { return Ok(()) };
        let is_named = extension.starts_with("P<") || extension.starts_with('<');
        let is_flag = |char: char| matches!(char, 'i' | 'm' | 's' | 'U' | '-');
        let after_flags = extension.trim_start_matches(is_flag);
        if !is_named && !after_flags.starts_with([':', ')']) {
            return error(at, "the flags of this group are not i, m, s or U");
        }
        let len = if is_named {
            extension.find('>').map_or(extension.len(), |end| end + 1)
        } else {
            extension.len() - after_flags.len()
        };
        self.pass(len + 1);
        rust.push_str(&rest[..=len]);
        Ok(())
    }

    /// A class in brackets, of which the first is passed.
    fn class(&mut self, at: usize, rust: &mut String) -> Result<(), PatternError> {
        rust.push('[');
        if self.chars.next_if(|(_, char)| *char == '^').is_some() {
            rust.push('^');
        }
        let mut is_first = true;
        loop {
            match self.chars.peek().copied() {
                None => return error(at, "a class has no ]"),
                Some((_, ']')) if !is_first => break,
                Some((_, '[')) if self.posix(rust)? => {}
                Some((_, '\\')) if self.class_shorthand(rust)? => {}
                Some((at, _)) => self.class_range(at, rust)?,
            }
            is_first = false;
        }
        self.pass(1);
        rust.push(']');
        Ok(())
    }

    /// `[:alpha:]` or `[:^alpha:]` in a class.
    fn posix(&mut self, rust: &mut String) -> Result<bool, PatternError> {
        let rest = self.rest();
        let Some(inside) = rest.strip_prefix("[:") else { return Ok(false) };
        let Some((name, _)) = inside.split_once(":]") else { return Ok(false) };
        if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
            let at = self.text.len() - rest.len();
            return error(at, format!("[:{name}:] is not a class"));
        }
        self.pass(name.len() + 4);
        write!(rust, "[:{name}:]").unwrap_or_default();
        Ok(true)
    }

    fn class_shorthand(&mut self, rust: &mut String) -> Result<bool, PatternError> {
        let before = self.chars.clone();
        self.pass(1);
        let is_found = self.shorthand(rust)?;
        if !is_found {
            self.chars = before;
        }
        Ok(is_found)
    }

    /// A character of a class, or a range of them.
    fn class_range(&mut self, at: usize, rust: &mut String) -> Result<(), PatternError> {
        let low = self.class_char(at)?;
        let rest = self.rest();
        let is_range = rest.starts_with('-') && rest.len() > 1 && !rest.starts_with("-]");
        if !is_range {
            push_class_char(low, rust);
            return Ok(());
        }
        self.pass(1);
        let high = self.class_char(at)?;
        if high < low {
            return error(at, format!("the range {low}-{high} is empty"));
        }
        push_class_char(low, rust);
        rust.push('-');
        push_class_char(high, rust);
        Ok(())
    }

    fn class_char(&mut self, at: usize) -> Result<char, PatternError> {
        match self.chars.next() {
            None => error(at, "a class has no ]"),
            Some((at, '\\')) => self.escaped_char(at),
            Some((_, char)) => Ok(char),
        }
    }
}

/// The numbers of a repetition. One with leading zeros does not count, as in Go.
fn bounds(inside: &str) -> Option<(u32, Option<u32>)> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let has_zeros = text.len() > 1 && text.starts_with('0');
        // A number that does not fit is too large, not a literal.
        (is_number && !has_zeros).then(|| text.parse().unwrap_or(u32::MAX))
    };
    match inside.split_once(',') {
        None => number(inside).map(|min| (min, Some(min))),
        Some((min, "")) => number(min).map(|min| (min, None)),
        Some((min, max)) => Some((number(min)?, Some(number(max)?))),
    }
}

/// A character that stands for itself.
fn push_char(char: char, rust: &mut String) {
    rust.push_str(&regex_syntax::escape(char.encode_utf8(&mut [0; 4])));
}

/// The same in a class, where two of some characters would be an operator.
fn push_class_char(char: char, rust: &mut String) {
    if char.is_ascii_alphanumeric() || !char.is_ascii() {
        rust.push(char);
    } else {
        write!(rust, r"\x{:02X}", u32::from(char)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
