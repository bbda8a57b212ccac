//! How much of the processor a protection gets: what an MCS kernel is told beside priorities.

use super::{Planner, SUPERVISOR, Scheduling};
use crate::board::KernelKind;
use crate::description::Written;
use crate::diagnostics::{Problem, listed};
use crate::manifest::Program;

/// Budget in microseconds where neither Selkie nor its user says one (Microkit manual, `protection_domain`).
const DEFAULT_BUDGET: u64 = 1000;

/// Shortest and longest budgets and periods in microseconds. With less, a protection would spend its time on being
/// scheduled; with more, "a budget" would limit nothing that a person could wait for.
pub(crate) const RANGE: (i64, i64) = (100, 10_000_000);

/// The keys of a description.
const KEYS: [&str; 3] = ["budget", "period", "passive"];

impl Planner<'_> {
    /// What a description, or else the program, says of a protection's share of the processor.
    pub(super) fn scheduling(&mut self, written: &Written, program: &Program) -> Scheduling {
        let mut reader = self.reader();
        let mut time = |key: &str| {
            let entry = written.entry(key)?;
            let number = reader.number(entry, RANGE.0, RANGE.1)?;
            Some(number.value as u64)
        };
        let (budget, period) = (time("budget"), time("period"));
        let passive = written
            .entry("passive")
            .and_then(|entry| self.reader().boolean(entry));
        let least = budget.unwrap_or(DEFAULT_BUDGET);
        if period.is_some_and(|period| period < least) {
            let message = format!(
                "the period of `{}` is shorter than its budget",
                written.name.value
            );
            let problem = Problem::at(self.source, written.span("period"), message);
            self.problems.push(
                problem
                    .label(format!("at least {least} microseconds"))
                    .help("in each period it may run for its budget"),
            );
        }
        let passive = passive.unwrap_or(program.passive);
        if passive && written.program.value == SUPERVISOR {
            let problem = Problem::at(
                self.source,
                written.span("passive"),
                "the supervisor cannot be passive",
            );
            self.problems.push(
                problem
                    .label(
                        "it would take the time of who has faulted, and start it over without any",
                    )
                    .help("leave the key out"),
            );
        }
        Scheduling {
            budget,
            period,
            passive,
        }
    }

    /// What a description says of scheduling that the board's kernel cannot do.
    pub(super) fn ignored_scheduling(&self) -> Vec<String> {
        if self.board.kernel != KernelKind::Pc99 {
            return Vec::new();
        }
        let protections = self.description.protections.iter();
        protections
            .filter_map(|written| {
                let given = KEYS.iter().filter(|key| written.entry(key).is_some());
                let given: Vec<&str> = given.copied().collect();
                (!given.is_empty()).then(|| {
                    format!(
                        "{} of `{}` without effect: the kernel of `{}` schedules by priority alone",
                        listed(given),
                        written.name.value,
                        self.board.name
                    )
                })
            })
            .collect()
    }
}
