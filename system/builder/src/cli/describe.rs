//! `selkie check` and `selkie diagram`: what a description says, without building it.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;

use super::make::{self, find};
use super::system_file::SystemFile;
use super::{BoardOptions, Context, MemoryOptions};
use crate::Plan;
use crate::board::Board;
use crate::diagram;

/// Which system a command is about.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A system of `system/` by name, or a description (.toml), or a Microkit system file (.system).
    #[arg(value_name = "NAME|FILE")]
    system: PathBuf,
    #[command(flatten)]
    on: BoardOptions,
    #[command(flatten)]
    memory: MemoryOptions,
}

/// Options of `selkie check`.
#[derive(Debug, Args)]
pub(super) struct CheckOptions {
    #[command(flatten)]
    description: Options,
    /// Print the description with nothing left out: what the board file adds, and what the builder decides.
    #[arg(long)]
    full: bool,
}

/// Options of `selkie diagram`.
#[derive(Debug, Args)]
pub(super) struct DiagramOptions {
    #[command(flatten)]
    description: Options,
    /// File that gets the picture [default: standard output].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn check(context: &Context, options: &CheckOptions) -> anyhow::Result<ExitCode> {
    if let Some((file, board)) = system_file(context, &options.description)? {
        ensure!(
            !options.full,
            "`--full` is for descriptions (.toml); a system file leaves nothing out"
        );
        return check_system_file(context, &file, &board);
    }
    let plan = plan(context, &options.description)?;
    if options.full {
        context.ui.result(plan.to_toml().trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    context.ui.result(format!(
        "{} is right for {}: {} protection domains, {} connections",
        plan.name,
        plan.board.name,
        plan.protections.len(),
        plan.connections.len()
    ));
    if let Some(added) = added(&plan) {
        context.ui.result(added);
    }
    for note in &plan.notes {
        context.ui.say(note);
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns a sentence that lists the PDs from the board file.
fn added(plan: &Plan) -> Option<String> {
    let added = plan
        .protections
        .iter()
        .filter(|p| plan.added.contains(&p.name));
    let names: Vec<String> = added
        .map(|protection| match &protection.device {
            Some(device) => format!("{} ({})", protection.name, device.name),
            None => protection.name.clone(),
        })
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "added from system/boards/{}.toml: {} (`selkie check --full` prints the whole description)",
            plan.board.name,
            names.join(", ")
        )
    })
}

pub(super) fn diagram(context: &Context, options: &DiagramOptions) -> anyhow::Result<ExitCode> {
    let picture = match system_file(context, &options.description)? {
        Some((file, board)) => {
            file.judge(&board)?;
            for note in file.notes() {
                context.ui.say(note);
            }
            diagram::of_system(&file.system, &board.name)
        }
        None => plan(context, &options.description)?.diagram(),
    };
    match &options.output {
        None => context.ui.result(picture),
        Some(file) => {
            fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))?;
            context.ui.result(format!("drawn in {}", file.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the system file and its board, if the user names a system file.
fn system_file(
    context: &Context,
    options: &Options,
) -> anyhow::Result<Option<(SystemFile, Board)>> {
    let file = find(&context.root, &options.system)?;
    if !make::is_system_file(&file) {
        return Ok(None);
    }
    let board = make::board(&context.root, &options.on.name(&context.settings()?))?;
    Ok(Some((SystemFile::read(&file, &board)?, board)))
}

fn check_system_file(
    context: &Context,
    file: &SystemFile,
    board: &Board,
) -> anyhow::Result<ExitCode> {
    file.judge(board)?;
    let notes = file.notes();
    let verdict = match notes.is_empty() {
        true => "is right",
        false => "is right as far as Selkie checks it",
    };
    context.ui.result(format!(
        "{} {verdict} for {}: {} protection domains, {} channels",
        file.name,
        board.name,
        file.system.domains().len(),
        file.system.channels.len()
    ));
    let built_here = make::built_here(&context.root, file);
    let missing = file.images().filter(|image| {
        let stem = image.file_stem().unwrap_or_default().to_string_lossy();
        !file.base.join(image).exists() && !built_here.contains(&*stem)
    });
    let missing = missing.map(|image| {
        format!(
            "the program image `{}` is not there yet, and no program of protections/ has its name",
            image.display()
        )
    });
    for note in notes.into_iter().chain(missing) {
        context.ui.say(note);
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(context: &Context, options: &Options) -> anyhow::Result<Plan> {
    let file = find(&context.root, &options.system)?;
    let board = options.on.name(&context.settings()?);
    options.memory.check(&board)?;
    crate::plan_with(&context.root, &file, &board, options.memory.bytes()).map_err(|wrong| {
        anyhow!(
            "the description is wrong\n{}",
            wrong.render(context.ui.is_terminal())
        )
    })
}
