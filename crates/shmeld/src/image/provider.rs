//! The provider: it waits for requests, loads images and answers with their pixels.

use std::time::Duration;

use shmeld_os::explain;

use super::joined::Joined;
use super::layout::{self, REFUSAL_BYTES_MAX, REQUEST_BYTES};
use super::names::NAME_BYTES_MAX;
use super::objects::blame;
use super::requester::spin;
use super::{ChannelName, Geometry, ImageError, ImageSource};
use crate::file::Interrupt;
use crate::patience::{POLL, Patience};
use crate::{Error, Result};

/// What a provider can choose.
#[derive(Debug, Clone, Default)]
pub struct ProviderOptions {
    /// Users whose channels are accepted besides those of this process's own user and of root.
    pub requester_uids: Vec<u32>,
}

/// Waits for requests on a channel, loads images and answers with their pixels: see [`image`](super).
#[derive(Debug)]
pub struct Provider {
    channel: ChannelName,
    options: ProviderOptions,
    joined: Option<Joined>,
    /// Whether it was told once that somebody else serves the channel.
    has_told: bool,
    name: Vec<u8>,
    pixels: Vec<u8>,
    spin: Duration,
}

/// One request, answered.
#[derive(Debug)]
pub struct Served<'a> {
    /// The name that was asked for; empty if the request was none.
    pub name: &'a [u8],
    /// The image's shape, or what the requester was told instead.
    pub outcome: Result<Geometry, String>,
}

impl Provider {
    /// Waits until the channel exists and nobody else provides its images.
    ///
    /// # Errors
    /// [`ImageError::Foreign`], [`ImageError::NoRequest`] if the time is up, the kernel's refusals, or [`Error::Interrupted`].
    pub fn open(
        channel: &ChannelName,
        options: ProviderOptions,
        timeout: Option<Duration>,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let mut provider = Self {
            channel: channel.clone(),
            options,
            joined: None,
            has_told: false,
            name: Vec::with_capacity(NAME_BYTES_MAX),
            pixels: Vec::new(),
            spin: spin(),
        };
        provider.join(&Patience::new(timeout, interrupt.clone()))?;
        Ok(provider)
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Waits for a request and answers it. A requester that goes, dies or makes its channel anew is followed by the next one.
    ///
    /// # Errors
    /// As for [`Provider::open`]. An image that cannot be loaded is no error of the provider: the requester is told, and so is the caller.
    pub fn serve_next(
        &mut self,
        source: &mut impl ImageSource,
        timeout: Option<Duration>,
        interrupt: &Interrupt,
    ) -> Result<Served<'_>> {
        let patience = Patience::new(timeout, interrupt.clone());
        loop {
            self.join(&patience)?;
            if !self.has_request(&patience)? {
                continue;
            }
            let outcome = self.load(source)?;
            if self.is_answered(&outcome)? {
                return Ok(Served {
                    name: &self.name,
                    outcome,
                });
            }
            tracing::info!(
                "channel {}: its requester did not wait for the answer",
                self.channel
            );
        }
    }

    fn join(&mut self, patience: &Patience) -> Result<()> {
        while self.joined.is_none() {
            self.joined = Joined::open(&self.channel, &self.options.requester_uids, &mut self.has_told)?;
            if self.joined.is_some() {
                break;
            }
            if patience.is_over() {
                return Err(self.no_request(patience));
            }
            patience.sleep(POLL)?;
        }
        Ok(())
    }

    /// Waits for a request on the channel as it is now; `false` if the channel is another one by then.
    fn has_request(&mut self, patience: &Patience) -> Result<bool> {
        let mut spin = self.spin;
        let Some(joined) = &mut self.joined else {
            return Ok(false);
        };
        loop {
            let end = patience.slice()?;
            let request = &joined.objects.request;
            let has_request = request
                .take_until(end, spin)
                .map_err(|error| blame(&self.channel, error))?;
            spin = Duration::ZERO;
            // A unit of a semaphore that was replaced meanwhile is nobody's request. Segments alone are replaced by naive requesters.
            let is_current = joined.objects.is_request_named()? && joined.follow(&self.channel)?;
            if !is_current {
                self.joined = None;
                return Ok(false);
            }
            if has_request {
                return Ok(true);
            }
            joined.watch_requester(&self.channel)?;
            if patience.is_over() {
                return Err(self.no_request(patience));
            }
        }
    }

    /// Reads the request and loads the image: what is wrong with either is told to the requester.
    fn load(&mut self, source: &mut impl ImageSource) -> Result<Result<Geometry, String>> {
        self.name.clear();
        if let Err(problem) = self.read_name()? {
            tracing::warn!(
                "channel {}: the requester broke the protocol: {problem}",
                self.channel
            );
            self.name.clear();
            return Ok(Err(problem));
        }
        if let Err(problem) = layout::check_name(&self.name) {
            return Ok(Err(problem));
        }
        explain!(
            "sem_wait",
            self.channel.request(),
            format_args!("the requester asks for {}", shmeld_os::name::escape(&self.name))
        );
        let outcome = source.load(&self.name, &mut self.pixels).and_then(|geometry| {
            if geometry.bytes() == self.pixels.len() as u64 {
                Ok(geometry)
            } else {
                Err("the provider's source contradicts itself".to_owned())
            }
        });
        Ok(outcome)
    }

    fn read_name(&mut self) -> Result<Result<(), String>> {
        let Some(joined) = &self.joined else {
            return Ok(Err("there is no channel".to_owned()));
        };
        let mut head = [0; REQUEST_BYTES];
        if let Err(bytes) = joined.objects.head.read(&mut head)? {
            return Ok(Err(format!(
                "HEAD has {bytes} bytes, and a request {REQUEST_BYTES}"
            )));
        }
        let bytes = match layout::name_bytes(head) {
            Ok(bytes) => bytes,
            Err(problem) => return Ok(Err(problem)),
        };
        self.name.resize(bytes, 0);
        let read = joined.objects.data.read(&mut self.name)?;
        Ok(read.map_err(|present| format!("HEAD promises a name of {bytes} bytes, and DATA has {present}")))
    }

    /// Writes and posts the answer, if whoever asked still waits for it.
    fn is_answered(&mut self, outcome: &Result<Geometry, String>) -> Result<bool> {
        let Some(joined) = &mut self.joined else {
            return Ok(false);
        };
        let objects = &joined.objects;
        if objects.are_named()? {
            let mut written = match outcome {
                Ok(geometry) => {
                    let data = objects.data.write(&self.pixels);
                    data.and_then(|()| objects.head.write(&layout::image_head(*geometry)))
                }
                Err(problem) => joined.write_refusal(problem),
            };
            if let Err(Error::Os(error)) = &written {
                // No room in /dev/shm, most likely. A refusal needs next to none.
                tracing::warn!("channel {}: {error}", self.channel);
                written = joined.write_refusal(&error.to_string());
            }
            written?;
        }
        // Once more: whoever replaced the channel while the pixels were copied waits for something else by now.
        if !joined.objects.are_named()? {
            self.joined = None;
            return Ok(false);
        }
        let what = match outcome {
            Ok(_) => "DATA has the pixels, HEAD their shape: answer",
            Err(_) => "DATA says why there is no image, HEAD how long that is: answer",
        };
        explain!("sem_post", self.channel.answer(), what);
        let posted = joined.objects.answer.post();
        posted.map_err(|error| blame(&self.channel, error))?;
        Ok(true)
    }

    fn no_request(&self, patience: &Patience) -> Error {
        ImageError::NoRequest {
            channel: self.channel.to_string(),
            waited: patience.waited(),
        }
        .into()
    }
}

impl Joined {
    fn write_refusal(&self, problem: &str) -> Result<()> {
        let mut end = problem.len().min(REFUSAL_BYTES_MAX);
        while !problem.is_char_boundary(end) {
            end -= 1;
        }
        self.objects.data.write(&problem.as_bytes()[..end])?;
        self.objects.head.write(&layout::refusal_head(end))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(joined) = &self.joined {
            joined.remove_after_death(&self.channel);
        }
    }
}
