//! Short descriptions, to which the builder adds PDs from the board file.

use std::fs;
use std::path::{Path, PathBuf};

use selkie::board::Board;
use selkie::{Plan, plan, plan_with};

const INFRASTRUCTURE: [&str; 5] = ["supervisor", "console", "clock", "pci", "entropy"];

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("it is the repository")
}

/// Makes a folder for descriptions, with a site of this many bytes beside them.
fn folder(site: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let pages = folder.path().join("site");
    fs::create_dir(&pages).expect("the folder is new");
    fs::write(pages.join("index.html"), vec![b'.'; site]).expect("there is room");
    folder
}

fn planned(folder: &Path, text: &str, memory: Option<u64>) -> Result<Plan, String> {
    let path = folder.join("test.toml");
    fs::write(&path, text).expect("the folder is writable");
    plan_with(&root(), &path, "pc99", memory).map_err(|wrong| wrong.to_string())
}

/// Formats the parts of a plan in which two descriptions of one system must agree.
fn decided(plan: &Plan) -> String {
    format!(
        "{}\n{:#?}\n{:#?}",
        plan.name,
        plan.protections
            .iter()
            .map(|p| (
                &p.name,
                &p.program.name,
                p.priority,
                p.memory,
                p.stack,
                &p.device,
                &p.config,
                &p.data,
                p.restart
            ))
            .collect::<Vec<_>>(),
        plan.connections
            .iter()
            .map(|c| (
                (c.consumer, &c.consumer_port),
                (c.provider, &c.provider_port),
                &c.parameters
            ))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn the_description_in_the_readme_is_complete() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks = readme.split("```toml\n").skip(1);
    let block = blocks.find(|block| block.starts_with("[system]")).unwrap();
    let text = block.split("```").next().unwrap();
    let plan = planned(folder(1).path(), text, None).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(plan.added, INFRASTRUCTURE);
    assert_eq!(plan.protections.len(), 10);
}

#[test]
fn the_printed_description_makes_the_same_system() {
    let root = root();
    for board in ["pc99", "x86_64_generic", "qemu_virt_riscv64"] {
        for name in ["https", "echo", "pinata"] {
            let path = root.join(format!("system/{name}.toml"));
            let short = plan(&root, &path, board).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert!(!short.added.is_empty());
            // Beside the original, since it names the same files.
            let beside = root.join(format!("system/.full-{board}-{name}.toml"));
            fs::write(&beside, short.to_toml()).unwrap();
            let full = plan(&root, &beside, board);
            let explicit = short
                .to_toml()
                .replace("complete = true", "complete = false");
            fs::write(&beside, explicit).unwrap();
            let explicit = plan(&root, &beside, board);
            fs::remove_file(&beside).unwrap();
            for again in [full, explicit] {
                let again = again.unwrap_or_else(|wrong| panic!("{wrong}\n{}", short.to_toml()));
                assert!(again.added.is_empty(), "{:?}", again.added);
                assert_eq!(decided(&again), decided(&short));
            }
        }
    }
}

#[test]
fn nothing_is_added_that_nothing_needs() {
    let folder = folder(1);
    let console = "[protection.uart]\nprogram = \"console\"\ndevice = \"serial0\"\n";
    let text = format!("[system]\nname = \"test\"\n{console}");
    assert_eq!(
        planned(folder.path(), &text, None).unwrap().added,
        ["supervisor"]
    );
    let text = format!("[system]\nname = \"test\"\ncomplete = true\n{console}");
    assert!(
        planned(folder.path(), &text, None)
            .unwrap()
            .added
            .is_empty()
    );
}

#[test]
fn a_taken_name_or_device_is_said() {
    let folder = folder(1);
    let nic = "[protection.nic]\nprogram = \"net-driver\"\ndevice = \"net0\"\n";
    let tcpip = "[protection.tcpip]\nprogram = \"tcpip\"\npackets = \"nic\"\n";
    let text = format!(
        "[system]\nname = \"test\"\n{nic}{tcpip}[protection.console]\nprogram = \"echo\"\nstreams = {{ from = \"tcpip\", listen = 7 }}\n"
    );
    let said = planned(folder.path(), &text, None).unwrap_err();
    for part in [
        "the system needs `console` too, which has the name `console`",
        "test.toml:9:13",
        "runs `echo`",
        "give this",
        "1 problem;",
    ] {
        assert!(said.contains(part), "no `{part}`: {said}");
    }
    // A vault that takes the console's port.
    let text = format!(
        "[system]\nname = \"test\"\n{nic}{tcpip}[protection.vault]\nprogram = \"vault\"\ndevice = \"serial0\"\n"
    );
    let said = planned(folder.path(), &text, None).unwrap_err();
    for part in [
        "`serial0` has two owners",
        "test.toml:11:10",
        "`console` has it (system/boards/pc99.toml:",
        "1 problem;",
    ] {
        assert!(said.contains(part), "no `{part}`: {said}");
    }
}

#[test]
fn the_example_of_porting_is_what_the_tool_says() {
    let root = root();
    let path = root.join("system/https.toml");
    let wrong = plan(&root, &path, "rpi4b_2gb").unwrap_err().to_string();
    let said = format!("error: the description is wrong\n{}", wrong.trim_end());
    let indented: String = said
        .lines()
        .map(|line| format!("    {line}").trim_end().to_string() + "\n")
        .collect();
    let porting = fs::read_to_string(root.join("docs/porting.md")).unwrap();
    let example = format!("    $ ./selkie check https --board rpi4b_2gb\n{indented}");
    assert!(
        porting.contains(&example),
        "docs/porting.md needs:\n{example}"
    );
}

const SITE: &str = "
[protection.nic]
program = \"net-driver\"
device = \"net0\"

[protection.tcpip]
program = \"tcpip\"
packets = \"nic\"

[protection.site]
program = \"http\"
streams = { from = \"tcpip\", listen = 80 }
data = { site = \"site\" }
";

/// Returns the number after the first occurrence of `before`.
fn number(text: &str, before: &str) -> u64 {
    let start = text
        .find(before)
        .unwrap_or_else(|| panic!("no `{before}`: {text}"));
    let digits = text[start + before.len()..].chars();
    let digits: String = digits.take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn a_large_site_names_the_machine_that_it_needs() {
    let folder = folder(24 << 20);
    let text = format!("[system]\nname = \"test\"\n{SITE}");
    let said = planned(folder.path(), &text, None).unwrap_err();
    let (least, suggested) = (number(&said, "needs at least "), number(&said, "--memory "));
    assert!(
        least > 64 && (least..least + 16).contains(&suggested),
        "{said}"
    );
    assert!(said.contains("under [system]"), "{said}");
    let larger = planned(folder.path(), &text, Some(suggested << 20));
    assert_eq!(larger.unwrap().board.memory, suggested << 20);
    let less = planned(folder.path(), &text, Some((least - 1) << 20)).unwrap_err();
    assert_eq!(number(&less, "needs at least "), least);
    // The description can say it, and the command comes first.
    let text = text.replace("\"test\"", &format!("\"test\"\nmemory = \"{suggested}M\""));
    assert!(planned(folder.path(), &text, None).is_ok());
    assert!(planned(folder.path(), &text, Some(64 << 20)).is_err());
}

#[test]
fn a_machine_that_is_too_small_for_the_board_is_refused_with_the_least_amount() {
    let folder = folder(1);
    let text = format!("[system]\nname = \"test\"\n{SITE}");
    let said = planned(folder.path(), &text, Some(16 << 20)).unwrap_err();
    assert!(said.contains("at least `--memory 36`"), "{said}");
    let text = text.replace("\"test\"", "\"test\"\nmemory = \"16M\"");
    let said = planned(folder.path(), &text, None).unwrap_err();
    assert!(
        said.contains("test.toml:3:10") && said.contains("36 MiB"),
        "{said}"
    );
    // A kernel that is built for one amount of memory.
    let path = folder.path().join("test.toml");
    fs::write(&path, text.replace("16M", "4G")).unwrap();
    let said = plan(&root(), &path, "qemu_virt_riscv64")
        .unwrap_err()
        .to_string();
    assert!(said.contains("wants a machine with 4 GiB"), "{said}");
}

#[test]
fn devices_without_a_driver_are_known() {
    let undriven = |board: &str| {
        let board = Board::load(&root(), board).expect("it is a board of the repository");
        let devices = selkie::undriven(&root(), &board).into_iter();
        devices
            .map(|device| format!("{}: {}", device.name, device.kind))
            .collect::<Vec<_>>()
    };
    for board in [
        "pc99",
        "x86_64_generic",
        "qemu_virt_aarch64",
        "qemu_virt_riscv64",
    ] {
        assert!(undriven(board).is_empty(), "{board}");
    }
    let imx = [
        "serial0: imx-uart",
        "clock0: imx-gpt",
        "rng0: imx-caam",
        "net0: imx-fec",
    ];
    assert_eq!(undriven("imx8mm_evk"), imx);
    assert_eq!(undriven("rpi4b_2gb").len(), 3);
}
