//! The protection domains of `system/echo.toml` with the upstream `sel4-microkit` in place of ours.
//!
//! Three lines of the manifest change, as its comment says. Upstream needs unstable features of the compiler and libclang.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::{env, fs};

use libtest_mimic::{Completion, Trial};
use selkie::cli::{Protocol, Request, make, root};
use selkie::microkit::Sdk;
use selkie::programs::{Kernel, Platform, Variant, build};
use selkie::settings::{Configuration, Settings};
use selkie_tests::system::{Options, System, built};
use selkie_tests::{Failed, ensure, ground};

use crate::echo::sizes;

/// Names a checkout of seL4/rust-sel4 at the tag v5.0.0.
const SOURCE: &str = "SELKIE_RUST_SEL4";

pub fn trials() -> Vec<Trial> {
    if !ground().is_microkit() {
        return Vec::new();
    }
    vec![Trial::ignorable_test("upstream::echo_runs_on_it", echo)]
}

fn echo() -> Result<Completion, Failed> {
    let Some(source) = env::var_os(SOURCE).map(PathBuf::from) else {
        let reason = format!("{SOURCE} names no checkout of seL4/rust-sel4");
        return Ok(Completion::ignored_with(reason));
    };
    let ours = built("echo")?;
    let folder = root().join("target/selkie/tests/upstream");
    let _ = fs::remove_dir_all(folder.join("system"));
    copy(&ours.folder, &folder.join("system"))?;
    let workspace = folder.join("workspace");
    lay_out(&workspace, &source)?;
    for (name, elf) in programs(&workspace, &ours.folder)? {
        fs::copy(elf, folder.join(format!("system/pds/{name}.elf")))?;
    }

    let request = Request {
        system: folder.join("system/echo.system"),
        board: ground().board.name.clone(),
        configuration: ground().configuration,
        memory: None,
    };
    let mut theirs = make(&root(), &request, &|_| {}).map_err(|error| format!("{error:#}"))?;
    theirs.endpoints = ours.endpoints;
    let system = System::boot_built(&theirs, &Options::default())?;
    sizes(system.endpoint(Protocol::Echo)?)
        .map_err(|error| system.failure(error.message().unwrap_or("no message")))?;
    Ok(Completion::Completed)
}

/// The repository with the protections' manifest changed; what is not changed is linked to.
fn lay_out(workspace: &Path, source: &Path) -> Result<(), Failed> {
    let _ = fs::remove_dir_all(workspace);
    fs::create_dir_all(workspace.join(".cargo"))?;
    for entry in fs::read_dir(root())? {
        let entry = entry?;
        let name = entry.file_name();
        if !["protections", "target", ".git", ".cargo"]
            .iter()
            .any(|own| name == *own)
        {
            symlink(entry.path(), workspace.join(name))?;
        }
    }
    copy(&root().join("protections"), &workspace.join("protections"))?;
    let manifest = workspace.join("protections/Cargo.toml");
    let mut text = fs::read_to_string(&manifest)?;
    let mut replace = |ours: &str, theirs: &str| {
        ensure(text.contains(ours), || format!("no line {ours}"))?;
        text = text.replace(ours, theirs);
        Ok::<_, Failed>(())
    };
    for name in ["sel4-microkit", "sel4"] {
        let theirs = source.join("crates").join(name);
        replace(
            &format!(r#"{name} = {{ path = "../{name}" }}"#),
            &format!("{name} = {{ path = {theirs:?} }}"),
        )?;
    }
    replace(
        r#"pd = { path = "pd", features = ["restart"] }"#,
        r#"pd = { path = "pd" }"#,
    )?;
    // The initialiser is pc99's.
    replace(
        r#"members = ["*", "../system/initialiser"]"#,
        r#"members = ["*"]"#,
    )?;
    fs::write(&manifest, text)?;
    let settings = Settings::load(&root()).map_err(|wrong| wrong.to_string())?;
    let parts = Sdk::find(&settings)?.board(&ground().board.name, ground().configuration)?;
    let config = format!(
        "[build]\nrustc = {:?}\n[env]\nSEL4_INCLUDE_DIRS = {:?}\n",
        compiler(workspace)?,
        parts.join("include")
    );
    Ok(fs::write(workspace.join(".cargo/config.toml"), config)?)
}

/// A compiler that accepts unstable features. Upstream's crates use thread-local variables on targets that support them, but a
/// PD does not initialise its own, so this compiler reports that the target has none.
fn compiler(workspace: &Path) -> Result<PathBuf, Failed> {
    let script = workspace.join("rustc");
    let text = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustc -Zhas-thread-local=no \"$@\"\n";
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

/// Builds the programs that a system has.
fn programs(workspace: &Path, system: &Path) -> Result<Vec<(String, PathBuf)>, Failed> {
    let mut names = Vec::new();
    for entry in fs::read_dir(system.join("pds"))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let platform = Platform {
        architecture: ground().board.target.architecture,
        kernel: Kernel::Microkit {
            include: PathBuf::new(),
        },
        variant: match ground().configuration {
            Configuration::Debug => Variant::Debug,
            Configuration::Release | Configuration::Benchmark => Variant::Release,
        },
        features: Vec::new(),
    };
    let output = workspace.with_file_name("programs");
    let built = build(workspace, &output, &names, &platform, &mut |_| {})?;
    Ok(built.into_iter().collect())
}

fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()? {
            kind if kind.is_dir() => copy(&entry.path(), &target)?,
            kind if kind.is_file() => drop(fs::copy(entry.path(), target)?),
            _ => {}
        }
    }
    Ok(())
}
