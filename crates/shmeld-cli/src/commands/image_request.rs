//! `shmeld image request`.

use std::ffi::OsString;
use std::io::{BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use shmeld::file::Interrupt;
use shmeld::image::{
    Choice, Geometry, ImageError, NamesError, PictureFolder, Requester, RequesterOptions, read_names,
};
use shmeld::os::name::escape;
use shmeld::{Error, Result};

use super::image::Say;
use super::output_options;
use crate::args_image::RequestArgs;
use crate::program::{Program, exit, refused};

/// How often it is looked whether the command is to end while it reads names.
const LIST_POLL: Duration = Duration::from_millis(50);

pub(super) fn run(program: &Program, args: &RequestArgs, interrupt: &Interrupt) -> Result<u8> {
    let names = names(args, interrupt)?;
    let folder = match &args.output {
        None => None,
        Some(directory) => Some(PictureFolder::open(
            directory,
            args.format.into(),
            output_options(program),
        )?),
    };
    let options = RequesterOptions {
        public: args.public,
        force: args.force,
    };
    let mut asking = Asking {
        args,
        interrupt,
        say: Say {
            program,
            talk: &args.talk,
        },
        requester: Requester::create(&args.channel, options)?,
        folder,
        pixels: Vec::new(),
        images: 0,
        failed: 0,
        code: exit::DONE,
    };
    let outcome = Choice::new(&names, args.count, args.random).try_for_each(|name| asking.fetch(name?));
    // What was told last may have been told to nobody.
    let outcome = outcome.and_then(|()| interrupt.check());
    let Asking {
        say,
        images,
        failed,
        mut code,
        requester,
        ..
    } = asking;
    // The names are gone before the last word is spoken.
    drop(requester);
    if let Err(error) = outcome {
        code = code.max(program.fail(&error));
    }
    say.summary(images, failed, code);
    Ok(code)
}

/// One run of the command.
struct Asking<'a> {
    args: &'a RequestArgs,
    interrupt: &'a Interrupt,
    say: Say<'a>,
    requester: Requester,
    folder: Option<PictureFolder>,
    pixels: Vec<u8>,
    images: u64,
    failed: u64,
    code: u8,
}

impl Asking<'_> {
    /// Asks for one image; an error ends the run.
    fn fetch(&mut self, name: &[u8]) -> Result<()> {
        match self.request(name) {
            Ok(geometry) => self.deliver(name, geometry),
            // These are about this image; without a provider the next one would take as long to fail.
            Err(Error::Image(
                error @ (ImageError::Refused { .. }
                | ImageError::Name { .. }
                | ImageError::Broken { .. }
                | ImageError::NoMemory { .. }),
            )) => {
                let reason = match &error {
                    // It begins with the name, and so does what is said of it.
                    ImageError::Name { reason, .. } => reason.clone(),
                    error => error.to_string(),
                };
                self.fail(name, &reason, error.hint().as_deref(), error.exit_code());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The provider may die and be started again: as long as there is time, the next one is asked.
    fn request(&mut self, name: &[u8]) -> Result<Geometry> {
        let start = Instant::now();
        loop {
            let timeout = self
                .args
                .timeout
                .0
                .map(|timeout| timeout.saturating_sub(start.elapsed()));
            let outcome = self
                .requester
                .request(name, &mut self.pixels, timeout, self.interrupt);
            match outcome {
                Err(Error::Image(ImageError::ProviderDied { .. })) if timeout != Some(Duration::ZERO) => {
                    self.say.note(&format!(
                        "channel {}: the provider died; asking the next one for {}",
                        self.args.channel,
                        escape(name)
                    ));
                }
                outcome => return outcome,
            }
        }
    }

    fn deliver(&mut self, name: &[u8], geometry: Geometry) -> Result<()> {
        let mut path = None;
        if let Some(folder) = &mut self.folder {
            match folder.write(name, geometry, &self.pixels) {
                Ok(picture) => {
                    if let Some(loss) = picture.loss {
                        self.say.note(&format!("image {}: {loss}", escape(name)));
                    }
                    path = Some(picture.path.display().to_string());
                }
                Err(error) => {
                    self.fail(name, &error.to_string(), None, exit::NOT_DELIVERED);
                    return Ok(());
                }
            }
        }
        self.images += 1;
        if self.args.print && !self.args.talk.json {
            return print(name, geometry);
        }
        let path = path.as_deref().map(|path| ("path", path));
        self.say.image("image", name, geometry, path);
        Ok(())
    }

    fn fail(&mut self, name: &[u8], reason: &str, hint: Option<&str>, code: u8) {
        self.failed += 1;
        self.code = self.code.max(code);
        self.say.failure(name, reason, hint, true);
    }
}

fn print(name: &[u8], geometry: Geometry) -> Result<()> {
    let (bytes, width, height) = (geometry.bytes(), geometry.width(), geometry.height());
    let line = format!(
        "{} {bytes} {width} {height} {}",
        escape(name),
        geometry.channels()
    );
    let printed = writeln!(std::io::stdout(), "{line}");
    printed.map_err(|error| refused("write", "standard output", &error).into())
}

/// The names on the command line and in the list.
fn names(args: &RequestArgs, interrupt: &Interrupt) -> Result<Vec<Vec<u8>>> {
    let mut names: Vec<Vec<u8>> = args.names.iter().cloned().map(OsString::into_vec).collect();
    let Some(list) = &args.names_from else {
        return Ok(names);
    };
    names.extend(listed(list, interrupt)?);
    if names.is_empty() {
        return Err(Error::Usage(format!(
            "{}: there is no name in it",
            list.display()
        )));
    }
    Ok(names)
}

/// Reads the list in a thread of its own: what has no end, and no beginning either, does not keep the command from ending.
fn listed(list: &Path, interrupt: &Interrupt) -> Result<Vec<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    let owned = list.to_owned();
    // Whoever does not listen any more is at its end.
    let read = move || drop(sender.send(read_list(&owned)));
    let reader = std::thread::Builder::new().name("names".to_owned());
    reader
        .spawn(read)
        .map_err(|error| refused("pthread_create", "names", &error))?;
    loop {
        match receiver.recv_timeout(LIST_POLL) {
            Ok(names) => return names,
            Err(RecvTimeoutError::Timeout) => interrupt.check()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::Usage(format!(
                    "{}: it cannot be read as names",
                    list.display()
                )));
            }
        }
    }
}

fn read_list(list: &Path) -> Result<Vec<Vec<u8>>> {
    let label = list.display().to_string();
    let read = if list == Path::new("-") {
        read_names(std::io::stdin().lock())
    } else {
        let file = std::fs::File::open(list).map_err(|error| refused("open", &label, &error))?;
        read_names(BufReader::new(file))
    };
    read.map_err(|error| match error {
        NamesError::Read(error) => Error::Usage(refused("read", &label, &error).to_string()),
        error => Error::Usage(format!("{label}: {error}")),
    })
}
