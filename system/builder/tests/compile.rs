//! What the builder makes of correct descriptions: sound, the same each time, and readable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use microkit_sdf::{PageSize, Permissions, ProtectionDomain, System, Target, parse};
use proptest::prelude::*;
use selkie::{Artefacts, Compiled, Plan, plan};
use wiring::{Role, Span, Value, Wiring};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A workspace with programs and a board of its own.
fn root() -> &'static Path {
    static ROOT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        for folder in ["protections", "system", "site"] {
            copy(&golden().join(folder), &root.path().join(folder));
        }
        root
    });
    root.path()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it is writable");
    for entry in fs::read_dir(from).expect("it is part of the repository") {
        let path = entry.expect("it is readable").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("it is readable");
        }
    }
}

const DRIVERS: &str = r#"
[system]
name = "test"

[protection.supervisor]
program = "supervisor"

[protection.console]
program = "console"
device = "serial0"

[protection.clock]
program = "clock"
device = "clock0"

[protection.entropy]
program = "entropy"
device = "rng0"

[protection.pci]
program = "pci"
device = "pci0"

[protection.nic]
program = "net-driver"
device = "net0"

[protection.tcpip]
program = "tcpip"
packets = "nic"
"#;

const HTTPS: &str = r#"
[protection.vault]
program = "vault"
data = { keys = { make = "ed25519", names = ["selkie.test"] } }

[protection.tls]
program = "tls"
streams = { from = "tcpip", listen = [443, 8443] }
sign = { from = "vault", client = true }

[protection.site]
program = "http"
streams = { from = "tls", connections = 64 }
status = ["tcpip", "tls", "nic"]
config = { title = "Test" }
data = { site = "SITE" }
"#;

fn https() -> String {
    let site = root().join("site");
    format!("{DRIVERS}{HTTPS}").replace("SITE", &site.display().to_string())
}

/// A statically linked program with one segment at this address.
fn elf(address: u64) -> Vec<u8> {
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
    elf.resize(16, 0);
    // Executable, x86-64, version 1, entry, program headers, no sections.
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [address, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // PT_LOAD, readable and executable.
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, address, address, 120, 0x2345, 0x1000u64] {
        elf.extend(word.to_le_bytes());
    }
    elf
}

/// Plans a description and compiles it with stand-ins for its programs.
fn compiled(text: &str) -> (Plan, Compiled, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("test.toml");
    fs::write(&path, text).expect("it is writable");
    let plan = plan(root(), &path, "pc99").unwrap_or_else(|error| panic!("{error}"));
    let program = folder.path().join("program.elf");
    fs::write(&program, elf(0x20_0000)).expect("it is writable");
    let elfs = plan.programs().into_iter();
    let artefacts = Artefacts {
        elfs: elfs
            .map(|name| (name.to_string(), program.clone()))
            .collect(),
        symbols: b"symbols".to_vec(),
    };
    let compiled = plan.compile(&artefacts).expect("the plan is right");
    (plan, compiled, folder)
}

/// The mappings of each protection domain by name.
fn domains(system: &System) -> BTreeMap<&str, &ProtectionDomain> {
    let all = system.domains().into_iter();
    all.map(|(domain, _)| (domain.name.as_str(), domain))
        .collect()
}

/// Checks that a wiring's span is a mapping with these permissions.
fn expect_map(system: &System, name: &str, span: Span, permissions: Permissions, cached: bool) {
    let end = span.address + span.size;
    let maps = domains(system)[name].maps.iter();
    let mut next = span.address;
    for map in maps.filter(|map| (span.address..end).contains(&map.vaddr)) {
        assert_eq!(
            (map.vaddr, map.permissions, map.cached),
            (next, permissions, cached)
        );
        next += system.region(&map.region).expect("it exists").size;
    }
    assert_eq!(next, end, "{name} at {:#x}", span.address);
}

/// Checks what a wiring says against the system.
fn check_wiring(system: &System, wiring: &Wiring) {
    let name = &wiring.name;
    let (read, write) = (Permissions::READ, Permissions::READ_WRITE);
    if let Some(heap) = wiring.heap {
        expect_map(system, name, heap, write, true);
    }
    for (_, span) in &wiring.data {
        let mut span = *span;
        span.size = span.size.next_multiple_of(0x1000);
        expect_map(system, name, span, read, true);
    }
    for connection in &wiring.connections {
        if let Some(own) = connection.own {
            expect_map(system, name, own, write, true);
        }
        if let Some(peers) = connection.peers {
            expect_map(system, name, peers, read, true);
        }
        if let Some(pool) = &connection.pool {
            expect_map(system, name, pool.span, write, true);
        }
    }
    if let Some(device) = &wiring.device {
        for registers in &device.registers {
            expect_map(system, name, registers.span, write, false);
        }
        let irqs: Vec<u8> = domains(system)[name.as_str()]
            .irqs
            .iter()
            .map(|i| i.id)
            .collect();
        assert_eq!(device.interrupts, irqs);
        let ports = domains(system)[name.as_str()].io_ports.iter();
        let ports: Vec<(u8, u16, u32)> = ports.map(|p| (p.id, p.address, p.size)).collect();
        let said = device
            .ports
            .iter()
            .map(|p| (p.id, p.base, u32::from(p.size)));
        assert_eq!(said.collect::<Vec<_>>(), ports);
    }
}

/// Checks that both sides of a connection say the same of it.
fn check_connections(system: &System, wirings: &[Wiring]) {
    let mut channels = BTreeSet::new();
    for wiring in wirings {
        for connection in &wiring.connections {
            let peer = wirings.iter().find(|other| other.name == connection.peer);
            let peer = peer.expect("the peer exists");
            let other = peer.connections.iter().find(|other| {
                other.peer == wiring.name
                    && other.interface == connection.interface
                    && other.role != connection.role
            });
            let other = other.expect("the peer knows of the connection");
            let length = |span: Option<Span>| span.map(|span| span.size);
            assert_eq!(length(connection.own), length(other.peers));
            let physical = |c: &wiring::Connection| c.pool.map(|pool| pool.physical);
            assert_eq!(physical(connection), physical(other));
            let (Some(id), Some(other_id)) = (connection.channel, other.channel) else {
                assert_eq!((connection.channel, other.channel), (None, None));
                continue;
            };
            if connection.role == Role::Consumer {
                channels.insert((wiring.name.clone(), id, peer.name.clone(), other_id));
            }
        }
    }
    let described = system.channels.iter().map(|channel| {
        let [a, b] = &channel.ends;
        (a.domain.clone(), a.id, b.domain.clone(), b.id)
    });
    assert_eq!(described.collect::<BTreeSet<_>>(), channels);
}

/// Checks that nobody has more than they need.
fn check_authority(plan: &Plan, system: &System) {
    let mut writers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, domain) in domains(system) {
        let mut last = Range { start: 0, end: 0 };
        for map in &domain.maps {
            assert!(!map.permissions.execute);
            let size = system.region(&map.region).expect("it exists").size;
            // A region's small pages follow its large ones.
            let guard = u64::from(!map.region.ends_with(".rest"));
            assert!(
                map.vaddr >= last.end + guard,
                "{name}: no guard before {}",
                map.region
            );
            last = map.vaddr..map.vaddr + size;
            users.entry(&map.region).or_default().push(name);
            if map.permissions.write {
                writers.entry(&map.region).or_default().push(name);
            }
        }
    }
    for region in &system.memory_regions {
        let name = region.name.as_str();
        let pool = name.contains(".pool_");
        let writers = writers.get(name).map_or(0, Vec::len);
        assert_eq!(writers <= 1, !pool, "{name}");
        assert!(users[name].len() <= 2, "{name}");
        if region.prefill.is_some() {
            assert_eq!((writers, users[name].len()), (0, 1), "{name}");
        }
        if let Some(address) = region.phys_addr {
            let board = &plan.board;
            let window = board.dma_address..board.dma_address + board.dma_size;
            let inside = window.contains(&address) && address + region.size <= window.end;
            assert!(inside || users[name].len() == 1, "{name}");
        }
        let large = PageSize::Large.bytes();
        assert!(
            region.page_size == Some(PageSize::Large) || region.size < large,
            "{name}"
        );
    }
}

fn check(plan: &Plan, compiled: &Compiled) {
    assert_eq!(compiled.system.check(&Target::X86_64), Ok(()));
    for wiring in &compiled.wirings {
        check_wiring(&compiled.system, wiring);
        assert_eq!(wiring.system, plan.name);
    }
    check_connections(&compiled.system, &compiled.wirings);
    check_authority(plan, &compiled.system);
    for connection in &plan.connections {
        if connection.interface.calls {
            let priority = |index: usize| plan.protections[index].priority;
            assert!(priority(connection.provider) > priority(connection.consumer));
        }
    }
}

#[test]
fn a_system_is_sound_and_complete() {
    let (plan, compiled, _folder) = compiled(&https());
    check(&plan, &compiled);
    let wiring = |name: &str| {
        let mut wirings = compiled.wirings.iter();
        wirings.find(|w| w.name == name).expect("it has a wiring")
    };
    let listen = wiring("tls")
        .connection("streams")
        .expect("it is connected");
    let ports = Value::List(vec![Value::Integer(443), Value::Integer(8443)]);
    assert!(listen.parameters.contains(&("listen".into(), ports)));
    assert_eq!(listen.integer("connections"), Ok(256));
    let site = wiring("site");
    assert_eq!(site.connections_of("status").count(), 3);
    assert_eq!(site.text("title"), Ok("Test"));
    assert_eq!(site.domains.len(), plan.protections.len());
    assert!(wiring("tcpip").domains.is_empty());
    assert_eq!(wiring("tcpip").text("address"), Ok("dhcp"));
    let supervisor = &compiled.system.protection_domains[..];
    assert_eq!(supervisor.len(), 1);
    assert_eq!(supervisor[0].children.len(), plan.protections.len() - 1);
    let children = site.domains.iter().filter_map(|domain| domain.child);
    assert!(children.eq(0..plan.protections.len() as u8 - 1));
    let image = 0x3000;
    let tcpip = site.domains.iter().find(|domain| domain.name == "tcpip");
    let memory = tcpip.map(|domain| domain.memory);
    assert_eq!(memory, Some(image + (64 << 10) + (4 << 20)));
}

#[test]
fn configuration_space_is_told_of_the_devices() {
    let (_, compiled, _folder) = compiled(&https());
    let mut wirings = compiled.wirings.iter();
    let pci = wirings.find(|w| w.name == "pci").expect("it has a wiring");
    let nic = pci.connections_of("clients").find(|c| c.peer == "nic");
    let nic = nic.expect("the driver is connected");
    assert_eq!(nic.text("device"), Ok("net0"));
    assert_eq!(nic.integer("pci_address"), Ok(2 << 3));
    let bar = [4, 0xfe00_0000, 0x4000].map(Value::Integer).to_vec();
    let bars = Value::List(vec![Value::List(bar)]);
    assert!(nic.parameters.contains(&("bars".into(), bars)));
}

/// `openssl req -x509` makes a CA certificate, which can issue certificates but not authenticate a client.
#[test]
fn a_certificate_that_cannot_log_in_is_said() {
    use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("clients.pem");
    let made = |is_ca, usages: &[KeyUsagePurpose]| {
        let pair = rcgen::KeyPair::generate().expect("the system has random numbers");
        let mut params = rcgen::CertificateParams::new(vec![]).expect("no name is wrong");
        (params.is_ca, params.key_usages) = (is_ca, usages.to_vec());
        let certificate = params.self_signed(&pair).expect("the key can sign");
        fs::write(&file, certificate.pem()).expect("it is writable");
        let listen = "listen = [443, 8443] }";
        let data = format!("{listen}\ndata = {{ client_authorities = {file:?} }}");
        let (plan, ..) = compiled(&https().replace(listen, &data));
        plan.notes
    };
    let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
    let notes = made(authority(), &[]);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("certificate 1 of `client_authorities` of `tls`"));
    assert!(notes[0].contains("a peer that shows it as its own is refused"));
    let signs = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    assert_eq!(made(authority(), &signs), [] as [String; 0]);
    assert_eq!(made(IsCa::ExplicitNoCa, &[]), [] as [String; 0]);
}

#[test]
fn a_key_in_the_image_is_said() {
    let (made, ..) = compiled(&https());
    assert_eq!(made.notes, [] as [String; 0]);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let pair = rcgen::KeyPair::generate().expect("the system has random numbers");
    let params = rcgen::CertificateParams::new(vec!["selkie.test".into()]).expect("it is a name");
    let certificate = params.self_signed(&pair).expect("the key can sign");
    let (chain, key) = (
        folder.path().join("chain.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&chain, certificate.pem()).expect("it is writable");
    fs::write(&key, pair.serialize_pem()).expect("it is writable");
    let files = format!("{{ chain = {chain:?}, key = {key:?} }}");
    let text = https().replace("{ make = \"ed25519\", names = [\"selkie.test\"] }", &files);
    let (plan, ..) = compiled(&text);
    assert_eq!(plan.notes.len(), 1);
    assert!(plan.notes[0].contains("`vault` has a key from a file, for development"));
}

#[test]
fn a_certificate_that_no_client_of_the_vault_can_read_is_an_error() {
    let name = |index: usize| format!("{0}.{0}.{0}.{index}.test", "a".repeat(60));
    let names: Vec<String> = (0..400).map(name).collect();
    let text = https().replace("[\"selkie.test\"]", &format!("{names:?}"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("test.toml");
    fs::write(&path, text).expect("it is writable");
    let error = plan(root(), &path, "pc99").expect_err("it is too long");
    let error = error.to_string();
    let expected = "a vault cannot have these keys: the certificate chain of key 1: it is too long";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn layers_below_have_higher_priorities() {
    let (plan, _, _folder) = compiled(&https());
    let priority = |name: &str| {
        let mut protections = plan.protections.iter();
        let found = protections.find(|protection| protection.name == name);
        found.expect("it exists").priority
    };
    let order = ["site", "tls", "tcpip", "nic", "pci"];
    for pair in order.windows(2) {
        assert!(priority(pair[0]) < priority(pair[1]), "{pair:?}");
    }
    assert_eq!(priority("site"), 100);
    let others = plan.protections.iter().filter(|p| p.name != "supervisor");
    let highest = others.map(|p| p.priority).max();
    assert!(Some(priority("supervisor")) > highest);
}

#[test]
fn what_is_written_is_what_is_read_and_the_same_each_time() {
    let (_, first, folder) = compiled(&https());
    let (_, second, _folder) = compiled(&https());
    assert_eq!(first.system, second.system);
    assert_eq!(first.report.to_json(), second.report.to_json());
    let out = folder.path().join("out");
    first.write(&out).expect("the folder is writable");
    let text = fs::read_to_string(out.join("test.system")).expect("it was written");
    assert_eq!(
        parse(&text, &Target::X86_64, &[&out]),
        Ok(first.system.clone())
    );
    for wiring in &first.wirings {
        let file = out.join(format!("regions/{}.wiring.bin", wiring.name));
        let bytes = fs::read(file).expect("it was written");
        assert_eq!(Wiring::from_bytes(&bytes).as_ref(), Ok(wiring));
    }
    let report = fs::read_to_string(out.join("report.json")).expect("it was written");
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is JSON");
    for file in report["files"].as_array().expect("a list") {
        let path = out.join(file["path"].as_str().expect("text"));
        let length = fs::metadata(&path).expect("it was written").len();
        assert_eq!(Some(length), file["size"].as_u64(), "{}", path.display());
    }
    let diagram = fs::read_to_string(out.join("diagram.svg")).expect("it was written");
    let diagram = roxmltree::Document::parse(&diagram).expect("it is XML");
    let texts: Vec<&str> = diagram.descendants().filter_map(|n| n.text()).collect();
    for text in [
        "tcpip",
        "nic (net-driver)",
        "streams, ports 443, 8443",
        "net0",
    ] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
}

#[test]
fn the_microkit_description_reads_like_this() {
    let echo =
        "\n[protection.echo]\nprogram = \"echo\"\nstreams = { from = \"tcpip\", listen = 7 }\n";
    let (_, compiled, _folder) = compiled(&format!("{DRIVERS}{echo}"));
    let (xml, expected) = (compiled.system.to_xml(), golden().join("echo.system"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&expected, &xml).expect("the folder is writable");
    }
    let expected = fs::read_to_string(expected).unwrap_or_default();
    assert_eq!(xml, expected, "UPDATE_GOLDEN=1 accepts what is made now");
}

#[test]
fn a_large_site_is_split_into_large_and_small_pages() {
    let site = tempfile::tempdir().expect("a temporary folder can be made");
    fs::write(site.path().join("film"), vec![7; 5 << 20]).expect("it is writable");
    let text = https().replace(
        &root().join("site").display().to_string(),
        &site.path().display().to_string(),
    );
    let (plan, compiled, folder) = compiled(&text);
    check(&plan, &compiled);
    compiled.write(folder.path()).expect("it is writable");
    let read = |name| fs::read(folder.path().join("regions").join(name)).expect("it was written");
    let (large, rest) = (read("site.data.site.bin"), read("site.data.site.rest.bin"));
    assert_eq!(large.len(), 4 << 20);
    let bytes = [large, rest].concat();
    let bundle = http::bundle::Bundle::new(&bytes).expect("it is one");
    let site = compiled.wirings.iter().find(|w| w.name == "site");
    let span = site.and_then(|site| site.data("site").ok());
    assert_eq!(span.map(|span| span.size), Some(bytes.len() as u64));
    let film = bundle.find("film").and_then(|id| bundle.file(id));
    assert_eq!(film.map(|film| film.content.len()), Some(5 << 20));
}

#[test]
fn programs_that_cannot_be_used_are_named() {
    let (plan, _, folder) = compiled(&https());
    let error = plan
        .compile(&Artefacts::default())
        .expect_err("nothing was built");
    assert_eq!(error.to_string(), "the program `clock` was not built");
    let program = folder.path().join("high.elf");
    let fails_with = |bytes: &[u8]| {
        fs::write(&program, bytes).expect("it is writable");
        let elfs = plan.programs().into_iter();
        let artefacts = Artefacts {
            elfs: elfs
                .map(|name| (name.to_string(), program.clone()))
                .collect(),
            symbols: Vec::new(),
        };
        let error = plan
            .compile(&artefacts)
            .expect_err("the program is unusable");
        error.to_string()
    };
    assert!(fails_with(&elf(0x1fff_f000)).contains("behind 0x20000000, where regions begin"));
    assert!(fails_with(b"not a program").starts_with("the program `clock` cannot be used"));
    let mut large = elf(0x20_0000);
    large[104..112].copy_from_slice(&0x800_0000u64.to_le_bytes());
    assert!(fails_with(&large).contains("bytes of memory with its programs"));
}

/// The descriptions that come with Selkie, with their real programs.
#[test]
fn the_systems_of_the_repository_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in ["echo", "http", "https"] {
        let path = root.join(format!("system/{name}.toml"));
        let plan = plan(&root, &path, "pc99").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(plan.name, name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn damaged_descriptions_are_errors_and_never_panics(
        damages in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..12usize, "[ -~\\n]{0,6}"),
            1..4,
        ),
    ) {
        // Without a folder of files: a damaged path could name a large one.
        let mut text = format!("{DRIVERS}{HTTPS}").replace("data = { site = \"SITE\" }", "");
        for (place, length, insertion) in damages {
            let start = place.index(text.len());
            let end = (start + length).min(text.len());
            text.replace_range(start..end, &insertion);
        }
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("test.toml");
        fs::write(&path, text).expect("it is writable");
        if let Err(diagnostics) = plan(root(), &path, "pc99") {
            prop_assert!(diagnostics.render(true).contains("nothing was built"));
        }
    }

    #[test]
    fn any_number_of_services_gets_sound_systems(
        services in prop::collection::vec((1..40i64, 9..14u32, any::<bool>()), 1..8),
        buffers in 1..8u32,
    ) {
        let mut text = DRIVERS.replace(
            "packets = \"nic\"",
            &format!("packets = {{ from = \"nic\", buffers = {} }}", 1 << buffers),
        );
        text += "\n[protection.vault]\nprogram = \"vault\"\n";
        for (index, (connections, buffer, behind_tls)) in services.into_iter().enumerate() {
            let mut from = "tcpip".to_string();
            if behind_tls {
                from = format!("tls{index}");
                text += &format!(
                    "\n[protection.{from}]\nprogram = \"tls\"\nstreams = {{ from = \"tcpip\", connections = 2, buffer = 512 }}\nsign = \"vault\"\n"
                );
            }
            text += &format!(
                "\n[protection.echo{index}]\nprogram = \"echo\"\nstreams = {{ from = \"{from}\", listen = {}, connections = {connections}, buffer = {} }}\n",
                index + 1,
                1 << buffer
            );
        }
        let (plan, compiled, _folder) = compiled(&text);
        check(&plan, &compiled);
    }
}
