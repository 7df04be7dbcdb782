//! The first half of the demonstration: the list of files through one page, and both sides end together.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use shmeld::ServerName;
use shmeld::os::posix::mqueue::{Access, MessageQueue};
use shmeld::os::posix::shm::SharedMemory;

use super::demo_leftovers::Leftovers;
use super::demo_material::{Fate, LIST, Material};
use super::demo_process::{ServerProcess, Trouble, show_status};
use super::demo_run::{ClientRun, Theatre};
use super::demo_stage::same_bytes;
use super::demo_story::{Story, counted, grouped};
use crate::program::exit;
use crate::values::show_size;

/// What a slot of a page has for the bytes of a file: 3776 less the 32 of a record.
const PAYLOAD_BYTES: u64 = 3744;

/// Plays it.
///
/// # Errors
/// A process could not be started, or we were told to stop.
pub fn play(
    story: &mut Story,
    theatre: &Theatre<'_>,
    material: &Material,
    name: &ServerName,
    leftovers: &mut Leftovers,
) -> Result<(), Trouble> {
    let mut server = theatre.start_server(&material.offered, name, &["--once"])?;
    let queue = look_at_queue(name)?;
    let received = theatre.stage.join("received");
    let arguments = [
        "--region".to_owned(),
        "4096".to_owned(),
        format!("--files-from={}", material.offered.join(LIST).display()),
        format!("--output={}", received.display()),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let client = theatre.run_client(&mut server, name, &arguments, &[])?;
    leftovers.expect_regions(&client.regions);
    tell_objects(story, name, &server, &client, &queue);
    let compared = Delivery {
        material,
        received,
        umask: theatre.umask,
    };
    compared.tell(story, &client);
    tell_end(story, material, &mut server, &client, leftovers);
    Ok(())
}

/// What the kernel says about the queue while the server lives.
fn look_at_queue(name: &ServerName) -> Result<String, String> {
    let looked = MessageQueue::open(name.queue(), Access::Send).and_then(|queue| queue.attributes());
    let attributes = looked.map_err(|error| error.to_string())?;
    SharedMemory::stat_name(name.gate()).map_err(|error| error.to_string())?;
    Ok(format!(
        "{} messages of at most {} bytes",
        attributes.messages_max, attributes.message_bytes_max
    ))
}

fn tell_objects(
    story: &mut Story,
    name: &ServerName,
    server: &ServerProcess,
    client: &ClientRun,
    queue: &str,
) {
    story.step("Two processes that share three kernel objects");
    story.tell(&format!(
        "server  pid {:<7} shm_server offered --once",
        server.pid()
    ));
    story.tell(&format!(
        "client  pid {:<7} shm_client -T filelist.txt -o received",
        client.pid
    ));
    story.tell("(each with --name, to be among themselves; here they were started as");
    story.tell("shmeld serve and shmeld get --region 4096, which is the same)");
    let regions: Vec<&str> = client.regions.iter().map(String::as_str).collect();
    story.check(
        regions.len() == 1,
        "the client made exactly one region",
        &format!("{} regions", regions.len()),
    );
    story.tell("");
    story.tell(&format!("message queue  {}", name.queue()));
    story.tell(&format!("               {queue}: the client's requests"));
    story.tell(&format!("shared memory  {}", regions.join(" ")));
    story.tell("               4096 bytes, one page: two semaphores, two counters, and");
    story.tell("               a slot for at most 3744 bytes of a file at a time");
    story.tell(&format!("shared memory  {}", name.gate()));
    story.tell("               0 bytes: whoever has locked it owns the server's name");
}

/// What has arrived, to be held against what was asked for.
struct Delivery<'m> {
    material: &'m Material,
    received: PathBuf,
    umask: u32,
}

impl Delivery<'_> {
    fn tell(&self, story: &mut Story, client: &ClientRun) {
        story.step("What the client asked for, and what came");
        story.tell(&format!(
            "{:<16} {:>11}  {:>7}  compared with the original",
            "name", "bytes", "turns"
        ));
        let mut same = 0;
        for name in &self.material.names {
            let line = match self.material.fate(name) {
                Fate::Delivered => {
                    let found = self.compare(name, client);
                    let holds = found.is_ok();
                    same += u64::from(holds);
                    let words = found.err().unwrap_or_else(|| "every byte the same".to_owned());
                    story.check(holds, &format!("{name} arrives whole"), &words);
                    let bytes = fs::metadata(self.material.offered.join(name)).map_or(0, |found| found.len());
                    let turns = bytes.div_ceil(PAYLOAD_BYTES).max(1);
                    format!("{:>11}  {:>7}  {words}", grouped(bytes), grouped(turns))
                }
                fate => {
                    let found = self.look_for_refusal(name, fate, client);
                    let words = found.clone().unwrap_or_else(|words| words);
                    story.check(
                        found.is_ok(),
                        &format!("{name} is refused and nothing else"),
                        &words,
                    );
                    format!("{:>11}  {:>7}  {words}", "-", 1)
                }
            };
            story.tell(&format!("{name:<16} {line}"));
        }
        let seconds = client.elapsed.as_secs_f64();
        let rate = show_size((client.bytes() as f64 / seconds.max(1e-6)) as u64);
        story.tell(&format!(
            "{}, {} bytes in {seconds:.3} s ({rate}/s), the",
            counted(same, "file"),
            grouped(client.bytes())
        ));
        story.tell("start and the end of the client's process included. Turns are reckoned, at");
        story.tell("3744 bytes each: the server waits for \"free\", fills the slot and posts");
        story.tell("\"filled\"; the client waits for \"filled\", empties it and posts \"free\".");
    }

    fn compare(&self, name: &str, client: &ClientRun) -> Result<(), String> {
        let (from, to) = (self.material.offered.join(name), self.received.join(name));
        if !client.delivered.iter().any(|(delivered, _)| delivered == name) {
            return Err("the client does not say that it came".to_owned());
        }
        if !same_bytes(&from, &to).map_err(|error| error.to_string())? {
            return Err("other bytes".to_owned());
        }
        let mode = |path| fs::metadata(path).map(|found| found.mode() & 0o777);
        let wanted = mode(&from).map_err(|error| error.to_string())? & !self.umask;
        let found = mode(&to).map_err(|error| error.to_string())?;
        if wanted == found {
            Ok(())
        } else {
            Err(format!("mode {found:04o} instead of {wanted:04o}"))
        }
    }

    fn look_for_refusal(&self, name: &str, fate: Fate, client: &ClientRun) -> Result<String, String> {
        let Some((_, status, text)) = client.refused.iter().find(|(refused, ..)| refused == name) else {
            return Err("the client does not say that it was refused".to_owned());
        };
        if fate == Fate::NotFound && status != "FNF" {
            return Err(format!("{status} instead of FNF"));
        }
        // A name that leads out of the directory has no place in it that could be looked at.
        if fate == Fate::NotFound && self.received.join(name).symlink_metadata().is_ok() {
            return Err("there is an output file".to_owned());
        }
        Ok(format!("{status}: {text}; no file made"))
    }
}

fn tell_end(
    story: &mut Story,
    material: &Material,
    server: &mut ServerProcess,
    client: &ClientRun,
    leftovers: &Leftovers,
) {
    story.step("Both ends, together");
    let all_there = material
        .names
        .iter()
        .all(|name| material.fate(name) == Fate::Delivered);
    let wanted = if all_there {
        exit::DONE
    } else {
        exit::NOT_DELIVERED
    };
    for complaint in &client.complaints {
        story.tell(&format!("The client said:  {complaint}"));
    }
    story.check(
        client.status.code() == Some(i32::from(wanted)),
        &format!("the client ends with exit code {wanted}"),
        &client.ending(),
    );
    let server_status = server.wait();
    let ended_well = server_status.as_ref().is_ok_and(|status| status.success());
    let server_ending = show_status(server_status);
    story.check(
        ended_well,
        "the server ends by itself with exit code 0",
        &server_ending,
    );
    story.tell("The client's last message was CLOSE. The server, started with --once, then");
    story.tell("removed its queue and its lock; the client had removed the page's name");
    story.tell("as soon as both sides had mapped it.");
    let found = leftovers.find();
    story.check(
        found.is_empty(),
        "after the first part no kernel object is left",
        &found.join(", "),
    );
    let reason = if all_there { "" } else { " (not all was there)" };
    story.tell(&format!(
        "client: {}{reason}; server: {server_ending}",
        show_status(Ok(client.status))
    ));
}
