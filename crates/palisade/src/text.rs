//! What is printed: names from outside, made harmless, and the nearest known word.

use std::ffi::OsStr;
use std::fmt::{self, Write};

/// A name from outside (a path, a word of a file), to be printed on a terminal or in a log: control characters,
/// those that change the direction of text or are invisible, and bytes that are no UTF-8 are shown escaped, and a
/// backslash as two, so that what is escaped cannot be mistaken for a name that has it in it.
///
/// ```
/// assert_eq!(palisade::printable("a\u{1b}[2Jb\n").to_string(), r"a\u{1b}[2Jb\n");
/// ```
pub fn printable<S: AsRef<OsStr> + ?Sized>(name: &S) -> Printable<'_> {
    Printable(name.as_ref())
}

/// See [`printable`].
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(&'a OsStr);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_encoded_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' | '\n' | '\r' | '\t' => write!(f, "{}", c.escape_default())?,
                    _ if c.is_control() || is_hidden(c) => write!(f, "{}", c.escape_unicode())?,
                    _ => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Characters that reorder the text around them, break the line, or show nothing.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
        || (c.is_whitespace() && c != ' ')
}

/// "did you mean …?", if a known word is near enough.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    // A long word is not measured: it may be as long as a file.
    let near_in_length = |k: &&str| word.chars().count() <= k.len() + 1 + k.len() / 4;
    known
        .filter(near_in_length)
        .map(|k| (distance(word, k), k))
        .min_by_key(|(d, _)| *d)
        .filter(|(d, k)| *d <= 1 + k.len() / 4 && *d < k.len().min(word.len().max(1)))
        .map(|(_, k)| format!("did you mean {k}?"))
}

/// Edits (insert, remove, replace, swap neighbours) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// A path as JSON: a string, or where it is no UTF-8 an object with its bytes, `{"bytes":[47,255]}`.
#[cfg(feature = "serde")]
pub(crate) fn serialize_path<S: serde::Serializer>(path: &std::path::Path, s: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    if let Some(text) = path.to_str() {
        return s.serialize_str(text);
    }
    let mut map = s.serialize_map(Some(1))?;
    map.serialize_entry("bytes", path.as_os_str().as_encoded_bytes())?;
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_harmless_and_stay_apart() {
        for (name, shown) in [
            ("/tmp/ä b", "/tmp/ä b"),
            ("\x1b]0;x\x07\n", r"\u{1b}]0;x\u{7}\n"),
            (r"\n", r"\\n"),
            ("a\u{202e}b", r"a\u{202e}b"),
            ("a\u{2028}\u{200b}\u{85}", r"a\u{2028}\u{200b}\u{85}"),
        ] {
            assert_eq!(printable(name).to_string(), shown);
        }
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            assert_eq!(printable(OsStr::from_bytes(b"a\xff\xc3z")).to_string(), r"a\xff\xc3z");
        }
    }

    #[test]
    fn nearest_is_near_or_nothing() {
        let known = ["fs", "tcp", "udp", "truncate", "read_file"];
        for (word, answer) in
            [("trunctae", Some("truncate")), ("tpc", Some("tcp")), ("xyz", None), ("", None), ("f", None)]
        {
            let found = nearest(word, known.into_iter());
            assert_eq!(found, answer.map(|k| format!("did you mean {k}?")), "{word}");
        }
    }
}
