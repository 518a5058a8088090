//! The life of a container as decisions: what its end leads to, and what a request to end it means in each stage.
//!
//! ```text
//!   stage       exited                 stop        signal                stop to restart
//!   ─────────   ────────────────────   ─────────   ───────────────────   ──────────────────────
//!   Running     policy: Restarting,    signal it   send it               signal it, comes back
//!               else Exited
//!   Restarting                         end now     final: end now        refused
//!                                                  else: nothing
//!   Exited                             refused     refused               refused
//! ```
//!
//! There is no process, clock or file here: the supervisor does what follows, and so does a simulation. `R` is what
//! whoever drives it keeps of a running process.

use std::time::Duration;

use crate::protocol::{Exit, RestartPolicy};
use crate::restart::Restarts;

/// How far the container is.
#[derive(Debug)]
pub enum Stage<R> {
    Running(R),
    /// Waits for its delay to be over.
    Restarting {
        exit: Exit,
    },
    Exited {
        exit: Exit,
    },
}

/// The stage, and what is remembered for the decision what comes next.
#[derive(Debug)]
pub struct Life<R> {
    pub stage: Stage<R>,
    pub restarts: Restarts,
    /// This run's grace has ended in SIGKILL once already.
    pub killed: bool,
    /// Somebody asked the container to end: no policy brings it back.
    stopping: bool,
}

/// What a request to end the container comes to.
#[derive(Debug)]
pub enum Order {
    /// Its process gets the signal.
    Signal,
    /// It waits for a restart, which will not come: this end is the final one.
    End(Exit),
    /// There is nobody to get it, and it has been counted.
    Nothing,
    /// It does not run.
    Refuse,
}

impl<R> Life<R> {
    /// Before the first start.
    pub fn new(policy: RestartPolicy, restarts: u32, never_ran: Exit) -> Life<R> {
        Life {
            stage: Stage::Exited { exit: never_ran },
            restarts: Restarts::new(policy, restarts),
            killed: false,
            stopping: false,
        }
    }

    /// Its process runs.
    pub fn started(&mut self, running: R) {
        self.stage = Stage::Running(running);
        self.killed = false;
    }

    /// Its process has ended after so long. `Some`: it comes back after that time. `lost`: nobody will look after it.
    pub fn exited(&mut self, exit: Exit, ran: Duration, lost: bool) -> Option<Duration> {
        let delay = self.restarts.decide(exit.code, ran, self.stopping || lost);
        self.stage = match delay {
            Some(_) => Stage::Restarting { exit },
            None => Stage::Exited { exit },
        };
        delay
    }

    /// Asked to stop for good.
    pub fn stop(&mut self) -> Order {
        self.stopping = true;
        match &self.stage {
            Stage::Running(_) => Order::Signal,
            Stage::Restarting { exit } => Order::End(exit.clone()),
            Stage::Exited { .. } => Order::Refuse,
        }
    }

    /// Asked to stop and to come back. A stop that is under way already is not turned round.
    pub fn stop_to_restart(&mut self) -> Order {
        if self.stopping {
            return Order::Nothing;
        }
        self.restarts.demand();
        match &self.stage {
            Stage::Running(_) => Order::Signal,
            Stage::Restarting { .. } | Stage::Exited { .. } => Order::Refuse,
        }
    }

    /// Sent a signal by hand. Between two runs Docker counts the wish to end it, not the signal.
    pub fn signal(&mut self, final_stop: bool) -> Order {
        self.stopping |= final_stop;
        match &self.stage {
            Stage::Running(_) => Order::Signal,
            Stage::Restarting { exit } if final_stop => Order::End(exit.clone()),
            Stage::Restarting { .. } => Order::Nothing,
            Stage::Exited { .. } => Order::Refuse,
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    /// The exit code, once nothing runs or will run.
    pub fn final_code(&self) -> Option<i32> {
        match &self.stage {
            Stage::Exited { exit } => Some(exit.code),
            Stage::Running(_) | Stage::Restarting { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit { code, oom_killed: false, started_at: String::new(), finished_at: String::new(), error: None }
    }

    fn running(policy: RestartPolicy) -> Life<()> {
        Life { stage: Stage::Running(()), ..Life::new(policy, 0, exit(0)) }
    }

    #[test]
    fn a_wish_to_end_is_kept_until_the_end() {
        let mut life = running(RestartPolicy::Always);
        assert!(matches!(life.signal(false), Order::Signal));
        assert!(life.exited(exit(1), Duration::ZERO, false).is_some());
        assert!(matches!(life.signal(false), Order::Nothing));
        assert!(matches!(life.signal(true), Order::End(Exit { code: 1, .. })));
        life.stage = Stage::Running(());
        assert_eq!(life.exited(exit(0), Duration::ZERO, false), None);
        assert_eq!(life.final_code(), Some(0));
        assert!(matches!(life.stop(), Order::Refuse));
    }

    #[test]
    fn who_is_told_to_stop_is_not_told_to_come_back() {
        let mut life = running(RestartPolicy::No);
        assert!(matches!(life.stop_to_restart(), Order::Signal));
        assert!(life.exited(exit(143), Duration::ZERO, false).is_some());
        life.stage = Stage::Running(());
        assert!(matches!(life.stop(), Order::Signal));
        assert!(matches!(life.stop_to_restart(), Order::Nothing));
        assert_eq!(life.exited(exit(143), Duration::ZERO, false), None);
    }

    #[test]
    fn nothing_comes_back_where_nobody_looks_after_it() {
        assert_eq!(running(RestartPolicy::Always).exited(exit(1), Duration::ZERO, true), None);
    }
}
