//! Measures the ring of shmeld-core between two processes, against what else one could use.
//!
//! * [`channel`]: what a contestant can do; [`ring`], [`bare`], `iceoryx`, [`streams`]: the contestants;
//! * [`work`]: the echo and the bytes one way; [`pair`]: the two processes that do it;
//! * [`rows`]: the table; [`numbers`]: medians and quartiles;
//! * [`leftovers`]: leaving nothing behind.

mod bare;
mod channel;
#[cfg(feature = "iceoryx2")]
mod iceoryx;
mod leftovers;
mod numbers;
mod pair;
mod ring;
mod rows;
mod streams;
mod work;

use std::process::ExitCode;

use channel::Outcome;
use shmeld_os::process;

const HELP: &str = "\
usage: shmeld-ring-bench [--json] [--pairs N] [--total MiB] [--only WORDS]

  --json        one object a line, with all samples, instead of a table
  --pairs N     pairs of measurements a row (9)
  --total MiB   how much goes one way (1024)
  --only WORDS  only rows whose name contains WORDS, as in `--only \"64 B against\"`
";

struct Options {
    json: bool,
    pairs: usize,
    total_mib: usize,
    only: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((first, rest)) if first == pair::PONG => pair::answer(rest),
        Some((first, _)) if first == "--help" || first == "-h" => {
            print!("{HELP}");
            Ok(())
        }
        _ => parse(&arguments).and_then(|options| {
            leftovers::watch_signals()?;
            let outcome = run(&options);
            leftovers::remove();
            outcome
        }),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shmeld-ring-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options {
        json: false,
        pairs: 9,
        total_mib: 1024,
        only: String::new(),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--json" => options.json = true,
            "--pairs" => options.pairs = value()?.parse()?,
            "--total" => options.total_mib = value()?.parse()?,
            "--only" => options.only.clone_from(value()?),
            _ => return Err(format!("unknown argument {argument}\n{HELP}").into()),
        }
    }
    if options.pairs == 0 || options.total_mib == 0 {
        return Err("--pairs and --total are at least 1".into());
    }
    Ok(options)
}

fn run(options: &Options) -> Outcome<()> {
    let allowed = process::cpus_allowed_list();
    let first = *allowed
        .first()
        .ok_or("the kernel does not say which CPUs there are")?;
    // The last one: neighbours may be two threads of one core.
    let last = *allowed.last().unwrap_or(&first);
    if first == last {
        eprintln!("one CPU only: both processes share CPU {first}");
    } else if !options.json {
        println!(
            "one process on CPU {first}, the other on CPU {last}; {} pairs a row",
            options.pairs
        );
    }
    let mut heading = String::new();
    let mut missing = Vec::new();
    let rows = rows::all(options.total_mib << 20);
    for row in rows.iter().filter(|row| row.name().contains(&options.only)) {
        if let Some(reason) = row.rival().missing(allowed.len()) {
            if !missing.contains(&row.rival()) {
                eprintln!("not measured: {}: {reason}", row.rival().name());
                missing.push(row.rival());
            }
            continue;
        }
        let measured = row.run(options.pairs, [first, last])?;
        if options.json {
            println!("{}", measured.to_json());
            continue;
        }
        if heading != measured.heading() {
            measured.heading().clone_into(&mut heading);
            println!("\n{heading}\n  against              ours      rival   ratio (quartiles of the pairs)");
        }
        println!("{}", measured.to_text());
    }
    Ok(())
}
