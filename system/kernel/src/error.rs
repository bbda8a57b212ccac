//! What can go wrong while the kernel is built.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Fix, MissingTool};

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Programs or Python modules are missing. [`missing_tools`](crate::missing_tools) says it in advance.
    #[error("the kernel cannot be built without {}\n  remedy: apt-get install {}", list(.0, |t| &t.tool, ", "), list(.0, |t| t.debian_package, " "))]
    MissingTools(Vec<MissingTool>),

    /// Cargo could not say where the kernel's source lies.
    #[error("cargo could not fetch the kernel's source (crate `sel4-sys` 0.0.28):\n{output}")]
    NotFetched {
        /// What Cargo printed.
        output: String,
    },

    /// The source is not the one that a fix was written for, so that nobody knows what it would do.
    #[error("{fix} does not apply: the text that it replaces occurs {occurrences} times in {}", file.display())]
    FixDoesNotApply {
        /// The fix.
        fix: Fix,
        /// The file that it changes.
        file: PathBuf,
        /// How often the text occurs that should occur once.
        occurrences: usize,
    },

    /// The configuration that the kernel ships is not the expected one.
    #[error("the kernel's configuration has no line `{line}`")]
    UnexpectedConfiguration {
        /// The line that should be there.
        line: String,
    },

    /// The kernel's Makefile, or the tool named, failed.
    #[error("{step} failed; the end of {}:\n{tail}", log.display())]
    Failed {
        /// What failed.
        step: String,
        /// The whole output.
        log: PathBuf,
        /// The last lines of the output.
        tail: String,
    },

    /// A file or a program could not be used.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or program.
        path: PathBuf,
        /// Why it did not work.
        #[source]
        error: io::Error,
    },
}

fn list<'a, T>(items: &'a [T], text: impl Fn(&'a T) -> &'a str, between: &str) -> String {
    let mut texts: Vec<&str> = items.iter().map(text).collect();
    texts.dedup();
    texts.join(between)
}

/// Adds to an input or output error what was being done.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, KernelError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, KernelError> {
        self.map_err(|error| KernelError::Io {
            action,
            path: path.to_path_buf(),
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tools_name_the_packages_once() {
        let error = KernelError::MissingTools(vec![
            MissingTool {
                tool: "gcc".into(),
                debian_package: "gcc",
            },
            MissingTool {
                tool: "objcopy".into(),
                debian_package: "binutils",
            },
            MissingTool {
                tool: "ld".into(),
                debian_package: "binutils",
            },
        ]);
        assert_eq!(
            error.to_string(),
            "the kernel cannot be built without gcc, objcopy, ld\n  remedy: apt-get install gcc binutils"
        );
    }
}
