//! One run: steps, one engine after the other over the same world, and a look at everything between them.
//!
//! ```text
//!  open ─▶ rest ─▶ look ─▶ step ─▶ rest ─▶ look ─▶ step … cut off ─▶ (the next) open ─▶ rest ─▶ look ─▶ …
//! ```
//!
//! All of it happens in one thread and in simulated time: the same steps come to the same, to the last point.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::{Config, Engine};

use crate::checks;
use crate::clients::{Answer, IMAGE, Promises, ask};
use crate::fate::Trouble;
use crate::random::Random;
use crate::steps::{Step, What};
use crate::world::{Mistake, World};

/// Nothing that a client asks takes longer.
const PATIENCE: Duration = Duration::from_secs(1200);

/// In which everything that is to come of a step by itself has come.
const REST: Duration = Duration::from_millis(50);

/// In which what has failed is tried again.
const RETRY: Duration = Duration::from_secs(6);

/// In which a container comes back whose policy says so.
const LONGEST_DELAY: Duration = Duration::from_secs(65);

/// So many steps before a power cut everything that was written reaches the disk for the last time by itself.
const AHEAD: usize = 4;

/// Engines in a row that may be cut off while they open.
const CUT_OFF_AT_OPEN: u32 = 3;

/// What was found broken, and after which step.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: usize,
    pub(crate) message: String,
    pub(crate) trace: String,
}

/// How much was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) points: u64,
    pub(crate) engines: u32,
    /// The names of all points that were passed.
    pub(crate) passed: BTreeSet<String>,
    /// Requests that were refused.
    pub(crate) refused: u32,
    pub(crate) trace: String,
}

/// Why an engine is no more.
enum End {
    /// No step is left.
    Over,
    CutOff,
    /// It was asked to end.
    Closed,
    PowerCut,
}

struct Run<'a> {
    world: World,
    promises: Promises,
    steps: &'a [Step],
    next: usize,
    cut_off_at_open: u32,
    refused: u32,
}

pub(crate) fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut random = Random::new(seed);
    (0..count).map(|_| Step::random(&mut random)).collect()
}

pub(crate) fn run(seed: u64, steps: &[Step], mistake: Option<Mistake>) -> Result<Report, Failure> {
    run_in(World::new(directory(), seed, mistake), steps)
}

/// The same, cut off at this point and at no other; whether it came so far.
pub(crate) fn run_cut_off(seed: u64, steps: &[Step], point: u64) -> Result<bool, Failure> {
    let world = World::new(directory(), seed, None);
    world.fate().cut_off_at = Some(point);
    run_in(world.clone(), steps)?;
    let came_so_far = world.fate().cut_off_at.is_none();
    Ok(came_so_far)
}

fn run_in(world: World, steps: &[Step]) -> Result<Report, Failure> {
    install_image(&world.directory().join("data"));
    let _surroundings = linux::ambient::simulate(Rc::new(world.clone()));
    let promises = Promises::default();
    let mut run = Run { world: world.clone(), promises, steps, next: 0, cut_off_at_open: 0, refused: 0 };
    let once = world.fate().cut_off_at.is_some();
    let mut engines = 0;
    loop {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        {
            let mut fate = world.fate();
            (fate.engine_lives, fate.failed_since_open) = (true, false);
        }
        engines += 1;
        let end = runtime.block_on(run.life());
        // An engine that was cut off does nothing any more while it is taken apart.
        world.fate().engine_lives = false;
        world.engine_is_gone();
        world.history_is_falsified();
        drop(runtime);
        let mut fate = world.fate();
        if once {
            fate.trouble = None;
        }
        match end {
            Ok(End::Over) => {
                let passed = std::mem::take(&mut fate.passed);
                let Run { refused, .. } = run;
                return Ok(Report { points: fate.points, engines, passed, refused, trace: fate.trace() });
            }
            Err(message) => {
                return Err(Failure { step: run.next.saturating_sub(1), message, trace: fate.trace() });
            }
            Ok(End::CutOff | End::Closed) => {}
            Ok(End::PowerCut) => {
                drop(fate);
                world.fate().power_fails();
                world.goes_dark();
                let _ = std::fs::remove_dir_all(world.directory().join("exec"));
            }
        }
    }
}

impl Run<'_> {
    /// One engine, from its opening to its end.
    async fn life(&mut self) -> Result<End, String> {
        let config = Config::new(self.world.directory().join("data"), self.world.directory().join("exec"));
        let opening = tokio::spawn(Engine::open_with(config, Arc::new(self.world.clone())));
        let Some(opened) = self.wait(opening).await? else { return Ok(self.cut_off_at_open()) };
        let engine = match opened {
            Ok(engine) => engine,
            // It says so and ends; the next one finds the disk mended.
            Err(_) if self.excused() => return Ok(End::Closed),
            Err(error) => return Err(format!("the engine does not open: {error}")),
        };
        if !self.rest(&engine).await? {
            return Ok(self.cut_off_at_open());
        }
        self.cut_off_at_open = 0;
        while let Some(step) = self.steps.get(self.next).cloned() {
            self.next += 1;
            self.world.reseed(step.seed);
            {
                let mut fate = self.world.fate();
                fate.note(format!("{}: {:?}, {:?}", self.next - 1, step.what, step.trouble));
                fate.trouble = step.trouble;
                let dark =
                    self.steps[self.next - 1..].iter().take(AHEAD).any(|step| step.what == What::PowerCut);
                if dark && fate.on_disk.is_none() {
                    fate.power_holds();
                }
            }
            match &step.what {
                What::Reopen => {
                    engine.shutdown().await;
                    return Ok(End::Closed);
                }
                What::PowerCut => return Ok(End::PowerCut),
                _ => self.step(&engine, &step).await?,
            }
            if !self.lives() || !self.rest(&engine).await? {
                return Ok(End::CutOff);
            }
        }
        Ok(End::Over)
    }

    /// The engine that follows may be cut off, too, but not for ever.
    fn cut_off_at_open(&mut self) -> End {
        self.cut_off_at_open += 1;
        let mut fate = self.world.fate();
        fate.trouble = None;
        if self.cut_off_at_open < CUT_OFF_AT_OPEN && fate.random.chance(50) {
            fate.trouble = Some(Trouble::Crash(fate.random.below(30)));
        }
        End::CutOff
    }

    async fn step(&mut self, engine: &Engine, step: &Step) -> Result<(), String> {
        match &step.what {
            What::Ends(name, code) => {
                if let Some(id) = id_of(engine, name).await {
                    self.world.process_ends(&id, *code);
                }
            }
            What::ShimDies(name) => {
                if let Some(id) = id_of(engine, name).await {
                    self.world.shim_dies(&id);
                }
            }
            What::Pass(time) => self.pass(*time).await,
            What::ClockJumps(seconds) => self.world.fate().jumped += seconds * 1_000_000_000,
            what => {
                let asked = tokio::spawn(ask(engine.clone(), self.world.clone(), what.clone()));
                let answer = match self.wait(asked).await? {
                    None => Answer::Lost,
                    Some(Ok(())) => Answer::Yes,
                    Some(Err(error)) => {
                        self.refused += 1;
                        Answer::Refused(error)
                    }
                };
                let excused = self.world.fate().failed;
                self.world.fate().note(format!("  = {answer:?}"));
                self.promises.learn(what, &answer, excused)?;
            }
        }
        Ok(())
    }

    /// Waits for what the engine does; none if it was cut off meanwhile.
    async fn wait<T>(&self, task: tokio::task::JoinHandle<T>) -> Result<Option<T>, String> {
        let began = self.world.fate().elapsed;
        while !task.is_finished() && self.lives() {
            self.pass(Duration::from_millis(1)).await;
            if task.is_finished() || !self.lives() {
                break;
            }
            let until = self.world.next().map_or(Duration::from_millis(500), |at| {
                at.saturating_sub(self.world.fate().elapsed).min(Duration::from_millis(500))
            });
            self.pass(until).await;
            if self.world.fate().elapsed - began > PATIENCE {
                return Err(format!("no answer within {PATIENCE:?}"));
            }
        }
        if !self.lives() {
            task.abort();
            return Ok(None);
        }
        task.await.map(Some).map_err(|error| format!("the engine panicked: {error}"))
    }

    fn lives(&self) -> bool {
        self.world.fate().engine_lives
    }

    /// Whether something has failed for which an error is right. Looking clears it.
    fn excused(&self) -> bool {
        std::mem::take(&mut self.world.fate().failed)
    }

    /// Lets time pass, for the engine and for the shims.
    async fn pass(&self, time: Duration) {
        let end = self.world.fate().elapsed + time;
        while self.lives() {
            let now = self.world.fate().elapsed;
            if now >= end {
                return;
            }
            let next = self.world.next().map_or(end, |at| at.clamp(now, end));
            // Timers know milliseconds.
            let slice = (next - now).max(Duration::from_millis(1));
            tokio::time::sleep(slice).await;
            self.world.pass(slice);
        }
    }

    /// Something may be half done in this very moment.
    async fn come_to_rest(&self) {
        let stirred = || (self.world.fate().points, self.world.told());
        let mut quiet = 0;
        while quiet < 2 && self.lives() {
            let before = stirred();
            self.pass(Duration::from_millis(1)).await;
            quiet = if stirred() == before { quiet + 1 } else { 0 };
        }
    }

    /// Waits until nothing happens any more, and looks at everything. False if the engine was cut off meanwhile.
    async fn rest(&mut self, engine: &Engine) -> Result<bool, String> {
        self.pass(REST).await;
        // What has not befallen it by now will not.
        self.world.fate().trouble = None;
        let failed = self.excused();
        if failed {
            // Somebody else's start may have failed.
            for known in self.promises.containers.values_mut() {
                known.should_run = false;
            }
            self.pass(RETRY).await;
        }
        self.come_to_rest().await;
        if !self.lives() {
            return Ok(false);
        }
        checks::all(&self.world, engine, &mut self.promises, failed).await?;
        if checks::runs(engine, &self.promises).await.is_err() {
            self.pass(LONGEST_DELAY).await;
            self.come_to_rest().await;
            checks::runs(engine, &self.promises).await?;
        }
        Ok(true)
    }
}

async fn id_of(engine: &Engine, name: &str) -> Option<String> {
    Some(engine.container_inspect(name, false).await.ok()?.id)
}

/// In memory, so that nothing waits for a disk.
fn directory() -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let directory = parent.join(format!("wharf-simulation-{}-{number}", std::process::id()));
    std::fs::create_dir_all(directory.join("data")).unwrap();
    directory
}

/// An image with nothing in it but a directory.
fn install_image(data: &Path) {
    use image::archive::{Content, Entry, Writer};
    let records = store::records::Records::open(&data.join("wharf.db")).unwrap();
    let images = image::Images::open(data, &records).unwrap();
    let mut archive = Writer::new(Vec::new());
    let etc = Entry {
        path: "etc/".into(),
        content: Content::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        modified: Default::default(),
        xattrs: Default::default(),
    };
    archive.add(&etc).unwrap();
    let archive = archive.finish().unwrap();
    let import = image::Import {
        config: oci::image::Config::default(),
        comment: String::new(),
        platform: oci::platform::Platform::host(),
        names: vec![oci::reference::Reference::parse_normalized(IMAGE).unwrap().with_default_tag()],
    };
    images.import(&archive[..], import).unwrap();
}
