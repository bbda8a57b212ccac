//! The protection domains (PDs) that write to the log.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use log_line::{Level, Line};
use pd::LogClient;

/// Lines of one PD that are taken at a time: others come between the lines of a talkative one.
const BATCH: usize = 16;

/// All of them.
pub struct Clients {
    clients: Vec<(LogClient, State)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Heard,
    /// It misbehaved, and that was said.
    Ignored,
}

impl Clients {
    /// The connections of the port.
    pub fn new() -> Self {
        let clients = pd::log_readers("clients").into_iter();
        Self {
            clients: clients.map(|client| (client, State::Heard)).collect(),
        }
    }

    /// Their names, in the order of [`Line::source`].
    pub fn names(&self) -> Vec<&str> {
        self.clients
            .iter()
            .map(|(client, _)| client.name.as_str())
            .collect()
    }

    /// The next lines of each.
    pub fn fetch(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (source, (client, state)) in self.clients.iter_mut().enumerate() {
            for _ in 0..BATCH {
                let mut text = String::new();
                match client.lines.next(&mut text) {
                    Ok(None) => break,
                    Ok(Some(channel::log::Line { time, level, lost })) => {
                        lines.push(Line {
                            time,
                            level,
                            source,
                            lost,
                            text,
                        });
                    }
                    Err(_) if *state == State::Ignored => break,
                    Err(misbehaved) => {
                        *state = State::Ignored;
                        let text = format!("its log is read no more: {misbehaved}");
                        lines.push(Line {
                            time: 0,
                            level: Level::Error,
                            source,
                            lost: 0,
                            text,
                        });
                    }
                }
            }
        }
        lines
    }

    /// Asks all to wake this PD; `false` if a line is there already.
    pub fn sleep(&mut self) -> bool {
        self.clients
            .iter_mut()
            .all(|(client, _)| client.lines.sleep())
    }
}
