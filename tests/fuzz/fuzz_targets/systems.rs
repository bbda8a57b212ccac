//! Microkit system files (.system): whatever the text, it is read or refused with places that lie in it; and what is
//! read passes the checks and is read back unchanged after it was written.
//!
//! Input: edits of a correct system (see `fuzz::Seed`).
#![no_main]

use fuzz::Seed;
use libfuzzer_sys::fuzz_target;
use microkit_sdf::{Target, parse};

const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "61",
    "62",
    "63",
    "-1",
    "254",
    "255",
    "4096",
    "0x1000",
    "0x1_000",
    "0x200000",
    "0x20000000",
    "0x7fffffffe000",
    "0x7fffffffffff",
    "0xffffffffffffffff",
    "0x10000000000000000",
    "true",
    "false",
    "r",
    "rw",
    "rx",
    "rwx",
    "w",
    "edge",
    "level",
    "low",
    "high",
    "a",
    "a b",
    "ä",
    "&amp;",
    "&#10;",
    "&#9;x",
    "&lt;",
    "../x",
    "/x",
];

const LINES: &[&str] = &[
    "<!-- a -->",
    "<!-- - -->",
    "<memory_region name=\"m\" size=\"0x1000\" />",
    "<memory_region name=\"n\" size=\"0x200000\" page_size=\"0x200000\" phys_addr=\"0x40000000\" />",
    "<map mr=\"m\" vaddr=\"0x20000000\" perms=\"rw\" cached=\"false\" setvar_vaddr=\"v\" />",
    "<map mr=\"n\" vaddr=\"0x40000000\" perms=\"r\" setvar_size=\"s\" setvar_prefill_size=\"p\" />",
    "<protection_domain name=\"p\" priority=\"1\">",
    "<protection_domain name=\"c\" id=\"3\" priority=\"1\" budget=\"10\" period=\"20\" passive=\"true\" fpu=\"false\">",
    "<program_image path=\"p.elf\" />",
    "<program_image path=\"p.elf\" path_for_symbols=\"q.elf\" />",
    "</protection_domain>",
    "<irq irq=\"33\" id=\"4\" trigger=\"edge\" />",
    "<irq pin=\"3\" vector=\"4\" id=\"5\" ioapic=\"0\" />",
    "<irq pcidev=\"0:1.2\" vector=\"9\" id=\"6\" handle=\"1\" />",
    "<ioport id=\"7\" addr=\"0x3f8\" size=\"8\" setvar_id=\"i\" setvar_addr=\"a\" />",
    "<setvar symbol=\"x\" region_paddr=\"n\" />",
    "<channel>",
    "<end pd=\"p\" id=\"8\" pp=\"true\" notify=\"false\" setvar_id=\"e\" />",
    "<end pd=\"c\" id=\"8\" />",
    "</channel>",
    "<virtual_machine name=\"v\" />",
    "<io_address_space name=\"io\" peripheral_id=\"0:1.2\" domain_id=\"7\">",
    "<iomap mr=\"n\" iovaddr=\"0x1000\" />",
    "</io_address_space>",
];

/// All that a system can have, except what fills regions: that would be files.
const DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- A system with everything. -->
<system>
    <memory_region name="shared" size="0x4000" page_size="0x1000" />
    <!-- what a device writes -->
    <memory_region name="dma" size="0x200000" page_size="0x200000" phys_addr="0x40000000" />
    <memory_region name="registers" size="0x1000" phys_addr="0xfed00000" />
    <protection_domain name="parent" priority="254" stack_size="0x4000">
        <program_image path="parent.elf" />
        <map mr="shared" vaddr="0x20000000" perms="r" setvar_vaddr="shared" setvar_size="shared_size" />
        <protection_domain name="driver" id="0" setvar_id="driver_id" priority="200" budget="100" period="200">
            <program_image path="driver.elf" path_for_symbols="driver.sym" />
            <map mr="dma" vaddr="0x20200000" perms="rw" />
            <map mr="registers" vaddr="0x30000000" perms="rw" cached="false" />
            <irq pin="11" vector="1" id="1" trigger="level" polarity="low" setvar_id="irq_id" />
            <irq pcidev="0:3.0" handle="0" vector="2" id="2" />
            <ioport id="3" addr="0x3f8" size="8" setvar_id="port_id" setvar_addr="port" />
            <setvar symbol="dma_address" region_paddr="dma" />
        </protection_domain>
        <protection_domain name="client" id="1" priority="100" passive="true" fpu="false" cpu="0">
            <program_image path="client.elf" />
            <map mr="shared" vaddr="0x20000000" perms="rw" />
        </protection_domain>
    </protection_domain>
    <channel>
        <end pd="client" id="4" pp="true" notify="false" setvar_id="server" />
        <end pd="driver" id="4" />
    </channel>
    <channel>
        <end pd="client" id="5" />
        <end pd="parent" id="9" notify="false" />
    </channel>
    <io_address_space name="nic" peripheral_id="0:3.0" domain_id="1">
        <iomap mr="shared" iovaddr="0x40000000" perms="rw" />
    </io_address_space>
</system>"#;

const SEED: Seed = Seed {
    document: DOCUMENT,
    values: VALUES,
    lines: LINES,
};

fuzz_target!(
    init: assert!(parse(DOCUMENT, &Target::X86_64, &[]).is_ok()),
    |input: &[u8]| read_and_write(&SEED.edited(input))
);

fn read_and_write(text: &str) {
    match parse(text, &Target::X86_64, &[]) {
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                let line = text.split('\n').nth(problem.line as usize - 1);
                let length = line
                    .unwrap_or_else(|| panic!("no such line: {problem}"))
                    .chars()
                    .count();
                assert!(
                    (1..=length + 1).contains(&(problem.column as usize)),
                    "{problem}"
                );
            }
        }
        Ok(system) => {
            assert_eq!(system.check(&Target::X86_64), Ok(()));
            let written = system.to_xml();
            let read = parse(&written, &Target::X86_64, &[]);
            assert_eq!(read.as_ref(), Ok(&system), "{written}");
            assert_eq!(system.to_xml(), written);
        }
    }
}
