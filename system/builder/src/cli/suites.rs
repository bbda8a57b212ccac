//! `selkie test`: every suite in turn, one line of totals at the end.

mod list;
mod perform;
mod tally;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use super::setup::{self, Scope};
use super::signals::Signals;
use super::{BoardOptions, Context, runs};
use crate::board::KernelKind;
use crate::microkit::Sdk;
use crate::settings::Configuration;
use list::{Suite, suites};
use tally::Tally;

/// Which suites are run.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Run these suites only (may be repeated).
    #[arg(long, value_name = "SUITE")]
    only: Vec<String>,
    /// List the suites and run none.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    on: BoardOptions,
    /// Of the end-to-end tests, run those of this configuration only.
    #[arg(long, value_enum)]
    config: Option<Configuration>,
    /// Show everything that the suites print.
    #[arg(long)]
    verbose: bool,
}

/// Runs the suites that are asked for.
pub(super) fn command(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    let suites = suites(&context.root);
    if options.list {
        for suite in &suites {
            context
                .ui
                .result(format!("{:<10} {}", suite.name, suite.what));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let boards = boards(context, options)?;
    let chosen = choose(&suites, &options.only)?;
    let needed: Vec<&str> = boards
        .iter()
        .filter_map(|(board, state)| state.is_ok().then_some(board.0))
        .collect();
    setup::ensure(context, Scope::Test, &needed)?;
    let signals = Signals::catch()?;
    let mut total = Tally::default();
    for suite in chosen {
        total += run(context, suite, &boards, options.verbose, &signals);
        stop_left_over(context);
        if signals.caught().is_some() {
            context.ui.say(format!("interrupted; until then {total}"));
            return Ok(signals.exit_code());
        }
    }
    // The line that programs read is the last and alone.
    context.ui.result(total.to_string());
    Ok(if total.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The boards and configurations that are asked for, each with the reason why it cannot be tested, if there is one.
type Boards = Vec<((&'static str, Configuration), Result<(), String>)>;

fn boards(context: &Context, options: &Options) -> anyhow::Result<Boards> {
    let sdk = Sdk::find(&context.settings()?);
    let jobs = suites(&context.root).into_iter().flat_map(|s| s.jobs);
    let wanted = |(board, configuration): &(&str, Configuration)| {
        let named = &options.on.board;
        named.as_ref().is_none_or(|name| name == board)
            && options.config.is_none_or(|config| config == *configuration)
    };
    let listed: Vec<_> = jobs.filter_map(|job| job.board).filter(wanted).collect();
    if listed.is_empty() {
        bail!("no end-to-end tests are for this board and configuration");
    }
    let state = |board: (&'static str, Configuration)| -> Result<(), String> {
        let known = super::make::board(&context.root, board.0).map_err(|e| e.to_string())?;
        if known.kernel == KernelKind::Microkit {
            let sdk = sdk.as_ref().map_err(ToString::to_string)?;
            sdk.board(board.0, board.1).map_err(|e| e.to_string())?;
        }
        Ok(())
    };
    Ok(listed.into_iter().map(|b| (b, state(b))).collect())
}

fn choose<'a>(suites: &'a [Suite], only: &[String]) -> anyhow::Result<Vec<&'a Suite>> {
    if let Some(unknown) = only
        .iter()
        .find(|name| suites.iter().all(|s| s.name != *name))
    {
        let names: Vec<&str> = suites.iter().map(|suite| suite.name).collect();
        bail!(
            "there is no suite `{unknown}`; there are {}",
            names.join(", ")
        );
    }
    let wanted = |suite: &&Suite| only.is_empty() || only.iter().any(|name| name == suite.name);
    Ok(suites.iter().filter(wanted).collect())
}

/// Ends the systems that a test which was ended has left running: a detached one outlives whoever started it. Only
/// those of `tests/systems`: others are the user's.
fn stop_left_over(context: &Context) {
    for (folder, run) in runs::all(&context.output()) {
        let description = format!("tests/systems/{}.toml", run.name);
        if context.root.join(description).is_file() && run.stop(&folder).is_err() {
            context.ui.say(format!("cannot end {}", run.name));
        }
    }
}

fn run(
    context: &Context,
    suite: &Suite,
    boards: &Boards,
    verbose: bool,
    signals: &Signals,
) -> Tally {
    let deadline = Instant::now() + Duration::from_secs(suite.minutes * 60);
    let mut total = Tally::default();
    for job in &suite.jobs {
        if let Some(board) = job.board {
            match boards.iter().find(|(known, _)| *known == board) {
                None => continue,
                Some((_, Err(reason))) => {
                    let reason = reason.lines().next().unwrap_or_default();
                    context
                        .ui
                        .say(format!("- {}: skipped: {}: {reason}", suite.name, job.what));
                    total += Tally::skip();
                    continue;
                }
                Some((_, Ok(()))) => {}
            }
        }
        let step = context.ui.step(format!("{}: {}", suite.name, job.what));
        let stop = || signals.caught().is_some();
        let outcome = perform::perform(&context.root, job, deadline, &step, &stop);
        if outcome.tally.is_good() {
            step.done(outcome.tally.to_string());
        } else {
            step.failed(outcome.tally.to_string());
        }
        if verbose || !outcome.tally.is_good() {
            context.ui.say(&outcome.output);
        } else {
            // What was skipped must not go unseen, and what was measured is why some tests are run.
            for line in tally::remarks(&outcome.output) {
                context.ui.say(format!("    {line}"));
            }
        }
        total += outcome.tally;
        if stop() {
            break;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_suite_is_refused_with_the_known_ones() {
        let suites = suites(&crate::cli::root());
        let error = choose(&suites, &["units".to_string()]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("no suite `units`") && error.contains("unit,"));
        assert_eq!(choose(&suites, &["unit".to_string()]).unwrap().len(), 1);
        assert_eq!(choose(&suites, &[]).unwrap().len(), suites.len());
    }
}
