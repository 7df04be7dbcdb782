//! Frames of 1920x1080x3 bytes from one process to another, each asked for by name: shmeld's requester and provider, the careless C++ pair of
//! the tests, and numpy arrays through `multiprocessing`.
//!
//! ```text
//! cargo run --release --manifest-path benches/Cargo.toml -p shmeld-frames-bench -- [ROUNDS [FRAMES]]
//! ```
//! A round runs each contestant once, ours beside each other; a run's figure is the median time of its frames, asked for to
//! arrived, and a rival's the median of the ratios of neighbours.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that people run to read what it prints"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shmeld::file::Interrupt;
use shmeld::image::{ChannelName, Geometry, Provider, ProviderOptions, Requester, RequesterOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));
/// What looks each 100 ms takes its time.
const POLLED_FRAMES: u64 = 20;
const NAME: &str = "7-1920x1080x3";
const RIVALS: [(Rival, &str); 4] = [
    (Rival::Naive, "naive C++, polling"),
    (Rival::Sleeper, "naive C++, sleeping"),
    (Rival::Queue, "multiprocessing.Queue"),
    (Rival::Pipe, "multiprocessing.Pipe"),
];

/// Who moves the frames.
#[derive(Clone, Copy, PartialEq)]
enum Rival {
    /// Looks each 100 ms.
    Naive,
    /// The same program, but asleep in the semaphore.
    Sleeper,
    Queue,
    Pipe,
}

fn main() -> Outcome<()> {
    // As the programs do; without it the library copies by system calls.
    shmeld::os::sigbus::install()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, otherwise: u64| match arguments.get(index) {
        Some(text) => text.parse::<u64>(),
        None => Ok(otherwise),
    };
    match arguments.first().map(String::as_str) {
        Some("provide") => provide(&arguments[1], number(2, 1)?),
        Some("request") => {
            println!("{}", request(&arguments[1], number(2, 1)?)?);
            Ok(())
        }
        _ => race(number(0, 5)?, number(1, 300)?),
    }
}

/// The frame is there already; to hand it over is what counts.
fn provide(channel: &str, frames: u64) -> Outcome<()> {
    let (channel, interrupt) = (ChannelName::new(channel)?, Interrupt::default());
    let geometry = Geometry::new(1920, 1080, 3)?;
    let mut source = |_: &[u8], pixels: &mut Vec<u8>| {
        pixels.resize(geometry.bytes() as usize, 7);
        Ok(geometry)
    };
    let mut provider = Provider::open(&channel, ProviderOptions::default(), PATIENCE, &interrupt)?;
    for _ in 0..frames {
        provider.serve_next(&mut source, PATIENCE, &interrupt)?;
    }
    Ok(())
}

/// The median of the seconds that a frame takes.
fn request(channel: &str, frames: u64) -> Outcome<f64> {
    let (channel, interrupt) = (ChannelName::new(channel)?, Interrupt::default());
    let mut requester = Requester::create(&channel, RequesterOptions::default())?;
    let mut pixels = Vec::new();
    let mut each = Vec::new();
    for _ in 0..frames {
        let start = Instant::now();
        requester.request(NAME.as_bytes(), &mut pixels, PATIENCE, &interrupt)?;
        each.push(start.elapsed().as_secs_f64());
    }
    Ok(quantile(&mut each, 0.5))
}

fn race(rounds: u64, frames: u64) -> Outcome<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let naive = compile(&repository)?;
    let python = std::env::var_os("SHMELD_PYTHON").unwrap_or("python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("queue_pipe.py");
    let run = |rival: Rival| match rival {
        Rival::Naive => run_naive(&naive, &[], frames.min(POLLED_FRAMES)),
        Rival::Sleeper => run_naive(&naive, &["-b"], frames),
        Rival::Queue => seconds(
            Command::new(&python)
                .arg(&script)
                .args(["queue", &frames.to_string()]),
        ),
        Rival::Pipe => seconds(
            Command::new(&python)
                .arg(&script)
                .args(["pipe", &frames.to_string()]),
        ),
    };
    let mut ratios = RIVALS.map(|_| Vec::new());
    let (mut ours, mut theirs) = (Vec::new(), RIVALS.map(|_| Vec::new()));
    for round in 0..rounds {
        for (index, (rival, _)) in RIVALS.into_iter().enumerate() {
            let (mut mine, mut its) = (0.0, 0.0);
            for turn in 0..2 {
                if (turn + round) % 2 == 0 {
                    mine = run_ours(frames)?;
                } else {
                    its = run(rival)?;
                }
            }
            ratios[index].push(its / mine);
            ours.push(mine);
            theirs[index].push(its);
        }
    }
    let rate = |seconds: &mut Vec<f64>| quantile(seconds, 0.5).recip();
    println!(
        "1920x1080x3, {frames} frames, {rounds} rounds; shmeld: {:.0} frames/s",
        rate(&mut ours)
    );
    for (index, (_, who)) in RIVALS.into_iter().enumerate() {
        let ratio = &mut ratios[index];
        let (low, median, high) = (quantile(ratio, 0.25), quantile(ratio, 0.5), quantile(ratio, 0.75));
        let rate = rate(&mut theirs[index]);
        println!(
            "{who:<24} {rate:6.0} frames/s; shmeld is {median:.2} times as fast (quartiles {low:.2} to {high:.2})"
        );
    }
    Ok(())
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part).round() as usize]
}

/// The tests' careless program.
fn compile(repository: &Path) -> Outcome<PathBuf> {
    let binary = std::env::temp_dir().join(format!("shmeld-naive-image-{}", std::process::id()));
    let source = repository.join("crates/shmeld-cli/tests/peers/naive_image.cpp");
    let status = Command::new("g++")
        .args(["-O2", "-o"])
        .arg(&binary)
        .arg(source)
        .args(["-pthread", "-lrt"])
        .status()?;
    if status.success() {
        Ok(binary)
    } else {
        Err("g++ failed".into())
    }
}

fn channel() -> String {
    format!("shmeld-frames-{}", std::process::id())
}

fn run_ours(frames: u64) -> Outcome<f64> {
    let this = std::env::current_exe()?;
    let count = frames.to_string();
    let mut provider = Command::new(&this)
        .args(["provide", &channel(), &count])
        .spawn()?;
    let outcome = seconds(Command::new(&this).args(["request", &channel(), &count]));
    end(&mut provider, outcome)
}

fn run_naive(naive: &Path, how: &[&str], frames: u64) -> Outcome<f64> {
    let count = frames.to_string();
    let mut requester = Command::new(naive);
    requester
        .args(["request", &channel(), "-n", &count, NAME])
        .args(how);
    let requester = requester.stderr(Stdio::piped()).spawn()?;
    // It makes the channel anew; a provider that came first would hold the old one.
    std::thread::sleep(Duration::from_millis(50));
    let mut provider = Command::new(naive);
    provider
        .args(["provide", &channel(), "-k"])
        .args(how)
        .stderr(Stdio::null());
    let mut provider = provider.spawn()?;
    let said = String::from_utf8(requester.wait_with_output()?.stderr)?;
    // One that ended by itself would take the last answer away with the names, and the requester would wait for ever.
    provider.kill()?;
    provider.wait()?;
    let median = said
        .rsplit("median ")
        .next()
        .and_then(|rest| rest.split(' ').next());
    Ok(median.ok_or("no time")?.parse::<f64>()?)
}

fn seconds(command: &mut Command) -> Outcome<f64> {
    let output = command.stderr(Stdio::inherit()).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn end(provider: &mut Child, outcome: Outcome<f64>) -> Outcome<f64> {
    if outcome.is_err() {
        provider.kill()?;
    }
    provider.wait()?;
    outcome
}
