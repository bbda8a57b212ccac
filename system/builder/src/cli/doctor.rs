//! `selkie doctor`: what the machine has and lacks.

use std::process::ExitCode;

use super::Context;
use super::setup::{REQUIREMENTS, Requirement, Scope};

/// Prints every requirement; fails when one is missing that building or running needs.
pub(super) fn command(context: &Context) -> anyhow::Result<ExitCode> {
    let mut unmet: Vec<&Requirement> = Vec::new();
    for requirement in REQUIREMENTS {
        let met = requirement.is_met();
        let (mark, note) = if met {
            ("ok", String::new())
        } else {
            unmet.push(requirement);
            ("missing", format!("  Debian package {}", requirement.package))
        };
        context.ui.result(format!(
            "{mark:<8} {:<20} {:<17}{note}",
            requirement.name,
            requirement.scope.purpose()
        ));
    }
    if unmet.is_empty() {
        context.ui.result("everything is there");
        return Ok(ExitCode::SUCCESS);
    }
    context.ui.result(
        "`selkie run` and `selkie test` install what they need where apt-get may be used (as root, or with a \
         sudo that asks for no password)",
    );
    let needed = unmet.iter().any(|requirement| requirement.scope <= Scope::Run);
    Ok(if needed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
