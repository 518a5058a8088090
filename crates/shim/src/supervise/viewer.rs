//! Clients that read the log (`docker logs`), each at its own pace from the file: they hold up nobody.
//!
//! One that follows waits at the end of the log until something is written, and ends with the process that
//! runs now, as in Docker. A client whose container ended long ago is served the same way.

use std::fs::File;
use std::os::fd::OwnedFd;

use linux::poll::Interest;

use super::Supervisor;
use super::outbox::Outbox;
use super::reactor::{Id, Source, Watch};
use crate::chunks;
use crate::log::query::Progress;
use crate::log::{Format, Output};
use crate::protocol::{Failure, FailureKind, LogQuery};

/// Bytes under way to one viewer.
const PIECE: usize = 32 << 10;

pub(super) struct Viewer {
    socket: File,
    watch: Watch,
    outbox: Outbox,
    /// Gone when the body is complete.
    output: Option<Output>,
    chunked: bool,
    /// Wait for more at the end of the log.
    following: bool,
}

impl Supervisor {
    pub(super) fn view_log(
        &mut self,
        socket: OwnedFd,
        query: LogQuery,
        preface: &[u8],
    ) -> Result<(), Failure> {
        super::room_for(self.viewers.len())?;
        let Some(format) = Format::of(self.launch.log.driver) else {
            let message = "configured logging driver does not support reading";
            return Err(super::failure(FailureKind::Invalid, message));
        };
        let rotations = self.log.as_ref().map_or(0, |log| log.rotations());
        let (following, chunked) = (query.follow && self.life.is_running(), query.chunked);
        let output = Output::open(&self.launch.log.path, format, query, rotations)
            .map_err(|error| super::other(&error))?;
        linux::fd::set_nonblocking(&socket, true).map_err(|error| super::other(&error))?;
        let id = self.next_id();
        let mut outbox = Outbox::default();
        outbox.push(preface);
        let watch = Watch::new(Source::Viewer(id));
        let socket = File::from(socket);
        let viewer = Viewer { socket, watch, outbox, output: Some(output), chunked, following };
        self.viewers.insert(id, viewer);
        self.viewer_ready(id, false);
        Ok(())
    }

    /// The log has grown.
    pub(super) fn wake_viewers(&mut self) {
        let idle: Vec<Id> =
            self.viewers.iter().filter(|(_, viewer)| viewer.following).map(|(id, _)| *id).collect();
        for id in idle {
            self.viewer_ready(id, false);
        }
    }

    /// The process has ended and its log is complete: followers get the rest and are closed.
    pub(super) fn end_follow(&mut self) {
        for id in self.viewers.keys().copied().collect::<Vec<_>>() {
            if let Some(viewer) = self.viewers.get_mut(&id) {
                viewer.following = false;
            }
            self.viewer_ready(id, false);
        }
    }

    pub(super) fn viewer_ready(&mut self, id: Id, hangup: bool) {
        let rotations = self.log.as_ref().map_or(0, |log| log.rotations());
        let Some(viewer) = self.viewers.get_mut(&id) else { return };
        let interest = if hangup { None } else { viewer.pump(rotations) };
        let gone = match interest {
            Some(interest) => viewer.watch.set(&self.poll, &viewer.socket, Some(interest)).is_err(),
            None => true,
        };
        if gone && let Some(mut viewer) = self.viewers.remove(&id) {
            let _ = viewer.watch.set(&self.poll, &viewer.socket, None);
            super::part(viewer.socket);
        }
    }
}

impl Viewer {
    /// Sends a piece; what to wait for next, or `None` when it is over.
    fn pump(&mut self, rotations: u64) -> Option<Interest> {
        self.outbox.flush(&self.socket).ok()?;
        let mut caught_up = false;
        if self.outbox.is_empty()
            && let Some(output) = &mut self.output
        {
            let piece = self.outbox.buffer();
            let progress = output.fill(piece, PIECE, rotations).unwrap_or_else(|error| {
                output.fail(&error, piece);
                Progress::Over
            });
            caught_up = progress == Progress::CaughtUp;
            let over = progress == Progress::Over || (caught_up && !self.following);
            if self.chunked {
                chunks::frame(piece, 0);
                piece.extend_from_slice(if over { chunks::END } else { b"" });
            }
            if over {
                self.output = None;
            }
            self.outbox.flush(&self.socket).ok()?;
        }
        match (&self.output, self.outbox.is_empty()) {
            (None, true) => None,
            (Some(_), true) if caught_up => Some(Interest::NONE),
            _ => Some(Interest::WRITE),
        }
    }
}
