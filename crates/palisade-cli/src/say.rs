//! What palisade says of its own: on standard error, every message with its name in front.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;

use palisade::printable;
use serde_json::{Value, json};

use crate::{Failure, sys};

/// What was asked for, on standard output. A reader who has gone, as `head` does, has had enough.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// One message, whose later lines stand as they are. What is in it is made harmless once more, for words of the
/// command line can be in it as they were given.
pub fn line(message: &str) {
    let safe: Vec<String> = message.lines().map(printable_line).collect();
    on_standard_error(&format!("palisade: {}\n", safe.join("\n")));
}

/// All of it, also if whoever else has standard error has set it not to wait (O_NONBLOCK).
pub fn on_standard_error(text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match io::stderr().write(rest) {
            Ok(0) => return,
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => sys::wait_to_write(libc::STDERR_FILENO),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // There is nobody left to tell.
            Err(_) => return,
        }
    }
}

/// As [`printable`], but that a backslash stays one: names in a message are escaped already.
pub fn printable_line(line: &str) -> String {
    line.split('\\').map(|part| printable(part).to_string()).collect::<Vec<_>>().join("\\")
}

/// As the library writes paths: what is no UTF-8 by its bytes.
pub fn word_as_json(word: &OsStr) -> Value {
    match word.to_str() {
        Some(text) => json!(text),
        None => json!({ "bytes": word.as_bytes() }),
    }
}
