//! `selkie provision`: a key for a vault that runs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use vault::Entry;
use vault::provision::Parcel;

use super::{Context, runs};
use crate::keys;

/// How long the vault may take for its answer. It takes milliseconds, the line of a real board some seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of an answer that are read: it names at most 255 names.
const MAX_ANSWER: u64 = 128 * 1024;

/// Options of `selkie provision`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The system's name, as `selkie status` lists it.
    name: String,
    /// PEM file with the certificates, the key's own first.
    #[arg(long, value_name = "FILE")]
    chain: PathBuf,
    /// PEM file with the private key (PKCS#8 or PKCS#1).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(super) fn command(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    let entry = keys::from_files(&options.chain, &options.key)?;
    let Entry::Prefilled { names, chain, key } = &entry else {
        bail!("a key from files is none that the vault makes");
    };
    let parcel = Parcel {
        names: names.clone(),
        chain: chain.iter().map(Vec::as_slice).collect(),
        key,
    };
    let line = parcel.to_line()?;
    let stream = connect(context, &options.name)?;
    let answer = exchange(&stream, line.as_bytes()).with_context(|| {
        format!(
            "the vault of `{}` does not answer; does its description give it the serial port \
             (`device = \"serial1\"`), and is no other `selkie provision` under way?",
            options.name
        )
    })?;
    match answer.trim_end_matches('\n').split_once(' ') {
        Some(("ok", names)) => {
            let name = &options.name;
            context
                .ui
                .result(format!("the vault of {name} has the key for {names}"));
            Ok(ExitCode::SUCCESS)
        }
        Some(("error", problem)) => bail!("the vault refuses the key: {problem}"),
        _ => bail!("what answers on the serial port is no vault: {answer:?}"),
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
        format!("the board `{board}` has no second serial port, over which keys could be sent")
    })
}

/// Sends all and waits for a line.
fn exchange(mut stream: &UnixStream, line: &[u8]) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut answer)?;
    Ok(answer)
}
