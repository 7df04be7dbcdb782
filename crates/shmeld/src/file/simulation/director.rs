//! Who takes part, what breaks meanwhile, and what must be true at the end: all chosen by the seed.

use std::time::Duration;

use super::baton::{Key, Me, Pid, Run, Wakeup};
use super::world::{ClientCard, Outcome};
use super::{client, hostile, server};

const TICK: Duration = Duration::from_secs(1);

/// How likely what is; each seed has its own.
#[derive(Debug, Clone, Copy)]
struct Plan {
    clients: u64,
    hostiles: u64,
    sessions_max: usize,
    faults: u64,
    /// The longest pause between two of them.
    pause_us: u64,
    /// The longest time a client does something else between two answers.
    think_us: u64,
    /// Of a thousand faults: which of them kill or stop something. The rest are spurious wakes.
    kill_server: u64,
    restart_server: u64,
    stop_server: u64,
    kill_client: u64,
    stop_client: u64,
    unlink_queue: u64,
    rival: u64,
}

impl Plan {
    fn draw(me: &Me) -> Self {
        me.aside(|world| {
            let random = &mut world.random;
            let mut chance = |most: u64| {
                if random.permille(500) {
                    random.below(most)
                } else {
                    0
                }
            };
            Self {
                kill_server: chance(300),
                restart_server: chance(300),
                stop_server: chance(150),
                kill_client: chance(100),
                stop_client: chance(150),
                unlink_queue: chance(150),
                rival: chance(60),
                clients: random.within(1, 4),
                hostiles: random.below(3),
                sessions_max: [1, 2, 3, 16, 16, 16][random.index(6)],
                faults: random.below(40),
                pause_us: [200, 2000, 20_000, 300_000][random.index(4)],
                think_us: [1, 1, 1, 3000, 100_000, 3_000_000][random.index(6)],
            }
        })
    }
}

struct Director<'m> {
    me: &'m Me,
    plan: Plan,
    servers: Vec<Pid>,
    others: Vec<Pid>,
}

/// Directs one simulation from its beginning to its end.
pub fn live(me: &Me) {
    let mut director = Director {
        me,
        plan: Plan::draw(me),
        servers: Vec::new(),
        others: Vec::new(),
    };
    let is_early = me.aside(|world| world.random.permille(800));
    if is_early {
        director.start_server();
    }
    director.start_clients();
    for _ in 0..director.plan.faults {
        let pause = director.draw(director.plan.pause_us);
        me.sleep(Duration::from_micros(pause));
        if director.draw(2) == 0 {
            director.fault_in_a_bad_moment();
        } else {
            director.fault();
        }
    }
    director.end();
    me.finish();
}

impl Director<'_> {
    fn draw(&self, limit: u64) -> u64 {
        self.me.aside(|world| world.random.below(limit))
    }

    fn new_process(&self, name: &str) -> Pid {
        self.me.aside(|world| world.new_process(name))
    }

    fn start_server(&mut self) {
        let pid = self.new_process("server");
        let sessions_max = self.plan.sessions_max;
        self.servers.push(pid);
        self.me.spawn(&format!("server {pid}"), pid, move |me| {
            server::live(me, sessions_max)
        });
    }

    fn start_clients(&mut self) {
        for _ in 0..self.plan.clients {
            let pid = self.new_process("client");
            self.others.push(pid);
            let (card, slots, requests) = self.me.aside(|world| {
                world.clients.push(ClientCard {
                    pid,
                    outcome: None,
                    object: usize::MAX,
                    closed_on: None,
                });
                let many = world.random.within(1, 16);
                let requests: Vec<u64> = (0..many).map(|_| world.random.below(12)).collect();
                (
                    world.clients.len() - 1,
                    world.random.within(1, 4) as u32,
                    requests,
                )
            });
            let think_us = self.plan.think_us;
            let life = move |me: &Me| client::live(me, card, slots, &requests, think_us);
            self.me.spawn(&format!("client {card}"), pid, life);
        }
        for _ in 0..self.plan.hostiles {
            let pid = self.new_process("hostile");
            self.others.push(pid);
            let deeds = self.draw(120);
            self.me
                .spawn(&format!("hostile {pid}"), pid, move |me| hostile::live(me, deeds));
        }
    }

    fn is_alive(&self, pid: Pid) -> bool {
        self.me.aside(|world| world.processes[pid].is_alive)
    }

    fn living_server(&self) -> Option<Pid> {
        self.servers.iter().rev().copied().find(|pid| self.is_alive(*pid))
    }

    fn some_client(&self) -> Option<Pid> {
        let living: Vec<Pid> = self
            .others
            .iter()
            .copied()
            .filter(|pid| self.is_alive(*pid))
            .collect();
        (!living.is_empty()).then(|| living[self.draw(living.len() as u64) as usize])
    }

    fn wait_for(&self, key: Key, patience: Duration) -> bool {
        let until = self.me.now() + patience;
        let waited = self.me.step_or_wait(format_args!("wait for {key:?}"), |_| {
            Err::<(), _>((key, Some(until)))
        });
        waited == Err(Wakeup::Woken)
    }

    /// A client looks around, because it got nothing for a slice; a slot comes while it looks; and now something breaks.
    fn fault_in_a_bad_moment(&mut self) {
        let is_bad = self.wait_for(Key::SliceEnd, TICK) && self.wait_for(Key::Published, TICK / 500);
        match self.living_server() {
            Some(pid) if is_bad && self.plan.kill_server > 0 => {
                self.disturb(pid);
                self.me.kill(pid);
            }
            _ => self.fault(),
        }
    }

    fn fault(&mut self) {
        let plan = self.plan;
        let mut dice = self.draw(1000);
        let mut falls_on = |chance: u64| {
            let is_it = dice < chance;
            dice = dice.saturating_sub(chance);
            is_it
        };
        if falls_on(plan.kill_server) {
            if let Some(pid) = self.living_server() {
                self.disturb(pid);
                self.me.kill(pid);
            }
        } else if falls_on(plan.restart_server) {
            self.ask_to_stop();
        } else if falls_on(plan.stop_server) {
            self.living_server().into_iter().for_each(|pid| self.stop(pid));
        } else if falls_on(plan.kill_client) {
            if let Some(pid) = self.some_client() {
                self.disturb(pid);
                self.me.kill(pid);
            }
        } else if falls_on(plan.stop_client) {
            self.some_client().into_iter().for_each(|pid| self.stop(pid));
        } else if falls_on(plan.unlink_queue) {
            self.me.step(format_args!("somebody unlinks the queue"), |world| {
                world.kernel.queue_name = None
            });
        } else if falls_on(plan.rival) {
            self.start_server();
        } else {
            self.wake_for_nothing();
        }
        if self.living_server().is_none() && self.draw(3) > 0 {
            self.start_server();
        }
    }

    fn disturb(&self, pid: Pid) {
        self.me.aside(|world| world.processes[pid].was_disturbed = true);
    }

    /// SIGSTOP, and SIGCONT some time later.
    fn stop(&self, pid: Pid) {
        self.disturb(pid);
        let time = [50, 400, 3000, 20_000][self.draw(4) as usize];
        self.me
            .step(format_args!("stop process {pid} for {time} ms"), |world| {
                world.processes[pid].was_stopped = true;
                world.processes[pid].stopped_until = Some(world.now + Duration::from_millis(time));
            });
    }

    fn ask_to_stop(&self) {
        let Some(pid) = self.living_server() else { return };
        self.disturb(pid);
        self.me.step(format_args!("ask server {pid} to stop"), |world| {
            world.processes[pid].stop_wanted = true;
            let acceptor = world.actors.iter().position(|actor| actor.pid == pid);
            acceptor
                .into_iter()
                .for_each(|acceptor| world.wake_actor(acceptor));
        });
    }

    /// The kernel may end any futex wait early.
    fn wake_for_nothing(&self) {
        self.me.step(format_args!("a spurious wake"), |world| {
            let sleeping = world.actors.iter().filter_map(|actor| match actor.run {
                Run::Blocked(key @ Key::Futex(..), _) => Some(key),
                _ => None,
            });
            let sleeping: Vec<Key> = sleeping.collect();
            if sleeping.is_empty() {
                return 0;
            }
            let key = sleeping[world.random.index(sleeping.len())];
            let why = if world.random.permille(500) {
                Wakeup::Woken
            } else {
                Wakeup::Interrupted
            };
            world.wake(key, 1, why)
        });
    }

    /// Nothing breaks any more: everybody must come to an end.
    fn end(&mut self) {
        self.me.aside(|world| {
            for process in &mut world.processes {
                process.stopped_until = None;
            }
        });
        while self.others.iter().any(|pid| self.is_alive(*pid)) {
            if self.living_server().is_none() {
                self.start_server();
            }
            self.me.sleep(TICK / 4);
        }
        // Whoever died is noticed, before anybody is asked to stop.
        self.me.sleep(5 * TICK);
        self.ask_to_stop();
        while self.living_server().is_some() {
            self.me.sleep(TICK / 4);
            self.ask_to_stop();
        }
        self.me.aside(|world| {
            let left = world.kernel.sweep();
            // A queue of a server that was killed is left for the next one, which takes it.
            let stale = world
                .kernel
                .queue_name
                .is_some_and(|queue| world.kernel.queues[queue].lease.is_none());
            if left > usize::from(stale) {
                world.fail(format!("{left} names are left: {:?}", world.kernel.names));
            }
            for card in 0..world.clients.len() {
                let outcome = world.clients[card].outcome.clone();
                let was_killed = world.processes[world.clients[card].pid].was_disturbed;
                match outcome {
                    Some(Outcome::Done) => world.count("done"),
                    Some(_) => world.count("cut off"),
                    None if was_killed => world.count("killed"),
                    None => world.fail(format!("client {card} has neither ended nor been killed")),
                }
            }
        });
    }
}
