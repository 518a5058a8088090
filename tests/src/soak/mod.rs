//! The promise that the engine may die at any moment, measured.
//!
//! ```text
//!  containers   each counts lines on its standard output and serves a page on a published port
//!  watchers     one client at each: logs -f or attach, by wharf or docker, into a file
//!  load         asks all ports without end, by IPv4 and IPv6
//!  talker       docker run -it on a terminal, spoken to while there is no engine
//!  passers-by   short containers that begin and end with a known code at any time
//!
//!  round        engine of build A or B is spawned ─▶ (answers ─▶ passers-by ─▶ checks) ─▶ kill -9
//!                                                └─▶ kill -9 while it opens
//! ```
//!
//! At the end not a request has failed, not a line is lost or doubled anywhere, no process id has changed, every exit code
//! is right, and each start and end stands once in the events. The moments are drawn from a seed; what the machine makes
//! of them is not repeated with it.

mod passers;
mod watch;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Client, IMAGE, World};
use passers::Passers;
use watch::Watcher;

/// How much of it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub containers: u16,
    pub kills: u32,
    pub seed: u64,
    /// Where the programs of another build lie. Without, the same ones stand for it from another place.
    pub other: Option<PathBuf>,
}

/// Numbers from a seed: xorshift64*, any generator would do.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        // Zero would stay zero.
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    pub fn milliseconds(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

const FIRST_PORT: u16 = 9000;

/// Counts lines and serves a page; the shell's own `sleep` would be a process each time.
const COUNTER: &str = "httpd -f -p 80 -h /www & i=0; while true; do i=$((i+1)); echo $i; sleep 0.2; done";

/// Runs it. What went wrong, a line each; nothing when all is well.
pub fn run(plan: Plan) -> Vec<String> {
    let mut dice = Dice::new(plan.seed);
    let mut world = World::start();
    let builds = two_builds(&world, plan.other.as_deref());
    let names: Vec<String> = (0..plan.containers).map(|number| format!("steady-{number}")).collect();
    for (name, number) in names.iter().zip(0..) {
        let port = format!("{}:80", FIRST_PORT + number);
        world.wharf(&["run", "-d", "--name", name, "-p", &port, IMAGE, "sh", "-c", COUNTER]).ok();
    }
    let pids: Vec<u64> = names.iter().map(|name| pid(&world, name)).collect();
    let watchers: Vec<Watcher> =
        names.iter().zip(0..).map(|(name, number)| Watcher::start(&world, name, number)).collect();
    let mut load = load(&world, plan.containers);
    let talker = [
        "run",
        "-it",
        "--name",
        "talker",
        IMAGE,
        "sh",
        "-c",
        "stty -echo; echo ready; while read x; do echo got $x; done",
    ];
    let mut talker = Client::new(&world, "docker").on_terminal(&talker, 24, 80);
    talker.read_until("ready");
    // The output may come before the answer to the client's start, without which it has no session. What is asked later of
    // the same container is answered later.
    world.until_status("talker", "running");
    world.wharf(&["exec", "talker", "true"]).ok();
    let mut passers = Passers::default();
    let mut wrong = Vec::new();
    let mut cut_short = None;

    for round in 0..plan.kills {
        world.kill_engine();
        drop(cut_short.take());
        talker.send(format!("{round}\n"));
        talker.read_until(&format!("got {round}"));
        world.use_binaries(builds[dice.below(2) as usize].clone());
        if dice.below(4) == 0 {
            // Another one that dies before it answers.
            world.spawn_engine();
            std::thread::sleep(dice.milliseconds(80));
            world.kill_engine();
        }
        world.start_engine();
        wrong.extend(passers.pass(&world, &mut dice));
        for (name, expected) in names.iter().zip(&pids) {
            let found = pid(&world, name);
            if found != *expected {
                wrong.push(format!("round {round}: {name} has process {found}, before {expected}"));
            }
        }
        if round % 8 == 7 {
            wrong.extend(passers.check(&world));
        }
        cut_short = Some(passers.set_out(&world, &mut dice));
        std::thread::sleep(dice.milliseconds(250));
        if !wrong.is_empty() {
            break;
        }
    }
    drop(cut_short);
    wrong.extend(passers.check(&world));
    // A terminal's end of input ends the loop, and with it the container.
    talker.send("\u{4}");
    let talked = talker.finish();
    if talked.code != 0 {
        wrong.push(format!("docker run -it did not end well\n{talked}"));
    }
    wrong.extend(failed_requests(&mut load));
    for name in &names {
        world.wharf(&["stop", "-t", "0", name]).ok();
    }
    for watcher in watchers {
        wrong.extend(watcher.finish(&world));
    }
    wrong
}

/// Two builds: an upgrade is an engine from another place, and shims of both live side by side.
fn two_builds(world: &World, other: Option<&Path>) -> [PathBuf; 2] {
    let built = crate::world::binary("wharfd").parent().expect("a binary lies in a directory").to_owned();
    [("build-a", &*built), ("build-b", other.unwrap_or(&built))].map(|(name, built)| {
        let directory = world.directory().join(name);
        std::fs::create_dir_all(&directory).expect("the world's directory is writable");
        for program in ["wharfd", "wharf-shim"] {
            // By another process: what is open for writing here, or in a child that is forked just now, is busy.
            let copied = Command::new("cp").arg(built.join(program)).arg(&directory).status();
            assert!(copied.is_ok_and(|status| status.success()), "{program} can be copied");
        }
        directory
    })
}

fn pid(world: &World, name: &str) -> u64 {
    world.inspect(name)["State"]["Pid"].as_u64().expect("a process id is a number")
}

fn load(world: &World, containers: u16) -> Child {
    let ports = (0..containers).map(|number| (FIRST_PORT + number).to_string());
    world
        .host()
        .command("python3")
        .args(["-c", include_str!("load.py")])
        .args(ports)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs")
}

/// Ends the load; the requests that failed.
fn failed_requests(load: &mut Child) -> Vec<String> {
    use std::io::Read;
    drop(load.stdin.take());
    let mut told = String::new();
    let output = load.stdout.as_mut().expect("standard output is piped");
    output.read_to_string(&mut told).expect("the load prints text");
    load.wait().expect("the load is our child");
    let (counts, mut failed): (Vec<String>, Vec<String>) =
        told.lines().map(str::to_owned).partition(|line| line.starts_with("requests "));
    match counts.first().and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok()) {
        Some(requests) if requests > 0 => eprintln!("soak: {requests} requests, {} failed", failed.len()),
        _ => failed.push("the load has asked for nothing".into()),
    }
    failed
}

/// A client into a file: nobody has to read it meanwhile.
fn into_file(mut session: Command, path: &std::path::Path) -> Child {
    let file = std::fs::File::create(path).expect("the world's directory is writable");
    let errors =
        std::fs::File::create(path.with_extension("err")).expect("the world's directory is writable");
    session.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().expect("the client runs")
}
