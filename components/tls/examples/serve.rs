//! A TLS server on the host that uses the same sessions as the `tls` PD: for test tools that open
//! thousands of connections (`tests/tlsfuzzer.md`).
//!
//! `cargo run -p tls --example serve -- 127.0.0.1:4433 rsa-2048.der [CLIENT_AUTHORITIES.der]`:
//! listens there with a generated ECDSA key, an RSA key from the file (PKCS#8 or PKCS#1) and, if
//! there is a third argument, requires client certificates of this authority. It answers each HTTP
//! request with a few bytes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use channel::sign::{MAX_WORDS, Sign};
use channel::testing::replied;
use channel::{Call, Reply};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::time_provider::DefaultTimeProvider;
use tls::{Above, Authorities, Below, ClientPolicy, Options, Server, Session, VaultKeys};
use vault::{Client, Entry, Keyring, Kind, Scheme, Vault};
use vault_subject::made;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nOK\n";

/// An idle connection is dropped after this time.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> io::Result<()> {
    let mut words = env::args().skip(1);
    let mut word = || words.next();
    let (Some(address), Some(key)) = (word(), word()) else {
        eprintln!("usage: serve ADDRESS:PORT RSA_KEY.der [CLIENT_AUTHORITY.der]");
        std::process::exit(2);
    };
    let clients = word().map(fs::read).transpose()?.map(|authority| {
        let authorities = Authorities::new(vec![authority]).expect("it is a certificate");
        ClientPolicy {
            trust: authorities.into(),
            anonymous: false,
        }
    });
    let server = server(&fs::read(key)?, clients);
    let listener = TcpListener::bind(&address)?;
    let begin = Instant::now();
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let (stream, server) = (stream?, server.clone());
        server.change_ticket_keys(begin.elapsed().as_nanos() as u64);
        thread::spawn(move || {
            let peer = stream.peer_addr();
            if let Err(error) = serve(stream, &server) {
                println!("{peer:?}: {error}");
            }
        });
    }
    Ok(())
}

fn server(rsa: &[u8], clients: Option<ClientPolicy>) -> Server {
    let localhost = || vec!["localhost".to_owned()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(rsa.to_vec()));
    let pair = KeyPair::try_from(&key).expect("it is an RSA key in PKCS#8");
    let mut params = CertificateParams::new(localhost()).expect("it is a name");
    let day = Duration::from_secs(24 * 3600);
    params.not_before = (SystemTime::now() - day).into();
    params.not_after = (SystemTime::now() + 198 * day).into();
    let certificate = params.self_signed(&pair).expect("the key signs");
    let keyring = Keyring(vec![
        made(Kind::EcdsaP256, localhost(), true).expect("the name fits"),
        Entry::Prefilled {
            names: localhost(),
            chain: vec![certificate.der().to_vec()],
            key: rsa.to_vec().into(),
        },
    ]);
    let client = Client {
        rate: 1_000_000,
        client: false,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let schemes = Scheme::ALL.map(|(_, scheme)| scheme);
    let now = now.expect("it is after 1970").as_secs();
    let vault = Vault::new(&keyring, &schemes, &[client], now).expect("the keys are right");
    let sign = Sign::new(Local(Arc::new(Mutex::new(vault))));
    let keys = Arc::new(VaultKeys::read(&sign).expect("the vault answers"));
    let options = Options {
        clients,
        ..Options::default()
    };
    tls::server(keys, options, Arc::new(DefaultTimeProvider)).expect("it can be served")
}

/// A vault that is called directly.
struct Local(Arc<Mutex<Vault>>);

impl Call for Local {
    fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
        let mut words = [0; MAX_WORDS];
        let mut vault = self.0.lock().expect("no call has panicked");
        let answer = vault.answer(0, label, request, 0, &mut words);
        replied(answer, &words, reply)
    }
}

fn serve(stream: TcpStream, server: &Server) -> Result<(), String> {
    stream.set_nonblocking(true).map_err(|e| e.to_string())?;
    let mut session = Session::new(server).map_err(|error| error.to_string())?;
    let mut below = Tcp {
        stream,
        last: Instant::now(),
        ended: false,
    };
    let mut above = Service::default();
    let mut result = Ok(());
    while !session.output_ended() {
        match session.step(&mut below, &mut above) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => result = Err(error.to_string()),
        }
        above.finished |= session.input_ended();
        if session.output_ended() || below.ended || below.last.elapsed() > PATIENCE {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    // As the TCP stack does: sends FIN, then drops what arrives until the peer closes.
    let _ = below.stream.shutdown(Shutdown::Write);
    let _ = below.stream.set_nonblocking(false);
    let _ = below.stream.set_read_timeout(Some(Duration::from_secs(2)));
    while matches!(below.stream.read(&mut [0; 4096]), Ok(1..)) {}
    result
}

struct Tcp {
    stream: TcpStream,
    last: Instant,
    ended: bool,
}

impl Below for Tcp {
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        match self.stream.read(buffer) {
            Ok(0) if !buffer.is_empty() => {
                self.ended = true;
                0
            }
            Ok(count) => {
                self.last = Instant::now();
                count
            }
            Err(error) => {
                self.ended |= error.kind() != io::ErrorKind::WouldBlock;
                0
            }
        }
    }

    fn space(&mut self) -> usize {
        32 * 1024
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.stream.write(bytes).unwrap_or(0)
    }

    fn wait_for_space(&mut self, _: usize) {}
}

/// Answers each request once its head is complete.
#[derive(Default)]
struct Service {
    received: Vec<u8>,
    to_send: Vec<u8>,
    finished: bool,
}

impl Above for Service {
    fn space(&mut self) -> usize {
        64 * 1024
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.received.extend(bytes);
        let ends = |bytes: &[u8]| bytes.windows(4).position(|part| part == b"\r\n\r\n");
        while let Some(end) = ends(&self.received) {
            self.received.drain(..end + 4);
            self.to_send.extend(ANSWER);
        }
        bytes.len()
    }

    fn wait_for_space(&mut self, _: usize) {}

    fn pending(&mut self) -> [&[u8]; 2] {
        [&self.to_send, &[]]
    }

    fn consume(&mut self, count: usize) {
        self.to_send.drain(..count);
    }

    fn finished(&mut self) -> bool {
        self.finished
    }
}
