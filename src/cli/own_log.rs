//! The log of a gate that serves, on standard output: a thread of its own writes it. Whoever has something to say never waits for who reads
//! it: a pipe that nobody empties costs lines of this log, which are counted, and no decision.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::policy::Settings;
use crate::sinks;

/// Most lines that wait to be written. Stops a pipe that is full from filling memory.
const LINES: usize = 1024;
/// Longest line, in bytes; the rest of a longer one is cut off.
const LINE_BYTES: usize = 16 << 10;
/// How long the end of the gate waits for the last lines.
const AT_END: Duration = Duration::from_secs(1);

/// Starts the log. The plugin host takes stdout for level "info" and stderr for "error", so all goes to stdout, with a level of its own.
pub(super) fn start(settings: &Settings) -> Log {
    let level = || Targets::new().with_default(tracing::Level::INFO);
    let filter = settings.get("LOG").and_then(|said| said.parse().ok()).unwrap_or_else(level);
    let log = Log::to(io::stdout());
    // The only error is a logger that is set already, which there is none of.
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(log.clone()).with_filter(filter);
    // Where nobody wants spans of decisions, none is made.
    let spans = settings.telemetry().traces.map(|_| sinks::spans());
    let _ = tracing_subscriber::registry().with(lines).with(spans).try_init();
    log
}

/// Where lines are handed over.
#[derive(Clone)]
pub(super) struct Log {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Lines that are not written yet.
    waiting: AtomicUsize,
    /// Lines for which there was no room, and that are not told of yet.
    lost: AtomicU64,
}

impl Log {
    fn to(out: impl Write + Send + 'static) -> Self {
        let (lines, coming) = sync_channel(LINES);
        let counts = Arc::new(Counts::default());
        let own = Arc::clone(&counts);
        // Where there is no thread, the channel is closed and every line is lost: the gate serves all the same.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(move || write_out(&coming, &own, out));
        Self { lines, counts }
    }

    /// Waits a moment until what was said is written.
    pub(super) fn end(&self) {
        let end = Instant::now() + AT_END;
        while self.counts.waiting.load(Ordering::Acquire) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn write_out(coming: &Receiver<Vec<u8>>, counts: &Counts, mut out: impl Write) {
    for line in coming {
        // What cannot be written is lost; there is nowhere else to say so.
        let _ = out.write_all(&line).and_then(|()| out.flush());
        counts.waiting.fetch_sub(1, Ordering::AcqRel);
        let lost = counts.lost.swap(0, Ordering::AcqRel);
        if lost > 0 {
            let _ = writeln!(out, "{lost} lines of this log were lost: nobody read them in time").and_then(|()| out.flush());
        }
    }
}

impl Write for Log {
    /// Takes a whole line, as tracing hands it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let kept = match line.get(..LINE_BYTES) {
            Some(begin) => [begin, b"\n"].concat(),
            None => line.to_vec(),
        };
        self.counts.waiting.fetch_add(1, Ordering::AcqRel);
        if self.lines.try_send(kept).is_err() {
            self.counts.waiting.fetch_sub(1, Ordering::AcqRel);
            self.counts.lost.fetch_add(1, Ordering::AcqRel);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn who_says_something_does_not_wait_for_who_reads_it_and_what_is_lost_is_counted() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut log = Log::to(writer);
        let begun = Instant::now();
        // Far more than a pipe and the queue hold.
        for _ in 0..10_000 {
            log.write_all(&[b'x'; 1000]).unwrap();
        }
        log.end();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let read = std::thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        while log.counts.waiting.load(Ordering::Acquire) > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(log);
        let text = read.join().unwrap();
        let lost: usize = text.lines().filter(|line| line.contains("were lost")).map(count).sum();
        assert_eq!(text.matches('x').count() / 1000 + lost, 10_000);
        assert!(lost > 0);
    }

    fn count(line: &str) -> usize {
        let (before, _) = line.rsplit_once(" lines of this log").unwrap();
        before.trim_start_matches('x').parse().unwrap()
    }

    #[test]
    fn what_is_read_is_whole_and_in_its_order() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut log = Log::to(writer);
        for line in ["one\n", "two\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        log.write_all(&vec![b'x'; LINE_BYTES + 1]).unwrap();
        log.end();
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("one\ntwo\nxx") && text.ends_with("x\n") && text.len() == 8 + LINE_BYTES + 1, "{}", text.len());
    }
}
