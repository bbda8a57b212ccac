//! The line to the vault of a running system: one parcel, one answer.
//!
//! The guest may have been taken over: what it answers is bounded in length and time, and is plain text or no answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use vault::provision::{MAX_PARCEL, Parcel};

use super::{Context, runs};
use crate::parcel;

/// How long the vault may take for its answer. It takes milliseconds, the line of a real board some seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer: at most 255 names of 255 bytes, or a certificate request in hexadecimal digits.
const MAX_ANSWER: usize = 128 * 1024;
const _: () = assert!(MAX_ANSWER > 2 * MAX_PARCEL && MAX_ANSWER > 255 * (255 + 2));

/// Sends a parcel to the vault of the system of this name; what it says behind `ok`.
///
/// # Errors
/// When the system does not run, has no such line, does not answer, or refuses.
pub(super) fn send(context: &Context, name: &str, parcel: &Parcel<'_>) -> anyhow::Result<String> {
    let line = parcel::line(parcel)?;
    let stream = connect(context, name)?;
    let answer = exchange(&stream, line.as_bytes()).with_context(|| {
        format!(
            "the vault of `{name}` does not answer; does its description give it the serial port \
             (`device = \"serial1\"`), and does no other command talk to it?"
        )
    })?;
    match verdict(&answer) {
        Some(Ok(said)) => Ok(said.to_owned()),
        Some(Err(problem)) => bail!("the vault refuses: {problem}"),
        None => bail!("what answers on the serial port is no vault: {answer:?}"),
    }
}

/// The second serial port of the system of this name.
fn connect(context: &Context, name: &str) -> anyhow::Result<UnixStream> {
    let all = runs::all(&context.output());
    let mut found = all.iter().filter(|(_, run)| run.name == name);
    let Some((folder, run)) = found.next() else {
        bail!("`{name}` does not run; `selkie status` lists what does");
    };
    if found.next().is_some() {
        bail!("`{name}` runs on several boards; end all but one (`selkie stop`)");
    }
    selkie_qemu::second_serial(folder).with_context(|| {
        let board = &run.board;
        format!("`{name}` on `{board}` does not listen at its second serial port")
    })
}

/// Sends all and waits for a line.
fn exchange(mut stream: &UnixStream, line: &[u8]) -> io::Result<String> {
    let end = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(line)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() || answer.len() > MAX_ANSWER {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(rest))?;
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend(&buffer[..count]);
        if let Some(length) = answer.iter().position(|byte| *byte == b'\n') {
            answer.truncate(length);
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
    }
}

/// What the vault did, or why it does not; nothing, if this is no answer. Only text that a terminal shows as it is.
fn verdict(answer: &str) -> Option<Result<&str, &str>> {
    let (word, text) = answer.split_once(' ')?;
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        return None;
    }
    match word {
        "ok" => Some(Ok(text)),
        "error" => Some(Err(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What is made of a guest's answer.
    fn answered(answer: &'static [u8]) -> io::Result<String> {
        let (ours, mut guests) = UnixStream::pair().unwrap();
        let guest = thread::spawn(move || {
            guests.read_exact(&mut [0; 5]).unwrap();
            // The reader may have had enough before the end.
            let _ = guests.write_all(answer);
        });
        let result = exchange(&ours, b"\x180a0\n");
        drop(ours);
        guest.join().unwrap();
        result
    }

    #[test]
    fn an_answer_is_one_line() {
        assert_eq!(answered(b"ok a.test\nmore").unwrap(), "ok a.test");
        assert!(answered(b"ok without an end").is_err());
        assert!(answered(b"").is_err());
    }

    #[test]
    fn an_answer_without_an_end_is_bounded() {
        static LONG: [u8; MAX_ANSWER * 2] = [b'a'; MAX_ANSWER * 2];
        assert!(answered(&LONG).is_err());
    }

    #[test]
    fn only_plain_text_is_shown() {
        assert_eq!(verdict("ok a.test, b.test"), Some(Ok("a.test, b.test")));
        assert_eq!(verdict("error it is bad"), Some(Err("it is bad")));
        for wrong in ["ok", "yes a", "ok \x1b[2J", "error \u{fffd}", "ok a\tb", ""] {
            assert_eq!(verdict(wrong), None);
        }
    }
}
