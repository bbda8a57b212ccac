//! What a service costs in processor time, next to a peer's in the same run.
//!
//!     cargo bench -p selkie-tests --bench peers -- https://127.0.0.1:8443/ https://127.0.0.1:18443/
//!
//! Both servers are asked in turn, by the same client, and the processor time of the process that listens is read before
//! and after: for a guest, that of QEMU with all that it emulates. Machines are noisy, so only the ratio counts, and the
//! spread of the ratios over the rounds is printed with their median. docs/performance.md has results.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use procfs::process::{FDTarget, Process, all_processes};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use selkie::cli::{Endpoint, Protocol};
use selkie_tests::{Failed, client, tls};

/// Compares what two servers cost
#[derive(Parser)]
#[command(
    about,
    version,
    bin_name = "cargo bench -p selkie-tests --bench peers --"
)]
struct Arguments {
    /// The server: http:// or https:// at a port of 127.0.0.1
    #[arg(value_name = "URL", value_parser = endpoint)]
    server: Endpoint,

    /// The one that it is compared with
    #[arg(value_name = "PEER", value_parser = endpoint)]
    peer: Endpoint,

    /// A small page that both have
    #[arg(long, default_value = "/")]
    page: String,

    /// A file of at least a MiB that both have; without one no MiB is measured
    #[arg(long, value_name = "PATH")]
    file: Option<String>,

    /// The TLS version for https
    #[arg(long, value_enum, default_value_t = Tls::V1_3)]
    tls: Tls,

    /// Measure only these (all)
    #[arg(long, value_enum, value_name = "WHAT")]
    only: Vec<What>,

    /// How often both are measured in turn
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// What each measurement of a server is to cost it at least, in ms: the kernel counts in steps of 10 ms
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    cost: u64,

    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tls {
    #[value(name = "1.2")]
    V1_2,
    #[value(name = "1.3")]
    V1_3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// A new connection, with its handshake, and one GET
    Connection,
    /// A GET on a connection that is there
    Request,
    /// A MiB of the file
    Mebibyte,
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.message().unwrap_or("it failed"));
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), Failed> {
    let servers = [
        Server::find(arguments.server)?,
        Server::find(arguments.peer)?,
    ];
    for what in [What::Connection, What::Request, What::Mebibyte] {
        let wanted = arguments.only.is_empty() || arguments.only.contains(&what);
        let Some(job) = Job::new(what, arguments).filter(|_| wanted) else {
            continue;
        };
        let rounds = (0..arguments.rounds)
            .map(|_| {
                let [server, peer] = &servers;
                let cost = |server: &Server| {
                    server.cost(&job).map_err(|error| {
                        let why = error.message().unwrap_or("it failed");
                        Failed::from(format!("{}: {}: {why}", server.endpoint, job.name()))
                    })
                };
                Ok((cost(server)?, cost(peer)?))
            })
            .collect::<Result<Vec<_>, Failed>>()?;
        let mut ratios: Vec<f64> = rounds.iter().map(|(server, peer)| server / peer).collect();
        println!(
            "{}: {:.3} ms, peer {:.3} ms, ratio {:.2} ({:.2} to {:.2})",
            job.name(),
            median(&mut rounds.iter().map(|(server, _)| *server).collect::<Vec<_>>()),
            median(&mut rounds.iter().map(|(_, peer)| *peer).collect::<Vec<_>>()),
            median(&mut ratios),
            ratios[0],
            ratios[ratios.len() - 1],
        );
    }
    Ok(())
}

/// What the servers are asked for.
struct Job<'a> {
    what: What,
    path: &'a str,
    version: &'static SupportedProtocolVersion,
    /// The least processor time of a measurement.
    cost: Duration,
}

impl<'a> Job<'a> {
    /// `None` if there is nothing to ask for.
    fn new(what: What, arguments: &'a Arguments) -> Option<Self> {
        let path = match what {
            What::Mebibyte => arguments.file.as_deref()?,
            What::Connection | What::Request => &arguments.page,
        };
        let version = match arguments.tls {
            Tls::V1_2 => &TLS12,
            Tls::V1_3 => &TLS13,
        };
        Some(Self {
            what,
            path,
            version,
            cost: Duration::from_millis(arguments.cost),
        })
    }

    fn name(&self) -> &'static str {
        match self.what {
            What::Connection => "a new connection with a GET",
            What::Request => "a GET on a connection that is there",
            What::Mebibyte => "a MiB",
        }
    }
}

/// A server and the process that is it.
struct Server {
    endpoint: Endpoint,
    process: Process,
}

impl Server {
    /// Who listens at the endpoint's port.
    fn find(endpoint: Endpoint) -> Result<Self, Failed> {
        let sockets: Vec<u64> = procfs::net::tcp()?
            .into_iter()
            .chain(procfs::net::tcp6()?)
            .filter(|entry| entry.state == procfs::net::TcpState::Listen)
            .filter(|entry| entry.local_address.port() == endpoint.host)
            .map(|entry| entry.inode)
            .collect();
        let has_one = |process: &Process| {
            process.fd().is_ok_and(|mut all| {
                all.any(|fd| {
                    fd.is_ok_and(
                        |fd| matches!(fd.target, FDTarget::Socket(s) if sockets.contains(&s)),
                    )
                })
            })
        };
        let process = all_processes()?.filter_map(Result::ok).find(has_one);
        let process = process.ok_or_else(|| {
            format!("{endpoint}: no process of this user listens there; start the server first")
        })?;
        Ok(Self { endpoint, process })
    }

    /// What the job costs, in ms of processor time a unit of it. The server is asked until it has cost enough to be measured.
    fn cost(&self, job: &Job<'_>) -> Result<f64, Failed> {
        let mut client = Client::new(self.endpoint, job)?;
        // Whatever the server does only once.
        client.ask(job)?;
        let (before, mut units) = (self.spent()?, 0.0);
        loop {
            units += client.ask(job)?;
            let spent = self.spent()?.saturating_sub(before);
            if spent >= job.cost {
                return Ok(spent.as_secs_f64() * 1_000.0 / units);
            }
        }
    }

    /// The processor time of the process with all its threads, those that have ended included (proc(5), `utime`, `stime`).
    fn spent(&self) -> Result<Duration, Failed> {
        let stat = self.process.stat()?;
        let ticks = (stat.utime + stat.stime) as f64;
        Ok(Duration::from_secs_f64(
            ticks / procfs::ticks_per_second() as f64,
        ))
    }
}

/// A client that keeps its connection, where the job says so.
enum Client {
    New(Endpoint),
    Plain(std::net::TcpStream),
    Tls(Box<tls::Stream>),
}

impl Client {
    fn new(endpoint: Endpoint, job: &Job<'_>) -> Result<Self, Failed> {
        Ok(match job.what {
            What::Connection => Self::New(endpoint),
            What::Request | What::Mebibyte => Self::connect(endpoint, job)?,
        })
    }

    fn connect(endpoint: Endpoint, job: &Job<'_>) -> Result<Self, Failed> {
        Ok(if endpoint.protocol == Protocol::Https {
            Self::Tls(Box::new(tls::connect(&endpoint, job.version)?))
        } else {
            Self::Plain(client::connect(&endpoint)?)
        })
    }

    /// Asks once. How many units of the job that was.
    fn ask(&mut self, job: &Job<'_>) -> Result<f64, Failed> {
        let response = match self {
            Self::New(endpoint) => {
                let mut new = Self::connect(*endpoint, job)?;
                let units = new.ask(job)?;
                new.close()?;
                return Ok(units);
            }
            Self::Plain(stream) => client::get(stream, job.path)?,
            Self::Tls(stream) => client::get(stream, job.path)?,
        };
        if response.status != 200 {
            return Err(format!("{}: status {}", job.path, response.status).into());
        }
        Ok(match job.what {
            What::Connection | What::Request => 1.0,
            What::Mebibyte => response.body.len() as f64 / f64::from(1 << 20),
        })
    }

    fn close(self) -> Result<(), Failed> {
        if let Self::Tls(mut stream) = self {
            stream.conn.send_close_notify();
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(())
    }
}

fn endpoint(url: &str) -> Result<Endpoint, String> {
    let wrong = || "not http://127.0.0.1:PORT/ or https://127.0.0.1:PORT/".to_string();
    let (protocol, rest) = match url.split_once("://127.0.0.1:").ok_or_else(wrong)? {
        ("https", rest) => (Protocol::Https, rest),
        ("http", rest) => (Protocol::Http, rest),
        _ => return Err(wrong()),
    };
    let host = rest.trim_end_matches('/').parse().map_err(|_| wrong())?;
    Ok(Endpoint {
        host,
        guest: host,
        protocol,
    })
}

/// The middle one; the values are sorted by it. There is at least one.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
