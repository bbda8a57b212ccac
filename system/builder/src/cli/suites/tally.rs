//! Counting tests from what test programs print.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Tally {
    /// One check that passed.
    pub fn success() -> Self {
        Self {
            passed: 1,
            ..Self::default()
        }
    }

    /// One check that failed.
    pub fn failure() -> Self {
        Self {
            failed: 1,
            ..Self::default()
        }
    }

    /// One check that was not made.
    pub fn skip() -> Self {
        Self {
            skipped: 1,
            ..Self::default()
        }
    }

    /// Whether something passed and nothing failed: no tests at all are no success.
    pub fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// Sums the `test result:` lines of libtest and what imitates it.
///
/// A program that failed without saying that a test did (it did not compile, it crashed) counts as one
/// failure; so does one that ran nothing.
pub(super) fn of_tests(output: &str, good: bool) -> Tally {
    let mut total = Tally::default();
    for line in output.lines() {
        if let Some(tally) = line_of(line) {
            total += tally;
        }
    }
    let silent = total.failed == 0 && !good;
    let empty = total == Tally::default();
    if silent || empty {
        total += Tally::failure();
    }
    total
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
fn line_of(line: &str) -> Option<Tally> {
    let (_, counts) = line
        .trim()
        .strip_prefix("test result: ")?
        .split_once(". ")?;
    let count = |word: &str| {
        counts.split(';').find_map(|part| {
            let (number, name) = part.trim().split_once(' ')?;
            (name == word).then(|| number.parse::<u64>().ok())?
        })
    };
    Some(Tally {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("ignored")?,
    })
}

/// What deserves to be seen of a suite that passed: skipped tests with their reasons, from lines such as
/// `test ping … ignored, no TAP device`, and what tests measured.
pub(super) fn remarks(output: &str) -> impl Iterator<Item = String> {
    output
        .lines()
        .filter_map(|line| measured(line).or_else(|| skipped(line)))
}

/// A test's own line comes behind `test NAME … ` when nothing else has run meanwhile.
fn measured(line: &str) -> Option<String> {
    let start = line.find("measured: ")?;
    Some(line[start..].trim_end().to_string())
}

fn skipped(line: &str) -> Option<String> {
    let (name, result) = line.trim().strip_prefix("test ")?.split_once(" ... ")?;
    let reason = result.strip_prefix("ignored")?.replace("\\n", " ");
    Some(format!("skipped: {}{reason}", name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
running 3 tests
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
   Doc-tests x
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 5 filtered out; finished in 1.20s
";

    #[test]
    fn result_lines_are_summed() {
        let tally = of_tests(TWO, false);
        assert_eq!(tally.to_string(), "5 passed, 1 failed, 1 skipped");
        assert!(!tally.is_good());
    }

    #[test]
    fn failing_without_a_word_is_a_failure() {
        assert_eq!(
            of_tests("error: could not compile", false),
            Tally::failure()
        );
        let crashed = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured";
        assert_eq!(
            of_tests(crashed, false).to_string(),
            "3 passed, 1 failed, 0 skipped"
        );
        assert!(of_tests(crashed, true).is_good());
    }

    #[test]
    fn running_nothing_is_a_failure() {
        let none = "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(of_tests(none, true), Tally::failure());
        assert_eq!(of_tests("", true), Tally::failure());
    }

    #[test]
    fn other_lines_are_not_results() {
        assert_eq!(
            line_of("my test result: ok. 1 passed; 0 failed; 0 ignored"),
            None
        );
        assert_eq!(
            line_of("test result: ok. many passed; 0 failed; 0 ignored"),
            None
        );
    }

    #[test]
    fn skipped_tests_and_measurements_are_shown() {
        let output = "test tap::ping ... ignored, no TAP device\n\
                      test a ... measured: 3 copies\nok\ntest b ... ignored\n\
                      test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured";
        assert_eq!(
            remarks(output).collect::<Vec<_>>(),
            [
                "skipped: tap::ping, no TAP device",
                "measured: 3 copies",
                "skipped: b"
            ]
        );
    }
}
