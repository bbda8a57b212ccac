//! Descriptions that are wrong, and what is said of them, byte for byte.
//!
//! `golden/CASE.toml` is a description, `golden/CASE.txt` what must be said. The workspace that they belong
//! to, with its own programs and boards, is `golden/` itself. To accept what is said now:
//! `UPDATE_GOLDEN=1 cargo test -p selkie --test golden`, then read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use selkie::{Diagnostics, Plan};

/// The least number of cases; one that is lost would not be missed otherwise.
const CASES: usize = 60;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(golden()).expect("the folder is part of the repository");
    let mut cases: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it is readable").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    cases.sort();
    cases
}

/// Plans a description; its first line may name a board: `# board: NAME`.
fn plan(path: &Path) -> Result<Plan, Diagnostics> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let board = first.strip_prefix("# board: ").unwrap_or("pc99");
    selkie::plan(&golden(), path, board)
}

fn said(path: &Path) -> String {
    match plan(path) {
        Ok(plan) => format!("`{}` was accepted\n", plan.name),
        Err(diagnostics) => diagnostics.to_string(),
    }
}

#[test]
fn wrong_descriptions_are_explained() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let cases = cases();
    assert!(cases.len() >= CASES, "{} of {CASES} cases", cases.len());
    let mut differences = Vec::new();
    for case in cases {
        let (said, expected) = (said(&case), case.with_extension("txt"));
        if update {
            fs::write(&expected, said).expect("the folder is writable");
            continue;
        }
        let expected = fs::read_to_string(expected).unwrap_or_default();
        if said != expected {
            differences.push(format!(
                "{}\n--- expected ---\n{expected}\n--- said ---\n{said}",
                case.display()
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn every_problem_has_its_place_and_says_what_would_be_right() {
    for case in cases() {
        let name = case.display();
        let diagnostics = plan(&case).expect_err(&name.to_string());
        for problem in diagnostics.problems {
            let has_place = problem.position().is_some();
            assert!(
                has_place || problem.message.starts_with("there is no board"),
                "{name}: {problem}"
            );
            let labelled = problem
                .labels
                .first()
                .is_some_and(|(_, text)| !text.is_empty());
            assert!(problem.help.is_some() || labelled, "{name}: {problem}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = golden().join("nowhere.toml");
    let said = said(&path);
    assert!(said.contains("`nowhere.toml` cannot be read"), "{said}");
}
