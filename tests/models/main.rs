//! Checks the models of this folder with `spin`, and that each mutant of theirs is caught.
//!
//! Skipped, with the reason, where `spin` is not installed; a C compiler is there, since the kernel needs one.

use std::path::Path;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use selkie_tests::program::{self, Output};
use selkie_tests::{Outcome, ensure};

const FILES: &[(&str, &str)] = &[
    ("doorbell.pml", include_str!("doorbell.pml")),
    ("epoch.pml", include_str!("epoch.pml")),
    ("memory.pml", include_str!("memory.pml")),
    ("ready.pml", include_str!("ready.pml")),
    ("sleep.pml", include_str!("sleep.pml")),
];

/// A model and its mutants, each with a word of the assertion that must catch it.
struct Model {
    name: &'static str,
    mutants: &'static [(&'static str, &'static str)],
}

const MODELS: &[Model] = &[
    Model {
        name: "epoch",
        mutants: &[
            ("FIXED_EPOCH", "from["),
            ("JOINS_FIRST", "from["),
            ("NO_JOIN_FENCE", "got=="),
            ("WRITES_AT_ONCE", "from["),
            ("JOINS_SILENTLY", "got=="),
            ("KEEPS_EPOCH", "got=="),
            ("LOSES_RESTART", "got=="),
        ],
    },
    Model {
        name: "sleep",
        mutants: &[
            ("NO_RECHECK", "wanted["),
            ("NO_SLEEPER_FENCE", "wanted["),
            ("NO_PUBLISHER_FENCE", "wanted["),
            ("SLEEPS_NOT_COUNTED", "wanted["),
            ("BEGINS_AWAKE", "wanted["),
            ("KINDS_FORGOTTEN", "wanted["),
            ("RINGS_FIRST", "wanted["),
            ("FLAG_NOT_RESET", "up["),
            ("RINGS_ALWAYS", "flag!=rung"),
            ("RELAXED_TAIL", "==(taken+1)"),
        ],
    },
    Model {
        name: "ready",
        mutants: &[
            ("NO_RECHECK", "known["),
            ("NO_SLEEPER_FENCE", "known["),
            ("NO_PUBLISHER_FENCE", "known["),
            ("NO_WRITER_FENCE", "known["),
            ("NO_READER_FENCE", "known["),
            ("LOOK_BEFORE_SEEN", "known["),
            ("FLIPS_UNSEEN", "known["),
        ],
    },
];

/// A model that must hold is searched in seconds; this is for a machine that has much else to do.
const SEARCH: Duration = Duration::from_secs(300);

/// Memory of a search in MiB. The largest needs about 300.
const MEMORY: u32 = 1024;

fn main() {
    let arguments = Arguments::from_args();
    let trials = MODELS.iter().flat_map(trials).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn trials(model: &'static Model) -> Vec<Trial> {
    let name = model.name;
    let holds = Trial::ignorable_test(format!("{name}::holds"), move || with_spin(|| holds(name)));
    let mutants = model.mutants.iter().map(|&(mutant, property)| {
        let test = move || with_spin(|| is_caught(name, mutant, property));
        let mutant = mutant.to_lowercase();
        Trial::ignorable_test(format!("{name}::catches_{mutant}"), test)
    });
    std::iter::once(holds).chain(mutants).collect()
}

fn with_spin(test: impl FnOnce() -> Outcome) -> Result<Completion, Failed> {
    // Only a program that cannot be started is an error here.
    if std::process::Command::new("spin")
        .arg("-V")
        .output()
        .is_err()
    {
        let reason = "spin is not installed: apt-get install -y --no-install-recommends spin";
        return Ok(Completion::ignored_with(reason));
    }
    test().map(|()| Completion::Completed)
}

/// No execution of the model violates any of its properties.
fn holds(model: &str) -> Outcome {
    let folder = tempfile::tempdir()?;
    let report = search(folder.path(), model, None)?;
    let complete = ![
        "out of memory",
        "max search depth too small",
        "not completed",
    ]
    .iter()
    .any(|sign| report.contains(sign));
    if report.contains("errors: 0") && complete {
        return Ok(());
    }
    Err(format!("{report}\n{}", trail(folder.path(), model)?).into())
}

/// Some execution of the mutant violates the property that it should.
fn is_caught(model: &str, mutant: &str, property: &str) -> Outcome {
    let folder = tempfile::tempdir()?;
    let report = search(folder.path(), model, Some(mutant))?;
    let caught = report
        .lines()
        .any(|line| line.contains("assertion violated") && line.contains(property));
    ensure(caught, || {
        format!("no assertion with `{property}` was violated:\n{report}")
    })
}

/// Has spin make the search of a model, runs it, and gives its report.
fn search(folder: &Path, model: &str, mutant: Option<&str>) -> Result<String, Failed> {
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text)?;
    }
    let file = format!("{model}.pml");
    let define = mutant.map(|mutant| format!("-D{mutant}"));
    let spin: Vec<&str> = ["spin", "-a"]
        .into_iter()
        .chain(define.as_deref())
        .chain([file.as_str()])
        .collect();
    let minute = Duration::from_secs(60);
    let made = inside(folder, &spin, minute)?.good()?.text();
    ensure(!made.contains("rror"), || made.clone())?;
    let limit = format!("-DMEMLIM={MEMORY}");
    // The models' properties are assertions: they need no search for cycles.
    let compile = [
        "cc",
        "-O2",
        "-w",
        "-DSAFETY",
        "-DCOLLAPSE",
        &limit,
        "-o",
        "pan",
        "pan.c",
    ];
    inside(folder, &compile, minute)?.good()?;
    // Violations do not show in the exit code.
    Ok(inside(folder, &["./pan", "-m20000"], SEARCH)?
        .good()?
        .text())
}

/// The steps that lead to a violation, if there was one.
fn trail(folder: &Path, model: &str) -> Result<String, Failed> {
    if !folder.join(format!("{model}.pml.trail")).exists() {
        return Ok(String::new());
    }
    let words = ["spin", "-t", "-p", "-g", &format!("{model}.pml")];
    Ok(inside(folder, &words, Duration::from_secs(60))?.text())
}

fn inside(folder: &Path, words: &[&str], limit: Duration) -> Result<Output, Failed> {
    let folder = format!("--chdir={}", folder.display());
    let words: Vec<&str> = ["env", &folder]
        .into_iter()
        .chain(words.iter().copied())
        .collect();
    program::run(&words, b"", limit)
}
