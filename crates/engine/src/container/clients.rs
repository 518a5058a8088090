//! Requests that the owner passes to the shim on behalf of clients: their sockets, execs, terminals, the root.
//!
//! A container may end between the moment a request is decided and the moment the shim gets it. The shim then refuses,
//! the client's socket is still ours, and the end is taken in before the client is answered.

use std::os::fd::OwnedFd;

use api::container::WaitCondition;
use shim::protocol::{Attachment, Failure, LogQuery, Reply as Answer, Request};

use super::commands::ExecStarted;
use super::owner::Owner;
use super::{held, life, refusals, wait};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::Prepared;
use crate::ticket::Preface;

impl Owner {
    pub(super) async fn attach(
        &mut self,
        attachment: Box<Attachment>,
        socket: OwnedFd,
    ) -> Result<Option<(Box<Attachment>, OwnedFd)>> {
        if self.connected.is_none() {
            // Without a log there is nothing to send before the start, which may be this client's next request.
            let replay = attachment.replay && self.has_log();
            if replay || !attachment.live {
                return Ok(Some((attachment, socket)));
            }
            return self.held.attach(*attachment, socket).map(|()| None);
        }
        match self.hand_over(Request::Attach(Attachment::clone(&attachment)), socket).await? {
            None => Ok(None),
            Some(socket) if attachment.replay && self.has_log() => Ok(Some((attachment, socket))),
            Some(socket) => crate::ticket::answer(socket, &[&attachment.preface]).map(|()| None),
        }
    }

    fn has_log(&self) -> bool {
        let kept = super::logs::kept(self.engine.paths(), &self.record);
        kept.is_some_and(|(log, _)| std::fs::metadata(log).is_ok_and(|metadata| metadata.len() > 0))
    }

    /// Passes a client to the shim. The client comes back when the shim does not take it because the container has
    /// just ended; by then that end has been taken in.
    pub(super) async fn hand_over(&mut self, request: Request, socket: OwnedFd) -> Result<Option<OwnedFd>> {
        let (answer, socket) = self.offer(request, socket).await?;
        match answer? {
            Answer::Failed(failure) => self.refused(failure).await.map(|()| Some(socket)),
            _ => Ok(None),
        }
    }

    /// Passes a client to the shim and keeps hold of it. The inner error leaves open whether the shim has it.
    async fn offer(&self, request: Request, socket: OwnedFd) -> Result<(Result<Answer>, OwnedFd)> {
        let live = self.live()?;
        let offered = self.engine.blocking(move |_| {
            let sockets = [socket];
            let answer = live.answer(&request, &sockets).map(|(answer, _)| answer);
            let [socket] = sockets;
            Ok((answer, socket))
        });
        offered.await
    }

    /// The shim has not taken a client: because the container has just ended, or else it is an error.
    async fn refused(&mut self, failure: Failure) -> Result<()> {
        match refusals::of_request(failure) {
            error if error.kind() == ErrorKind::Conflict => {
                self.confirm(|record| !record.state.is_running()).await
            }
            error => Err(error),
        }
    }

    pub(super) async fn wait(
        &mut self,
        condition: WaitCondition,
        preface: Preface,
        socket: OwnedFd,
    ) -> Result<()> {
        // The shim that a start will bring is of this build.
        let chunks = self.connected.as_ref().is_none_or(|connected| connected.live.writes_chunks());
        let mut waiter = wait::waiter(condition, preface, chunks);
        // Whatever becomes of the shim meanwhile, it is certain that the head is sent.
        let mut socket = held::greet(socket, &mut waiter.preface)?;
        if self.connected.is_some() {
            let (answer, ours) = self.offer(Request::Wait(waiter.clone()), socket).await?;
            match answer {
                Ok(Answer::Failed(failure)) => self.refused(failure).await?,
                // A silent one is dead, as a rule, and its clients are told when it is found so.
                answer => {
                    self.spares.keep(waiter, ours);
                    return answer.map(drop);
                }
            }
            socket = ours;
        }
        // It ended between the ticket and its delivery, or is gone altogether.
        if condition == WaitCondition::NotRunning || self.removed {
            held::answer(&waiter, socket, wait::code(&self.record));
            return Ok(());
        }
        self.held.wait(waiter, socket)
    }

    pub(super) async fn logs(
        &mut self,
        query: LogQuery,
        preface: Preface,
        socket: OwnedFd,
    ) -> Result<Option<(Preface, OwnedFd)>> {
        let Some(connected) = &self.connected else { return Ok(Some((preface, socket))) };
        let (head, chunked) = preface.clone().choose(connected.live.writes_chunks());
        let query = LogQuery { chunked, ..query };
        let request = match query.records.is_some() {
            true => Request::LogRecords { query, preface: head },
            false => Request::Logs { query, preface: head },
        };
        Ok(self.hand_over(request, socket).await?.map(|socket| (preface, socket)))
    }

    pub(super) async fn exec(
        &mut self,
        exec: Prepared,
        attachment: Option<(Box<Attachment>, OwnedFd)>,
    ) -> Result<ExecStarted> {
        life::admit_exec(&self.record)?;
        let (attachment, sockets) = match attachment {
            Some((attachment, socket)) => (Some(*attachment), vec![socket]),
            None => (None, Vec::new()),
        };
        let live = self.live()?;
        let record = self.record.clone();
        self.engine
            .blocking(move |engine| {
                let request = exec.request(engine, &record, &live, attachment)?;
                match live.answer(&request, &sockets)? {
                    (Answer::ExecStarted { pid }, _) => Ok(ExecStarted::Running(pid)),
                    (Answer::Failed(failure), _) => {
                        let words = match failure.verbatim {
                            true => "OCI runtime exec failed",
                            false if failure.message.starts_with("Cwd ") => {
                                "OCI runtime exec failed: exec failed"
                            }
                            false => {
                                "OCI runtime exec failed: exec failed: unable to start container process"
                            }
                        };
                        Ok(ExecStarted::Refused(refusals::of_request(failure).within(words)))
                    }
                    (other, _) => Err(Error::system(format!("the shim answered an exec with {other:?}"))),
                }
            })
            .await
    }

    pub(super) async fn resize(&mut self, exec: Option<String>, height: u16, width: u16) -> Result<()> {
        life::admit_process(&self.record)?;
        let extra = [("height", height.to_string()), ("width", width.to_string())];
        let container = exec.is_none();
        let request = match exec {
            Some(id) => Request::ResizeExec { id, height, width },
            None => Request::ResizeContainer { height, width },
        };
        self.request(request, Vec::new()).await?;
        if container {
            self.engine.container_event(&self.record, "resize", &extra);
        }
        Ok(())
    }

    pub(super) async fn root(&mut self) -> Result<OwnedFd> {
        match self.request(Request::Root, Vec::new()).await? {
            (Answer::Root, mut descriptors) if !descriptors.is_empty() => Ok(descriptors.remove(0)),
            (other, _) => {
                Err(Error::system(format!("the shim answered a request for the root with {other:?}")))
            }
        }
    }
}
