//! What `microkit.toml` says: the SDK that is used, and the defaults of the commands.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::diagnostics::{Diagnostics, Problem, Source, suggest};
use crate::toml::{self, Entry, Fields, Reader};

/// The file's name; it lies in the root of the repository.
pub const FILE: &str = "microkit.toml";

/// The version of the Microkit SDK whose interfaces the programs and the `.system` files are made for.
const VERSION: &str = "2.3.0";

/// How kernel and programs are configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum)]
pub enum Configuration {
    /// For finding faults: slower and larger, and the kernel prints.
    Debug,
    /// For use.
    #[default]
    Release,
    /// As release, with a kernel that counts what the processor does (boards of the Microkit SDK).
    Benchmark,
}

impl Configuration {
    /// Its name, which is that of the SDK's folder too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
            Self::Benchmark => "benchmark",
        }
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The SDK's version.
    pub version: String,
    /// Where the SDK was unpacked, if the file says so; absolute.
    pub path: Option<PathBuf>,
    /// The board that is used where none is named.
    pub board: String,
    /// The configuration that is used where none is named.
    pub configuration: Configuration,
    /// What a kernel is started with that takes a command line.
    pub command_line: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: VERSION.into(),
            path: None,
            board: "pc99".into(),
            configuration: Configuration::default(),
            command_line: String::new(),
        }
    }
}

impl Settings {
    /// Reads the file in the root of the repository; without one, everything has its default.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(root: &Path) -> Result<Self, Diagnostics> {
        let path = root.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let mut problems = Vec::new();
        let source = Source::read(&path, root).map_err(only)?;
        let document = toml::parse(&source).map_err(only)?;
        let mut reader = Reader {
            source: &source,
            problems: &mut problems,
        };
        let settings = match reader.table(FILE, &document) {
            Some(entries) => read(&mut reader, entries, root),
            None => Self::default(),
        };
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(Diagnostics::new(problems))
        }
    }
}

fn only(problem: Problem) -> Diagnostics {
    Diagnostics::new(vec![problem])
}

fn read(reader: &mut Reader<'_>, entries: &[Entry], root: &Path) -> Settings {
    let mut settings = Settings::default();
    let mut fields = Fields::new(entries);
    let tables = ["sdk", "default", "kernel"].map(|name| fields.take(name));
    fields.finish(reader, FILE);
    let [sdk, default, kernel] =
        tables.map(|table| table.and_then(|entry| reader.table(&entry.key, &entry.value)));
    if let Some(entries) = sdk {
        let mut fields = Fields::new(entries);
        let (version, path) = (fields.take("version"), fields.take("path"));
        fields.finish(reader, "[sdk]");
        take(&mut settings.version, version.and_then(|e| reader.text(e)));
        let path = path.and_then(|entry| reader.text(entry));
        settings.path = path.map(|path| root.join(path.value));
    }
    if let Some(entries) = default {
        let mut fields = Fields::new(entries);
        let (board, configuration) = (fields.take("board"), fields.take("config"));
        fields.finish(reader, "[default]");
        take(&mut settings.board, board.and_then(|e| reader.text(e)));
        if let Some(entry) = configuration {
            settings.configuration = configuration_of(reader, entry).unwrap_or_default();
        }
    }
    if let Some(entries) = kernel {
        let mut fields = Fields::new(entries);
        let line = fields.take("command_line");
        fields.finish(reader, "[kernel]");
        take(
            &mut settings.command_line,
            line.and_then(|e| reader.text(e)),
        );
    }
    settings
}

fn take(place: &mut String, text: Option<toml::Spanned<String>>) {
    if let Some(text) = text {
        *place = text.value;
    }
}

fn configuration_of(reader: &mut Reader<'_>, entry: &Entry) -> Option<Configuration> {
    let text = reader.text(entry)?;
    let mut all = Configuration::value_variants().iter().copied();
    let found = all.find(|configuration| configuration.name() == text.value);
    if found.is_none() {
        let names = Configuration::value_variants().iter().map(|c| c.name());
        let help = suggest(&text.value, "configurations", names);
        let problem = reader.wrong(&text.span, "there is no such configuration");
        problem.help = Some(help);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(FILE), text).unwrap();
        Settings::load(root.path()).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn the_repositorys_own_file_is_right_and_says_the_defaults() {
        let own = Settings::load(&crate::cli::root()).unwrap();
        assert_eq!(own, Settings::default());
    }

    #[test]
    fn without_a_file_or_with_an_empty_one_everything_has_its_default() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Settings::load(root.path()).unwrap(), Settings::default());
        assert_eq!(load("").unwrap(), Settings::default());
    }

    #[test]
    fn what_it_says_is_taken() {
        let settings = load(
            "[sdk]\nversion = \"2.4.0\"\npath = \"/sdk\"\n[default]\nboard = \"qemu_virt_riscv64\"\n\
             config = \"debug\"\n[kernel]\ncommand_line = \"console=0x3f8\"\n",
        );
        let expected = Settings {
            version: "2.4.0".into(),
            path: Some("/sdk".into()),
            board: "qemu_virt_riscv64".into(),
            configuration: Configuration::Debug,
            command_line: "console=0x3f8".into(),
        };
        assert_eq!(settings.unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_place() {
        let wrong =
            load("[sdk]\nversoin = \"2.3.0\"\n[default]\nconfig = \"relase\"\n").unwrap_err();
        assert!(wrong.contains("microkit.toml:2:1"), "{wrong}");
        assert!(wrong.contains("did you mean `version`?"), "{wrong}");
        assert!(wrong.contains("microkit.toml:4:10"), "{wrong}");
        assert!(wrong.contains("did you mean `release`?"), "{wrong}");
    }
}
