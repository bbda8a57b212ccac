//! Each rule of the format, broken once: what the error says and where.

use std::path::Path;

use microkit_sdf::{PageSize, Target, find, parse, read};

const DOMAIN: &str = r#"<protection_domain name="a" priority="5"><program_image path="a.elf" />"#;

fn first_problem(text: &str) -> String {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(directory.path().join("empty.bin"), b"").expect("it is writable");
    std::fs::write(directory.path().join("big.bin"), vec![1; 0x1001]).expect("it is writable");
    parse(text, &Target::X86_64, &[directory.path()])
        .expect_err(text)
        .problems[0]
        .to_string()
}

/// The first problem of a system with these regions, and with this in the protection domain `a`.
fn inside(regions: &str, contents: &str) -> String {
    first_problem(&format!(
        "<system>{regions}\n{DOMAIN}\n{contents}\n</protection_domain></system>"
    ))
}

/// The first problem of a system of `a` (priority 5) and `b` (priority 5) with this behind them.
fn beside(rest: &str) -> String {
    let b = DOMAIN.replace("name=\"a\"", "name=\"b\"");
    first_problem(&format!(
        "<system>{DOMAIN}</protection_domain>{b}</protection_domain>\n{rest}\n</system>"
    ))
}

const R: &str = r#"<memory_region name="r" size="0x1000" />"#;

#[test]
fn protection_domains() {
    for (contents, expected) in [
        (
            r#"<map mr="x" vaddr="0x1000" />"#,
            "3:1: there is no memory region `x`",
        ),
        (
            r#"<map mr="r" vaddr="0x1001" />"#,
            "3:1: `r` is mapped at 0x1001, which is not a multiple of its page size, 0x1000",
        ),
        (
            r#"<map mr="r" vaddr="0x7fffffffb000" />"#,
            "3:1: `r`, mapped at 0x7fffffffb000, ends above the highest address, 0x7fffffffb000",
        ),
        (
            r#"<map mr="r" vaddr="0xfffffffffffff000" />"#,
            "3:1: `r`, mapped at 0xfffffffffffff000, ends above the highest address, 0x7fffffffb000",
        ),
        (
            r#"<map mr="r" vaddr="0x1000" perms="w" />"#,
            "3:1: a mapping is readable or executable; there are none for writing only",
        ),
        (
            r#"<map mr="r" vaddr="0x1000" perms="rwx" />"#,
            "3:1: no mapping is both writable and executable",
        ),
        (
            r#"<map mr="r" vaddr="0x1000" perms="q" />"#,
            "3:35: `perms`: `q` is none of `r`, `w` and `x`",
        ),
        (
            r#"<map mr="r" />"#,
            "3:1: `map` needs the attribute `vaddr`",
        ),
        (
            r#"<map mr="r" vaddr="0x1000" color="red" />"#,
            "3:28: `color` is not an attribute of `map`",
        ),
        (
            r#"<map mr="r" vaddr="+1" />"#,
            "3:20: `vaddr`: `+1` is not a number of 64 bits in decimal or hexadecimal (0x)",
        ),
        (
            "<map mr=\"r\" vaddr=\"0x1000\" />\n<map mr=\"r\" vaddr=\"0x1000\" />",
            "4:1: the mapping of `r` overlaps with that of `r`",
        ),
        (
            "<map mr=\"r\" vaddr=\"0x1000\" setvar_vaddr=\"s\" />\n<map mr=\"r\" vaddr=\"0x2000\" setvar_size=\"s\" />",
            "4:1: the symbol `s` is set twice",
        ),
        (
            r#"<map mr="r" vaddr="0x1000" setvar_prefill_size="s" />"#,
            "3:1: `setvar_prefill_size`: `r` has no prefill file",
        ),
        (
            r#"<setvar symbol="s" region_paddr="r" />"#,
            "3:1: `r` has no physical address, as x86 requires here",
        ),
        (
            r#"<setvar symbol="s" region_paddr="q" />"#,
            "3:1: there is no memory region `q`",
        ),
        (
            r#"<irq id="62" pin="1" vector="1" />"#,
            "3:10: `id`: `62` is out of range: it must be 0 to 61 in decimal",
        ),
        (
            r#"<irq id="1" pin="1" vector="108" />"#,
            "3:29: `vector`: `108` is out of range: it must be 0 to 107 in decimal",
        ),
        (
            r#"<irq id="1" pin="-1" vector="1" />"#,
            "3:18: `pin`: `-1` is out of range: it must be 0 to 2147483647 in decimal",
        ),
        (
            r#"<irq id="1" pin="1" vector="1" polarity="up" />"#,
            "3:42: `polarity`: `up` is neither `high` nor `low`",
        ),
        (
            r#"<irq id="1" pin="1" vector="1" trigger="up" />"#,
            "3:41: `trigger`: `up` is neither `level` nor `edge`",
        ),
        (
            r#"<irq id="1" irq="1" />"#,
            "3:1: the target has no such thing as a numbered interrupt",
        ),
        (
            r#"<irq id="1" />"#,
            "3:1: `irq` needs one of the attributes `irq`, `pin` and `pcidev`",
        ),
        (
            r#"<irq id="1" pcidev="0:20.0" handle="0" vector="1" />"#,
            "3:21: `pcidev`: `0:20.0` is not a PCI address: expected bus:device.function in hexadecimal, up to ff:1f.7",
        ),
        (
            "<irq id=\"1\" pin=\"1\" vector=\"7\" />\n<irq id=\"2\" pin=\"2\" vector=\"7\" />",
            "4:1: the interrupt vector 7 is claimed twice, first by `a`, at 3:1",
        ),
        (
            "<irq id=\"1\" pin=\"1\" vector=\"6\" />\n<irq id=\"1\" pin=\"2\" vector=\"7\" />",
            "4:1: the channel id 1 of `a` is used twice or above 61",
        ),
        (
            r#"<ioport id="0" addr="0xfff8" size="9" />"#,
            "3:1: the ports are not within 0 to 0xffff",
        ),
        (
            r#"<ioport id="0" addr="0x60" size="0" />"#,
            "3:34: `size`: `0` is out of range: it must be 1 to 65536 in decimal",
        ),
        (
            "<ioport id=\"0\" addr=\"0x60\" size=\"2\" />\n<ioport id=\"1\" addr=\"0x61\" size=\"1\" />",
            "4:1: the I/O port 0x61 is claimed twice, first by `a`, at 3:1",
        ),
        (
            "<ioport id=\"0\" addr=\"0x60\" size=\"1\" />\n<ioport id=\"0\" addr=\"0x61\" size=\"1\" />",
            "4:1: the I/O port id 0 is used twice or above 61",
        ),
        (
            "<program_image path=\"b\" />",
            "2:1: a protection domain has one `program_image`, not 2",
        ),
        (
            "<virtual_machine name=\"v\" />",
            "3:1: virtual machines (`virtual_machine`) are not supported",
        ),
        ("<cspace />", "3:1: `cspace` is not supported"),
        (
            "<thing />",
            "3:1: `thing` is not an element of `protection_domain`",
        ),
        ("word", "2:72: text is not allowed in `protection_domain`"),
        (
            r#"<protection_domain name="c"><program_image path="c" /></protection_domain>"#,
            "3:1: `protection_domain` needs the attribute `id`",
        ),
        (
            r#"<protection_domain name="c" id="62"><program_image path="c" /></protection_domain>"#,
            "3:33: `id`: 62 is out of range: it must be 0 to 61",
        ),
        (
            "<protection_domain name=\"c\" id=\"1\"><program_image path=\"c\" /></protection_domain>\n<protection_domain name=\"d\" id=\"1\"><program_image path=\"c\" /></protection_domain>",
            "4:1: two children of one protection domain have the id 1",
        ),
    ] {
        assert_eq!(inside(R, contents), expected, "{contents}");
    }
}

#[test]
fn attributes_of_protection_domains() {
    for (attributes, expected) in [
        (
            r#"name="a" priority="255""#,
            "2:39: `priority`: 255 is out of range: it must be 0 to 254",
        ),
        (
            r#"name="monitor""#,
            "2:1: the name `monitor` is Microkit's own",
        ),
        (
            r#"priority="1""#,
            "2:1: `protection_domain` needs the attribute `name`",
        ),
        (
            r#"name="a" budget="1000" period="100""#,
            "2:1: the budget of `a` is above its period",
        ),
        (
            r#"name="a" passive="maybe""#,
            "2:38: `passive`: `maybe` is neither `true` nor `false`",
        ),
        (
            r#"name="a" fpu="1""#,
            "2:34: `fpu`: `1` is neither `true` nor `false`",
        ),
        (
            r#"name="a" cpu="1""#,
            "2:1: `a` is placed on core 1; there are 1, from 0",
        ),
        (
            r#"name="a" stack_size="0x800""#,
            "2:1: the stack of `a`, 0x800 bytes, is not a multiple of 0x1000 from 0x1000 to 0x1000000",
        ),
        (
            r#"name="a" stack_size="0x1001000""#,
            "2:1: the stack of `a`, 0x1001000 bytes, is not a multiple of 0x1000 from 0x1000 to 0x1000000",
        ),
        (
            r#"name="a" id="1""#,
            "2:29: `id` is not an attribute of `protection_domain`",
        ),
        (r#"name="a" smc="true""#, "2:29: `smc` is not supported"),
    ] {
        let text = format!(
            "<system>\n<protection_domain {attributes}><program_image path=\"p\" /></protection_domain></system>"
        );
        assert_eq!(first_problem(&text), expected, "{attributes}");
    }
    let long = "n".repeat(65);
    let text = format!(
        "<system>\n<protection_domain name=\"{long}\"><program_image path=\"p\" /></protection_domain></system>"
    );
    assert!(first_problem(&text).ends_with("has not 1 to 64 bytes"));
}

#[test]
fn memory_regions() {
    for (regions, expected) in [
        (
            r#"<memory_region size="0x1000" />"#,
            "1:9: `memory_region` needs the attribute `name`",
        ),
        (
            r#"<memory_region name="m" />"#,
            "1:9: `memory_region` needs the attribute `size`",
        ),
        (
            r#"<memory_region name="m" size="0x1800" />"#,
            "1:9: the size of `m`, 0x1800, is not a multiple of its page size, 0x1000, above 0",
        ),
        (
            r#"<memory_region name="m" size="0x1000" page_size="0x4000" />"#,
            "1:58: `page_size`: pages of 0x4000 bytes do not exist: use 0x1000 or 0x200000",
        ),
        (
            r#"<memory_region name="m" size="0x200000" page_size="0x200_000" phys_addr="0x1000" />"#,
            "1:9: the physical address of `m`, 0x1000, is not a multiple of its page size, 0x200000",
        ),
        (
            "<memory_region name=\"m\" size=\"0x2000\" phys_addr=\"0x1000\" />\n<memory_region name=\"n\" size=\"0x1000\" phys_addr=\"0x2000\" />",
            "2:1: the physical addresses of `n` overlap with those of `m`",
        ),
        (
            r#"<memory_region name="m" size="0x2000" phys_addr="0xfffffffffffff000" />"#,
            "1:9: `m` ends above the highest physical address",
        ),
        (
            "<memory_region name=\"m\" size=\"0x1000\" />\n<memory_region name=\"m\" size=\"0x1000\" />",
            "2:1: there are two memory regions `m`",
        ),
        (
            r#"<memory_region name="m" prefill_path="none.bin" />"#,
            "1:9: the prefill file `none.bin` does not exist",
        ),
        (
            r#"<memory_region name="m" prefill_path="empty.bin" />"#,
            "1:9: the prefill file `empty.bin` is empty",
        ),
        (
            r#"<memory_region name="m" size="0x1000" prefill_path="big.bin" />"#,
            "1:9: the prefill file of `m` has 4097 bytes, the region 4096",
        ),
        (
            r#"<memory_region name="m" size="0x1000" prefill_bootinfo="fdt" />"#,
            "1:47: `prefill_bootinfo` is not supported",
        ),
    ] {
        assert_eq!(inside(regions, ""), expected, "{regions}");
    }
}

#[test]
fn systems_and_channels() {
    for (rest, expected) in [
        (
            r#"<channel><end pd="a" id="0" /></channel>"#,
            "2:1: a channel has two `end` elements, not 1",
        ),
        (
            r#"<channel><end pd="a" id="0" /><end pd="c" id="0" /></channel>"#,
            "2:31: there is no protection domain `c`",
        ),
        (
            r#"<channel><end pd="a" id="62" /><end pd="b" id="0" /></channel>"#,
            "2:26: `id`: `62` is out of range: it must be 0 to 61 in decimal",
        ),
        (
            r#"<channel><end pd="a" id="-1" /><end pd="b" id="0" /></channel>"#,
            "2:26: `id`: `-1` is out of range: it must be 0 to 61 in decimal",
        ),
        (
            r#"<channel><end pd="a" /><end pd="b" id="0" /></channel>"#,
            "2:10: `end` needs the attribute `id`",
        ),
        (
            r#"<channel><end pd="a" id="0" pp="true" /><end pd="b" id="0" /></channel>"#,
            "2:10: `a` (priority 5) calls `b` (priority 5), whose priority must be higher",
        ),
        (
            r#"<channel><end pd="a" id="0" pp="true" /><end pd="b" id="0" pp="true" /></channel>"#,
            "2:1: only one end of a channel may make protected calls",
        ),
        (
            "<channel><end pd=\"a\" id=\"0\" /><end pd=\"b\" id=\"0\" /></channel>\n<channel><end pd=\"a\" id=\"0\" /><end pd=\"b\" id=\"1\" /></channel>",
            "3:10: the channel id 0 of `a` is used twice or above 61",
        ),
        (
            r#"<channel><stop /></channel>"#,
            "2:1: a channel has two `end` elements, not 0",
        ),
        (
            r#"<protection_domain name="a"><program_image path="a" /></protection_domain>"#,
            "2:1: there are two protection domains `a`",
        ),
        (
            "<domains />",
            "2:1: domain schedules (`domains`) are not supported",
        ),
        ("<thing />", "2:1: `thing` is not an element of `system`"),
        (
            "<io_address_space name=\"n\" peripheral_id=\"0:2.0\" domain_id=\"1\" />\n<io_address_space name=\"m\" peripheral_id=\"0:2.0\" domain_id=\"2\" />",
            "3:1: the device 00:02.0 has two I/O address spaces",
        ),
        (
            r#"<io_address_space name="n" peripheral_id="0:2.0" domain_id="1"><iomap mr="q" iovaddr="0" /></io_address_space>"#,
            "2:64: there is no memory region `q`",
        ),
    ] {
        assert_eq!(beside(rest), expected, "{rest}");
    }
    assert_eq!(
        first_problem("<system />"),
        "1:1: a system has at least one protection domain"
    );
    assert_eq!(
        first_problem("<sistem />"),
        "1:1: the root element is `sistem`, not `system`"
    );
    assert!(first_problem("<system>\n</sistem>").starts_with("2:1: "));
    let many: String = (0..64)
        .map(|i| DOMAIN.replace("name=\"a\"", &format!("name=\"a{i}\"")) + "</protection_domain>")
        .collect();
    assert_eq!(
        first_problem(&format!("<system>{many}</system>")),
        "1:1: there are 64 protection domains; Microkit allows 63"
    );
}

#[test]
fn every_problem_is_reported_in_the_order_of_the_file() {
    let text = format!(
        "<system>\n<thing />\n{DOMAIN}\n<map mr=\"r\" />\n<irq id=\"x\" pin=\"0\" vector=\"0\" /></protection_domain>\n</system>"
    );
    let error = parse(&text, &Target::X86_64, &[]).expect_err("it has three problems");
    let lines: Vec<u32> = error.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 4, 5]);
}

#[test]
fn a_region_takes_its_size_from_its_file_and_its_pages_from_its_addresses() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(directory.path().join("data.bin"), vec![1; 0x1001]).expect("it is writable");
    let text = format!(
        r#"<system><memory_region name="data" prefill_path="data.bin" />
        <memory_region name="large" size="0x400000" /><memory_region name="odd" size="0x400000" />
        {DOMAIN}<map mr="data" vaddr="0x1000" perms="r" setvar_prefill_size="length" />
        <map mr="large" vaddr="0x40000000" /><map mr="odd" vaddr="0x50001000" />
        </protection_domain></system>"#
    );
    let paths = [Path::new("/nowhere"), directory.path()];
    let system = parse(&text, &Target::X86_64, &paths).expect("it is correct");
    let [data, large, odd] = &system.memory_regions[..] else {
        panic!("there are three regions")
    };
    assert_eq!(data.size, 0x2000);
    assert_eq!(system.page_size(large), PageSize::Large);
    assert_eq!(system.page_size(odd), PageSize::Small);
    assert_eq!(
        find(Path::new("data.bin"), &paths),
        Some(directory.path().join("data.bin"))
    );
}

/// Returns all problems of a system with the PDs `a` and `b`, on lines 2 and 5, whose second and third lines these are.
fn both(target: &Target, a: &str, b: &str) -> Vec<String> {
    let other = DOMAIN.replace("name=\"a\"", "name=\"b\"");
    let text = format!(
        "<system>\n{DOMAIN}\n{a}</protection_domain>\n{other}\n{b}</protection_domain></system>"
    );
    match parse(&text, target, &[]) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn one_interrupt_line_belongs_to_one_element_of_one_domain() {
    for target in [Target::AARCH64, Target::RISCV64] {
        let said = "the interrupt 42 is claimed twice, first by `a`, at 3:1";
        let (one, other) = (r#"<irq irq="42" id="1" />"#, r#"<irq irq="42" id="2" />"#);
        let twice = format!("{one}\n{other}");
        assert_eq!(both(&target, &twice, ""), [format!("4:1: {said}")]);
        assert_eq!(both(&target, one, other), [format!("5:1: {said}")]);
        let edge = r#"<irq irq="42" id="2" trigger="edge" />"#;
        assert_eq!(both(&target, one, edge), [format!("5:1: {said}")]);
        assert!(both(&target, one, r#"<irq irq="43" id="1" />"#).is_empty());
    }
    let pin = |ioapic, pin, vector| {
        format!(r#"<irq id="{vector}" ioapic="{ioapic}" pin="{pin}" vector="{vector}" />"#)
    };
    let message = |device, handle, vector| {
        format!(r#"<irq id="{vector}" pcidev="{device}" handle="{handle}" vector="{vector}" />"#)
    };
    for (one, other, said) in [
        (pin(0, 9, 1), pin(0, 9, 2), "the pin 9 of I/O APIC 0"),
        (pin(0, 9, 1), pin(0, 8, 1), "the interrupt vector 1"),
        (
            pin(0, 9, 1),
            message("0:1.0", 0, 1),
            "the interrupt vector 1",
        ),
        (
            message("0:1.0", 3, 1),
            message("00:01.0", 3, 2),
            "the message 3 of the PCI device 00:01.0",
        ),
    ] {
        let expected = format!("5:1: {said} is claimed twice, first by `a`, at 3:1");
        assert_eq!(both(&Target::X86_64, &one, &other), [expected]);
    }
    // A pin's default I/O APIC is the first.
    let implicit = r#"<irq id="5" pin="9" vector="5" />"#;
    assert_eq!(both(&Target::X86_64, &pin(0, 9, 1), implicit).len(), 1);
    for (one, other) in [
        (pin(0, 9, 1), pin(1, 9, 2)),
        (message("0:1.0", 0, 1), message("0:1.0", 1, 2)),
        (message("0:1.0", 0, 1), message("0:1.1", 0, 2)),
    ] {
        assert!(both(&Target::X86_64, &one, &other).is_empty());
    }
}

#[test]
fn an_io_port_belongs_to_one_element_of_one_domain() {
    let ports =
        |id, address, size| format!(r#"<ioport id="{id}" addr="{address:#x}" size="{size}" />"#);
    let wide = ports(0, 0x60, 8);
    let (said, place) = ("claimed twice, first by `a`", "3:1");
    assert_eq!(
        both(&Target::X86_64, &wide, &ports(0, 0x67, 2)),
        [format!("5:1: the I/O port 0x67 is {said}, at {place}")]
    );
    assert_eq!(
        both(&Target::X86_64, &wide, &ports(0, 0x5e, 4)),
        [format!(
            "5:1: the I/O ports 0x60 to 0x61 are {said}, at {place}"
        )]
    );
    // Each of several is named.
    let several = format!("{}{}", ports(0, 0x60, 1), ports(1, 0x62, 1));
    assert_eq!(
        both(&Target::X86_64, &several, &ports(0, 0x60, 8)),
        [
            format!("5:1: the I/O port 0x60 is {said}, at 3:1"),
            format!("5:1: the I/O port 0x62 is {said}, at 3:39"),
        ]
    );
    assert!(both(&Target::X86_64, &wide, &ports(0, 0x68, 8)).is_empty());
}

#[test]
fn what_the_model_lacks_is_told_apart_from_faults() {
    let text = r#"<system><protection_domain name="a" smc="true"><program_image path="a.elf" />
<virtual_machine name="v" /><map mr="r" /></protection_domain></system>"#;
    let reading = read(text, &Target::AARCH64, &[]);
    let problems: Vec<(String, bool)> = reading
        .problems
        .iter()
        .map(|problem| (problem.to_string(), problem.unsupported))
        .collect();
    let expected = [
        ("1:37: `smc` is not supported", true),
        (
            "2:1: virtual machines (`virtual_machine`) are not supported",
            true,
        ),
        ("2:29: `map` needs the attribute `vaddr`", false),
    ];
    assert_eq!(
        problems,
        expected.map(|(text, kind)| (text.to_owned(), kind))
    );
    // The rest is there.
    let images: Vec<_> = reading
        .system
        .domains()
        .iter()
        .map(|(domain, _)| &domain.program_image)
        .collect();
    assert_eq!(images, [Path::new("a.elf")]);
}

#[test]
fn a_prefill_file_is_a_regular_file() {
    let text = format!(
        r#"<system><memory_region name="m" size="0x1000" prefill_path="/dev/zero" />{DOMAIN}</protection_domain></system>"#
    );
    let error = parse(&text, &Target::X86_64, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1:9: the prefill file `/dev/zero` is not a regular file"
    );
}
