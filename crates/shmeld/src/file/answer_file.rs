//! One file as records: BEGIN, its bytes, END. Bytes that the client says to have are read, compared by their digest, and left out.

use super::answer::{Answerer, Tally};
use super::answer_account::path_of_item;
use super::prefix::{Range, Start};
use super::record::{Entry, Kind, Record, TEXT_BYTES_MAX, cut};
use super::session::End;
use super::source::{SourceFile, Span, Walk};
use super::status::{Refusal, Status};
use super::wire::{FLAG_PATTERN, FLAG_RANGE, FLAG_RESUME, FLAG_VERIFY, Op, Request};

/// What became of a file's bytes: its digest if that was asked for.
type Body = Result<Option<[u8; 32]>, Refusal>;

/// Where the first byte that is wanted lies, as far as the request says.
pub(super) fn first_position(request: &Request) -> u64 {
    if request.flags & FLAG_RANGE == 0 {
        return 0;
    }
    request.offset
}

impl Answerer<'_> {
    /// One file: BEGIN, its bytes, END.
    pub(super) fn file(
        &mut self,
        request: &Request,
        file: &dyn SourceFile,
        name: &[u8],
        tally: &mut Tally,
    ) -> Result<(), End> {
        let start = match self.await_bytes(request, file, first_position(request))? {
            Ok(()) => self.start(request, file)?,
            Err(refusal) => Err(refusal),
        };
        let (start, end) = match start {
            Ok(start) => start,
            // Before BEGIN the client has not touched what it has.
            Err(refusal) => {
                self.account_refusal(request, &path_of_item(request, name), &refusal);
                return self.refused_entry(request, name, &refusal, tally);
            }
        };
        let mut entry = Entry {
            name: name.to_vec(),
            ..file.entry().clone()
        };
        if request.flags & FLAG_RANGE != 0 {
            entry.text = file.identity().to_vec();
        }
        tally.items += 1;
        let begin = Record {
            offset: start.position,
            extent: entry.size,
            ..Record::new(Kind::Begin, request.request_id)
        };
        self.writer.record(&begin, |payload| entry.encode_to(payload))?;
        let mut body = self.body(request, file, start, end)?;
        if body.is_ok() {
            body = match file.is_unchanged() {
                Ok(true) => body,
                Ok(false) => Err(Status::Changed.into()),
                Err(refusal) => Err(refusal),
            };
        }
        self.end_file(request, &entry, end, body, tally)
    }

    /// END of a file, behind its bytes up to `end`.
    fn end_file(
        &mut self,
        request: &Request,
        entry: &Entry,
        end: u64,
        body: Body,
        tally: &mut Tally,
    ) -> Result<(), End> {
        let is_whole = end == entry.size;
        let end = Record {
            offset: end,
            ..Record::new(Kind::End, request.request_id)
        };
        match body {
            Ok(digest) => {
                self.writer.record(&end, |payload| {
                    payload.extend_from_slice(digest.as_ref().map_or(&[][..], |digest| digest))
                })?;
                // Not before END: a client that goes without it has no file. Of several parts the last one counts.
                if is_whole {
                    self.context.counters.files.add(1);
                    self.account.delivered(entry.size);
                }
                Ok(())
            }
            Err(refusal) => {
                tally.refused += 1;
                self.context.counters.refused_names.add(1);
                tally.is_cancelled |= refusal.status == Status::Cancelled;
                self.account_refusal(request, &path_of_item(request, &entry.name), &refusal);
                let end = Record {
                    status: refusal.status,
                    ..end
                };
                self.writer.record(&end, |payload| {
                    payload.extend_from_slice(cut(refusal.text.as_bytes(), TEXT_BYTES_MAX))
                })
            }
        }
    }

    /// Waits until there are bytes to read at a position, or it is known that there will be none. The client may go or cancel meanwhile, and
    /// must hear that the server is alive.
    pub(super) fn await_bytes(
        &mut self,
        request: &Request,
        file: &dyn SourceFile,
        position: u64,
    ) -> Result<Result<(), Refusal>, End> {
        self.await_source(request, || file.is_ready(position))
    }

    /// Waits in the same way for the next item of a walk.
    pub(super) fn await_item(
        &mut self,
        request: &Request,
        walk: &mut dyn Walk,
    ) -> Result<Result<(), Refusal>, End> {
        self.await_source(request, || walk.is_ready())
    }

    fn await_source(
        &mut self,
        request: &Request,
        mut is_ready: impl FnMut() -> Result<bool, Refusal>,
    ) -> Result<Result<(), Refusal>, End> {
        loop {
            if self.writer.is_cancelled(request.request_id) {
                return Ok(Err(Status::Cancelled.into()));
            }
            match is_ready() {
                Ok(true) => return Ok(Ok(())),
                Ok(false) => self.writer.keep_alive(request.request_id)?,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    }

    /// Where the body begins, and where it ends: behind what the client has, if the file begins with that, and at the end of the file; or the
    /// part that is asked for.
    fn start(
        &mut self,
        request: &Request,
        file: &dyn SourceFile,
    ) -> Result<Result<(Start, u64), Refusal>, End> {
        let size = file.entry().size;
        if request.flags & FLAG_RANGE != 0 {
            let (position, end) = Range::within(request.offset, &request.prefix_digest, size);
            let hasher = None;
            return Ok(Ok((Start { position, hasher }, end)));
        }
        let start = self.start_behind_prefix(request, file)?;
        Ok(start.map(|start| (start, size)))
    }

    fn start_behind_prefix(
        &mut self,
        request: &Request,
        file: &dyn SourceFile,
    ) -> Result<Result<Start, Refusal>, End> {
        let verify = request.flags & FLAG_VERIFY != 0;
        let offset = request.offset;
        let is_single = request.op == Op::Get && request.flags & FLAG_PATTERN == 0;
        let resumes = is_single && request.flags & FLAG_RESUME != 0;
        if !resumes || offset == 0 || offset > file.entry().size {
            return Ok(Ok(Start::anew(verify)));
        }
        let hasher = match self.hash_prefix(request, file)? {
            Ok(hasher) => hasher,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if hasher.finalize() == request.prefix_digest {
            let hasher = verify.then_some(hasher);
            let position = offset;
            return Ok(Ok(Start { position, hasher }));
        }
        Ok(match file.is_unchanged() {
            Ok(true) => Ok(Start::anew(verify)),
            // What was read is neither the old file nor the new one: no reason for the client to throw away what it has.
            Ok(false) => Err(Status::Changed.into()),
            Err(refusal) => Err(refusal),
        })
    }

    /// Hashes as many bytes of the file as the client has.
    fn hash_prefix(
        &mut self,
        request: &Request,
        file: &dyn SourceFile,
    ) -> Result<Result<Box<blake3::Hasher>, Refusal>, End> {
        let mut hasher = Box::new(blake3::Hasher::new());
        let mut staging = self.context.staging.lend();
        let mut position = 0;
        while position < request.offset {
            if let Err(refusal) = self.await_bytes(request, file, position)? {
                return Ok(Err(refusal));
            }
            self.writer.keep_alive(request.request_id)?;
            let step = match file.span_at(position) {
                Ok(Span::Hole { end }) if end > position => {
                    let end = end.min(request.offset);
                    self.zeros(request, &mut hasher, end - position)?;
                    Ok(end)
                }
                Ok(Span::Data { end }) if end > position => {
                    let left = end.min(request.offset) - position;
                    let buffer = staging.bytes();
                    let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let got = file.read_at(&mut buffer[..want], position);
                    got.map(|got| {
                        hasher.update(&buffer[..got]);
                        position + got as u64
                    })
                }
                Ok(_) => Ok(position),
                Err(refusal) => Err(refusal),
            };
            match step {
                Ok(end) if end > position => position = end,
                Ok(_) => return Ok(Err(Status::Changed.into())),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(hasher))
    }

    fn zeros(&mut self, request: &Request, hasher: &mut blake3::Hasher, len: u64) -> Result<(), End> {
        let (writer, id) = (&mut self.writer, request.request_id);
        super::digest::hash_zeros(hasher, len, || {
            writer.keep_alive(id)?;
            Ok::<bool, End>(!writer.is_cancelled(id))
        })
    }

    /// The bytes from the start to `limit`.
    fn body(
        &mut self,
        request: &Request,
        file: &dyn SourceFile,
        start: Start,
        limit: u64,
    ) -> Result<Body, End> {
        let mut digest = start.hasher;
        let mut position = start.position;
        while position < limit {
            if let Err(refusal) = self.await_bytes(request, file, position)? {
                return Ok(Err(refusal));
            }
            let step = match file.span_at(position) {
                Ok(Span::Hole { end }) if end > position => {
                    let end = end.min(limit);
                    self.hole(request, position, end, digest.as_deref_mut())?;
                    Ok(end)
                }
                Ok(Span::Data { end }) if end > position => {
                    self.span(request, file, position, end.min(limit), digest.as_deref_mut())?
                }
                Ok(_) => Err(Status::Changed.into()),
                Err(refusal) => Err(refusal),
            };
            match step {
                Ok(end) => position = end,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(digest.map(|hasher| *hasher.finalize().as_bytes())))
    }

    fn hole(
        &mut self,
        request: &Request,
        position: u64,
        end: u64,
        digest: Option<&mut blake3::Hasher>,
    ) -> Result<(), End> {
        if let Some(hasher) = digest {
            self.zeros(request, hasher, end - position)?;
        }
        let hole = Record {
            offset: position,
            extent: end - position,
            ..Record::new(Kind::Hole, request.request_id)
        };
        self.writer.record(&hole, |_| {})
    }

    /// Sends the bytes from `position` to `end`; returns `end`.
    fn span(
        &mut self,
        request: &Request,
        file: &dyn SourceFile,
        mut position: u64,
        end: u64,
        mut digest: Option<&mut blake3::Hasher>,
    ) -> Result<Result<u64, Refusal>, End> {
        let mut staging = None;
        while position < end {
            if let Err(refusal) = self.await_bytes(request, file, position)? {
                return Ok(Err(refusal));
            }
            self.writer.keep_alive(request.request_id)?;
            let record = Record {
                offset: position,
                ..Record::new(Kind::Data, request.request_id)
            };
            let left = end - position;
            let direct = digest.is_none() && (self.writer.is_direct() || self.writer.fits_current_slot(left));
            let got = if direct {
                self.writer.data_from(&record, file, left)?
            } else {
                let staging = staging.get_or_insert_with(|| self.context.staging.lend());
                let want = usize::try_from(left)
                    .unwrap_or(usize::MAX)
                    .min(staging.bytes().len());
                let got = file.read_at(&mut staging.bytes()[..want], position);
                if let Ok(got) = got {
                    let bytes = &staging.bytes()[..got];
                    if let Some(hasher) = digest.as_deref_mut() {
                        hasher.update(bytes);
                    }
                    self.writer.data(&record, bytes)?;
                }
                got
            };
            match got {
                // The file ends before the size it had when it was opened.
                Ok(0) => return Ok(Err(Status::Changed.into())),
                Ok(got) => {
                    position += got as u64;
                    self.context.counters.bytes.add(got as u64);
                    self.account.bytes_sent.add(got as u64);
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        Ok(Ok(end))
    }
}
