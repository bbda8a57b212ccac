//! Where the Microkit SDK is, and whether it is one that can be used.

use std::path::{Path, PathBuf};
use std::{env, fs};

use thiserror::Error;

use crate::settings::{Configuration, FILE, Settings};

/// The variable that says where the SDK is; Microkit's own tool reads it too.
const VARIABLE: &str = "MICROKIT_SDK";

/// A Microkit SDK of the right version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdk {
    /// Its folder; absolute.
    pub folder: PathBuf,
    /// Its version.
    pub version: String,
    /// Who said that it is there.
    pub found: Found,
}

/// Who says where the SDK is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The variable `MICROKIT_SDK`.
    Variable,
    /// `microkit.toml`.
    Settings,
    /// Nobody: it lies in the default place.
    Place,
}

impl Found {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Variable => VARIABLE,
            Self::Settings => FILE,
            Self::Place => "the default place",
        }
    }
}

impl Found {
    /// Returns advice for a place that holds no usable SDK. While a place is named, no other is searched.
    fn remedy(self, version: &str) -> String {
        let place = default_place(version);
        match self {
            Self::Variable => format!(
                "set {VARIABLE} to the folder of the SDK {version}, or unset it: then {FILE} says where it is, or else it \
                 is looked for in {}\n{}",
                place.display(),
                fetch(version)
            ),
            Self::Settings => format!(
                "correct `path` in {FILE}, or leave it out: then the SDK is looked for in {}\n{}",
                place.display(),
                fetch(version)
            ),
            Self::Place => download(version),
        }
    }
}

/// Why there is no SDK, or none for this board.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SdkError {
    /// There is none where one is looked for.
    #[error("the Microkit SDK {version} is not there\n{}", download(version))]
    Absent {
        /// The version that is wanted.
        version: String,
    },
    /// A place that was named holds none.
    #[error(
        "{} says that the Microkit SDK is in {}, but there is no {missing} in it\n{}",
        found.name(), folder.display(), found.remedy(version)
    )]
    NoSdk {
        /// Who named it.
        found: Found,
        /// The place.
        folder: PathBuf,
        /// What an SDK would have.
        missing: &'static str,
        /// The version that is wanted.
        version: String,
    },
    /// It is another version.
    #[error(
        "the Microkit SDK in {} is version {has}; Selkie's programs are made for {wanted}\n{}",
        folder.display(), found.remedy(wanted)
    )]
    Version {
        /// The source of the place: variable, settings or default.
        found: Found,
        /// Where it is.
        folder: PathBuf,
        /// Its version.
        has: String,
        /// The version that is wanted.
        wanted: String,
    },
    /// It has not this board, or not in this configuration.
    #[error(
        "the Microkit SDK in {} has no {what}; it has {}\nthe SDK as it is released has every board: {}",
        folder.display(), listed(has), url(version)
    )]
    Lacks {
        /// Where it is.
        folder: PathBuf,
        /// What it has not.
        what: String,
        /// What it has instead.
        has: Vec<String>,
        /// Its version.
        version: String,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

/// Where the release of this version for this machine is.
fn url(version: &str) -> String {
    let machine = match env::consts::ARCH {
        "aarch64" => "linux-aarch64",
        _ => "linux-x86-64",
    };
    format!(
        "https://github.com/seL4/microkit/releases/download/{version}/microkit-sdk-{version}-{machine}.tar.gz"
    )
}

/// What to download and where to put it, as a line that a shell understands.
pub fn download(version: &str) -> String {
    format!(
        "download and unpack it, so that it is in {}:\n    curl -L {} | tar xz -C ~\n\
         or say where it is with the variable {VARIABLE} or with `path` in {FILE}",
        default_place(version).display(),
        url(version)
    )
}

/// Returns the command that downloads the SDK.
fn fetch(version: &str) -> String {
    format!(
        "to download it:\n    curl -L {} | tar xz -C FOLDER",
        url(version)
    )
}

/// Where the SDK is looked for when nobody says where it is: in the user's own folder.
pub fn default_place(version: &str) -> PathBuf {
    let home = env::home_dir().unwrap_or_else(|| "/".into());
    home.join(format!("microkit-sdk-{version}"))
}

impl Sdk {
    /// The SDK: where `MICROKIT_SDK` says, or else `microkit.toml`, or else in the [default place](default_place).
    ///
    /// # Errors
    /// That there is none, or why it is none that can be used.
    pub fn find(settings: &Settings) -> Result<Self, SdkError> {
        let named = env::var_os(VARIABLE).filter(|value| !value.is_empty());
        Self::named(settings, named.map(PathBuf::from))
    }

    /// As [`Sdk::find`], with the value of the variable.
    ///
    /// # Errors
    /// As [`Sdk::find`].
    pub fn named(settings: &Settings, variable: Option<PathBuf>) -> Result<Self, SdkError> {
        let version = &settings.version;
        match (variable, &settings.path) {
            (Some(folder), _) => Self::open(&folder, Found::Variable, version),
            (None, Some(folder)) => Self::open(folder, Found::Settings, version),
            (None, None) => {
                let folder = default_place(version);
                if !folder.exists() {
                    let version = version.clone();
                    return Err(SdkError::Absent { version });
                }
                Self::open(&folder, Found::Place, version)
            }
        }
    }

    fn open(folder: &Path, found: Found, wanted: &str) -> Result<Self, SdkError> {
        let lacks = |missing| SdkError::NoSdk {
            found,
            folder: folder.to_path_buf(),
            missing,
            version: wanted.to_string(),
        };
        let version = fs::read_to_string(folder.join("VERSION"));
        let version = version.map_err(|_| lacks("file VERSION"))?;
        let version = version.trim();
        if version != wanted {
            return Err(SdkError::Version {
                found,
                folder: folder.to_path_buf(),
                has: version.to_string(),
                wanted: wanted.to_string(),
            });
        }
        let sdk = Self {
            folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf()),
            version: version.to_string(),
            found,
        };
        if !sdk.tool().is_file() {
            return Err(lacks("program bin/microkit"));
        }
        if !sdk.folder.join("board").is_dir() {
            return Err(lacks("folder board"));
        }
        Ok(sdk)
    }

    /// The tool that makes images.
    pub fn tool(&self) -> PathBuf {
        self.folder.join("bin/microkit")
    }

    /// The boards that it has, by name.
    pub fn boards(&self) -> Vec<String> {
        folders(&self.folder.join("board"))
    }

    /// The configurations in which it has a board, by name.
    pub fn configurations(&self, board: &str) -> Vec<String> {
        folders(&self.folder.join("board").join(board))
    }

    /// The folder of a board in a configuration: kernel, loader, headers and libraries.
    ///
    /// # Errors
    /// [`SdkError::Lacks`], when the SDK has no such board or not in this configuration.
    pub fn board(&self, board: &str, configuration: Configuration) -> Result<PathBuf, SdkError> {
        let lacks = |what: String, has: Vec<String>| SdkError::Lacks {
            folder: self.folder.clone(),
            what,
            has,
            version: self.version.clone(),
        };
        let folder = self.folder.join("board").join(board);
        if !folder.is_dir() {
            return Err(lacks(format!("board `{board}`"), self.boards()));
        }
        let folder = folder.join(configuration.name());
        if !folder.is_dir() {
            let what = format!("configuration `{configuration}` of the board `{board}`");
            return Err(lacks(what, self.configurations(board)));
        }
        Ok(folder)
    }
}

/// The names of the folders in a folder.
fn folders(of: &Path) -> Vec<String> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An SDK of this version with one board, as far as it is looked at.
    fn sdk(version: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("VERSION", &format!("{version}\n"));
        write("bin/microkit", "");
        write("board/imx/debug/elf/sel4.elf", "");
        write("board/imx/release/elf/sel4.elf", "");
        folder
    }

    fn find(variable: Option<&Path>, path: Option<&Path>) -> Result<Sdk, SdkError> {
        let settings = Settings {
            path: path.map(Path::to_path_buf),
            ..Settings::default()
        };
        Sdk::named(&settings, variable.map(Path::to_path_buf))
    }

    #[test]
    fn the_variable_comes_before_the_file() {
        let (right, other) = (sdk("2.3.0"), sdk("2.3.0"));
        let found = find(Some(right.path()), Some(other.path())).unwrap();
        assert_eq!(
            (found.folder.as_path(), found.found),
            (right.path(), Found::Variable)
        );
        let found = find(None, Some(other.path())).unwrap();
        assert_eq!(
            (found.folder.as_path(), found.found),
            (other.path(), Found::Settings)
        );
    }

    #[test]
    fn a_place_without_an_sdk_is_refused_with_what_to_download() {
        let empty = tempfile::tempdir().unwrap();
        let error = find(Some(empty.path()), None).unwrap_err().to_string();
        assert!(error.starts_with("MICROKIT_SDK says"), "{error}");
        assert!(error.contains("no file VERSION"), "{error}");
        assert!(error.contains("microkit-sdk-2.3.0-linux-"), "{error}");
        assert!(error.contains("or unset it"), "{error}");
        // Unpacking into the home folder cannot help while the variable is set.
        assert!(!error.contains("tar xz -C ~"), "{error}");
        let nowhere = empty.path().join("gone");
        let error = find(Some(&nowhere), None).unwrap_err().to_string();
        assert!(
            error.starts_with("MICROKIT_SDK says") && error.contains("gone"),
            "{error}"
        );
        let half = sdk("2.3.0");
        fs::remove_file(half.path().join("bin/microkit")).unwrap();
        let error = find(None, Some(half.path())).unwrap_err().to_string();
        assert!(error.starts_with("microkit.toml says"), "{error}");
        assert!(error.contains("no program bin/microkit"), "{error}");
        assert!(error.contains("correct `path` in microkit.toml"), "{error}");
    }

    #[test]
    fn another_version_is_refused() {
        let old = sdk("1.4.1");
        let error = find(Some(old.path()), None).unwrap_err();
        assert!(matches!(&error, SdkError::Version { has, .. } if has == "1.4.1"));
        assert!(error.to_string().contains("made for 2.3.0"), "{error}");
    }

    #[test]
    fn a_board_or_configuration_that_it_lacks_is_named() {
        let folder = sdk("2.3.0");
        let sdk = find(Some(folder.path()), None).unwrap();
        let found = sdk.board("imx", Configuration::Release).unwrap();
        assert!(found.ends_with("board/imx/release"));
        let error = sdk.board("rpi", Configuration::Debug).unwrap_err();
        assert!(error.to_string().contains("no board `rpi`; it has imx"));
        let error = sdk.board("imx", Configuration::Benchmark).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("no configuration `benchmark`"), "{error}");
        assert!(error.contains("it has debug, release"), "{error}");
    }
}
