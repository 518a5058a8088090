//! What many containers cost: listing a thousand, starting beside hundreds, coming back to them, memory for each.
//!
//! Asked for by `--crowd N`, since Docker needs minutes for it.

use std::time::{Duration, Instant};

use crate::report::{Report, Row, median};
use crate::rows::{Bench, IMAGE, REST, Side};

/// What many containers cost is asked at these numbers, too.
const SIZES: [usize; 2] = [1, 100];
/// Containers that are made but not started, for the list.
const LISTED: usize = 1000;
/// Starts in a burst, by as many clients at once as there are [`LANES`].
const BURST: usize = 100;
/// Clients that start containers one after the other, beside each other.
const LANES: usize = 4;

impl Bench<'_> {
    pub(crate) fn crowd(&mut self, report: &mut Report, crowd: usize) {
        self.list(report);
        self.burst(report, "starts per second (bridge network)");
        self.each(|side| {
            side.shell.run(&format!("{} network create crowd >/dev/null", side.client)).ok();
        });
        let mut standing = 0;
        for count in SIZES.into_iter().filter(|size| *size < crowd).chain([crowd]) {
            self.each(|side| side.stand(standing, count));
            standing = count;
            self.footprint(report, count);
        }
        self.burst(report, &format!("starts per second beside {crowd} containers"));
        self.comeback(report, crowd);
        self.each(|side| {
            side.clear("crowd");
            side.shell.run(&format!("{} network rm crowd", side.client)).ok();
        });
    }

    /// How long the engine takes to list all containers: the request alone, without a client that prints.
    fn list(&mut self, report: &mut Report) {
        self.each(|side| {
            let client = side.client.clone();
            let line = format!("for n in $(seq {LISTED}); do {client} create --name listed$n {IMAGE} true >/dev/null || exit; done");
            side.shell.run(&line).ok();
        });
        self.time(report, &format!("`ps -a` of {LISTED} containers, the request alone"), None, |side| {
            // By its own clock: its start and its end are not the engine's.
            let line = format!(
                "curl -sf -o /dev/null -w '%{{time_total}}' --unix-socket {} 'http://api/containers/json?all=1'",
                side.socket
            );
            let seconds = side.shell.run(&line).ok().output.trim().parse();
            Duration::from_secs_f64(seconds.expect("curl prints how long it took"))
        });
        self.each(|side| {
            side.clear("listed");
        });
    }

    fn burst(&mut self, report: &mut Report, name: &str) {
        let rate = |side: &mut Side| {
            let client = side.client.clone();
            let each = BURST / LANES;
            let line = format!(
                "for lane in $(seq {LANES}); do (for n in $(seq {each}); do \
                 {client} run -d --name burst$lane-$n {IMAGE} sleep 100000 >/dev/null || exit; done) & done; wait"
            );
            let took = side.shell.run(&line).ok().took;
            side.clear("burst");
            BURST as f64 / took.as_secs_f64()
        };
        let (wharf, peer) = self.once(rate);
        report.add(Row { name: name.into(), unit: "1/s", wharf, peer, floor: None });
    }

    fn footprint(&mut self, report: &mut Report, crowd: usize) {
        if !self.wanted(&format!("memory beside each of {crowd} containers")) {
            return;
        }
        std::thread::sleep(REST);
        let (wharf, peer) = self.once(|side| {
            let beside = side.memory(side.beside);
            beside / crowd as f64
        });
        let name = format!("memory beside each of {crowd} containers (PSS)");
        report.add(Row { name, unit: "MiB", wharf, peer, floor: None });
        let (wharf, peer) = self.once(|side| side.memory(side.engine));
        let name = format!("memory of the engine beside {crowd} containers (PSS)");
        report.add(Row { name, unit: "MiB", wharf, peer, floor: None });
    }

    /// How long after its death the engine answers again. Docker's containers would have to be told to live on
    /// (`live-restore`), so there is nothing to compare with.
    fn comeback(&mut self, report: &mut Report, crowd: usize) {
        let mut samples: Vec<Duration> = (0..5)
            .map(|_| {
                self.world.kill_engine();
                let start = Instant::now();
                self.world.start_engine();
                start.elapsed()
            })
            .collect();
        let name = format!("engine killed beside {crowd} containers, until it answers");
        report.add(Row { name, unit: "ms", wharf: median(&mut samples), peer: None, floor: None });
    }
}

impl Side {
    /// Containers as people leave them standing: on a network with names, with a published port and a health check
    /// (one that has its turn seldom: what it holds is measured here, not what it does).
    /// From so many to so many.
    fn stand(&mut self, from: usize, to: usize) {
        let client = self.client.clone();
        let line = format!(
            "for lane in $(seq {LANES}); do (for n in $(seq $(({from} + lane)) {LANES} {to}); do \
             {client} run -d --name crowd$n --network crowd -p 80 --health-cmd true --health-interval 1h \
             {IMAGE} sleep 100000 >/dev/null || exit; done) & done; wait"
        );
        self.shell.run(&line).ok();
    }

    /// Removes all containers whose names begin so.
    fn clear(&mut self, prefix: &str) {
        let client = self.client.clone();
        let line =
            format!("{client} ps -aq --filter name=^{prefix} | xargs -r -n 50 {client} rm -f >/dev/null");
        self.shell.run(&line).ok();
    }
}
