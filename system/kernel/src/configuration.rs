//! The kernel's configuration: the header `autoconf.h`, based on the one that the source ships for pc99.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Config;
use crate::error::{IoContext, KernelError};

/// Where the header lies in the source.
pub(crate) const PATH: &str = "include/plat/pc99/autoconf.h";

/// Options of the shipped configuration that are switched off.
const OFF: [&str; 4] = [
    // Claims a configuration that was verified, which this is not; it excludes the debug options.
    "VERIFICATION_BUILD",
    // Neither is in QEMU's TCG processor, and the kernel refuses to boot without what it was built for.
    "SUPPORT_PCID",
    "HUGE_PAGE",
    "X2APIC",
];

/// Options that get another value, or one at all.
const SET: [(&str, &str); 4] = [
    // With the shipped 2 ms an idle machine costs 2.7 % of a host CPU under TCG.
    ("TIMER_TICK_MS", "10"),
    // 2^16 slots of 32 bytes: two for each of the 16384 pages of 64 MiB, and as many to spare.
    ("ROOT_CNODE_SIZE_BITS", "16"),
    // The boot information is one page; 320 entries of 12 bytes fill it.
    ("MAX_NUM_BOOTINFO_UNTYPED_CAPS", "320"),
    ("XAPIC", "1"),
];

/// Options that a debug kernel has besides. `DEBUG_BUILD` comes from the Makefile as well.
const DEBUG: [(&str, &str); 2] = [("DEBUG_BUILD", "1"), ("PRINTING", "1")];

/// Options of the shipped configuration that are relied on.
const KEPT: [&str; 9] = [
    // Not used, but object types are numbered otherwise without it.
    "#define CONFIG_IOMMU 1",
    "#define CONFIG_FXSAVE 1",
    "#define CONFIG_XSAVE_SIZE 512",
    "#define CONFIG_FSGSBASE_INST 1",
    "#define CONFIG_SYSCALL 1",
    "#define CONFIG_FASTPATH 1",
    "#define CONFIG_IRQ_IOAPIC 1",
    "#define CONFIG_MAX_NUM_NODES 1",
    "#define CONFIG_NUM_PRIORITIES 256",
];

/// The header for a variant, from the header that the source ships.
///
/// Only the kernel's own options are kept in it, sorted; the shipped header holds those of a test suite's
/// libraries as well, and the date on which it was made.
pub(crate) fn header(shipped: &str, config: &Config) -> Result<String, KernelError> {
    let missing = |line: &str| KernelError::UnexpectedConfiguration { line: line.into() };
    for line in KEPT {
        if !shipped.lines().any(|l| l == line) {
            return Err(missing(line));
        }
    }
    let mut options: BTreeMap<&str, &str> = shipped
        .lines()
        .filter_map(|line| line.strip_prefix("#define CONFIG_")?.split_once(' '))
        .collect();
    for name in OFF {
        if options.remove(name).is_none() {
            return Err(missing(&format!("#define CONFIG_{name} 1")));
        }
    }
    options.extend(SET);
    if config.debug {
        options.extend(DEBUG);
    }
    options.retain(|name, _| !is_library_option(name));
    let lines = options
        .iter()
        .map(|(name, value)| format!("#define CONFIG_{name} {value}\n"));
    Ok(std::iter::once("#define AUTOCONF_INCLUDED\n".to_string())
        .chain(lines)
        .collect())
}

fn is_library_option(name: &str) -> bool {
    [
        "LIB",
        "HAVE_LIB",
        "APP_",
        "SEL4UTILS",
        "TESTPRINTER",
        "USER_",
        "BUILDSYS",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}

/// Writes the header into the source in the folder `tree`.
pub(crate) fn write(tree: &Path, header: &str) -> Result<(), KernelError> {
    let path = tree.join(PATH);
    fs::write(&path, header).at("write", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> String {
        let off = OFF.map(|name| format!("#define CONFIG_{name} 1"));
        let mut lines = vec![
            "/* made on a Wednesday */".to_string(),
            "#define CONFIG_TIMER_TICK_MS 2".to_string(),
            "#define CONFIG_LIB_SEL4 1".to_string(),
            "#define CONFIG_DOMAIN_SCHEDULE \"\"".to_string(),
        ];
        lines.extend(off);
        lines.extend(KEPT.map(String::from));
        lines.join("\n")
    }

    #[test]
    fn values_are_replaced_and_options_switched_off() {
        let header = header(&shipped(), &Config::release()).unwrap();
        assert!(header.contains("#define CONFIG_TIMER_TICK_MS 10\n"));
        assert!(header.contains("#define CONFIG_XAPIC 1\n"));
        assert!(header.contains("#define CONFIG_DOMAIN_SCHEDULE \"\"\n"));
        for gone in [
            "X2APIC",
            "VERIFICATION",
            "LIB_SEL4",
            "PRINTING",
            "Wednesday",
        ] {
            assert!(!header.contains(gone), "{gone} in {header}");
        }
    }

    #[test]
    fn a_debug_kernel_prints() {
        let header = header(&shipped(), &Config::debug()).unwrap();
        assert!(header.contains("#define CONFIG_PRINTING 1\n"));
    }

    #[test]
    fn an_unknown_configuration_is_refused() {
        for line in [KEPT[0], "#define CONFIG_HUGE_PAGE 1"] {
            let other = shipped().replace(line, "");
            let error = header(&other, &Config::release()).unwrap_err();
            assert!(error.to_string().contains(line), "{error}");
        }
    }
}
