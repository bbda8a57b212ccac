//! Serves a folder on the host, with the paths of the `http` protection domain: for working on a site
//! without booting anything.
//!
//! `cargo run -p http --example serve -- FOLDER [ADDRESS]`

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::bundle::{Bundle, Writer};
use http::pages::{self, status};
use http::{Connection, Counters, Limits, Outcome, Router, Server, Stream};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: serve FOLDER [ADDRESS]")?);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".into());
    let mut writer = Writer::new();
    add(&mut writer, &folder, "")?;
    let bytes = writer.finish()?;

    let mut router = Router::new();
    router.get("/bytes/*", pages::bytes);
    router.post("/digest", pages::MAX_DIGEST, pages::digest);
    status::add(&mut router);
    let site = Bundle::new(&bytes)?;
    let mut server = Server::new(Host, router, Some(site), Limits::default());
    let unix = std::time::UNIX_EPOCH.elapsed()?.as_millis();
    server.set_clock(0, unix as u64);

    let listener = TcpListener::bind(&address)?;
    listener.set_nonblocking(true)?;
    println!("http://{address}/");
    serve(&listener, &mut server)
}

fn add(writer: &mut Writer, folder: &Path, prefix: &str) -> Result<(), Box<dyn std::error::Error>> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = format!("{prefix}{}", name.ok_or("a file's name is not UTF-8")?);
        match path.is_dir() {
            true => add(writer, &path, &format!("{name}/"))?,
            false => writer.add(&name, &std::fs::read(&path)?)?,
        }
    }
    Ok(())
}

fn serve(
    listener: &TcpListener,
    server: &mut Server<'_, Host>,
) -> Result<(), Box<dyn std::error::Error>> {
    let start = Instant::now();
    let mut connections: Vec<(Connection, Socket)> = Vec::new();
    loop {
        let now = start.elapsed().as_millis() as u64;
        if let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(true)?;
            server.counters.connections += 1;
            connections.push((Connection::new(now), Socket::new(socket)));
        }
        server.counters.connections_open = connections.len() as u64;
        connections.retain_mut(|(connection, socket)| {
            let alive = socket.pump().is_ok();
            let outcome = connection.work(server, socket, now);
            alive && !matches!(outcome, Outcome::Close | Outcome::Abort)
        });
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// This process as its status page shows it.
struct Host;

impl status::Observed for Host {
    fn report(&mut self, counters: &Counters, now: u64) -> status::Report {
        let values = counters.entries();
        status::Report {
            title: "This machine".into(),
            uptime: now,
            domains: vec![status::Domain {
                name: "serve".into(),
                program: "serve".into(),
                counters: values.map(|(name, value)| (name.into(), value)).into(),
                ..status::Domain::default()
            }],
        }
    }
}

/// A socket that never blocks, with room for some bytes each way.
struct Socket {
    socket: TcpStream,
    input: Vec<u8>,
    ended: bool,
    output: Vec<u8>,
    used: usize,
    finishing: bool,
}

const ROOM: usize = 64 * 1024;

impl Socket {
    fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            input: Vec::new(),
            ended: false,
            output: vec![0; ROOM],
            used: 0,
            finishing: false,
        }
    }

    fn pump(&mut self) -> io::Result<()> {
        let mut buffer = [0; ROOM];
        if self.input.is_empty() && !self.ended {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        match self.socket.write(&self.output[..self.used]) {
            Ok(length) => {
                self.output.copy_within(length..self.used, 0);
                self.used -= length;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.finishing && self.used == 0 {
            self.finishing = false;
            self.socket.shutdown(Shutdown::Write)?;
        }
        Ok(())
    }
}

impl Stream for Socket {
    fn read(&mut self, to: &mut [u8]) -> usize {
        let length = to.len().min(self.input.len());
        to[..length].copy_from_slice(&self.input[..length]);
        self.consume(length);
        length
    }

    fn received(&mut self) -> &[u8] {
        &self.input
    }

    fn consume(&mut self, length: usize) {
        self.input.drain(..length);
    }

    fn free(&mut self) -> &mut [u8] {
        &mut self.output[self.used..]
    }

    fn commit(&mut self, length: usize) {
        self.used += length;
    }

    fn has_ended(&mut self) -> bool {
        self.ended && self.input.is_empty()
    }

    fn finish(&mut self) {
        self.finishing = true;
    }
}
