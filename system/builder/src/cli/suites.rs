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

use super::Context;
use super::setup::{self, Scope};
use super::ui::Step;
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
    let chosen = choose(&suites, &options.only)?;
    setup::ensure(context, Scope::Test, &["pc99"])?;
    let mut total = Tally::default();
    for suite in chosen {
        total += run(context, suite, options.verbose);
    }
    // The line that programs read is the last and alone.
    context.ui.result(total.to_string());
    Ok(if total.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

fn run(context: &Context, suite: &Suite, verbose: bool) -> Tally {
    let deadline = Instant::now() + Duration::from_secs(suite.minutes * 60);
    let mut total = Tally::default();
    for job in &suite.jobs {
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
