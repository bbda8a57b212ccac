//! `selkie test`: every suite in turn, one line of totals at the end.

mod list;
mod tally;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use super::setup::{self, Scope};
use super::ui::Step;
use super::{BoardOptions, Context};
use crate::board::KernelKind;
use crate::microkit::Sdk;
use crate::settings::Configuration;
use list::{Counted, Job, Suite, suites};
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
    let mut total = Tally::default();
    for suite in chosen {
        total += run(context, suite, &boards, options.verbose);
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

fn run(context: &Context, suite: &Suite, boards: &Boards, verbose: bool) -> Tally {
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
        let outcome = perform(&context.root, job, deadline, &step);
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
    }
    total
}

/// What a command came to.
struct Outcome {
    tally: Tally,
    output: String,
}

fn perform(root: &Path, job: &Job, deadline: Instant, step: &Step) -> Outcome {
    let started = Command::new("sh")
        // One pipe for both streams keeps their lines in order.
        .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
        .args(&job.words)
        .current_dir(root.join(job.folder))
        .envs(job.environment.iter().copied())
        .env("SELKIE_ROOT", root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            return Outcome {
                tally: Tally::failure(),
                output: format!("cannot start {}: {error}", job.words.join(" ")),
            };
        }
    };
    let (mut output, in_time) = follow(&mut child, deadline, step);
    if !in_time {
        output.push_str("\nended: it took too long\n");
        // A failure means that it has just ended by itself.
        let _ = child.kill();
    }
    let good = child.wait().is_ok_and(|status| status.success()) && in_time;
    let tally = match job.counted {
        Counted::Once if good => Tally::success(),
        Counted::Once => Tally::failure(),
        Counted::Tests => tally::of_tests(&output, good),
    };
    Outcome { tally, output }
}

/// Collects what the child prints until it ends; says whether it did before the deadline.
fn follow(child: &mut Child, deadline: Instant, step: &Step) -> (String, bool) {
    let (send, lines) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if send.send(text).is_err() {
                    break;
                }
            }
        });
    }
    let mut output = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                step.at(line.trim());
                output.push_str(&line);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => return (output, false),
            Err(mpsc::RecvTimeoutError::Disconnected) => return (output, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::list::{once, tests};
    use super::*;
    use crate::cli::Ui;

    fn outcome(job: &Job, time: Duration) -> Outcome {
        let step = Ui::new().step("test");
        perform(Path::new("/"), job, Instant::now() + time, &step)
    }

    #[test]
    fn an_exit_code_counts_once() {
        let minute = Duration::from_secs(60);
        assert_eq!(outcome(&once("", "true"), minute).tally, Tally::success());
        assert_eq!(outcome(&once("", "false"), minute).tally, Tally::failure());
        let absent = outcome(&once("", "no-such-program"), minute);
        assert_eq!(absent.tally, Tally::failure());
    }

    #[test]
    fn both_streams_are_collected_in_order() {
        let mut job = once("", "sh -c");
        job.words.push("echo one; echo two >&2; echo three".into());
        assert_eq!(
            outcome(&job, Duration::from_secs(60)).output,
            "one\ntwo\nthree\n"
        );
    }

    #[test]
    fn what_takes_too_long_is_ended_and_failed() {
        let job = tests("", "sleep 60");
        let outcome = outcome(&job, Duration::from_millis(50));
        assert!(!outcome.tally.is_good());
        assert!(outcome.output.contains("too long"));
    }

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
