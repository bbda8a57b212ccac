//! The boards of the Microkit SDK: the SDK's kernel, image from the SDK's own tool.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use object::{Object, ObjectSegment};
use selkie_qemu::{Boot, machine};
use serde_json::{Value, json};

use super::{Bootable, Event, GroundKind, Parts, Work, sha256, write};
use crate::microkit::{self, Sdk, ToolError};
use crate::programs::{self, Platform, Variant};
use crate::settings::Configuration;

/// The SDK, with what it has for the board.
pub(super) struct Ground {
    sdk: Sdk,
    /// The SDK's folder of the board in its configuration.
    folder: PathBuf,
}

/// Finds the SDK and builds the programs against it.
pub(super) fn ground(work: &Work<'_>, names: &[&str]) -> anyhow::Result<super::Ground> {
    let sdk = Sdk::find(&work.settings)?;
    let folder = sdk.board(&work.board.name, work.request.configuration)?;
    let platform = Platform {
        architecture: work.board.target.architecture,
        kernel: programs::Kernel::Microkit {
            include: folder.join("include"),
        },
        variant: match work.request.configuration {
            Configuration::Debug => Variant::Debug,
            Configuration::Release | Configuration::Benchmark => Variant::Release,
        },
        features: work.board.features.clone(),
    };
    let elfs = if names.is_empty() {
        Default::default()
    } else {
        (work.observe)(Event::Begin(&format!("building {} programs", names.len())));
        // Each board has its own headers and instructions: in one folder they would push out each other's programs.
        let output = work.root.join("target/protections").join(&work.board.name);
        let elfs = programs::build(work.root, &output, names, &platform, &mut |line| {
            (work.observe)(Event::At(line.trim()));
        })?;
        (work.observe)(Event::Done(""));
        elfs
    };
    Ok(super::Ground {
        elfs,
        platform,
        kind: GroundKind::Microkit(Ground { sdk, folder }),
    })
}

/// Lets the tool make the image.
pub(super) fn image(work: &Work<'_>, parts: &Parts, ground: &Ground) -> anyhow::Result<Bootable> {
    let folder = &parts.folder;
    lay_out(parts)?;
    let made = microkit::image(
        &ground.sdk,
        &work.board,
        work.request.configuration,
        &parts.file,
        &[&parts.base, folder],
        folder,
    )
    .map_err(|error| explained(parts, error))?;
    let image = fs::read(&made.file)
        .with_context(|| format!("the tool wrote no {}", made.file.display()))?;
    let kernel = match &made.kernel {
        Some(kernel) => {
            fs::read(kernel).with_context(|| format!("the tool wrote no {}", kernel.display()))?
        }
        None => Vec::new(),
    };
    check_memory(parts, ground, &image, &made.report)?;
    let size = (image.len() + kernel.len()) as u64;
    let own = sdk_part(ground, kernel.len());
    let command_line = work.settings.command_line.clone();
    let boot = match machine(&work.board.name) {
        Some(machine) => machine.boot(made.kernel, made.file, command_line),
        None => Boot::Kernel(made.file),
    };
    Ok(Bootable {
        boot,
        size,
        report: json!({
            "sdk": { "version": ground.sdk.version, "loader_and_kernel": own },
            "image": { "path": "loader.img", "size": image.len(), "sha256": sha256(&image) },
            "tool_report": "report.txt",
            "size": size,
        }),
        warnings: Vec::new(),
        kernel_name: kernel_name(work, ground),
        symbols: ground.folder.join("elf/sel4.elf"),
    })
}

/// Refuses a system that the machine has too little memory for, where Microkit's tool cannot know the amount. A release
/// kernel would halt without a message.
fn check_memory(parts: &Parts, ground: &Ground, image: &[u8], report: &Path) -> anyhow::Result<()> {
    if parts.board.has_fixed_memory() {
        return Ok(());
    }
    let kernel = fs::read(ground.folder.join("elf/sel4.elf")).unwrap_or_default();
    let report = fs::read_to_string(report).unwrap_or_default();
    let needed = microkit::needed(&kernel, &configuration(ground), memory(image), &report);
    match needed {
        Some(needed) if needed > parts.board.memory => bail!(
            "`{}` does not fit a machine with {} MiB: {}",
            parts.name,
            parts.board.memory >> 20,
            crate::larger_machine(needed)
        ),
        _ => Ok(()),
    }
}

/// Returns the memory of an ELF file in bytes.
fn memory(elf: &[u8]) -> u64 {
    let parsed = object::File::parse(elf);
    parsed.map_or(0, |elf| elf.segments().map(|segment| segment.size()).sum())
}

/// Puts the programs that a system file names, and that were built here, where the tool finds them.
fn lay_out(parts: &Parts) -> anyhow::Result<()> {
    let domains = parts.system.domains().into_iter();
    for image in domains.map(|(domain, _)| &domain.program_image) {
        let name = image.file_stem().and_then(|stem| stem.to_str());
        let Some(elf) = name.and_then(|name| parts.programs.get(name)) else {
            continue;
        };
        if parts.base.join(image).exists() {
            continue;
        }
        if image.is_absolute() || image.components().any(|part| part.as_os_str() == "..") {
            bail!(
                "{} is not there; a program of protections/ is named as {}.elf",
                image.display(),
                name.unwrap_or_default()
            );
        }
        let place = parts.folder.join(image);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        write(&place, &fs::read(elf)?)?;
    }
    Ok(())
}

/// The tool's error, with the line that it stems from.
fn explained(parts: &Parts, error: ToolError) -> anyhow::Error {
    let ToolError::Refused { said, place } = &error else {
        return error.into();
    };
    if let Some(compiled) = &parts.compiled {
        let wrong = compiled.refused(said, place.map(|(line, _)| line));
        return anyhow!("the system cannot be made\n{wrong}");
    }
    let file = parts.file.display();
    let refused = match place {
        Some((line, column)) => format!("{file}:{line}:{column}: {error}"),
        None => format!("{file}: {error}"),
    };
    // Selkie's own notes may explain the error.
    let lines: Vec<String> = [refused].into_iter().chain(parts.notes.clone()).collect();
    anyhow!("{}", lines.join("\n"))
}

/// Bytes of the bootable files that are the SDK's loader and kernel: the kernel's own file, or what the two take in the
/// image, which holds their memory as it will be.
fn sdk_part(ground: &Ground, kernel: usize) -> u64 {
    if kernel > 0 {
        return kernel as u64;
    }
    let files = ["loader.elf", "sel4.elf"].map(|name| ground.folder.join("elf").join(name));
    let loaded = files.iter().filter_map(|file| fs::read(file).ok());
    loaded.map(|elf| memory(&elf)).sum()
}

/// Reads the kernel configuration from `gen_config.json`.
fn configuration(ground: &Ground) -> Value {
    let file = ground.folder.join("include/kernel/gen_config.json");
    let text = fs::read_to_string(file).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Returns the name of the kernel, with the relevant options of its configuration.
fn kernel_name(work: &Work<'_>, ground: &Ground) -> String {
    let config = configuration(ground);
    let is = |key: &str| config[key] == true;
    let mut features = vec![if is("KERNEL_MCS") { "MCS" } else { "not MCS" }];
    if is("ARM_HYPERVISOR_SUPPORT") {
        features.push("at EL2");
    }
    if is("IOMMU") {
        features.push("IOMMU on");
    }
    features.push(if is("ENABLE_SMP_SUPPORT") {
        "several cores"
    } else {
        "one core"
    });
    format!(
        "seL4 of the Microkit SDK {}, configuration {} {} ({})",
        ground.sdk.version,
        work.board.name,
        work.request.configuration,
        features.join(", ")
    )
}
