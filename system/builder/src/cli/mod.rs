//! The command line: `selkie run`, `build`, `test`, `provision`, `request`, `status`, `logs`,
//! `stop`, `doctor`.
//!
//! Progress goes to standard error, results to standard output, so that a script reads `serving https://…`
//! from the one and a person sees both. Every failure ends in one message with a remedy and exit code 1; wrong
//! options end in exit code 2.

mod audit;
mod banner;
mod build;
mod completions;
mod describe;
mod doctor;
mod led;
mod logs;
mod make;
mod ports;
mod probe;
mod provision;
mod request;
mod run;
mod runs;
mod schema;
mod setup;
mod signals;
mod status;
mod suites;
mod system_file;
mod ui;
mod vault_line;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::{Args, Parser, Subcommand};

use crate::MAX_MEMORY;
use crate::settings::{Configuration, Settings};

pub use make::{Built, Event, Observe, Request, make};
pub use probe::{Endpoint, Protocol};
pub use setup::{Missing, SSLYZE, Scope, missing};
pub use ui::Ui;

/// Network services as isolated seL4 protection domains.
#[derive(Debug, Parser)]
#[command(name = "selkie", version, propagate_version = true)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Set up what is missing, build a system, boot it in QEMU and say where it serves.
    Run(run::Options),
    /// Set up what is missing and build a system without booting it.
    Build(BuildOptions),
    /// Check a description without building anything.
    Check(describe::CheckOptions),
    /// Draw a system as it would be built: protection domains, connections, regions, permissions (SVG).
    Diagram(describe::DiagramOptions),
    /// Prove that secrets stay where they belong.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Set up what is missing and run every test.
    Test(suites::Options),
    /// Send a private key with its certificates, or certificates for a key that it has, to the vault of a running system.
    Provision(provision::Options),
    /// Fetch a certificate request for a key of the vault of a running system.
    Request(request::Options),
    /// List the systems that run.
    Status,
    /// Print what a system writes to its log.
    Logs(logs::Options),
    /// End a running system (all of them, if no name is given).
    Stop {
        /// The system's name, as `selkie status` lists it.
        name: Option<String>,
    },
    /// Say what is installed and what is missing; install nothing.
    Doctor,
    /// Print the JSON Schema of descriptions, for editors.
    Schema,
    /// Print the completions of a shell.
    Completions(completions::Options),
}

/// What is built, and how.
#[derive(Debug, Clone, Args)]
struct BuildOptions {
    /// A system of `system/` by name, or a description (.toml), or a Microkit system file (.system).
    #[arg(value_name = "NAME|FILE")]
    system: PathBuf,
    #[command(flatten)]
    on: BoardOptions,
    #[command(flatten)]
    memory: MemoryOptions,
    /// The same as `--config debug`.
    #[arg(long, conflicts_with_all = ["release", "config"])]
    debug: bool,
    /// The same as `--config release`.
    #[arg(long, conflicts_with = "config")]
    release: bool,
    /// How kernel and protection domains are configured [default: microkit.toml's].
    #[arg(long, value_enum)]
    config: Option<Configuration>,
}

/// Which board a command is about.
#[derive(Debug, Clone, Args)]
struct BoardOptions {
    /// The board, as in `system/boards/` [default: microkit.toml's].
    #[arg(long)]
    board: Option<String>,
}

/// How much memory the machine has.
#[derive(Debug, Clone, Args)]
struct MemoryOptions {
    /// The machine's memory in MiB [default: the description's, or else the board's].
    #[arg(long = "memory", value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MEMORY)))]
    mib: Option<u32>,
}

impl MemoryOptions {
    /// Returns the amount in bytes, if `--memory` is given.
    fn bytes(&self) -> Option<u64> {
        self.mib.map(|mib| u64::from(mib) << 20)
    }

    /// Refuses too little memory for a board whose kernel is built for a fixed amount.
    fn check(&self, board: &str) -> anyhow::Result<()> {
        let (Some(mib), Some(machine)) = (self.mib, selkie_qemu::machine(board)) else {
            return Ok(());
        };
        if machine.has_fixed_memory && mib < machine.memory {
            bail!(
                "{mib} MiB are too few for the board `{board}`: its kernel is built for a machine with {0} MiB \
                 (at least `--memory {0}`)",
                machine.memory
            );
        }
        Ok(())
    }
}

/// What every command needs to know.
#[derive(Debug)]
struct Context {
    /// The repository.
    root: PathBuf,
    /// Where to say things.
    ui: Ui,
}

impl Context {
    /// What `microkit.toml` says.
    fn settings(&self) -> anyhow::Result<Settings> {
        Settings::load(&self.root)
            .map_err(|wrong| anyhow!("{}", wrong.render(self.ui.is_terminal())))
    }

    /// The folder of everything that is built and run.
    fn output(&self) -> PathBuf {
        self.root.join("target/selkie")
    }
}

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let command = Command::parse();
    let context = Context {
        root: root(),
        ui: Ui::new(),
    };
    match dispatch(&context, command.action) {
        Ok(code) => code,
        Err(error) => {
            context.ui.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(context: &Context, action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Run(options) => run::run(context, &options),
        Action::Build(options) => build::command(context, &options),
        Action::Check(options) => describe::check(context, &options),
        Action::Diagram(options) => describe::diagram(context, &options),
        Action::Audit(command) => audit::command(context, &command),
        Action::Test(options) => suites::command(context, &options),
        Action::Provision(options) => provision::command(context, &options),
        Action::Request(options) => request::command(context, &options),
        Action::Status => status::status(context),
        Action::Logs(options) => logs::command(context, &options),
        Action::Stop { name } => status::stop(context, name.as_deref()),
        Action::Doctor => doctor::command(context),
        Action::Schema => schema::command(context),
        Action::Completions(options) => completions::command(context, &options),
    }
}

/// The repository: as the entry script says, or where this program was compiled.
pub fn root() -> PathBuf {
    let compiled = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = std::env::var_os("SELKIE_ROOT").map_or_else(compiled, PathBuf::from);
    root.canonicalize().unwrap_or(root)
}
