//! Relayed datagrams: each client gets a socket of its own towards the container, by which answers find back to it.
//!
//! Answers leave from the port that was asked, with the address that the kernel chooses for the way back; on a host
//! with several IPv6 addresses that may not be the one that was asked. For `::1`, which these relays are for, it is.

use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use linux::inet::{self, Transport};
use linux::poll::{Interest, Token};

use super::{FLOW_IDLE, MAX_FLOWS, Relays, TURN};

#[derive(Debug)]
pub(super) struct Flow {
    /// Connected to the container.
    socket: UdpSocket,
    /// The relay that the client spoke to.
    pub(super) port: Token,
    client: SocketAddr,
    used: Instant,
}

impl Relays {
    /// From clients to the container.
    pub(super) fn forward(&mut self, port: Token) {
        for _ in 0..TURN {
            let Some((socket, target)) = self.ports.get(&port) else { return };
            let target = *target;
            let Ok((length, client)) = socket.recv_from(&mut self.scratch) else { return };
            let known = self.flows.iter().find(|(_, flow)| flow.port == port && flow.client == client);
            let Some(token) = known.map(|(token, _)| *token).or_else(|| self.open_flow(port, client, target))
            else {
                continue;
            };
            if let Some(flow) = self.flows.get_mut(&token) {
                flow.used = Instant::now();
                // Datagrams may be lost; so may this one.
                let _ = flow.socket.send(&self.scratch[..length]);
            }
        }
    }

    /// From the container back to one client.
    pub(super) fn answer(&mut self, token: Token) {
        for _ in 0..TURN {
            let Some(flow) = self.flows.get_mut(&token) else { return };
            let Some((socket, _)) = self.ports.get(&flow.port) else { return };
            match flow.socket.recv(&mut self.scratch) {
                Ok(length) => {
                    flow.used = Instant::now();
                    let _ = socket.send_to(&self.scratch[..length], flow.client);
                }
                // Empty, or nobody listens in the container: the error was taken off the socket by reading it.
                Err(_) => return,
            }
        }
    }

    fn open_flow(&mut self, port: Token, client: SocketAddr, target: SocketAddr) -> Option<Token> {
        if self.flows.len() >= MAX_FLOWS {
            let oldest = self.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(token, _)| *token)?;
            self.flows.remove(&oldest);
        }
        let socket = inet::open(Transport::Udp, target).ok()?;
        inet::start_connect(&socket, target).ok()?;
        let token = self.token();
        self.poll.add(&socket, token, Interest::READ).ok()?;
        let flow = Flow { socket: UdpSocket::from(socket), port, client, used: Instant::now() };
        if self.flows.is_empty() {
            self.timer.set(Some(FLOW_IDLE)).ok()?;
        }
        self.flows.insert(token, flow);
        Some(token)
    }

    /// Close what was silent for long.
    pub(super) fn expire(&mut self) {
        let _ = self.timer.take();
        let now = Instant::now();
        self.flows.retain(|_, flow| now.duration_since(flow.used) < FLOW_IDLE);
        if !self.flows.is_empty() {
            let _ = self.timer.set(Some(FLOW_IDLE));
        }
    }
}
