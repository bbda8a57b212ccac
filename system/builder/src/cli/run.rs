//! `selkie run`: from a description to an answering service.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use selkie_qemu::{Accelerator, Forward, Guest, Launch, Network, is_free};

use super::build;
use super::led;
use super::make::Built;
use super::runs::{self, Run};
use super::setup::{self, Scope};
use super::signals::Signals;
use super::{BuildOptions, Context, Endpoint, banner, ui};

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
    /// Port of 127.0.0.1 for the system's first service [default: 8443 for https, 8080 for http, 7777 for echo].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
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
    /// The guest's memory in MiB [default: the board's].
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(16..=65536))]
    memory: Option<u32>,
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
    let request = options.build.request(&context.settings()?);
    setup::ensure(context, Scope::Run, &[&request.board])?;
    let signals = Signals::catch()?;
    let mut built = match build::build_showing(context, &request) {
        // Ctrl-C ends what the build has started as well, which then looks like a failure.
        Err(_) if signals.caught().is_some() => return Ok(signals.exit_code()),
        built => built?,
    };
    refuse_second_run(&built)?;
    if let (Some(port), Some(first)) = (options.port, built.endpoints.first_mut()) {
        first.host = port;
    }
    let forwards = forwards(&built.endpoints, &options.forward)?;
    let built = led::as_forwarded(context, &request, built, &forwards)?;
    describe(context, &built);
    if signals.caught().is_some() {
        return Ok(signals.exit_code());
    }

    let guest = launch(&built, options, forwards)?.start()?;
    let mut run = Run::new(
        &built.name,
        &built.board,
        guest.process(),
        guest.serial().path(),
    );
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
            built.symbols.display()
        ));
    } else {
        match wait_until_serving(context, options, built, guest, signals) {
            Ok(()) => {}
            Err(Ending::Signal) => return Ok(Some(signals.exit_code())),
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
            return Err(failure(
                guest,
                "the system ended by itself",
                guest.ended_error(),
            ));
        }
    }
}

/// Why there is nothing more to wait for.
enum Ending {
    Signal,
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
            Some(_) => Err(Ending::Failure(guest.ended_error().into())),
        }
    };
    for endpoint in &built.endpoints {
        step.at(format!("waiting for {endpoint}"));
        if let Err(ending) = endpoint.wait(bound, alive) {
            step.failed("");
            return Err(match ending {
                Ending::Signal => Ending::Signal,
                Ending::Failure(error) => Ending::Failure(failure(
                    guest,
                    &format!(
                        "{endpoint} did not answer within {} s (more: --timeout SECONDS)",
                        options.timeout
                    ),
                    error,
                )),
            });
        }
    }
    step.done("");
    Ok(())
}

/// An error with the end of the serial log, which usually says why.
fn failure(guest: &Guest, what: &str, because: impl Into<anyhow::Error>) -> anyhow::Error {
    let tail = guest.serial().tail(TAIL);
    let log = guest.serial().path().display();
    let said = if tail.is_empty() {
        format!(
            "the serial port said nothing (log: {log}); `--config debug` builds a kernel that prints"
        )
    } else {
        format!("the last lines of the serial port (log: {log}):\n{tail}")
    };
    because.into().context(said).context(what.to_string())
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
        memory: options.memory.unwrap_or(plain.memory),
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

/// All forwarded ports, each seen to be free.
fn forwards(endpoints: &[Endpoint], more: &[Forward]) -> anyhow::Result<Vec<Forward>> {
    let mut all: Vec<Forward> = endpoints
        .iter()
        .map(|endpoint| Forward {
            host: endpoint.host,
            guest: endpoint.guest,
        })
        .collect();
    all.extend_from_slice(more);
    for (index, forward) in all.iter().enumerate() {
        let port = forward.host;
        if all[..index].iter().any(|other| other.host == port) {
            bail!("port {port} would lead to two services; choose another with --port");
        }
        match is_free(port) {
            Ok(true) => {}
            Ok(false) => bail!(
                "port {port} of 127.0.0.1 is taken; choose another with --port, or see with `selkie status` or \
                 `ss -ltnp` who has it"
            ),
            Err(error) => {
                return Err(anyhow!(error).context(format!(
                    "port {port} may not be used; choose another with --port"
                )));
            }
        }
    }
    Ok(all)
}

fn refuse_second_run(built: &Built) -> anyhow::Result<()> {
    match runs::of(&built.folder) {
        None => Ok(()),
        Some(run) => bail!(
            "`{0}` runs already ({1}); end it with `selkie stop {0}`",
            run.name,
            run.urls.join(" ")
        ),
    }
}

/// What is about to run, and what it rests on.
fn describe(context: &Context, built: &Built) {
    let ui = &context.ui;
    ui.say(format!("board {}: {}", built.board, built.kernel_name));
    for line in banner::lines(&built.board) {
        ui.say(format!("  {line}"));
    }
    for note in &built.notes {
        ui.say(format!("  {note}"));
    }
    ui.say("protection domains, by priority:");
    for domain in &built.domains {
        ui.say(format!(
            "  {:>3}  {:<12} {:<14} {:>9}",
            domain.priority,
            domain.name,
            domain.program,
            ui::bytes(domain.memory)
        ));
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
    use crate::cli::Protocol;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn a_taken_port_is_refused_with_the_remedy() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let endpoint = Endpoint {
            host: listener.local_addr().unwrap().port(),
            guest: 80,
            protocol: Protocol::Http,
        };
        let error = forwards(&[endpoint], &[]).unwrap_err().to_string();
        assert!(error.contains("is taken") && error.contains("--port"));
        drop(listener);
        assert_eq!(forwards(&[endpoint], &[]).unwrap().len(), 1);
        let twice = [Forward {
            host: endpoint.host,
            guest: 1,
        }];
        assert!(forwards(&[endpoint], &twice).is_err());
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
