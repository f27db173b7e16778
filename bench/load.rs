//! A load generator for the gate's socket: so many connections, each posting its body again and again. Needs no crate:
//! `rustc -O --edition 2024 bench/load.rs`.
//!
//! ```text
//! load SOCKET SECONDS CONNECTIONS PAUSE_US BODY...     connection i posts body i, and so on in turn
//! ```
//!
//! With `PAUSE_US` a connection posts once in so many microseconds, the connections one after the other; with 0 as soon as it has
//! its answer. Prints one JSON line: posts, posts per second, how many
//! were allowed, latencies in microseconds.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, seconds, connections, pause, bodies @ ..] = arguments.as_slice() else {
        eprintln!("load SOCKET SECONDS CONNECTIONS PAUSE_US BODY...");
        std::process::exit(1);
    };
    let time = Duration::from_secs_f64(seconds.parse().expect("seconds"));
    let pause = Duration::from_micros(pause.parse().expect("microseconds"));
    let posts: Vec<Vec<u8>> = bodies.iter().map(|path| post(&std::fs::read(path).expect("a body"))).collect();
    let started = Instant::now();
    let connections: usize = connections.parse().expect("connections");
    let threads: Vec<_> = (0..connections)
        .map(|index| {
            let (socket, post) = (socket.clone(), posts[index % posts.len()].clone());
            let first = started + pause.mul_f64(index as f64 / connections as f64);
            // 64 threads that wait cost little beside what is measured; their stacks need not be large.
            let builder = std::thread::Builder::new().stack_size(64 << 10);
            builder.spawn(move || run(&socket, &post, first, started + time, pause)).expect("a thread")
        })
        .collect();
    let (mut latencies, mut allowed) = (Vec::new(), 0);
    for thread in threads {
        let (mine, yes) = thread.join().expect("a thread that ends");
        latencies.extend(mine);
        allowed += yes;
    }
    let took = started.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).or(latencies.last()).copied().unwrap_or(0);
    println!(
        "{{\"posts\": {}, \"per_second\": {:.0}, \"allowed\": {allowed}, \"p50\": {}, \"p90\": {}, \"p99\": {}, \"max\": {}}}",
        latencies.len(),
        latencies.len() as f64 / took,
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0)
    );
}

fn post(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nHost: plugin\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn run(socket: &str, post: &[u8], first: Instant, end: Instant, pause: Duration) -> (Vec<u32>, u64) {
    let mut stream = UnixStream::connect(socket).expect("the gate's socket");
    let (mut latencies, mut allowed) = (Vec::new(), 0);
    let (mut answer, mut due) = (Vec::new(), first);
    while Instant::now() < end {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let begun = Instant::now();
        stream.write_all(post).expect("a post that is taken");
        read(&mut stream, &mut answer);
        latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
        allowed += u64::from(answer.windows(12).any(|part| part == b"\"Allow\":true"));
        // Late posts are not made up for: the rate is a bound.
        due = (due + pause).max(Instant::now());
    }
    (latencies, allowed)
}

/// One answer: head, and as much body as its `Content-Length` says.
fn read(stream: &mut UnixStream, answer: &mut Vec<u8>) {
    answer.clear();
    let mut part = [0; 4096];
    loop {
        let got = stream.read(&mut part).expect("an answer");
        assert!(got > 0, "the gate closed the connection");
        answer.extend_from_slice(&part[..got]);
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if answer.len() >= end + 4 + length.expect("a length") {
            return;
        }
    }
}
