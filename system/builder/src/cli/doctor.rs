//! `selkie doctor`: what the machine lacks.

use std::process::ExitCode;

use super::Context;
use super::setup::{self, Scope};

/// Prints what is missing for what; fails when it is something that building or running needs.
pub(super) fn command(context: &Context) -> anyhow::Result<ExitCode> {
    let missing = setup::missing(Scope::Test);
    for scope in [Scope::Build, Scope::Run, Scope::Test] {
        let lacks: Vec<String> = missing
            .iter()
            .filter(|missing| missing.scope == scope)
            .map(|missing| format!("{} (Debian package {})", missing.name, missing.package))
            .collect();
        let found = if lacks.is_empty() {
            "everything is there".to_string()
        } else {
            format!("missing: {}", lacks.join(", "))
        };
        context
            .ui
            .result(format!("{:<18} {found}", scope.purpose()));
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    context.ui.result(
        "`selkie run` and `selkie test` install what they need where apt-get may be used (as root, or with a \
         sudo that asks for no password)",
    );
    let needed = missing.iter().any(|missing| missing.scope <= Scope::Run);
    Ok(if needed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
