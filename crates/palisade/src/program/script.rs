//! The first line of a script, as the kernel reads it, and the arguments of `env` in it.

/// The kernel looks at no more of a script.
pub(super) const HEAD: usize = 256;

/// The interpreter and its one argument; else why the kernel finds none: the rest of a sentence that began with the
/// script's name.
pub(super) type Line<'a> = Result<(&'a [u8], Option<&'a [u8]>), &'static str>;

/// Reads the first line: `head` is what the file begins with, at most [`HEAD`] bytes; it begins with `#!`.
pub(super) fn shebang(head: &[u8]) -> Line<'_> {
    const NONE: &str = "has a first line that begins with #! and names no interpreter";
    let is_gap = |b: &u8| matches!(b, b' ' | b'\t');
    let text = &head[2..];
    let newline = text.iter().position(|b| *b == b'\n');
    let line = match newline {
        Some(end) => &text[..end],
        None => {
            // The kernel's buffer ends with a zero byte; a name that reaches it may have been cut off.
            let line = &text[..text.len().min(HEAD - 3)];
            let start = line.iter().position(|b| !is_gap(b)).ok_or(NONE)?;
            if text.len() > line.len() && !text[start..].iter().any(|b| is_gap(b) || *b == 0) {
                return Err("has a first line that is too long: the kernel reads 255 bytes of it");
            }
            line
        }
    };
    let start = line.iter().position(|b| !is_gap(b)).ok_or(NONE)?;
    // Blanks at the end do not count, unless zero bytes follow: those that pad a file that ends here.
    let padded = newline.is_none() && text.len() < HEAD - 3;
    let last = line.iter().rposition(|b| padded || !is_gap(b));
    let end = last.map_or(start, |last| last + 1);
    let line = &line[start..end];
    let cut = line.iter().position(|b| is_gap(b) || *b == 0).unwrap_or(line.len());
    let (name, rest) = line.split_at(cut);
    if name.is_empty() {
        return Err(NONE);
    }
    if rest.first().is_none_or(|b| *b == 0) {
        return Ok((name, None));
    }
    let rest = &rest[rest.iter().position(|b| !is_gap(b)).unwrap_or(rest.len())..];
    let rest = rest.split(|b| *b == 0).next().unwrap_or(rest);
    Ok((name, (!rest.is_empty()).then_some(rest)))
}

/// What `env` starts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Env {
    pub(super) name: Vec<u8>,
    /// PATH, where `env` sets it (Some(Some)) or clears it (Some(None)).
    pub(super) path: Option<Option<Vec<u8>>>,
    /// The folder that it changes to.
    pub(super) chdir: Option<Vec<u8>>,
}

/// Reads the one argument that a script's first line gives to `env`; else why it starts nothing that can be known.
pub(super) fn env(argument: Option<&[u8]>) -> Result<Env, &'static str> {
    const VALUE: &str = "gives env an option without its value";
    const UNKNOWN: &str = "gives env an option that is not known";
    let mut words: Vec<Vec<u8>> = argument.iter().map(|a| a.to_vec()).collect();
    words.reverse(); // the next word is the last
    let mut env = Env::default();
    let unset = |env: &mut Env, name: &[u8]| {
        if name == b"PATH" {
            env.path = Some(None);
        }
    };
    while let Some(word) = pop_if(&mut words, |w| w.starts_with(b"-")) {
        match word.as_slice() {
            b"--" => break,
            b"-" | b"--ignore-environment" => env.path = Some(None),
            b"--debug" | b"--null" | b"--list-signal-handling" => {}
            [b'-', b'-', long @ ..] => {
                let mut halves = long.splitn(2, |b| *b == b'=');
                let (option, value) = (halves.next().unwrap_or_default(), halves.next().map(<[u8]>::to_vec));
                match option {
                    b"default-signal" | b"ignore-signal" | b"block-signal" => continue,
                    b"unset" | b"chdir" | b"split-string" | b"argv0" => {}
                    _ => return Err(UNKNOWN),
                }
                let value = value.or_else(|| words.pop()).ok_or(VALUE)?;
                match option {
                    b"unset" => unset(&mut env, &value),
                    b"chdir" => env.chdir = Some(value),
                    b"split-string" => words.extend(split(&value)?.into_iter().rev()),
                    _ => {}
                }
            }
            [_, short @ ..] => {
                for (i, option) in short.iter().enumerate() {
                    if !b"uCSa".contains(option) {
                        match option {
                            b'i' => env.path = Some(None),
                            b'v' | b'0' => {}
                            _ => return Err(UNKNOWN),
                        }
                        continue;
                    }
                    let value = match &short[i + 1..] {
                        [] => words.pop().ok_or(VALUE)?,
                        rest => rest.to_vec(),
                    };
                    match option {
                        b'u' => unset(&mut env, &value),
                        b'C' => env.chdir = Some(value),
                        b'S' => words.extend(split(&value)?.into_iter().rev()),
                        _ => {}
                    }
                    break;
                }
            }
            [] => break,
        }
    }
    while let Some(word) = pop_if(&mut words, |w| w.contains(&b'=')) {
        if let Some(path) = word.strip_prefix(b"PATH=") {
            env.path = Some(Some(path.to_vec()));
        }
    }
    env.name =
        words.pop().ok_or("starts env without a program, which would start the script again, without end")?;
    Ok(env)
}

fn pop_if(words: &mut Vec<Vec<u8>>, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    if wanted(words.last()?) { words.pop() } else { None }
}

/// The words of `env -S`.
fn split(text: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match (byte, quote) {
            (b'\'' | b'"', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (_, Some(open)) if byte == open => quote = None,
            (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, None) => words.extend(word.take()),
            (b'#', None) if word.is_none() => break,
            (b'$', None | Some(b'"')) => return Err("gives env -S a variable, whose value is not known yet"),
            (b'\\', _) => {
                let next = bytes.next().ok_or("gives env -S a backslash with nothing behind it")?;
                let meant = match (next, quote) {
                    (b'\\' | b'\'', Some(b'\'')) => next,
                    (_, Some(b'\'')) => {
                        word.get_or_insert_default().push(b'\\');
                        next
                    }
                    (b'_', None) => {
                        words.extend(word.take());
                        continue;
                    }
                    (b'c', None) => break,
                    (b'_', _) => b' ',
                    (b'f', _) => 0x0c,
                    (b'n', _) => b'\n',
                    (b'r', _) => b'\r',
                    (b't', _) => b'\t',
                    (b'v', _) => 0x0b,
                    (b'"' | b'\'' | b'#' | b'$' | b'\\', _) => next,
                    _ => return Err("gives env -S a backslash that it does not take"),
                };
                word.get_or_insert_default().push(meant);
            }
            _ => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return Err("gives env -S a quotation mark that is not closed");
    }
    words.extend(word);
    Ok(words)
}
