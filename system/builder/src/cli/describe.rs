//! `selkie check` and `selkie diagram`: what a description says, without building it.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::make::find;
use super::{BoardOptions, Context};
use crate::Plan;

/// Options of `selkie check`.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// A system of `system/` by name, or a description (.toml).
    #[arg(value_name = "NAME|FILE")]
    system: PathBuf,
    #[command(flatten)]
    on: BoardOptions,
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

pub(super) fn check(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    let plan = plan(context, options)?;
    context.ui.result(format!(
        "{} is right for {}: {} protection domains, {} connections",
        plan.name,
        plan.board.name,
        plan.protections.len(),
        plan.connections.len()
    ));
    for note in &plan.notes {
        context.ui.say(note);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn diagram(context: &Context, options: &DiagramOptions) -> anyhow::Result<ExitCode> {
    let picture = plan(context, &options.description)?.diagram();
    match &options.output {
        None => context.ui.result(picture),
        Some(file) => {
            fs::write(file, picture).with_context(|| format!("cannot write {}", file.display()))?;
            context.ui.result(format!("drawn in {}", file.display()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn plan(context: &Context, options: &Options) -> anyhow::Result<Plan> {
    let file = find(&context.root, &options.system)?;
    let board = options.on.name(&context.settings()?);
    crate::plan(&context.root, &file, &board).map_err(|wrong| {
        anyhow!(
            "the description is wrong\n{}",
            wrong.render(context.ui.is_terminal())
        )
    })
}
