//! Running one command of a suite: bounded in time, followed line by line, and nothing of it outlives its end.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::list::{Counted, Job};
use super::tally::{self, Tally};
use crate::cli::ui::Step;

/// How often it is looked whether the user wants an end.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the command, both of its streams in one pipe, which keeps their lines in order. Beside it a shell waits for
/// the end of this process, which closes the pipe that it reads, and then ends the whole group: so that nothing is
/// left behind when this process is killed.
const GUARDED: &str = r#"
exec 3<&0 </dev/null
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
exec 3<&-
exec "$0" "$@" 2>&1
"#;

/// What a command came to.
pub(super) struct Outcome {
    pub tally: Tally,
    pub output: String,
}

/// Runs the command until it ends, its time is up, or `stop` says so.
pub(super) fn perform(
    root: &Path,
    job: &Job,
    deadline: Instant,
    step: &Step,
    stop: &dyn Fn() -> bool,
) -> Outcome {
    let mut child = match start(root, job) {
        Ok(child) => child,
        Err(error) => {
            return Outcome {
                tally: Tally::failure(),
                output: format!("cannot start {}: {error}", job.words.join(" ")),
            };
        }
    };
    let (mut output, ended) = follow(&mut child, deadline, step, stop);
    let reason = match ended {
        Ended::Itself => "",
        Ended::Late => "\nended: it took too long\n",
        Ended::Stopped => "\nended: it was interrupted\n",
    };
    output.push_str(reason);
    let good = end(&mut child, ended == Ended::Itself);
    let tally = match job.counted {
        Counted::Once if good => Tally::success(),
        Counted::Once => Tally::failure(),
        Counted::Tests => tally::of_tests(&output, good),
    };
    Outcome { tally, output }
}

/// Starts the command in a process group of its own.
fn start(root: &Path, job: &Job) -> std::io::Result<Child> {
    if let Some(scratch) = &job.scratch {
        let folder = root.join(job.folder).join(scratch);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&folder)?,
        }
    }
    Command::new("sh")
        .args(["-c", GUARDED])
        .args(&job.words)
        .current_dir(root.join(job.folder))
        .envs(job.environment.iter().copied())
        .env("SELKIE_ROOT", root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Ends whatever is left of the command's process group; says whether the command succeeded.
fn end(child: &mut Child, by_itself: bool) -> bool {
    // Waiting would close it, and so end what is just about to end by itself.
    let guard = child.stdin.take();
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let good = by_itself && child.wait().is_ok_and(|status| status.success());
    if let Some(group) = group {
        // The shell that waits keeps the group's number from being used again until here. A failure means that all
        // of the group has ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
    drop(guard);
    // It has been waited for, or has just been killed.
    let _ = child.wait();
    good
}

/// Why there is nothing more to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Itself,
    Late,
    Stopped,
}

/// Collects what the child prints until it ends, is late or is to stop.
fn follow(
    child: &mut Child,
    deadline: Instant,
    step: &Step,
    stop: &dyn Fn() -> bool,
) -> (String, Ended) {
    let (send, lines) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                line.clear();
                if send.send(text).is_err() {
                    break;
                }
            }
        });
    }
    let mut output = String::new();
    loop {
        if stop() {
            return (output, Ended::Stopped);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left.min(LOOK)) {
            Ok(line) => {
                step.at(line.trim());
                output.push_str(&line);
            }
            Err(mpsc::RecvTimeoutError::Timeout) if left.is_zero() => {
                return (output, Ended::Late);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return (output, Ended::Itself),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use selkie_qemu::Process;

    use super::super::list::{once, tests};
    use super::*;
    use crate::cli::Ui;

    const MINUTE: Duration = Duration::from_secs(60);

    fn outcome(job: &Job, time: Duration) -> Outcome {
        let step = Ui::new().step("test");
        perform(Path::new("/"), job, Instant::now() + time, &step, &|| false)
    }

    fn shell(script: &str) -> Job {
        let mut job = once("", "sh -c");
        job.words.push(script.into());
        job
    }

    /// Starts another process, says its number, and waits for it.
    const TWO_PROCESSES: &str = "sleep 300 & echo $!; wait";

    #[test]
    fn an_exit_code_counts_once() {
        assert_eq!(outcome(&once("", "true"), MINUTE).tally, Tally::success());
        assert_eq!(outcome(&once("", "false"), MINUTE).tally, Tally::failure());
        let absent = outcome(&once("", "no-such-program"), MINUTE);
        assert_eq!(absent.tally, Tally::failure());
    }

    #[test]
    fn both_streams_are_collected_in_order() {
        let job = shell("echo one; echo two >&2; echo three");
        assert_eq!(outcome(&job, MINUTE).output, "one\ntwo\nthree\n");
    }

    #[test]
    fn nothing_comes_from_standard_input() {
        assert_eq!(outcome(&once("", "cat"), MINUTE).tally, Tally::success());
    }

    #[test]
    fn what_takes_too_long_is_ended_and_failed() {
        let job = tests("", "sleep 60");
        let outcome = outcome(&job, Duration::from_millis(50));
        assert!(!outcome.tally.is_good());
        assert!(outcome.output.contains("too long"));
    }

    #[test]
    fn an_interruption_ends_what_the_command_has_started_too() {
        let step = Ui::new().step("test");
        let began = Instant::now();
        // Time enough to say the number.
        let stop = || began.elapsed() > Duration::from_secs(2);
        let job = shell(TWO_PROCESSES);
        let outcome = perform(Path::new("/"), &job, began + MINUTE, &step, &stop);
        assert!(!outcome.tally.is_good());
        assert!(outcome.output.contains("interrupted"));
        assert!(gone(outcome.output.lines().next().unwrap()));
    }

    #[test]
    fn what_a_command_leaves_running_is_ended_with_it() {
        let job = shell("sleep 300 >/dev/null 2>&1 & echo $!");
        let outcome = outcome(&job, MINUTE);
        assert_eq!(outcome.tally, Tally::success());
        assert!(gone(outcome.output.trim()));
    }

    #[test]
    fn a_command_ends_with_whoever_started_it() {
        let mut child = start(Path::new("/"), &shell(TWO_PROCESSES)).unwrap();
        let mut number = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut number)
            .unwrap();
        // As the kernel does when this process is killed.
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(gone(number.trim()));
    }

    /// Whether the process of this number has ended, or does so soon.
    fn gone(number: &str) -> bool {
        Process::of(number.parse().unwrap()).is_none_or(|process| process.wait(MINUTE))
    }
}
