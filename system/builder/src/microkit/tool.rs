//! Microkit's own tool: from a `.system` file to the image that a board boots.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use microkit_sdf::Architecture;
use thiserror::Error;

use super::Sdk;
use crate::board::Board;
use crate::settings::Configuration;

/// What the tool made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What the board boots; on x86_64, the module that its kernel starts.
    pub file: PathBuf,
    /// The kernel, where it is a file of its own (x86_64).
    pub kernel: Option<PathBuf>,
    /// The tool's report on memory, objects and capabilities, for people.
    pub report: PathBuf,
}

/// Why there is no image.
#[derive(Debug, Error)]
pub enum ToolError {
    /// The tool cannot be started.
    #[error("cannot start {}: {error}", tool.display())]
    Start {
        /// The tool.
        tool: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The tool refuses the system.
    #[error("Microkit's tool refuses the system: {said}")]
    Refused {
        /// Its words.
        said: String,
        /// The line and column of the `.system` file that it names.
        place: Option<(usize, usize)>,
    },
}

/// Makes an image of a `.system` file. What the file names is looked for in the `search` folders; what the tool writes
/// goes to `folder`: `loader.img`, `report.txt`, and on x86_64 `sel4.elf` and `sel4_32.elf`.
///
/// # Errors
/// [`ToolError`], when the tool does not run or refuses the system.
pub fn image(
    sdk: &Sdk,
    board: &Board,
    configuration: Configuration,
    system: &Path,
    search: &[&Path],
    folder: &Path,
) -> Result<Image, ToolError> {
    let (file, report) = (folder.join("loader.img"), folder.join("report.txt"));
    let tool = sdk.tool();
    let mut command = Command::new(&tool);
    command
        .arg(system)
        .args(["--board", &board.name, "--config", configuration.name()])
        .arg("--output")
        .arg(&file)
        .arg("--report")
        .arg(&report)
        .arg("--search-path")
        .args(search)
        .env("MICROKIT_SDK", &sdk.folder)
        .current_dir(folder)
        .stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|error| ToolError::Start { tool, error })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(refused(&said, system));
    }
    let x86 = board.target.architecture == Architecture::X86_64;
    Ok(Image {
        file,
        kernel: x86.then(|| folder.join("sel4_32.elf")),
        report,
    })
}

/// What the tool's standard error says: one sentence, at whose end there may be a place in the system file.
fn refused(said: &str, system: &Path) -> ToolError {
    let name = format!("{}:", system.display());
    let place = said.rfind(&name).and_then(|at| {
        let mut numbers = said[at + name.len()..].split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    let sentence = match place {
        Some(_) => said.split(&name).next().unwrap_or(said),
        None => said,
    };
    let sentence = sentence.trim();
    let sentence = ["Error: ", "ERROR: ", "microkit: error: "]
        .iter()
        .fold(sentence, |text, start| {
            text.strip_prefix(start).unwrap_or(text)
        });
    let end = |c: char| c.is_whitespace() || c == ':' || c == '@';
    ToolError::Refused {
        said: sentence.trim_end_matches(end).to_string(),
        place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(said: &str) -> (String, Option<(usize, usize)>) {
        match refused(said, Path::new("/t/echo.system")) {
            ToolError::Refused { said, place } => (said, place),
            ToolError::Start { .. } => unreachable!("it was started"),
        }
    }

    #[test]
    fn places_are_taken_from_the_tools_words() {
        let said = "Error: size must be a multiple of the page size on element 'memory_region': /t/echo.system:12:5\n";
        let sentence = "size must be a multiple of the page size on element 'memory_region'";
        assert_eq!(parts(said), (sentence.into(), Some((12, 5))));
        let said =
            "Error: duplicate channel id: 3 in protection domain: 'nic' @ /t/echo.system:7:1";
        let sentence = "duplicate channel id: 3 in protection domain: 'nic'";
        assert_eq!(parts(said), (sentence.into(), Some((7, 1))));
    }

    #[test]
    fn words_without_a_place_are_kept_whole() {
        let said = "ERROR: failed to parse ELF '/t/nic.elf' for PD 'nic': bad magic\n";
        let sentence = "failed to parse ELF '/t/nic.elf' for PD 'nic': bad magic";
        assert_eq!(parts(said), (sentence.into(), None));
        assert_eq!(parts(""), (String::new(), None));
    }
}
