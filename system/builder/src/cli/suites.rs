//! `selkie test`: every suite in turn, one line of totals at the end.

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

/// A group of checks that run together.
#[derive(Debug)]
struct Suite {
    name: &'static str,
    what: &'static str,
    /// Minutes after which it is ended and counts as failed.
    minutes: u64,
    jobs: &'static [Job],
}

/// One command.
#[derive(Debug)]
struct Job {
    /// What it checks.
    what: &'static str,
    counted: Counted,
    /// The program and its arguments.
    words: &'static [&'static str],
    /// Folder below the repository.
    folder: &'static str,
    environment: &'static [(&'static str, &'static str)],
}

/// How a command's result is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// One check: its exit code.
    Once,
    /// As many as its `test result:` lines say.
    Tests,
}

const fn once(what: &'static str, words: &'static [&'static str]) -> Job {
    Job {
        what,
        counted: Counted::Once,
        words,
        folder: ".",
        environment: &[],
    }
}

const fn tests(what: &'static str, words: &'static [&'static str]) -> Job {
    Job {
        counted: Counted::Tests,
        ..once(what, words)
    }
}

const fn within(folder: &'static str, job: Job) -> Job {
    Job { folder, ..job }
}

const fn with(environment: &'static [(&'static str, &'static str)], job: Job) -> Job {
    Job { environment, ..job }
}

const FORMAT: &[&str] = &["cargo", "fmt", "--all", "--check"];

const LINT: &[&str] = &[
    "cargo",
    "clippy",
    "--workspace",
    "--all-targets",
    "--quiet",
    "--",
    "-D",
    "warnings",
];

/// The programs that run on seL4 have no tests of their own and no test harness to build them with.
const LINT_PROGRAMS: &[&str] = &[
    "cargo",
    "clippy",
    "--workspace",
    "--quiet",
    "--",
    "-D",
    "warnings",
];

const DOCUMENT: &[&str] = &["cargo", "doc", "--workspace", "--no-deps", "--quiet"];

const STRICT: &[(&str, &str)] = &[("RUSTDOCFLAGS", "-D warnings")];

const SUITES: &[Suite] = &[
    Suite {
        name: "format",
        what: "every source file is formatted",
        minutes: 2,
        jobs: &[
            once("host", FORMAT),
            within("protections", once("protections", FORMAT)),
            within(
                "system/kernel/stress",
                once("kernel stress programs", FORMAT),
            ),
        ],
    },
    Suite {
        name: "lint",
        what: "clippy finds nothing",
        minutes: 15,
        jobs: &[
            once("host", LINT),
            within("protections", once("protections", LINT_PROGRAMS)),
            within(
                "system/kernel/stress",
                once("kernel stress programs", LINT_PROGRAMS),
            ),
        ],
    },
    Suite {
        name: "unit",
        what: "the libraries' and the builder's own tests, golden tests among them",
        minutes: 20,
        jobs: &[tests(
            "host",
            &[
                "cargo",
                "test",
                "--workspace",
                "--exclude",
                "selkie-tests",
                "--exclude",
                "selkie-kernel",
                "--no-fail-fast",
            ],
        )],
    },
    Suite {
        name: "docs",
        what: "the documentation builds without a warning",
        minutes: 10,
        jobs: &[
            with(STRICT, once("host", DOCUMENT)),
            within("protections", with(STRICT, once("protections", DOCUMENT))),
        ],
    },
    Suite {
        name: "kernel",
        what: "the kernel builds the same twice, and each of its fixes is needed and holds",
        minutes: 15,
        jobs: &[tests(
            "stress",
            &[
                "cargo",
                "test",
                "--package",
                "selkie-kernel",
                "--no-fail-fast",
            ],
        )],
    },
    Suite {
        name: "system",
        what: "the booted systems, asked from outside",
        minutes: 20,
        jobs: &[tests(
            "end to end",
            &[
                "cargo",
                "test",
                "--package",
                "selkie-tests",
                "--no-fail-fast",
            ],
        )],
    },
];

/// Runs the suites that are asked for.
pub(super) fn command(context: &Context, options: &Options) -> anyhow::Result<ExitCode> {
    if options.list {
        for suite in SUITES {
            context
                .ui
                .result(format!("{:<10} {}", suite.name, suite.what));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&options.only)?;
    setup::ensure(context, Scope::Test)?;
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

fn choose(only: &[String]) -> anyhow::Result<Vec<&'static Suite>> {
    if let Some(unknown) = only
        .iter()
        .find(|name| SUITES.iter().all(|s| s.name != *name))
    {
        let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        bail!(
            "there is no suite `{unknown}`; there are {}",
            names.join(", ")
        );
    }
    let wanted = |suite: &&Suite| only.is_empty() || only.iter().any(|name| name == suite.name);
    Ok(SUITES.iter().filter(wanted).collect())
}

fn run(context: &Context, suite: &Suite, verbose: bool) -> Tally {
    let deadline = Instant::now() + Duration::from_secs(suite.minutes * 60);
    let mut total = Tally::default();
    for job in suite.jobs {
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
            // What was skipped must not go unseen.
            for line in tally::skipped(&outcome.output) {
                context.ui.say(format!("    skipped: {line}"));
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
    let (program, arguments) = (job.words[0], &job.words[1..]);
    let started = Command::new("sh")
        // One pipe for both streams keeps their lines in order.
        .args(["-c", "exec \"$0\" \"$@\" 2>&1", program])
        .args(arguments)
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
                output: format!("cannot start {program}: {error}"),
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
    use super::*;
    use crate::cli::Ui;

    fn outcome(job: &Job, time: Duration) -> Outcome {
        let step = Ui::new().step("test");
        perform(Path::new("/"), job, Instant::now() + time, &step)
    }

    #[test]
    fn an_exit_code_counts_once() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            outcome(&once("", &["true"]), minute).tally,
            Tally::success()
        );
        assert_eq!(
            outcome(&once("", &["false"]), minute).tally,
            Tally::failure()
        );
        let absent = outcome(&once("", &["no-such-program"]), minute);
        assert_eq!(absent.tally, Tally::failure());
    }

    #[test]
    fn both_streams_are_collected_in_order() {
        let job = once("", &["sh", "-c", "echo one; echo two >&2; echo three"]);
        assert_eq!(
            outcome(&job, Duration::from_secs(60)).output,
            "one\ntwo\nthree\n"
        );
    }

    #[test]
    fn what_takes_too_long_is_ended_and_failed() {
        let job = tests("", &["sleep", "60"]);
        let outcome = outcome(&job, Duration::from_millis(50));
        assert!(!outcome.tally.is_good());
        assert!(outcome.output.contains("too long"));
    }

    #[test]
    fn an_unknown_suite_is_refused_with_the_known_ones() {
        let error = choose(&["units".to_string()]).unwrap_err().to_string();
        assert!(error.contains("no suite `units`") && error.contains("unit,"));
        assert_eq!(choose(&["unit".to_string()]).unwrap().len(), 1);
        assert_eq!(choose(&[]).unwrap().len(), SUITES.len());
    }
}
