//! Hostile networks, in a network namespace of the test's own: a scripted neighbour that sends frames which no
//! kernel would send (`tests/field`, with scapy), Debian's dnsmasq and radvd, and a link that goes down.
//!
//! Each test is skipped, with the reason, if the machine does not permit it to create a namespace.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};
use selkie::cli::root;
use selkie_tests::namespace::{INTERFACE, Namespace};
use selkie_tests::system::{Options, System, Tap};
use selkie_tests::{data, ensure};

/// The address of `tests/systems/field.toml`.
const GUEST: &str = "192.168.77.2";
/// The hardware address that QEMU gives its first network device, and the addresses made from it (RFC 4291, appendix A).
const HARDWARE: &str = "52:54:00:12:34:56";
const IDENTIFIER: &str = "5054:ff:fe12:3456";
const HOST: &str = "192.168.77.1/24";
/// Debian's own Python, for which scapy is packaged.
const PYTHON: &str = "/usr/bin/python3";
/// Bytes of a download, for which the emulated guest needs some seconds.
const LONG: usize = 48 << 20;

pub fn trials() -> Vec<Trial> {
    let groups = ["tcp", "ipv4", "ipv6", "flood"];
    let neighbour = move || in_namespace("field", &[HOST], |lab| lab.neighbour(&groups));
    vec![
        Trial::ignorable_test("field::neighbour", neighbour),
        Trial::ignorable_test("field::pulled_cable", || {
            in_namespace("field", &[HOST], Lab::pulled_cable)
        }),
        Trial::ignorable_test("field::dnsmasq_and_radvd", || {
            let addresses = [HOST, "2001:db8:1::1/64", "2001:db8:2::1/64"];
            in_namespace("leased", &addresses, Lab::servers)
        }),
    ]
}

/// A system in a namespace.
struct Lab {
    namespace: Namespace,
    system: System,
}

/// Boots a system in a namespace whose interface has these addresses, and runs a test there.
fn in_namespace(
    system: &str,
    addresses: &[&str],
    test: impl FnOnce(&Lab) -> Result<(), Failed>,
) -> Result<Completion, Failed> {
    let namespace = match Namespace::with_tap(addresses) {
        Ok(namespace) => namespace,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let options = Options {
        tap: Some(Tap {
            interface: INTERFACE.into(),
            enter: namespace.enter(),
        }),
        ..Options::default()
    };
    let lab = Lab {
        system: System::boot_with(system, &options)?,
        namespace,
    };
    test(&lab).map_err(|error| lab.system.failure(error.message().unwrap_or("no message")))?;
    Ok(Completion::Completed)
}

impl Lab {
    /// Waits until the guest answers at this address.
    fn wait_for(&self, url: &str) -> Result<(), Failed> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let words = ["curl", "-sS", "-g", "-o", "/dev/null", "-m", "5", url];
            let output = self.namespace.run(&words, b"", Duration::from_secs(10))?;
            if output.code == Some(0) {
                return Ok(());
            }
            ensure(Instant::now() < end, || {
                format!("no answer from {url}: {}", output.err)
            })?;
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Runs the cases of the scripted neighbour; every one must pass.
    fn neighbour(&self, groups: &[&str]) -> Result<(), Failed> {
        self.wait_for(&format!("http://{GUEST}/"))?;
        let script = root().join("tests/field/run.py");
        let script = script
            .to_str()
            .ok_or("the repository's path is not UTF-8")?;
        let link_local = format!("fe80::{IDENTIFIER}");
        let mut words = vec![
            PYTHON,
            "-B",
            script,
            INTERFACE,
            HARDWARE,
            GUEST,
            &link_local,
        ];
        words.extend(groups);
        let output = self.namespace.run(&words, b"", Duration::from_secs(240))?;
        ensure(output.code == Some(0), || {
            format!("{}{}", output.text(), output.err)
        })
    }

    /// The link is down for 8 s in the middle of a download, which then continues.
    fn pulled_cable(&self) -> Result<(), Failed> {
        self.wait_for(&format!("http://{GUEST}/"))?;
        let url = format!("http://{GUEST}/bytes/{LONG}");
        let file = self.system.guest.folder().join("download");
        let path = file.to_str().ok_or("the folder's path is not UTF-8")?;
        thread::scope(|scope| {
            let words = ["curl", "-sS", "--limit-rate", "6M", "-o", path, &url];
            let download =
                scope.spawn(move || self.namespace.run(&words, b"", Duration::from_secs(120)));
            thread::sleep(Duration::from_secs(2));
            self.set_link(false)?;
            thread::sleep(Duration::from_secs(8));
            ensure(!download.is_finished(), || {
                "the download was over before the link was down".into()
            })?;
            self.set_link(true)?;
            download
                .join()
                .map_err(|_| "the download's thread panicked")??
                .good()?;
            let got = fs::read(&file)?;
            ensure(got == data::generated(LONG), || {
                format!("{} bytes, or others than were to come", got.len())
            })
        })
    }

    fn set_link(&self, up: bool) -> Result<(), Failed> {
        Ok(self.system.guest.qmp()?.set_link("net0", up)?)
    }

    /// Debian's DHCP server and router give addresses, at which the system answers.
    fn servers(&self) -> Result<(), Failed> {
        let folder = self.system.guest.folder();
        let leases = folder.join("leases");
        let _dnsmasq = self.namespace.start(&dnsmasq(&leases)?)?;
        let _radvd = self.namespace.start(&radvd(folder)?)?;
        let lease = wait_for_lease(&leases)?;
        let fields: Vec<&str> = lease.split_whitespace().collect();
        let [_, hardware, address, name, ..] = fields[..] else {
            return Err(format!("not a lease: {lease}").into());
        };
        ensure(hardware == HARDWARE && name == "leased", || lease.clone())?;
        self.wait_for(&format!("http://{address}/"))?;
        for network in ["2001:db8:1:", "2001:db8:2:"] {
            self.wait_for(&format!("http://[{network}:{IDENTIFIER}]/"))?;
        }
        // `leased` can only learn its router by DHCP: a response beyond the link shows that it has.
        let beyond = ["ip", "address", "add", "198.51.100.7/32", "dev", "lo"];
        self.namespace
            .run(&beyond, b"", Duration::from_secs(10))?
            .good()?;
        let url = format!("http://{address}/bytes/100000");
        let words = [
            "curl",
            "-sS",
            "--interface",
            "198.51.100.7",
            "-m",
            "30",
            &url,
        ];
        let got = self
            .namespace
            .run(&words, b"", Duration::from_secs(40))?
            .good()?
            .out;
        ensure(got == data::generated(100_000), || {
            format!("{} other bytes", got.len())
        })
    }
}

/// A DHCP server that offers two routers, of which the first is the right one.
fn dnsmasq(leases: &Path) -> Result<Vec<String>, Failed> {
    let leases = leases.to_str().ok_or("the folder's path is not UTF-8")?;
    let lease_file = format!("--dhcp-leasefile={leases}");
    let interface = format!("--interface={INTERFACE}");
    let words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--group=root",
        "--pid-file=",
        "--port=0",
        "--no-ping",
        "--bind-interfaces",
        &interface,
        "--dhcp-authoritative",
        "--dhcp-range=192.168.77.10,192.168.77.20,10m",
        "--dhcp-option=option:router,192.168.77.1,192.168.77.254",
        &lease_file,
    ];
    Ok(words.map(str::to_string).to_vec())
}

/// A router that advertises two usable prefixes, and one that no address can be formed from.
fn radvd(folder: &Path) -> Result<Vec<String>, Failed> {
    let configuration = folder.join("radvd.conf");
    let text = format!(
        "interface {INTERFACE} {{ AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;\n\
         prefix 2001:db8:1::/64 {{}};\nprefix 2001:db8:2::/64 {{}};\nprefix fd00:a::/48 {{ AdvAutonomous off; }};\n\
         RDNSS 2001:db8:1::53 {{}}; }};\n"
    );
    fs::write(&configuration, text)?;
    let configuration = configuration
        .to_str()
        .ok_or("the folder's path is not UTF-8")?;
    let words = [
        "radvd",
        "--nodaemon",
        "--logmethod",
        "none",
        "--config",
        configuration,
        "--pidfile",
    ];
    let pid_file = format!("{configuration}.pid");
    let words = words.into_iter().chain([pid_file.as_str()]);
    Ok(words.map(str::to_string).collect())
}

fn wait_for_lease(leases: &Path) -> Result<String, Failed> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let text = fs::read_to_string(leases).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains(HARDWARE)) {
            return Ok(line.to_string());
        }
        ensure(Instant::now() < end, || "no lease within 60 s".into())?;
        thread::sleep(Duration::from_millis(200));
    }
}
