//! `selkie doctor`: what the machine has and what it lacks, for every board.

use std::path::Path;
use std::process::ExitCode;

use super::Context;
use super::setup::{self, Missing, Scope};
use crate::board::{Board, KernelKind};
use crate::microkit::{Sdk, SdkError, default_place};
use crate::programs;

/// Prints what is there and what is missing; fails when the default board cannot be built for or run.
pub(super) fn command(context: &Context) -> anyhow::Result<ExitCode> {
    let settings = context.settings()?;
    let ui = &context.ui;
    let sdk = Sdk::find(&settings);
    ui.result(match &sdk {
        Ok(sdk) => format!(
            "Microkit SDK {} is in {} ({})",
            sdk.version,
            sdk.folder.display(),
            sdk.found.name()
        ),
        Err(error) => error.to_string(),
    });
    ui.result(format!(
        "the default place of the SDK is {}",
        default_place(&settings.version).display()
    ));
    let mut good = true;
    for name in Board::names(&context.root) {
        let lacks = match Board::load(&context.root, &name) {
            Ok(board) => lacks(&context.root, &board, &sdk),
            Err(_) => vec![format!("a correct file system/boards/{name}.toml")],
        };
        let state = if lacks.is_empty() {
            ready(&name, &sdk)
        } else {
            format!("missing: {}", lacks.join(", "))
        };
        good &= lacks.is_empty() || name != settings.board;
        ui.result(format!("{name:<20} {state}"));
        for line in undriven(&context.root, &name) {
            ui.result(format!("{:<20} {line}", ""));
        }
    }
    let test = setup::missing(&context.root, Scope::Test, &[]);
    ui.result(format!("{:<20} {}", "to test", packages(&test)));
    ui.result(
        "`selkie build`, `run` and `test` install Debian packages and Rust targets that they need where apt-get may be \
         used (as root, or with a sudo that asks for no password)",
    );
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Reports the board's devices that have no driver, and the consequences.
fn undriven(root: &Path, name: &str) -> Vec<String> {
    let Ok(board) = Board::load(root, name) else {
        return Vec::new();
    };
    let devices = crate::undriven(root, &board);
    if devices.is_empty() {
        return Vec::new();
    }
    let listed: Vec<String> = devices
        .iter()
        .map(|device| format!("{} ({})", device.name, device.kind))
        .collect();
    let mut lines = vec![format!(
        "no driver yet for {}: docs/porting.md says how to add one",
        listed.join(", ")
    )];
    let missing = |name: &str| devices.iter().any(|device| device.name == name);
    if missing("serial0") {
        lines.push("without one for serial0 no system starts there that has a console".into());
    }
    lines
}

/// What is missing to build for a board and to run it.
fn lacks(root: &Path, board: &Board, sdk: &Result<Sdk, SdkError>) -> Vec<String> {
    let mut lacks: Vec<String> = setup::missing(root, Scope::Run, &[&board.name])
        .iter()
        .map(Missing::to_string)
        .collect();
    let triple = programs::triple(board.target.architecture);
    if !setup::has_rust_target(root, triple) {
        lacks.push(format!("Rust target {triple}"));
    }
    if board.kernel == KernelKind::Microkit {
        match sdk {
            Err(_) => lacks.push("the Microkit SDK".into()),
            Ok(sdk) if sdk.configurations(&board.name).is_empty() => {
                lacks.push("this board in the Microkit SDK".into());
            }
            Ok(_) => {}
        }
    }
    lacks
}

/// What can be done with a board for which nothing is missing.
fn ready(board: &str, sdk: &Result<Sdk, SdkError>) -> String {
    let configurations = match sdk {
        Ok(sdk) if sdk.boards().iter().any(|known| known == board) => sdk.configurations(board),
        _ => vec!["debug".into(), "release".into()],
    };
    let run = match selkie_qemu::machine(board) {
        Some(_) => "builds and runs",
        None => "builds (QEMU has no such machine)",
    };
    format!("{run}: {}", configurations.join(", "))
}

fn packages(missing: &[Missing]) -> String {
    if missing.is_empty() {
        return "everything is there".into();
    }
    let missing: Vec<String> = missing.iter().map(Missing::to_string).collect();
    format!("missing: {}", missing.join(", "))
}
