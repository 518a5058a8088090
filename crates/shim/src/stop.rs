//! How a container is brought to its end: what is done to it, in which order, when somebody wants it to stop.
//!
//! ```text
//!   stop ─▶ its signal ─▶ thaw ─▶ the grace begins ── over ──▶ SIGKILL ─▶ thaw ── 10 s ──▶ SIGKILL to all ─▶ …
//!   signal ─▶ the signal ─▶ thaw, if it is meant to end it
//! ```
//!
//! [`Life`] decides what a request means in a stage; here it becomes acts. Whoever has a container performs them: the
//! supervisor on a real one, a simulation on its own.

use std::time::Duration;

use crate::life::{Life, Order};
use crate::protocol::{Exit, Failure, FailureKind, OnUnhealthy};

const SIGKILL: i32 = 9;

/// A SIGKILL that has not worked for so long is sent again, to everything in the cgroup: what Docker waits, too.
const KILL_AGAIN: Duration = Duration::from_secs(10);

/// What is left of a grace when its signal could not be sent: nobody heard that it has begun. Docker's number.
const UNHEARD: u64 = 2;

/// A container in somebody's hands.
pub trait Hands {
    /// What is kept of a running process.
    type Running;

    fn life(&mut self) -> &mut Life<Self::Running>;

    /// The signal and the seconds of a stop that names none. Negative: there is no hurry at all.
    fn usual(&self) -> (i32, i64);

    /// Its process gets a signal.
    fn send(&mut self, signal: i32) -> Result<(), Failure>;

    /// Everything in its cgroup gets SIGKILL.
    fn kill_all(&mut self);

    /// If it is frozen, it goes on: a frozen process cannot act on a signal. Where that fails the grace ends in SIGKILL,
    /// and that thaws again.
    fn thaw(&mut self);

    /// [`Hands::grace_is_over`] is called after so long, or earlier if that was asked before.
    fn kill_within(&mut self, grace: Duration);

    /// It waits for a restart that does not come any more.
    fn end_for_good(&mut self, exit: Exit);

    /// Asks it to stop, and makes it stop when its time is over.
    fn stop(&mut self, signal: Option<i32>, timeout: Option<i64>) -> Result<(), Failure> {
        let order = self.life().stop();
        end_gently(self, order, signal, timeout)
    }

    /// The same, and it comes back.
    fn stop_to_restart(&mut self) -> Result<(), Failure> {
        let order = self.life().stop_to_restart();
        end_gently(self, order, None, None)
    }

    /// Sends a signal by hand. `final_stop`: it is meant to end it.
    fn signal(&mut self, signal: i32, final_stop: bool) -> Result<(), Failure> {
        let order = self.life().signal(final_stop);
        if !reaches_process(self, order)? {
            return Ok(());
        }
        self.send(signal)?;
        if final_stop {
            self.thaw();
        }
        Ok(())
    }

    /// The grace is over, or the last SIGKILL has not worked.
    fn grace_is_over(&mut self) {
        let _ = self.send(SIGKILL);
        if std::mem::replace(&mut self.life().killed, true) {
            self.kill_all();
        }
        self.thaw();
        self.kill_within(KILL_AGAIN);
    }

    /// It has become unhealthy. One that has just ended needs no help to end.
    fn unhealthy(&mut self, action: OnUnhealthy) {
        let acted = match action {
            OnUnhealthy::Nothing => Ok(()),
            OnUnhealthy::Stop => self.stop(None, None),
            OnUnhealthy::Kill => self.signal(SIGKILL, false),
            OnUnhealthy::Restart => self.stop_to_restart(),
        };
        drop(acted);
    }
}

/// Whether there is a process to do something to. If there is none, what the order says instead is done.
fn reaches_process<H: Hands + ?Sized>(hands: &mut H, order: Order) -> Result<bool, Failure> {
    match order {
        Order::Signal => return Ok(true),
        Order::End(exit) => hands.end_for_good(exit),
        Order::Nothing => {}
        Order::Refuse => return Err(not_running()),
    }
    Ok(false)
}

fn end_gently<H: Hands + ?Sized>(
    hands: &mut H,
    order: Order,
    signal: Option<i32>,
    timeout: Option<i64>,
) -> Result<(), Failure> {
    if !reaches_process(hands, order)? {
        return Ok(());
    }
    let (usual_signal, usual_timeout) = hands.usual();
    // A process that is gone already gets no signal, its end is on the way; nor is one sent that the kernel has not got.
    let heard = hands.send(signal.unwrap_or(usual_signal)).is_ok();
    hands.thaw();
    if let Ok(seconds) = u64::try_from(timeout.unwrap_or(usual_timeout)) {
        hands.kill_within(Duration::from_secs(if heard { seconds } else { UNHEARD }));
    }
    Ok(())
}

pub fn not_running() -> Failure {
    Failure {
        kind: FailureKind::Conflict,
        message: "the container is not running".into(),
        causes: Vec::new(),
        verbatim: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Stage;
    use crate::protocol::RestartPolicy;

    /// Writes down what is done.
    struct Noted {
        life: Life<()>,
        done: Vec<String>,
        gone: bool,
    }

    impl Hands for Noted {
        type Running = ();

        fn life(&mut self) -> &mut Life<()> {
            &mut self.life
        }

        fn usual(&self) -> (i32, i64) {
            (15, 10)
        }

        fn send(&mut self, signal: i32) -> Result<(), Failure> {
            self.done.push(format!("signal {signal}"));
            if self.gone { Err(not_running()) } else { Ok(()) }
        }

        fn kill_all(&mut self) {
            self.done.push("kill all".into());
        }

        fn thaw(&mut self) {
            self.done.push("thaw".into());
        }

        fn kill_within(&mut self, grace: Duration) {
            self.done.push(format!("kill within {grace:?}"));
        }

        fn end_for_good(&mut self, exit: Exit) {
            self.done.push(format!("end with {}", exit.code));
            self.life.stage = Stage::Exited { exit };
        }
    }

    fn exit(code: i32) -> Exit {
        Exit { code, oom_killed: false, started_at: String::new(), finished_at: String::new(), error: None }
    }

    fn running() -> Noted {
        let mut life = Life::new(RestartPolicy::Always, 0, exit(0));
        life.stage = Stage::Running(());
        Noted { life, done: Vec::new(), gone: false }
    }

    #[test]
    fn a_stop_is_a_signal_and_then_a_kill() {
        let mut hands = running();
        hands.stop(None, None).unwrap();
        hands.grace_is_over();
        hands.grace_is_over();
        let first = ["signal 15", "thaw", "kill within 10s", "signal 9", "thaw", "kill within 10s"];
        assert_eq!(hands.done[..6], first);
        assert_eq!(hands.done[6..], ["signal 9", "kill all", "thaw", "kill within 10s"]);
    }

    #[test]
    fn what_a_stop_names_counts() {
        let mut hands = running();
        // It has just ended: that is no failure of the stop.
        hands.gone = true;
        hands.stop(Some(2), Some(-1)).unwrap();
        assert_eq!(hands.done, ["signal 2", "thaw"]);
        hands.done.clear();
        hands.stop(Some(99), Some(0)).unwrap();
        assert_eq!(hands.done, ["signal 99", "thaw", "kill within 2s"]);
        assert!(hands.signal(2, false).is_err());
    }

    #[test]
    fn between_two_runs_there_is_nobody_to_signal() {
        let mut hands = running();
        hands.life.stage = Stage::Restarting { exit: exit(3) };
        hands.signal(15, false).unwrap();
        assert!(hands.stop_to_restart().is_err());
        assert_eq!(hands.done, [] as [&str; 0]);
        hands.stop(None, None).unwrap();
        assert_eq!(hands.done, ["end with 3"]);
        assert_eq!(hands.stop(None, None).unwrap_err().kind, FailureKind::Conflict);
    }

    #[test]
    fn an_unhealthy_container_gets_what_was_chosen() {
        for (action, expected) in [
            (OnUnhealthy::Nothing, &[] as &[&str]),
            (OnUnhealthy::Kill, &["signal 9"]),
            (OnUnhealthy::Stop, &["signal 15", "thaw", "kill within 10s"]),
            (OnUnhealthy::Restart, &["signal 15", "thaw", "kill within 10s"]),
        ] {
            let mut hands = running();
            hands.unhealthy(action);
            assert_eq!(hands.done, expected, "{action:?}");
        }
    }
}
