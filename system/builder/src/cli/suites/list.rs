//! The suites and the commands that they run.

use std::fs;
use std::path::Path;

use crate::settings::Configuration;

/// A group of checks that run together.
#[derive(Debug)]
pub(super) struct Suite {
    pub name: &'static str,
    pub what: &'static str,
    /// Minutes after which it is ended and counts as failed.
    pub minutes: u64,
    pub jobs: Vec<Job>,
}

/// One command.
#[derive(Debug)]
pub(super) struct Job {
    /// What it checks.
    pub what: String,
    pub counted: Counted,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Folder below the repository.
    pub folder: &'static str,
    /// A folder, below that one, that is made empty before the command runs.
    pub scratch: Option<String>,
    pub environment: Vec<(&'static str, &'static str)>,
    /// The board and configuration that it is about, if it is about one.
    pub board: Option<(&'static str, Configuration)>,
}

/// How a command's result is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// One check: its exit code.
    Once,
    /// As many as its `test result:` lines say.
    Tests,
}

/// A command that is one check. Its words have no spaces in them.
pub(super) fn once(what: &str, words: &str) -> Job {
    Job {
        what: what.to_string(),
        counted: Counted::Once,
        words: words.split_ascii_whitespace().map(str::to_string).collect(),
        folder: ".",
        scratch: None,
        environment: Vec::new(),
        board: None,
    }
}

/// A command that runs tests and says how many.
pub(super) fn tests(what: &str, words: &str) -> Job {
    Job {
        counted: Counted::Tests,
        ..once(what, words)
    }
}

impl Job {
    fn within(self, folder: &'static str) -> Self {
        Self { folder, ..self }
    }

    fn with(self, environment: &[(&'static str, &'static str)]) -> Self {
        Self {
            environment: environment.to_vec(),
            ..self
        }
    }

    /// The end-to-end tests of a board in a configuration; the tests read which from the environment.
    fn on(self, board: &'static str, configuration: Configuration) -> Self {
        let environment = [
            ("SELKIE_TEST_BOARD", board),
            ("SELKIE_TEST_CONFIG", configuration.name()),
        ];
        Self {
            board: Some((board, configuration)),
            ..self.with(&environment)
        }
    }
}

/// Without `--all`, which would follow paths into the other workspaces: all members of this one.
const FORMAT: &str = "cargo fmt --check";
const LINT: &str = "cargo clippy --workspace --all-targets --quiet -- -D warnings";
/// The programs that run on seL4 have no test harness that they could be built with.
const LINT_PROGRAMS: &str = "cargo clippy --workspace --quiet -- -D warnings";
const DOCUMENT: &str = "cargo doc --workspace --no-deps --quiet";
const STRICT: &[(&str, &str)] = &[("RUSTDOCFLAGS", "-D warnings")];
const END_TO_END: &str = "cargo test --package selkie-tests --lib --test e2e --no-fail-fast";
const LOOM: &[(&str, &str)] = &[("RUSTFLAGS", "--cfg loom")];
/// Property tests try the same cases each time: a run is to say something about the change that it tests, and not by
/// chance about something old. `cargo test` alone tries others each time.
const SAME_CASES: &[(&str, &str)] = &[("PROPTEST_RNG_SEED", "2")];

/// The folder of programs that run on seL4.
const PROTECTIONS: &str = "protections";
/// The folder of the kernel's stress programs.
const STRESS: &str = "system/kernel/stress";
/// The folder of the fuzz targets.
const FUZZ: &str = "tests/fuzz";

/// All suites, cheapest first.
pub(super) fn suites(root: &Path) -> Vec<Suite> {
    vec![
        Suite {
            name: "format",
            what: "every source file is formatted",
            minutes: 2,
            jobs: vec![
                once("host", FORMAT),
                once("protections", FORMAT).within(PROTECTIONS),
                once("kernel stress programs", FORMAT).within(STRESS),
                once("fuzz targets", FORMAT).within(FUZZ),
            ],
        },
        Suite {
            name: "lint",
            what: "clippy finds nothing",
            minutes: 15,
            jobs: vec![
                once("host", LINT),
                once("protections", LINT_PROGRAMS).within(PROTECTIONS),
                once("kernel stress programs", LINT_PROGRAMS).within(STRESS),
                once("fuzz targets", LINT_PROGRAMS).within(FUZZ),
            ],
        },
        Suite {
            name: "docs",
            what: "the documentation builds without a warning",
            minutes: 10,
            jobs: vec![
                once("host", DOCUMENT).with(STRICT),
                once("protections", DOCUMENT)
                    .with(STRICT)
                    .within(PROTECTIONS),
            ],
        },
        Suite {
            name: "unit",
            what: "the libraries' and the builder's own tests, golden tests among them",
            minutes: 25,
            jobs: vec![
                tests(
                    "host",
                    "cargo test --workspace --exclude selkie-tests --exclude selkie-kernel --no-fail-fast",
                )
                .with(SAME_CASES),
            ],
        },
        Suite {
            name: "loom",
            what: "the channels' memory order in every interleaving of two threads",
            minutes: 15,
            jobs: vec![
                tests(
                    "channel",
                    "cargo test --package channel --release --test loom --target-dir target/loom",
                )
                .with(LOOM),
            ],
        },
        Suite {
            name: "models",
            what: "the protocols' Promela models, and mutants that the check must catch",
            minutes: 10,
            jobs: vec![tests(
                "spin",
                "cargo test --package selkie-tests --test models",
            )],
        },
        Suite {
            name: "fuzz",
            what: "hostile bytes, a bounded number of them",
            minutes: 30,
            jobs: fuzz(root),
        },
        Suite {
            name: "kernel",
            what: "the kernel builds the same twice, and each of its fixes is needed and holds",
            minutes: 15,
            jobs: vec![tests(
                "stress",
                "cargo test --package selkie-kernel --no-fail-fast",
            )],
        },
        Suite {
            name: "system",
            what: "the booted systems, asked from outside, on the pc99 board",
            minutes: 25,
            jobs: vec![tests("end to end", END_TO_END).on("pc99", Configuration::Release)],
        },
        Suite {
            name: "boards",
            what: "the same on the boards of the Microkit SDK; in debug configuration a part of it",
            minutes: 60,
            jobs: boards(),
        },
    ]
}

/// One job a board of the Microkit SDK that QEMU is, and configuration.
fn boards() -> Vec<Job> {
    let machines = selkie_qemu::MACHINES.iter().map(|machine| machine.name);
    let boards = machines.filter(|name| *name != "pc99");
    let each = |board: &'static str| {
        [Configuration::Release, Configuration::Debug].map(|configuration| {
            let what = format!("{board} {configuration}");
            tests(&what, END_TO_END).on(board, configuration)
        })
    };
    boards.flat_map(each).collect()
}

/// Returns one job per fuzz target. A crash, a hang of a minute or a leak fails it. As with property tests, the seed is
/// fixed. libFuzzer begins with the inputs of `corpus/TARGET`. It writes new inputs to its first folder, which is below
/// `target`, so that git ignores it.
fn fuzz(root: &Path) -> Vec<Job> {
    let entries = fs::read_dir(root.join(FUZZ).join("fuzz_targets"));
    let mut targets: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
        .collect();
    targets.sort();
    targets
        .iter()
        .map(|target| {
            let scratch = format!("target/corpus/{target}");
            let corpus = format!("corpus/{target}");
            let seeds = match root.join(FUZZ).join(&corpus).is_dir() {
                true => corpus.as_str(),
                false => "",
            };
            let command = format!(
                "cargo run --release --bin {target} -- {scratch} {seeds} -seed=2 -runs=20000 -max_len=8192 -timeout=60 \
                 -max_total_time=60 -print_final_stats=1"
            );
            Job {
                scratch: Some(scratch),
                ..once(target, &command).within(FUZZ)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuzz_target_begins_with_its_corpus_and_adds_to_another_folder() {
        let root = crate::cli::root();
        let jobs = fuzz(&root);
        let corpora = fs::read_dir(root.join(FUZZ).join("corpus")).unwrap();
        let mut corpora: Vec<String> = corpora
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        corpora.sort();
        let with_corpus = jobs.iter().filter(|job| {
            let seeds = format!("corpus/{}", job.what);
            let at = job.words.iter().position(|word| *word == seeds);
            let scratch = job
                .words
                .iter()
                .position(|word| Some(word) == job.scratch.as_ref());
            assert!(scratch.is_some_and(|scratch| at.is_none_or(|at| scratch < at)));
            at.is_some()
        });
        let with_corpus: Vec<&str> = with_corpus.map(|job| job.what.as_str()).collect();
        assert_eq!(with_corpus, corpora, "a corpus without a target");
    }

    #[test]
    fn a_corpus_is_small() {
        let corpora = fs::read_dir(crate::cli::root().join(FUZZ).join("corpus")).unwrap();
        for corpus in corpora {
            let folder = corpus.unwrap().path();
            let sizes: Vec<u64> = fs::read_dir(&folder)
                .unwrap()
                .map(|input| input.unwrap().metadata().unwrap().len())
                .collect();
            let (count, bytes) = (sizes.len(), sizes.iter().sum::<u64>());
            assert!(
                count <= 200 && bytes <= 200_000,
                "{}: {count}, {bytes}",
                folder.display()
            );
        }
    }

    #[test]
    fn every_suite_has_work_and_a_name_of_its_own() {
        let suites = suites(&crate::cli::root());
        for (index, suite) in suites.iter().enumerate() {
            assert!(!suite.jobs.is_empty(), "{}", suite.name);
            assert!(suites[..index].iter().all(|other| other.name != suite.name));
        }
    }
}
