//! Words as a shell takes them, made harmless to print.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use palisade::printable;

/// Several words, each quoted if it has to be.
pub fn words<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(|w| word(w.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A word that can be pasted to a shell. `$'…'`, which not every shell knows, is used where nothing else is printable.
pub fn word(word: &OsStr) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_./:,=@%+-".contains(b);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.bytes().all(|b| plain(&b)) => text.to_owned(),
        Some(text) if !text.chars().any(is_harmful) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => escaped(word.as_bytes()),
    }
}

fn escaped(bytes: &[u8]) -> String {
    let mut quoted = String::from("$'");
    let byte = |quoted: &mut String, byte: u8| {
        let _ = write!(quoted, "\\x{byte:02x}"); // a String takes all that is written
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '\'' => quoted.extend(['\\', c]),
                '\n' => quoted.push_str("\\n"),
                // Byte by byte: what shells make of \u depends on the locale.
                c if is_harmful(c) => {
                    c.encode_utf8(&mut [0; 4]).bytes().for_each(|b| byte(&mut quoted, b));
                }
                c => quoted.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| byte(&mut quoted, *b));
    }
    quoted.push('\'');
    quoted
}

/// Whether a character would do something to a terminal, or deceive who reads it.
pub fn is_harmful(c: char) -> bool {
    let mut buffer = [0; 4];
    let text: &str = c.encode_utf8(&mut buffer);
    c != '\\' && printable(text).to_string() != text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::process::Command;

    const WORDS: [(&[u8], &str); 12] = [
        (b"--allow", "--allow"),
        (b"read_file:/srv/a-b.c", "read_file:/srv/a-b.c"),
        (b"", "''"),
        (b"/a b", "'/a b'"),
        (b"it's", r"'it'\''s'"),
        (b"$HOME`x`\"*~", "'$HOME`x`\"*~'"),
        ("/ä".as_bytes(), "'/ä'"),
        (br"a\n", r"'a\n'"),
        (b"a\nb'\\", r"$'a\nb\'\\'"),
        (b"\x1b]0;x\x07", r"$'\x1b]0;x\x07'"),
        (b"/\xff0\xc3", r"$'/\xff0\xc3'"),
        ("a\u{202e}b".as_bytes(), r"$'a\xe2\x80\xaeb'"),
    ];

    #[test]
    fn words_are_quoted_no_more_than_they_have_to_be() {
        for (bytes, quoted) in WORDS {
            assert_eq!(word(OsStr::from_bytes(bytes)), quoted);
        }
        assert_eq!(words(["--ro", "/a b"]), "--ro '/a b'");
    }

    #[test]
    fn a_shell_reads_what_was_quoted() {
        let every_byte: Vec<u8> = (1..=255).collect();
        let all = WORDS.iter().map(|(bytes, _)| *bytes).chain([every_byte.as_slice()]);
        let all: Vec<OsString> = all.map(|bytes| OsStr::from_bytes(bytes).to_owned()).collect();
        let script = format!("printf '%s\\0' {}", words(&all));
        for locale in ["C", "C.UTF-8"] {
            let out = Command::new("bash").args(["-c", &script]).env("LC_ALL", locale).output().unwrap();
            let expected: Vec<u8> = all.iter().flat_map(|w| [w.as_bytes(), b"\0"].concat()).collect();
            assert_eq!(out.stdout, expected, "{locale}");
        }
    }
}
