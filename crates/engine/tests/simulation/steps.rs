//! What happens in a simulation, one step after the other: what clients ask, what containers and shims do by themselves,
//! what befalls the engine. A step carries its own seed, so that others can be left out without changing it.

use std::time::Duration;

use api::container::WaitCondition;
use linux::Errno;

use crate::fate::Trouble;
use crate::random::Random;

/// Few names, so that they are taken again.
pub(crate) const NAMES: [&str; 5] = ["anna", "bert", "cora", "dirk", "emma"];
pub(crate) const NETWORKS: [&str; 2] = ["front", "rear"];
pub(crate) const POLICIES: [(&str, i64); 6] = [
    ("no", 0),
    ("always", 0),
    ("unless-stopped", 0),
    ("on-failure", 0),
    ("on-failure", 2),
    ("on-failure", 5),
];

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) seed: u64,
    pub(crate) what: What,
    /// What befalls the engine while it does it.
    pub(crate) trouble: Option<Trouble>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Create(&'static str, Wish),
    Start(&'static str),
    Stop(&'static str, i64),
    Restart(&'static str, i64),
    Kill(&'static str, &'static str),
    Pause(&'static str),
    Unpause(&'static str),
    Rename(&'static str, &'static str),
    Update(&'static str, (&'static str, i64)),
    /// So many processes at most.
    Limit(&'static str, i64),
    Commit(&'static str),
    Connect(&'static str, &'static str),
    Disconnect(&'static str, &'static str),
    /// A command beside its own, that nobody is attached to.
    Exec(&'static str),
    /// A client wants to be told of its end.
    Wait(&'static str, WaitCondition),
    Remove(&'static str, bool),
    Prune,
    CreateNetwork(&'static str),
    RemoveNetwork(&'static str),
    /// The container's process ends by itself.
    Ends(&'static str, i32),
    /// Its shim is killed.
    ShimDies(&'static str),
    Pass(Duration),
    /// Somebody sets the clock, by so many seconds.
    ClockJumps(i64),
    /// The engine is ended and comes back.
    Reopen,
    /// The host loses its power and comes back.
    PowerCut,
}

/// What a container is asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) policy: (&'static str, i64),
    pub(crate) auto_remove: bool,
    pub(crate) network: &'static str,
    /// A port of the host; 0 is any.
    pub(crate) port: Option<u16>,
    pub(crate) volume: bool,
    pub(crate) shared_memory: bool,
    pub(crate) checked: bool,
}

impl Step {
    pub(crate) fn random(random: &mut Random) -> Step {
        let seed = random.next();
        let what = What::random(random);
        let trouble = match random.below(100) {
            0..25 => Some(Trouble::Crash(random.below(45))),
            25..32 => Some(Trouble::Fail(random.pick(&[Errno::IO, Errno::NOSPC]), random.below(30))),
            _ => None,
        };
        Step { seed, what, trouble }
    }
}

impl What {
    fn random(random: &mut Random) -> What {
        let name = random.pick(&NAMES);
        match random.below(100) {
            0..18 => What::Create(name, Wish::random(random)),
            18..38 => What::Start(name),
            38..44 => What::Stop(name, random.pick(&[0, 1, 10])),
            44..47 => What::Restart(name, random.pick(&[0, 1, 10])),
            47..51 => What::Kill(name, random.pick(&["KILL", "TERM", "HUP", "USR1"])),
            51..54 => What::Pause(name),
            54..57 => What::Unpause(name),
            57..58 => What::Rename(name, random.pick(&NAMES)),
            58..59 => What::Update(name, random.pick(&POLICIES)),
            59..60 => What::Limit(name, random.pick(&[10, 20, 30])),
            60..61 => What::Commit(name),
            61..62 => What::Connect(random.pick(&NETWORKS), name),
            62..63 => What::Disconnect(random.pick(&NETWORKS), name),
            63..64 => What::Exec(name),
            64..67 => {
                use WaitCondition::{NextExit, NotRunning, Removed};
                What::Wait(name, random.pick(&[NotRunning, NextExit, Removed]))
            }
            67..72 => What::Remove(name, random.chance(60)),
            72..73 => What::Prune,
            73..75 => What::CreateNetwork(random.pick(&NETWORKS)),
            75..76 => What::RemoveNetwork(random.pick(&NETWORKS)),
            76..80 => What::Ends(name, random.pick(&[0, 1, 2, 143])),
            80..84 => What::ShimDies(name),
            84..94 => What::Pass(Duration::from_millis(random.pick(&[1, 150, 2_000, 11_000, 70_000]))),
            94..95 => What::ClockJumps(random.pick(&[-86_400, -3, 3, 86_400])),
            95..99 => What::Reopen,
            _ => What::PowerCut,
        }
    }
}

impl Wish {
    fn random(random: &mut Random) -> Wish {
        let auto_remove = random.chance(20);
        Wish {
            policy: if auto_remove { ("no", 0) } else { random.pick(&POLICIES) },
            auto_remove,
            network: random.pick(&["bridge", "bridge", "none", "host", NETWORKS[0], NETWORKS[1]]),
            port: random.chance(50).then(|| random.pick(&[0, 8080, 8081])),
            volume: random.chance(30),
            shared_memory: random.chance(20),
            checked: random.chance(20),
        }
    }
}
