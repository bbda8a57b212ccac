//! `selkie status` and `selkie stop`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::Context;
use super::runs;

/// Lists what runs.
pub(super) fn status(context: &Context) -> anyhow::Result<ExitCode> {
    let runs = runs::all(&context.output());
    if runs.is_empty() {
        context.ui.result("nothing runs");
    }
    for (_, run) in runs {
        context.ui.result(format!(
            "{}  board {}  for {}  QEMU process {}  {}",
            run.name,
            run.board,
            age(run.age()),
            run.pid,
            run.urls.join(" ")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends one system, or all.
pub(super) fn stop(context: &Context, name: Option<&str>) -> anyhow::Result<ExitCode> {
    let all = runs::all(&context.output());
    let chosen: Vec<_> = all
        .iter()
        .filter(|(_, run)| name.is_none_or(|name| run.name == name))
        .collect();
    if chosen.is_empty() {
        match name {
            Some(name) if all.is_empty() => bail!("`{name}` does not run; nothing does"),
            Some(name) => bail!(
                "`{name}` does not run; what runs: {}",
                all.iter()
                    .map(|(_, run)| run.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            None => context.ui.result("nothing runs"),
        }
    }
    for (folder, run) in chosen {
        run.stop(folder)
            .with_context(|| format!("cannot end {} (process {})", run.name, run.pid))?;
        context.ui.result(format!("stopped {}", run.name));
    }
    Ok(ExitCode::SUCCESS)
}

fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        assert_eq!(age(Duration::from_secs(59)), "59 s");
        assert_eq!(age(Duration::from_secs(61)), "1 min 1 s");
        assert_eq!(age(Duration::from_secs(7_260)), "2 h 1 min");
    }
}
