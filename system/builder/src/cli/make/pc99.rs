//! The pc99 board: kernel from source, image put together here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use selkie_kernel::{Config, Kernel};
use selkie_qemu::Boot;
use serde_json::json;

use super::{Bootable, Event, GroundKind, Parts, Work, sha256, write};
use crate::cli::system_file::MAX_PROGRAM;
use crate::files;
use crate::pc99;
use crate::programs::{self, Platform, Variant};
use crate::settings::Configuration;

/// The package of the board's root task.
const INITIALISER: &str = "initialiser";

/// The kernel and the root task.
pub(super) struct Ground {
    kernel: Kernel,
    initialiser: PathBuf,
    configuration: Configuration,
}

/// Builds the kernel and the programs, with the initialiser among them, at the same time: the kernel's own build
/// leaves a processor idle.
pub(super) fn ground(work: &Work<'_>, names: &[&str]) -> anyhow::Result<super::Ground> {
    let configuration = work.request.configuration;
    let (config, variant) = match configuration {
        Configuration::Debug => (Config::debug(), Variant::Debug),
        Configuration::Release => (Config::release(), Variant::Release),
        Configuration::Benchmark => {
            bail!("the board pc99 has no configuration `benchmark`; it has debug and release")
        }
    };
    let platform = Platform {
        architecture: pc99::TARGET.architecture,
        kernel: programs::Kernel::Pc99,
        variant,
        features: Vec::new(),
    };
    let packages: Vec<&str> = names.iter().copied().chain([INITIALISER]).collect();
    let at = |line: &str| (work.observe)(Event::At(line.trim()));
    let title = format!("building the kernel and {} programs", packages.len());
    (work.observe)(Event::Begin(&title));
    let (kernel, elfs) = std::thread::scope(|scope| {
        let kernel = scope.spawn(|| {
            let out = work.root.join("target/selkie/kernel");
            selkie_kernel::build(work.root, &out, &config, &mut |line| at(line))
        });
        let output = work.root.join("target/protections");
        let elfs = programs::build(work.root, &output, &packages, &platform, &mut |line| {
            at(line)
        });
        (kernel.join(), elfs)
    });
    let kernel = kernel.map_err(|_| anyhow!("the kernel's build panicked"))?;
    let kernel = kernel.context("the kernel does not build")?;
    let mut elfs: BTreeMap<String, PathBuf> = elfs?;
    let initialiser = elfs
        .remove(INITIALISER)
        .context("the initialiser was not built")?;
    (work.observe)(Event::Done(""));
    Ok(super::Ground {
        elfs,
        platform,
        kind: GroundKind::Pc99(Ground {
            kernel,
            initialiser,
            configuration,
        }),
    })
}

/// Writes the bootable files: the kernel, and the initialiser with the system.
pub(super) fn image(parts: &mut Parts, ground: &Ground) -> anyhow::Result<Bootable> {
    let (folder, kernel) = (parts.folder.clone(), &ground.kernel);
    let read = |path: &Path| {
        let beside = parts.base.join(path);
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let own = name.and_then(|name| parts.programs.get(name));
        match own {
            Some(own) if !beside.exists() => files::read(own, MAX_PROGRAM),
            _ => files::read(&beside, MAX_PROGRAM),
        }
        .map_err(io::Error::other)
    };
    let image = pc99::image(&parts.system, &read, &fs::read(&ground.initialiser)?)?;
    for domain in &mut parts.domains {
        domain.memory = domain
            .memory
            .max(image.own_memory.get(&domain.name).copied().unwrap_or(0));
    }
    check_memory(parts, &image)?;
    let module = folder.join(format!("{}.img", parts.name));
    write(&module, &image.bytes)?;
    let elf = folder.join("kernel.elf");
    write(&elf, &fs::read(&kernel.elf)?)?;
    let size = kernel.size + image.bytes.len() as u64;
    let report = json!({
        "kernel": { "path": "kernel.elf", "version": kernel.version, "size": kernel.size, "sha256": kernel.sha256 },
        "image": {
            "path": format!("{}.img", parts.name),
            "size": image.bytes.len(),
            "sha256": sha256(&image.bytes),
        },
        "size": size,
        "memory": image.memory,
        "warnings": image.warnings,
    });
    Ok(Bootable {
        boot: Boot::Multiboot {
            kernel: elf,
            module,
            command_line: "disable_iommu".into(),
        },
        size,
        report,
        warnings: image.warnings,
        kernel_name: format!("seL4 {} ({} kernel)", kernel.version, ground.configuration),
        symbols: kernel.symbols.clone(),
    })
}

/// Refuses a system that the machine has too little memory for, now that its image is known.
fn check_memory(parts: &Parts, image: &pc99::Image) -> anyhow::Result<()> {
    // Firmware, the kernel, and the objects that the kernel creates for the root task.
    const KERNEL: u64 = 4 << 20;
    let parts_of_memory = [
        KERNEL,
        image.bytes.len() as u64,
        image.memory,
        parts.board.dma_size,
    ];
    let needed = parts_of_memory.into_iter().fold(0, u64::saturating_add);
    if needed > parts.board.memory {
        bail!(
            "`{}` does not fit a machine with {} MiB: {}",
            parts.name,
            parts.board.memory >> 20,
            crate::larger_machine(needed)
        );
    }
    Ok(())
}
