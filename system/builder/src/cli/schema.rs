//! `selkie schema`: the JSON Schema of descriptions.

use std::process::ExitCode;

use anyhow::anyhow;

use super::Context;
use crate::schema;

pub(super) fn command(context: &Context) -> anyhow::Result<ExitCode> {
    let text = schema::text(&context.root).map_err(|wrong| {
        let wrong = wrong.render(context.ui.is_terminal());
        anyhow!("a program's manifest is wrong\n{wrong}")
    })?;
    context.ui.result(text.trim_end());
    Ok(ExitCode::SUCCESS)
}
