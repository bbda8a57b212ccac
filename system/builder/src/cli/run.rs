//! `selkie run`: from a description to an answering service.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use selkie_qemu::{Accelerator, Error, Forward, Guest, Launch, Network, is_free};

use super::build;
use super::led;
use super::make::{Built, Request};
use super::ports::{self, Choice, Service};
use super::runs::{self, Run};
use super::setup::{self, Scope};
use super::signals::Signals;
use super::{BuildOptions, Context, banner, ui};
use crate::settings::Configuration;

/// Lines of the serial log that a failure shows.
const TAIL: usize = 25;

/// How often the tool looks whether QEMU has ended or a signal has come.
const LOOK: Duration = Duration::from_millis(100);

/// How long QEMU may take to end when asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// Options of `selkie run`.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    build: BuildOptions,
    /// Port of 127.0.0.1 for a service: PORT for the first, NAME=PORT for that of a protection domain, HOST:GUEST for what
    /// listens at a port of the guest (may be repeated) [default: 8443 for https, 8080 for http, 7777 for echo, or the
    /// next one that is free].
    #[arg(long, value_name = "PORT|NAME=PORT|HOST:GUEST")]
    port: Vec<Choice>,
    /// Also lead port HOST of 127.0.0.1 to the guest's TCP port GUEST (may be repeated).
    #[arg(long, value_name = "HOST:GUEST", value_parser = forward)]
    forward: Vec<Forward>,
    /// Return once the system serves, and let it run on.
    #[arg(long)]
    detach: bool,
    /// File that gets what the system writes to its serial port.
    #[arg(long, value_name = "FILE")]
    serial: Option<PathBuf>,
    /// File that gets every frame of the network device (pcap).
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Let gdb connect at this port of 127.0.0.1; the guest waits for it.
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1234")]
    gdb: Option<u16>,
    /// What executes the guest.
    #[arg(long, value_enum, default_value_t)]
    accel: Accel,
    /// Seconds within which the system must serve.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Accel {
    /// QEMU's emulator: works everywhere.
    #[default]
    Tcg,
    /// The host's processor, by /dev/kvm.
    Kvm,
}

pub(super) fn run(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    let request = options.build.request(&context.settings()?)?;
    setup::ensure(context, Scope::Run, &[&request.board])?;
    let signals = Signals::catch()?;
    let built = match build::build_showing(context, &request) {
        // Ctrl-C ends what the build has started as well, which then looks like a failure.
        Err(_) if signals.caught().is_some() => return Ok(signals.exit_code()),
        built => built?,
    };
    refuse_second_run(&built)?;
    let mut services = ports::chosen(&built.endpoints, &built.services, &options.port)?;
    // Refuses an invalid choice of ports before the system is described.
    ports::settle(&mut services.clone(), &options.forward, is_free)?;
    describe(context, &built);
    if signals.caught().is_some() {
        return Ok(signals.exit_code());
    }

    let (guest, mut built) = start(context, options, &request, built, &mut services)?;
    built.endpoints = services.iter().map(|service| service.endpoint).collect();
    let mut run = Run::new(
        &built.name,
        &built.board,
        guest.process(),
        guest.serial().path(),
    );
    run.ports = forwards(&services, &options.forward)
        .iter()
        .map(|forward| (forward.host, forward.guest))
        .collect();
    run.save(&built.folder).context("cannot write run.json")?;
    let outcome = attend(context, options, &built, &guest, &signals, &mut run);
    if options.detach && matches!(outcome, Ok(None)) {
        guest.leave();
        return Ok(ExitCode::SUCCESS);
    }
    guest.quit(PATIENCE);
    runs::forget(&built.folder).context("cannot remove run.json")?;
    outcome.map(|code| code.unwrap_or(ExitCode::SUCCESS))
}

/// Starts QEMU with the system, whose redirects name the free host ports. Another process may take a port before QEMU
/// does; then the next free port replaces a default port.
fn start(
    context: &Context,
    options: &Options,
    request: &Request,
    built: Built,
    services: &mut [Service],
) -> anyhow::Result<(Guest, Built)> {
    const TRIES: usize = 4;
    let usual: Vec<u16> = services
        .iter()
        .map(|service| service.endpoint.host)
        .collect();
    for left in (0..TRIES).rev() {
        for (service, port) in services.iter_mut().zip(&usual) {
            service.endpoint.host = *port;
        }
        let moved = ports::settle(services, &options.forward, is_free)?;
        let forwards = forwards(services, &options.forward);
        let built = led::as_forwarded(context, request, built.clone(), &forwards)?;
        let guest = launch(&built, options, forwards)?.start()?;
        // QEMU answers after it has created its devices. If QEMU has ended, the socket is closed.
        let up = guest.qmp().is_ok() || guest.wait(PATIENCE).is_none();
        if !up && left > 0 && lost_a_port(&guest.ended_error()) {
            continue;
        }
        for line in moved {
            context.ui.say(line);
        }
        return Ok((guest, built));
    }
    bail!("other processes take every port before QEMU does; choose one with --port")
}

/// Returns true if QEMU ended because it could not listen at a port of this machine.
fn lost_a_port(error: &Error) -> bool {
    matches!(error, Error::Ended { said, .. } if said.contains("host forwarding rule"))
}

/// Returns the host ports that are forwarded to the guest.
fn forwards(services: &[Service], more: &[Forward]) -> Vec<Forward> {
    let services = services.iter().map(|service| Forward {
        host: service.endpoint.host,
        guest: service.endpoint.guest,
    });
    services.chain(more.iter().copied()).collect()
}

/// Waits until the system serves and, unless it is detached, until it ends or the user ends it.
/// `None` when the system serves and is to be left alone.
fn attend(
    context: &Context,
    options: &Options,
    built: &Built,
    guest: &Guest,
    signals: &Signals,
    run: &mut Run,
) -> anyhow::Result<Option<ExitCode>> {
    if let Some(port) = options.gdb {
        context.ui.result(format!(
            "waiting for gdb: gdb {} -ex 'target remote 127.0.0.1:{port}' -ex continue",
            quoted(&built.symbols)
        ));
    } else {
        match wait_until_serving(context, options, built, guest, signals) {
            Ok(()) => {}
            Err(Ending::Signal) => return Ok(Some(signals.exit_code())),
            Err(Ending::Ended) => return Err(ended(guest, built, "before it served")),
            Err(Ending::Failure(error)) => return Err(error),
        }
    }
    run.urls = built.endpoints.iter().map(ToString::to_string).collect();
    run.detached = options.detach;
    run.save(&built.folder).context("cannot write run.json")?;
    announce(context, options, built, guest);
    if options.detach {
        return Ok(None);
    }
    loop {
        if signals.caught().is_some() {
            context.ui.say("ending");
            return Ok(Some(signals.exit_code()));
        }
        if guest.wait(LOOK).is_some() {
            // `selkie stop` asks for the end as much as Ctrl-C does, and removes the file.
            if runs::of(&built.folder).is_none() && !built.folder.join("run.json").exists() {
                return Ok(Some(ExitCode::SUCCESS));
            }
            return Err(ended(guest, built, "the system ended by itself"));
        }
    }
}

/// Why there is nothing more to wait for.
enum Ending {
    Signal,
    /// QEMU has ended.
    Ended,
    Failure(anyhow::Error),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Failure(error.into())
    }
}

fn wait_until_serving(
    context: &Context,
    options: &Options,
    built: &Built,
    guest: &Guest,
    signals: &Signals,
) -> Result<(), Ending> {
    let step = context
        .ui
        .step(format!("booting {} on {}", built.name, built.board));
    let bound = Duration::from_secs(options.timeout);
    let alive = || {
        if signals.caught().is_some() {
            return Err(Ending::Signal);
        }
        match guest.ended() {
            None => Ok(()),
            Some(_) => Err(Ending::Ended),
        }
    };
    for endpoint in &built.endpoints {
        step.at(format!("waiting for {endpoint}"));
        if let Err(ending) = endpoint.wait_in(guest, bound, alive) {
            step.failed("");
            return Err(match ending {
                Ending::Signal => Ending::Signal,
                ended @ Ending::Ended => ended,
                Ending::Failure(error) => {
                    let what = format!(
                        "{endpoint} did not answer within {} s (more: --timeout SECONDS)",
                        options.timeout
                    );
                    Ending::Failure(error.context(serial_log(guest, built)).context(what))
                }
            });
        }
    }
    step.done("");
    Ok(())
}

/// Returns the error for QEMU's end. QEMU's own message comes first, since it usually names the cause.
fn ended(guest: &Guest, built: &Built, when: &str) -> anyhow::Error {
    let error = guest.ended_error();
    let message = match &error {
        Error::Ended { said, status } if said.trim().is_empty() => {
            format!("QEMU ended {when} and said nothing ({status})")
        }
        error => format!("{error}\n({when})"),
    };
    anyhow!(serial_log(guest, built)).context(message)
}

/// Returns the end of the serial log, which usually shows why a system does not serve.
fn serial_log(guest: &Guest, built: &Built) -> String {
    let tail = guest.serial().tail(TAIL);
    let log = guest.serial().path().display();
    let hint = match built.configuration {
        Configuration::Debug => "",
        _ => {
            "; `--config debug` builds a kernel that prints, also that memory has run out (`--memory`)"
        }
    };
    if tail.is_empty() {
        format!("the serial port said nothing (log: {log}){hint}")
    } else {
        format!("the last lines of the serial port (log: {log}):\n{tail}")
    }
}

fn launch(built: &Built, options: &Options, forwards: Vec<Forward>) -> anyhow::Result<Launch> {
    // QEMU resolves relative paths in this process's folder, but `stop` and `status` show them from others.
    let absolute = |file: &PathBuf| std::path::absolute(file);
    let machine = built.machine.ok_or_else(|| {
        anyhow!(
            "QEMU has no machine `{}`: put {} on the board as docs/porting.md says",
            built.board,
            built.folder.join("loader.img").display()
        )
    })?;
    let plain = Launch::new(machine, built.boot.clone(), &built.folder);
    Ok(Launch {
        memory: built.memory,
        network: Network::User { forwards },
        serial: match &options.serial {
            Some(file) => absolute(file)?,
            None => plain.serial.clone(),
        },
        pcap: options.pcap.as_ref().map(absolute).transpose()?,
        gdb: options.gdb,
        accelerator: match options.accel {
            Accel::Tcg => Accelerator::Tcg,
            Accel::Kvm => Accelerator::Kvm,
        },
        detached: options.detach,
        ..plain
    })
}

fn refuse_second_run(built: &Built) -> anyhow::Result<()> {
    match runs::of(&built.folder) {
        None => Ok(()),
        Some(run) => bail!(
            "{}; end it with `selkie stop {}`",
            run.described(),
            run.name
        ),
    }
}

/// What is about to run, and what it rests on.
fn describe(context: &Context, built: &Built) {
    let ui = &context.ui;
    ui.say(format!("board {}: {}", built.board, built.kernel_name));
    for line in banner::lines(built) {
        ui.say(format!("  {line}"));
    }
    for note in &built.notes {
        ui.say(format!("  {note}"));
    }
    ui.say("protection domains, by priority:");
    for domain in &built.domains {
        // 0: unknown from the program's file.
        let memory = match domain.memory {
            0 => String::new(),
            bytes => ui::bytes(bytes),
        };
        let (name, program) = (&domain.name, &domain.program);
        let line = format!(
            "  {:>3}  {name:<12} {program:<14} {memory:>9}",
            domain.priority
        );
        ui.say(line.trim_end());
    }
    ui.say(format!("boot image {}", ui::bytes(built.image_size)));
}

fn announce(context: &Context, options: &Options, built: &Built, guest: &Guest) {
    let until = if options.detach {
        format!("`selkie stop {}` ends it", built.name)
    } else {
        "Ctrl-C ends it".to_string()
    };
    for endpoint in &built.endpoints {
        context.ui.result(format!("serving {endpoint} ({until})"));
    }
    if built.endpoints.is_empty() {
        context
            .ui
            .result(format!("running {} ({until})", built.name));
    }
    context
        .ui
        .say(format!("serial log: {}", guest.serial().path().display()));
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,=@".contains(c);
    match text.chars().all(plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// `HOST:GUEST`
fn forward(text: &str) -> Result<Forward, String> {
    let parts = text
        .split_once(':')
        .and_then(|(host, guest)| Some((host.parse().ok()?, guest.parse().ok()?)));
    match parts {
        Some((host, guest)) if host != 0 && guest != 0 => Ok(Forward { host, guest }),
        _ => Err("two port numbers with a colon between them, such as 9000:80".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_port_is_known_by_what_qemu_says() {
        let ended = |said: &str| Error::Ended {
            status: "exit status: 1".into(),
            said: said.into(),
        };
        let lost = "qemu-system-x86_64: -netdev user,id=net0: Could not set up host forwarding rule 'tcp:127.0.0.1:8080-:80'";
        assert!(lost_a_port(&ended(lost)));
        assert!(!lost_a_port(&ended(
            "qemu-system-x86_64: could not load PVH image"
        )));
    }

    #[test]
    fn a_path_is_quoted_where_a_shell_would_split_it() {
        assert_eq!(quoted(Path::new("/a/b-c.elf")), "/a/b-c.elf");
        assert_eq!(quoted(Path::new("/my file's")), r"'/my file'\''s'");
    }

    #[test]
    fn forwards_are_two_ports() {
        assert_eq!(
            forward("9000:80"),
            Ok(Forward {
                host: 9000,
                guest: 80
            })
        );
        for wrong in ["80", "0:80", "80:", "a:b", "70000:1"] {
            assert!(forward(wrong).is_err(), "{wrong}");
        }
    }
}
