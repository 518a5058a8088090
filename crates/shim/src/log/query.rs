//! Turns a log into what a client asked for: `docker logs`, and the replay at the start of an attachment.
//!
//! The order of things is Docker's: `tail` counts records before streams and times are filtered; what is left is
//! [rendered](crate::log::render).

use std::io;
use std::path::Path;

use crate::log::format::Format;
use crate::log::reader::{Reader, Start};
use crate::log::render::{render, render_failure};
use crate::protocol::LogQuery;

/// A log being sent. [`Output::fill`] produces it piece by piece, as fast as the client takes it.
pub struct Output {
    query: LogQuery,
    reader: Reader,
}

/// Why a reader has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The buffer is full; there is more.
    More,
    /// The end of what is written so far.
    CaughtUp,
    /// `until` has passed: nothing will follow.
    Over,
}

impl Output {
    /// `rotations` is the writer's count, 0 when nobody writes.
    pub fn open(path: &Path, format: Format, query: LogQuery, rotations: u64) -> io::Result<Output> {
        let start = match (query.tail, query.since) {
            (Some(lines), _) => Start::Tail(lines),
            (None, Some(since)) => Start::Since(since),
            (None, None) => Start::Beginning,
        };
        Ok(Output { reader: Reader::open(path, format, start, rotations)?, query })
    }

    pub fn follows(&self) -> bool {
        self.query.follow
    }

    /// Appends to `out` until it has `limit` bytes or a little more.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize, rotations: u64) -> io::Result<Progress> {
        while out.len() < limit {
            let format = self.reader.format();
            let Some(record) = self.reader.next_record(rotations)? else { return Ok(Progress::CaughtUp) };
            let Some(record) = format.decode(record) else { continue };
            if self.query.until.is_some_and(|until| record.time > until) {
                return Ok(Progress::Over);
            }
            if self.query.since.is_none_or(|since| record.time >= since) {
                render(&record, &self.query, out);
            }
        }
        Ok(Progress::More)
    }

    /// What a client is told when reading has failed.
    pub fn fail(&self, error: &io::Error, out: &mut Vec<u8>) {
        render_failure(&format!("Error grabbing logs: {error}"), &self.query, out);
    }
}

#[cfg(test)]
mod tests {
    use scratch::Directory;

    use super::*;
    use crate::log::splitter::Piece;
    use crate::log::{Stream, Writer};
    use crate::protocol::{Log, LogDriver};
    use crate::testing::log_options;

    fn all() -> LogQuery {
        LogQuery { stdout: true, stderr: true, ..LogQuery::default() }
    }

    fn write(writer: &mut Writer, from: i64, to: i64) {
        for number in from..to {
            let stream = if number % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
            writer.append(
                stream,
                &Piece { text: format!("line {number}").as_bytes(), time: number, part: None },
            );
            writer.flush();
        }
    }

    fn open(log: &Log, query: LogQuery, rotations: u64) -> Output {
        Output::open(&log.path, Format::of(log.driver).unwrap(), query, rotations).unwrap()
    }

    fn read(log: &Log, query: LogQuery) -> String {
        let mut output = open(log, query, 0);
        let mut out = Vec::new();
        while output.fill(&mut out, usize::MAX, 0).unwrap() == Progress::More {}
        String::from_utf8(out).unwrap()
    }

    fn numbers(text: &str) -> Vec<i64> {
        text.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect()
    }

    const DRIVERS: [LogDriver; 2] = [LogDriver::JsonFile, LogDriver::Local];

    /// One log in one file, one in rotated files, one in compressed ones; in each format.
    fn kinds(dir: &Path) -> Vec<Log> {
        let mut kinds = Vec::new();
        for (name, max_size, compress, driver) in
            [("whole", None, false), ("rotated", Some(1000), false), ("compressed", Some(1000), true)]
                .into_iter()
                .flat_map(|(name, size, compress)| DRIVERS.map(|driver| (name, size, compress, driver)))
        {
            let mut log = log_options(dir);
            log.driver = driver;
            log.path = dir.join(format!("{name}-{driver:?}"));
            (log.max_size, log.max_files, log.compress) = (max_size, 100, compress);
            let mut writer = Writer::open(&log).unwrap();
            write(&mut writer, 0, 200);
            while writer.is_compressing() {
                writer.compress_step();
            }
            kinds.push(log);
        }
        kinds
    }

    #[test]
    fn tail_and_since_count_over_all_files() {
        let dir = Directory::new("query");
        for log in kinds(&dir) {
            assert_eq!(numbers(&read(&log, all())), (0..200).collect::<Vec<_>>());
            for tail in [0, 1, 14, 15, 150, 200, 1000] {
                let expected: Vec<_> = ((200 - tail).max(0)..200).collect();
                let query = LogQuery { tail: Some(tail as u64), ..all() };
                assert_eq!(numbers(&read(&log, query)), expected, "tail {tail} of {:?}", log.path);
            }
            let query = LogQuery { since: Some(90), until: Some(170), ..all() };
            assert_eq!(numbers(&read(&log, query)), (90..=170).collect::<Vec<_>>());
            let query = LogQuery { tail: Some(6), stdout: false, ..all() };
            assert_eq!(numbers(&read(&log, query)), [195, 198]);
        }
    }

    #[test]
    fn follows_through_rotation_without_loss() {
        let dir = Directory::new("query");
        for (compress, driver) in DRIVERS.into_iter().flat_map(|driver| [(false, driver), (true, driver)]) {
            let mut log = log_options(&dir);
            log.driver = driver;
            log.path = dir.join(format!("follow-{compress}-{driver:?}"));
            (log.max_size, log.max_files, log.compress) = (Some(500), 50, compress);
            let mut writer = Writer::open(&log).unwrap();
            write(&mut writer, 0, 5);
            let mut output = open(&log, all(), writer.rotations());
            let mut out = Vec::new();
            for from in [5, 6, 30, 31, 32, 100] {
                assert_eq!(
                    output.fill(&mut out, usize::MAX, writer.rotations()).unwrap(),
                    Progress::CaughtUp
                );
                write(&mut writer, from, from + if from == 100 { 100 } else { 1 });
            }
            output.fill(&mut out, usize::MAX, writer.rotations()).unwrap();
            let expected: Vec<_> = [0, 1, 2, 3, 4, 5, 6, 30, 31, 32].into_iter().chain(100..200).collect();
            assert_eq!(numbers(std::str::from_utf8(&out).unwrap()), expected);
        }
    }

    #[test]
    fn a_writer_that_reopens_keeps_the_index_true() {
        let dir = Directory::new("query");
        for driver in DRIVERS {
            let mut log = log_options(&dir);
            log.driver = driver;
            log.path = dir.join(format!("reopen-{driver:?}"));
            write(&mut Writer::open(&log).unwrap(), 1000, 1010);
            let mut writer = Writer::open(&log).unwrap();
            write(&mut writer, 500, 12_000);
            for since in [400, 1005, 3000, 11_999] {
                let query = LogQuery { since: Some(since), ..all() };
                let expected: Vec<_> =
                    (1000..1010).chain(500..12_000).filter(|number| *number >= since).collect();
                assert_eq!(numbers(&read(&log, query)), expected, "since {since}");
            }
        }
    }

    #[test]
    fn since_seeks_in_a_large_file() {
        let dir = Directory::new("query");
        for driver in DRIVERS {
            let mut log = log_options(&dir);
            log.driver = driver;
            log.path = dir.join(format!("large-{driver:?}"));
            let mut writer = Writer::open(&log).unwrap();
            let text = vec![b'x'; 8000];
            for time in 0..2000 {
                writer.append(Stream::Stdout, &Piece { text: &text, time, part: None });
                writer.flush();
            }
            // What lies before is not even looked at: it may be unreadable.
            let size = std::fs::metadata(&log.path).unwrap().len();
            let file = std::fs::File::options().write(true).open(&log.path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xff; size as usize / 2], 0).unwrap();
            let query = LogQuery { since: Some(1500), ..all() };
            assert_eq!(read(&log, query).lines().count(), 500, "{driver:?}");
        }
    }

    #[test]
    fn torn_and_foreign_lines_are_skipped() {
        let dir = Directory::new("query");
        let log = log_options(&dir);
        write(&mut Writer::open(&log).unwrap(), 0, 2);
        let mut bytes = std::fs::read(&log.path).unwrap();
        bytes.extend_from_slice(b"{\"log\":\"torn\nnot json\n");
        bytes.extend(std::iter::repeat_n(b'x', 3 << 20));
        bytes.push(b'\n');
        std::fs::write(&log.path, &bytes).unwrap();
        write(&mut Writer::open(&log).unwrap(), 2, 4);
        assert_eq!(numbers(&read(&log, all())), [0, 1, 2, 3]);
    }
}
