//! Many servers started at the same moment under one name: one has it, and the others say so.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::program::Running;
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World};

const SERVERS: usize = 20;

/// The row of this file.
pub fn row() -> Row {
    Row {
        name: "gate-race",
        about: "20 servers started together under one name: one wins, the others exit 3",
        run,
    }
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    let mut tally = Tally::default();
    let world = World::new(setup, "gate")?;
    for round in 0..if setup.full { 500 } else { 5 } {
        let result = race(&world).and_then(|()| world.check_objects(true));
        if result.is_err() {
            world.mop_up();
        }
        tally.count(result.map_err(|what| format!("round {round}: {what}")));
    }
    Ok(tally)
}

fn race(world: &World) -> Result<(), String> {
    let barrier = Barrier::new(SERVERS);
    let started: Vec<Result<Running, String>> = std::thread::scope(|scope| {
        let start = |number: usize| {
            let (program, said) = (world.server(&[]), world.output().join(format!("said-{number}")));
            barrier.wait();
            program.start(&said)
        };
        let starting: Vec<_> = (0..SERVERS)
            .map(|number| scope.spawn(move || start(number)))
            .collect();
        let lost = |_| Err("a worker panicked".to_owned());
        starting
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(lost))
            .collect()
    });
    let mut servers = started.into_iter().collect::<Result<Vec<_>, _>>()?;
    let deadline = Instant::now() + PATIENCE;
    // All losers end before the winner is asked to: otherwise there could be a second winner, rightly.
    while servers
        .iter_mut()
        .filter_map(|server| (!server.is_over()).then_some(()))
        .count()
        > 1
    {
        if Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let (mut winners, mut losers) = (Vec::new(), Vec::new());
    for mut server in servers {
        // The winner may still be on its way to saying so.
        if server.wait_until_it_says("serving", deadline)? {
            winners.push(server);
        } else {
            losers.push(server);
        }
    }
    let count = winners.len();
    for winner in winners {
        winner.signal(Signal::SIGTERM);
        let ended = winner.finish(deadline)?;
        if ended.exit != Exit::Code(0) {
            return Err(format!("a winner ended with {:?}: {}", ended.exit, ended.stderr));
        }
    }
    if count != 1 {
        return Err(format!("{count} of {SERVERS} servers say that they serve"));
    }
    for loser in losers {
        let ended = loser.finish(deadline)?;
        if ended.exit != Exit::Code(3) || !ended.stderr.contains("already running") {
            return Err(format!("a loser ended with {:?}: {}", ended.exit, ended.stderr));
        }
    }
    Ok(())
}
