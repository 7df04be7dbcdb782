//! The requester: it owns the channel and asks for images by name.

use std::time::Duration;

use shmeld_os::name::escape_controls;
use shmeld_os::posix::kernel_semaphore::KernelSemaphore;
use shmeld_os::{explain, process};

use super::layout::{self, ANSWER_BYTES, Answer};
use super::objects::{Objects, blame, broken};
use super::owned::Owned;
use super::standing::{Next, Seen, Waiting};
use super::{ChannelName, Geometry, ImageError, Room, SPIN};
use crate::file::Interrupt;
use crate::patience::Patience;
use crate::{Error, Result};

/// Only its own user may open the channel.
const MODE_PRIVATE: u32 = 0o600;
/// Everybody may: each user of the machine can then read every image, and answer.
const MODE_PUBLIC: u32 = 0o666;
/// A request that nobody has taken for so long is told of: a provider that is there takes it within microseconds.
const TELL_AFTER: Duration = Duration::from_millis(400);

/// What a requester can choose.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequesterOptions {
    /// Other users may open the channel too, each of them to read images and to answer requests.
    pub public: bool,
    /// Take the channel away from whoever uses it now.
    pub force: bool,
}

/// Owns the channel and asks for images: see the [module](super). The channel is removed on drop.
#[derive(Debug)]
pub struct Requester {
    channel: ChannelName,
    mode: u32,
    /// `None` after something went wrong while the channel was being made anew: the next request tries again.
    owned: Option<Owned>,
    spin: Duration,
    /// That it waits for a provider is said once.
    has_told_waiting: bool,
}

impl Requester {
    /// Makes the channel. What a requester that died left of it is removed first.
    ///
    /// # Errors
    /// [`ImageError::InUse`], [`ImageError::Foreign`], or the kernel's refusals.
    pub fn create(channel: &ChannelName, options: RequesterOptions) -> Result<Self> {
        let mode = if options.public { MODE_PUBLIC } else { MODE_PRIVATE };
        Ok(Self {
            channel: channel.clone(),
            mode,
            owned: Some(Owned::make(channel, mode, options.force)?),
            spin: spin(),
            has_told_waiting: false,
        })
    }

    /// Asks for the image of this name and waits for it; its pixels are then what `pixels` holds, whose memory is used again if it is a vector.
    ///
    /// After every error but [`ImageError::Refused`], [`ImageError::Name`] and what [`Room`] says the channel has been made anew, because an
    /// answer may still be on its way: the next request is not mixed up with this one.
    ///
    /// # Errors
    /// [`ImageError`], the kernel's refusals, or [`Error::Interrupted`]. `pixels` is then empty.
    pub fn request(
        &mut self,
        name: &[u8],
        pixels: &mut impl Room,
        timeout: Option<Duration>,
        interrupt: &Interrupt,
    ) -> Result<Geometry> {
        let outcome = self.ask(name, pixels, Patience::new(timeout, interrupt.clone()));
        if let Err(error) = &outcome {
            pixels.clear();
            let is_usable = matches!(error, Error::Image(error) if error.leaves_channel_usable());
            if !is_usable {
                self.renew();
            }
        }
        outcome
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    fn ask(&mut self, name: &[u8], pixels: &mut impl Room, patience: Patience) -> Result<Geometry> {
        layout::check_name(name).map_err(|reason| ImageError::Name {
            name: name.to_owned(),
            reason,
        })?;
        loop {
            patience.slice()?;
            let owned = self.ready()?;
            let mut exchange = Exchange {
                channel: &self.channel,
                objects: &self.owned.insert(owned).objects,
                spin: self.spin,
                patience: &patience,
                has_told_waiting: &mut self.has_told_waiting,
            };
            if exchange.is_answered(name)? {
                return exchange.read_answer(pixels);
            }
            tracing::info!("channel {}: somebody removed it; asking again", self.channel);
        }
    }

    /// The channel as it must be before a request: all names there, no answer to nothing.
    fn ready(&mut self) -> Result<Owned> {
        let is_ready = |owned: &Owned| -> Result<bool> {
            let objects = &owned.objects;
            let units =
                |semaphore: &KernelSemaphore| semaphore.value().map_err(|error| blame(&self.channel, error));
            Ok(objects.are_named()? && units(&objects.answer)? == 0 && units(&objects.request)? == 0)
        };
        if let Some(owned) = self.owned.take()
            && is_ready(&owned)?
        {
            return Ok(owned);
        }
        // Never by force: who took the channel away from us keeps it.
        Owned::make(&self.channel, self.mode, false)
    }

    /// Makes all four objects anew. What fails here is tried again, and told, at the next request.
    fn renew(&mut self) {
        explain!(
            "shm_unlink",
            self.channel,
            "an answer may still be on its way: all four objects are made anew"
        );
        self.owned = None;
        self.owned = Owned::make(&self.channel, self.mode, false).ok();
    }
}

/// How long it pays to look before sleeping: not at all where nobody else can run meanwhile.
pub(super) fn spin() -> Duration {
    if process::cpus_allowed() > 1 {
        SPIN
    } else {
        Duration::ZERO
    }
}

/// One request.
struct Exchange<'a> {
    channel: &'a ChannelName,
    objects: &'a Objects,
    spin: Duration,
    patience: &'a Patience,
    has_told_waiting: &'a mut bool,
}

impl Exchange<'_> {
    /// Whether there is an answer now; `false` if the channel was removed before one came.
    fn is_answered(&mut self, name: &[u8]) -> Result<bool> {
        let blame = |error| blame(self.channel, error);
        let providers = self.objects.providers(self.channel)?;
        let mut waiting = Waiting::new(self.objects.provider(self.channel)?, providers);
        self.objects.data.write(name)?;
        self.objects.head.write(&layout::request_head(name.len()))?;
        explain!(
            "sem_post",
            self.channel.request(),
            "DATA has the name, HEAD its length: ask"
        );
        self.objects.request.post().map_err(blame)?;
        let mut spin = self.spin;
        loop {
            let end = self.patience.slice()?;
            if self.objects.answer.take_until(end, spin).map_err(blame)? {
                return Ok(true);
            }
            spin = Duration::ZERO;
            let seen = Seen {
                is_named: self.objects.are_named()?,
                providers: self.objects.providers(self.channel)?,
                is_taken: self.objects.request.value().map_err(blame)? == 0,
                provider: self.objects.provider(self.channel)?,
                is_over: self.patience.is_over(),
            };
            let next = waiting.next(seen);
            if next == Next::Wait {
                // A provider that knows no leases may be there, and busy: it would have said nothing.
                let is_alone = !seen.is_taken && seen.provider.is_none();
                if is_alone
                    && self.patience.waited() >= TELL_AFTER
                    && !std::mem::replace(self.has_told_waiting, true)
                {
                    tracing::info!("channel {}: waiting for a provider", self.channel);
                }
                continue;
            }
            // What was published before a death or a farewell is valid.
            if self.objects.answer.try_take().map_err(blame)? {
                return Ok(true);
            }
            return self.unanswered(next);
        }
    }

    fn unanswered(&self, next: Next) -> Result<bool> {
        let channel = self.channel.to_string();
        let waited = self.patience.waited();
        Err(match next {
            Next::Wait | Next::AskAgain => return Ok(false),
            Next::Died => ImageError::ProviderDied { channel },
            Next::NoProvider => ImageError::NoProvider { channel, waited },
            Next::Silent => ImageError::Silent { channel, waited },
        }
        .into())
    }

    fn read_answer(&self, pixels: &mut impl Room) -> Result<Geometry> {
        explain!(
            "sem_wait",
            self.channel.answer(),
            "an answer is there: HEAD says what DATA holds"
        );
        let mut head = [0; ANSWER_BYTES];
        if let Err(bytes) = self.objects.head.read(&mut head)? {
            return Err(self.broken(format!("HEAD has {bytes} bytes, and an answer {ANSWER_BYTES}")));
        }
        match layout::answer(&head).map_err(|what| self.broken(format!("HEAD says {what}")))? {
            Answer::Image(geometry) => self.read_pixels(geometry, pixels).map(|()| geometry),
            Answer::Refusal { text_bytes } => Err(self.refusal(text_bytes)?.into()),
        }
    }

    fn read_pixels(&self, geometry: Geometry, pixels: &mut impl Room) -> Result<()> {
        let bytes = geometry.bytes();
        let short = |present: u64| {
            self.broken(format!(
                "HEAD promises {bytes} bytes of pixels, and DATA has {present}"
            ))
        };
        // Before there is room for them: what is not there takes none.
        let present = self.objects.data.stat()?.bytes;
        if present < bytes {
            return Err(short(present));
        }
        let pixels = pixels.room(geometry)?;
        match self.objects.data.read(pixels)? {
            Ok(()) => Ok(()),
            Err(present) => Err(short(present as u64)),
        }
    }

    fn refusal(&self, text_bytes: usize) -> Result<ImageError> {
        let mut text = vec![0; text_bytes];
        if let Err(present) = self.objects.data.read(&mut text)? {
            text.truncate(present);
        }
        let text = escape_controls(String::from_utf8_lossy(&text).into_owned());
        let text = if text.is_empty() {
            "the provider has no such image".to_owned()
        } else {
            text
        };
        Ok(ImageError::Refused { text })
    }

    fn broken(&self, what: String) -> Error {
        broken(self.channel, what)
    }
}
