//! Short containers that end with a known code, whether there is an engine or not.

use std::collections::BTreeMap;

use super::Dice;
use crate::{IMAGE, Session, World, eventually};

/// Those that were acknowledged and are not yet checked, with the code that each ends with.
#[derive(Debug, Default)]
pub(super) struct Passers {
    expected: BTreeMap<String, i64>,
    sent: u32,
}

impl Passers {
    /// Some that are there before the next kill, and whose end may come at any time.
    pub(super) fn pass(&mut self, world: &World, dice: &mut Dice) -> Vec<String> {
        let mut wrong = Vec::new();
        for _ in 0..2 {
            let (name, code, script) = self.next(dice);
            let output = world.docker(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", &script]);
            if output.code == 0 {
                self.expected.insert(name, code);
            } else {
                wrong.push(format!("cannot run a container\n{output}"));
            }
        }
        wrong
    }

    /// One whose start the next kill may cut short: nothing is expected of it but that it can be removed.
    pub(super) fn set_out(&mut self, world: &World, dice: &mut Dice) -> Session {
        let (name, _, script) = self.next(dice);
        world.session(&["run", "-d", "--rm", "--name", &name, IMAGE, "sh", "-c", &script])
    }

    fn next(&mut self, dice: &mut Dice) -> (String, i64, String) {
        self.sent += 1;
        let code = 1 + dice.below(100);
        let script = format!("sleep 0.{}; exit {code}", dice.below(10));
        (format!("passing-{}", self.sent), code as i64, script)
    }

    /// All of them have ended with their codes, and each start and end stands once in the events. They are removed.
    pub(super) fn check(&mut self, world: &World) -> Vec<String> {
        let mut wrong = Vec::new();
        let expected = std::mem::take(&mut self.expected);
        for (name, code) in &expected {
            world.until_status(name, "exited");
            let found = world.inspect(name)["State"]["ExitCode"].as_i64();
            if found != Some(*code) {
                wrong.push(format!("{name} ended with {found:?}, not {code}"));
            }
        }
        // The end is told after it is shown.
        let told = || events(world, &expected);
        let complete = |told: &BTreeMap<String, Vec<String>>| {
            expected
                .keys()
                .all(|name| told.get(name).is_some_and(|all| all.iter().any(|one| one.starts_with("die"))))
        };
        let told = eventually("the events of all ends", || Some(told()).filter(complete));
        for (name, code) in &expected {
            let right = ["start".to_owned(), format!("die {code}")];
            if told[name] != right {
                wrong.push(format!("the events of {name} are {:?}, not {right:?}", told[name]));
            }
            world.wharf(&["rm", name]).ok();
        }
        // Those that were cut short have ended, too; `--rm` takes them away.
        eventually("nobody but the steady", || {
            let names = world.wharf(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok();
            let mut passing = names.lines().filter(|line| line.starts_with("passing-"));
            passing.all(|line| line.ends_with(" created")).then_some(())
        });
        wrong
    }
}

/// The starts and ends that the history tells of these containers.
fn events(world: &World, of: &BTreeMap<String, i64>) -> BTreeMap<String, Vec<String>> {
    let format = "{{.Action}} {{.Actor.Attributes.exitCode}} {{.Actor.Attributes.name}}";
    let words =
        ["events", "--since", "0", "--until", "0s", "--filter", "event=start", "--filter", "event=die"];
    let told = world.docker(&[&words[..], &["--format", format]].concat()).ok();
    let mut events = BTreeMap::new();
    for line in told.lines() {
        let mut words = line.rsplitn(2, ' ');
        let (Some(name), Some(event)) = (words.next(), words.next()) else { continue };
        if of.contains_key(name) {
            let event = event.replace(" <no value>", "");
            events.entry(name.to_owned()).or_insert_with(Vec::new).push(event);
        }
    }
    events
}
