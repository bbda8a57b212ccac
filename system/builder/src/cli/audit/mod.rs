//! `selkie audit`: what proves that secrets stay where they belong.

mod judge;
mod report;
mod run;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::{Args, Subcommand};
use microkit_sdf::{System, Target};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use selkie_audit::{Layout, Secret, private_key};
use selkie_qemu::machine;

use super::Context;
use super::make::{Built, Event, Purpose, Request, board, make, make_for};
use super::setup::{self, Scope};
use crate::files;
use crate::manifest::Holding;
use crate::settings::Configuration;

/// Options of `selkie audit`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Boot a system, make TLS sessions with it, and search all of its memory for their secrets and for private keys;
    /// then the same with programs that do not wipe, in which the search must find each kind of secret.
    Secrets(Options),
    /// Build a system and say with whom a protection domain that holds private keys shares memory: with nobody, or it fails.
    Flow(FlowOptions),
}

/// Options of `selkie audit flow`.
#[derive(Debug, Args)]
pub(super) struct FlowOptions {
    /// A system of `system/` by name, or a description (.toml).
    #[arg(value_name = "NAME|FILE", default_value = "https")]
    system: PathBuf,
    /// The board.
    #[arg(long, default_value = "pc99")]
    board: String,
}

/// Options of `selkie audit secrets`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A system of `system/` by name, or a description (.toml). It must serve HTTP over TLS.
    #[arg(value_name = "NAME|FILE", default_value = "https")]
    system: PathBuf,
    /// The board: one that is a machine of QEMU's.
    #[arg(long, default_value = "pc99")]
    board: String,
    /// How many sessions there are with the system as it is for use.
    #[arg(long, value_name = "COUNT", default_value_t = 108, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// A server name that sessions ask for, each in turn: where several keys are to be used.
    #[arg(long, value_name = "NAME", default_value = "localhost")]
    name: Vec<String>,
    /// A private key (PEM) to be searched for. An ECDSA or Ed25519 key of the system is found without it.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn command(context: &Context, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Secrets(options) => secrets(context, options),
        Command::Flow(options) => flow(context, options),
    }
}

fn secrets(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    board(&context.root, &options.board)?;
    if machine(&options.board).is_none() {
        bail!(
            "memory of the board `{}` cannot be searched: QEMU is not this board",
            options.board
        );
    }
    setup::ensure(context, Scope::Run, &[&options.board])?;
    let request = Request {
        system: options.system.clone(),
        board: options.board.clone(),
        configuration: Configuration::Release,
        memory: None,
    };
    let observe = |_: Event<'_>| {};
    let step = context
        .ui
        .step("building the system, and the control that does not wipe");
    let built = make_for(&context.root, &request, &observe, Purpose::Audit, &[])?;
    let control = make_for(&context.root, &request, &observe, Purpose::Control, &[])?;
    step.done("");
    let folder = context.output().join("audit").join(&options.board);
    let known = keys(&options.key)?;
    let moments = audited(
        context,
        &built,
        &folder.join("wiping"),
        options,
        options.sessions,
        run::GONE,
        known.clone(),
    )?;
    // There is nothing to wait for in the control.
    let control = audited(
        context,
        &control,
        &folder.join("control"),
        options,
        run::VARIETIES,
        Duration::ZERO,
        known,
    )?;
    let report = report::Report::new(&built.name, moments, control);
    if options.json {
        context.ui.result(format!("{:#}", report.to_json()));
    } else {
        context.ui.result(report.to_text());
    }
    Ok(match report.passed() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn flow(context: &Context, options: &FlowOptions) -> anyhow::Result<ExitCode> {
    setup::ensure(context, Scope::Build, &[&options.board])?;
    let request = Request {
        system: options.system.clone(),
        board: options.board.clone(),
        configuration: Configuration::Release,
        memory: None,
    };
    let built = make(&context.root, &request, &|_| {})?;
    let target = board(&context.root, &options.board)?.target;
    let system = described(&built, &target)?;
    context
        .ui
        .result(crate::flow::describe(&system, &built.roles).trim_end());
    let sound = built.roles.exposed.is_empty();
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The `.system` file that a description was built into.
fn described(built: &Built, target: &Target) -> anyhow::Result<System> {
    let path = built.folder.join(format!("{}.system", built.name));
    let text =
        fs::read_to_string(&path).with_context(|| format!("{} is no description", built.name))?;
    microkit_sdf::parse(&text, target, &[&built.folder])
        .map_err(|wrong| anyhow!("{} is wrong:\n{wrong}", path.display()))
}

/// Boots what was built and looks at it at each moment.
fn audited(
    context: &Context,
    built: &Built,
    folder: &Path,
    options: &Options,
    sessions: u32,
    patience: Duration,
    keys: Vec<Secret>,
) -> anyhow::Result<Vec<judge::Moment>> {
    let target = board(&context.root, &built.board)?.target;
    let system = described(built, &target)?;
    let who = |holding| -> BTreeSet<String> {
        let holders = built.holders.iter();
        holders
            .filter(|(_, holds)| holds.contains(&holding))
            .map(|(name, _)| name.clone())
            .collect()
    };
    let holds_sessions = who(Holding::Sessions);
    let domains = system.domains();
    let mut children = domains.iter().filter(|(_, parent)| parent.is_some());
    let watched = children.find(|(domain, _)| holds_sessions.contains(&domain.name));
    let judge = judge::Judge {
        watched: watched.map(|(domain, _)| domain.name.clone()),
        layout: Layout::read(&system, &target, &built.folder, &built.symbols)?,
        holders: judge::Holders {
            keys: who(Holding::Keys),
            sessions: holds_sessions,
            services: who(Holding::Plaintext),
        },
    };
    if judge.holders.sessions.is_empty() {
        bail!(
            "no protection domain of {} holds secrets of sessions",
            built.name
        );
    }
    let plan = run::Plan {
        names: &options.name,
        sessions,
        patience,
    };
    run::run(&context.ui, built, folder, &plan, &judge, keys)
}

/// Most bytes of a file with a private key.
const MAX_KEY_FILE: u64 = 1 << 20;

/// The private keys in PEM files.
fn keys(files: &[PathBuf]) -> anyhow::Result<Vec<Secret>> {
    let mut secrets = Vec::new();
    for file in files {
        let text = files::read(file, MAX_KEY_FILE)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|error| anyhow!("no private key in {}: {error}", file.display()))?;
        let forms = private_key(&key);
        secrets.extend(forms.with_context(|| format!("{} is of an unknown kind", file.display()))?);
    }
    Ok(secrets)
}
