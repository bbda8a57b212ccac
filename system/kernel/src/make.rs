//! Runs the kernel's Makefile.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};

use crate::Config;
use crate::error::{IoContext, KernelError};
use crate::tools::Tools;

/// Compiler options besides the Makefile's own. Some distributions' compilers add these protections by
/// themselves, and they need a C library or a processor feature that the kernel does not use.
const CFLAGS: &str = "-fno-stack-protector -fcf-protection=none -U_FORTIFY_SOURCE";

/// Builds the source in `work/source` in the folder `work/build`; the path of the 64-bit ELF.
pub(crate) fn run(
    tools: &Tools,
    work: &Path,
    config: &Config,
    log_path: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, KernelError> {
    let build = work.join("build");
    fs::create_dir_all(&build).at("create", &build)?;
    let wrappers = work.join("bin");
    write_python_wrappers(&wrappers, &tools.python)?;

    let mut log = File::create(log_path).at("create", log_path)?;
    let make = Path::new("make");
    let mut child = command(&build, &wrappers, config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().at("write", log_path)?)
        .spawn()
        .at("run", make)?;
    if let Some(output) = child.stdout.take() {
        follow(output, &mut log, progress).at("write", log_path)?;
    }
    let status = child.wait().at("run", make)?;
    if !status.success() {
        return Err(KernelError::Failed {
            step: "building the kernel".to_string(),
            log: log_path.to_path_buf(),
            tail: tail(log_path),
        });
    }
    Ok(build.join("kernel.elf"))
}

/// Returns true if the Makefile can run in this folder. The Makefile puts `PATH`, which begins with a folder inside
/// this one, in quotation marks for make and the shell, without escapes. A colon separates the folders in `PATH`.
pub(crate) fn takes(folder: &Path) -> bool {
    let harmless = |c: char| c.is_alphanumeric() || " /._-+,=@~'()".contains(c);
    folder
        .to_str()
        .is_some_and(|path| path.chars().all(harmless))
}

/// The scripts of the source start with `env python`, a name that many machines do not have; `python3` in
/// `PATH` may be another one than that which has the modules.
fn write_python_wrappers(folder: &Path, python: &Path) -> Result<(), KernelError> {
    use std::os::unix::fs::PermissionsExt;

    fs::create_dir_all(folder).at("create", folder)?;
    for name in ["python", "python3"] {
        let path = folder.join(name);
        let quoted = python.display().to_string().replace('\'', r"'\''");
        fs::write(&path, format!("#!/bin/sh\nexec '{quoted}' \"$@\"\n")).at("write", &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).at("write", &path)?;
    }
    Ok(())
}

fn command(build: &Path, wrappers: &Path, config: &Config) -> Command {
    let mut make = Command::new("make");
    make.current_dir(build)
        // Nothing of the user's environment (CFLAGS, CONFIG_…, MAKEFLAGS of a calling make) may reach the kernel.
        .env_clear()
        .env("PATH", search_path(wrappers))
        .env("LC_ALL", "C")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONHASHSEED", "0")
        // Newer interpreters warn of the scripts' escape sequences, hundreds of times.
        .env("PYTHONWARNINGS", "ignore")
        .env("CFLAGS", format!("{CFLAGS} {}", hide_folder(build)))
        .env("ASFLAGS", hide_folder(build))
        .args(["-f", "../source/Makefile", "SOURCE_ROOT=../source"])
        .args(["ARCH=x86", "SEL4_ARCH=x86_64", "PLAT=pc99"])
        .args(["PYTHON=python3", "CIRCULAR_INCLUDES=true"])
        // The list as shipped holds `error`, and every compiler since has found new things to warn of. The
        // source is pinned: there is nobody to act on a warning.
        .arg("WARNINGS=");
    if config.debug {
        make.arg("DEBUG=1");
    }
    make.arg("kernel.elf");
    make
}

/// A compiler option, as a make variable holds it: debug information names the folder that the compiler ran
/// in, and every build is to name the same one.
fn hide_folder(build: &Path) -> String {
    let folder = build.display().to_string();
    let folder = folder.replace('$', "$$").replace('\'', r"'\''");
    format!("'-ffile-prefix-map={folder}=/kernel/build'")
}

/// `PATH` for the Makefile, which puts it in quotation marks together with a folder in front, and exports
/// it with them: so that the last entry is lost, and a relative one is read against a strange folder.
fn search_path(wrappers: &Path) -> std::ffi::OsString {
    let mut path = wrappers.as_os_str().to_os_string();
    for folder in env::split_paths(&env::var_os("PATH").unwrap_or_default()) {
        if folder.is_absolute() {
            path.push(":");
            path.push(folder);
        }
    }
    path.push(":/nonexistent");
    path
}

/// Copies the output to the log, and reports the steps: lines such as ` [CC] kernel_final.s`.
fn follow(
    output: ChildStdout,
    log: &mut File,
    progress: &mut dyn FnMut(&str),
) -> std::io::Result<()> {
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        log.write_all(&line)?;
        log.write_all(b"\n")?;
        let text = String::from_utf8_lossy(&line);
        if let Some(step) = text.strip_prefix(" [").and_then(describe) {
            progress(step);
        }
    }
    Ok(())
}

/// The Makefile prints dozens of steps, of which these take noticeable time.
fn describe(step: &str) -> Option<&'static str> {
    match step {
        step if step.starts_with("BF_GEN] arch/object") => Some("generating the kernel's headers"),
        step if step.starts_with("CC]") => Some("compiling the kernel"),
        step if step.starts_with("LD]") => Some("linking the kernel"),
        _ => None,
    }
}

/// The last lines of a log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    const LINES: usize = 20;
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_a_shell_would_read_are_not_taken() {
        for path in ["/home/me/selkie", "/home/mein Ordner, \u{e4}'s/a+b"] {
            assert!(takes(Path::new(path)), "{path}");
        }
        for path in [
            "/a\"b", "/a$b", "/a`b", "/a\\b", "/a:b", "/a\nb", "/a#b", "/a;b",
        ] {
            assert!(!takes(Path::new(path)), "{path}");
        }
    }
}
