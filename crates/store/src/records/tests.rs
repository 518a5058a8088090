use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Boat {
    sails: u32,
}

impl Record for Boat {
    const KIND: &'static str = "boat";
    const VERSION: u32 = 2;

    fn migrate(version: u32, body: serde_json::Value) -> Result<serde_json::Value, Error> {
        assert_eq!(version, 1);
        Ok(serde_json::json!({ "sails": body["masts"].as_u64().unwrap_or(0) * 2 }))
    }
}

#[derive(Serialize, Deserialize)]
struct OldBoat {
    masts: u32,
}

impl Record for OldBoat {
    const KIND: &'static str = "boat";
    const VERSION: u32 = 1;
}

#[derive(Serialize, Deserialize)]
struct FutureBoat {
    wings: u32,
}

impl Record for FutureBoat {
    const KIND: &'static str = "boat";
    const VERSION: u32 = 3;
}

struct Scratch(scratch::Directory);

impl Scratch {
    fn new() -> Self {
        Self(scratch::Directory::new("records"))
    }

    fn open(&self) -> Records {
        Records::open(&self.0.join("wharf.db")).unwrap()
    }
}

fn get(records: &Records, id: &str) -> Result<Option<Boat>, Error> {
    records.read(|r| r.get(id))
}

#[test]
fn a_record_and_its_name_are_one_transaction() {
    let scratch = Scratch::new();
    let records = scratch.open();
    let create = |id: &str| {
        records.write(|t| {
            t.put(id, &Boat { sails: 1 })?;
            t.reserve("boat", "anna", id)
        })
    };
    assert_eq!(create("a1").unwrap(), Ok(()));
    let taken = create("b2").unwrap().unwrap_err();
    assert_eq!(taken, Taken { name: "anna".into(), holder: "a1".into() });

    let failed: Result<(), Error> = records.write(|t| {
        t.put("c3", &Boat { sails: 3 })?;
        t.assign("boat", "anna", "c3")?;
        Err(Error::new(Kind::Other, "changed my mind"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "changed my mind");
    assert_eq!(get(&records, "c3").unwrap(), None);
    assert_eq!(records.read(|r| r.holder("boat", "anna")).unwrap().as_deref(), Some("a1"));
}

#[test]
fn old_records_migrate_and_new_ones_are_refused() {
    let scratch = Scratch::new();
    let records = scratch.open();
    records.write(|t| t.put("old", &OldBoat { masts: 2 })).unwrap();
    assert_eq!(get(&records, "old").unwrap(), Some(Boat { sails: 4 }));
    assert_eq!(records.migrate::<Boat>().unwrap(), 1);
    assert_eq!(records.migrate::<Boat>().unwrap(), 0);
    assert_eq!(get(&records, "old").unwrap(), Some(Boat { sails: 4 }));

    records.write(|t| t.put("new", &FutureBoat { wings: 1 })).unwrap();
    let refused = get(&records, "new").unwrap_err();
    assert_eq!(refused.kind(), Kind::Newer);
    let overwrite = records.write(|t| t.put("new", &Boat { sails: 1 })).unwrap_err();
    assert_eq!(overwrite.kind(), Kind::Newer);
}

#[test]
fn a_newer_database_is_refused() {
    let scratch = Scratch::new();
    drop(scratch.open());
    let raw = Connection::open(scratch.0.join("wharf.db")).unwrap();
    raw.pragma_update(None, "user_version", SCHEMA + 1).unwrap();
    drop(raw);
    let refused = Records::open(&scratch.0.join("wharf.db")).err().unwrap();
    assert_eq!(refused.kind(), Kind::Newer);
}

#[test]
fn what_is_no_database_is_named() {
    let scratch = Scratch::new();
    let path = scratch.0.join("wharf.db");
    std::fs::write(&path, "certainly not a database, and long enough to have a header".repeat(40)).unwrap();
    let refused = Records::open(&path).err().unwrap();
    assert_eq!(refused.kind(), Kind::Corrupt, "{refused}");
    assert!(refused.to_string().contains("wharf.db"), "{refused}");
}

#[test]
fn many_writers_share_commits_and_each_sees_its_own_outcome() {
    let scratch = Scratch::new();
    let records = scratch.open();
    std::thread::scope(|scope| {
        for thread in 0..16u32 {
            let records = &records;
            scope.spawn(move || {
                for n in 0..20u32 {
                    let id = format!("{thread}-{n}");
                    let result: Result<(), Error> = records.write(|t| {
                        t.put(&id, &Boat { sails: n })?;
                        if n % 5 == 4 { Err(Error::new(Kind::Other, "no")) } else { Ok(()) }
                    });
                    assert_eq!(result.is_err(), n % 5 == 4);
                    // What was acknowledged is visible to readers at once, what failed never is.
                    assert_eq!(get(records, &id).unwrap().is_some(), n % 5 != 4);
                }
            });
        }
    });
    assert_eq!(records.read(|r| r.list::<Boat>()).unwrap().len(), 16 * 16);
}

#[test]
fn writers_of_both_kinds_keep_their_word_side_by_side() {
    let scratch = Scratch::new();
    let records = scratch.open();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let records = &records;
            scope.spawn(move || {
                let boat = Boat { sails: number };
                let id = number.to_string();
                let durability = if number % 2 == 0 { Durability::Durable } else { Durability::Behind };
                records.write_as(durability, |t| t.put(&id, &boat)).unwrap();
                assert_eq!(get(records, &id).unwrap(), Some(boat));
            });
        }
    });
    // The files as a crash of this process would leave them.
    let after = Scratch::new();
    for file in ["wharf.db", "wharf.db-wal"] {
        std::fs::copy(scratch.0.join(file), after.0.join(file)).unwrap();
    }
    let again = after.open();
    assert!((0..16).all(|number| get(&again, &number.to_string()).unwrap().is_some()));
}

#[test]
fn a_panicking_writer_takes_nobody_with_it() {
    let scratch = Scratch::new();
    let records = scratch.open();
    let other = records.clone();
    let died = std::thread::spawn(move || {
        let _: Result<(), Error> = other.write(|t| {
            t.put("lost", &Boat { sails: 1 })?;
            panic!("on purpose");
        });
    })
    .join();
    assert!(died.is_err());
    assert_eq!(get(&records, "lost").unwrap(), None);
    records.write(|t| t.put("kept", &Boat { sails: 2 })).unwrap();
    assert_eq!(get(&records, "kept").unwrap(), Some(Boat { sails: 2 }));
}

#[test]
fn acknowledged_writes_survive_without_a_close() {
    let scratch = Scratch::new();
    let records = scratch.open();
    records.write(|t| t.put("kept", &Boat { sails: 7 })).unwrap();
    // The files as a crash would leave them: nobody closed the database.
    let after = Scratch::new();
    for file in ["wharf.db", "wharf.db-wal"] {
        std::fs::copy(scratch.0.join(file), after.0.join(file)).unwrap();
    }
    assert_eq!(get(&after.open(), "kept").unwrap(), Some(Boat { sails: 7 }));
}

/// A file system of 16 MiB, unmounted at the end.
struct SmallDisk(Scratch);

impl SmallDisk {
    fn mount() -> Self {
        let disk = SmallDisk(Scratch::new());
        disk.run("mount", &["-t", "tmpfs", "-o", "size=16m", "small"]);
        disk
    }

    fn run(&self, program: &str, words: &[&str]) {
        let status = std::process::Command::new(program).args(words).arg(&self.0.0).status().unwrap();
        assert!(status.success(), "{program} {words:?}");
    }

    /// Until not a byte more fits.
    fn fill(&self) {
        use std::io::Write;
        let mut filler = std::fs::File::create(self.0.0.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.run("umount", &["-l"]);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cargo {
    goods: String,
}

impl Record for Cargo {
    const KIND: &'static str = "cargo";
    const VERSION: u32 = 1;
}

#[test]
fn a_full_disk_takes_removals_and_no_more() {
    let disk = SmallDisk::mount();
    let mut records = disk.0.open();
    let add = |records: &Records, id: usize, size: usize| {
        records.write(|t| {
            t.assign("cargo", &format!("name-{id}"), &id.to_string())?;
            t.put(&id.to_string(), &Cargo { goods: "x".repeat(size) })
        })
    };
    for id in 0..400 {
        add(&records, id, 300 + id * 37 % 6000).unwrap();
    }
    disk.fill();
    // What fits into the slack is taken, then nothing more, and what was refused is not there.
    let refused = (1000..1100).find_map(|id| Some((id, add(&records, id, 6000).err()?))).unwrap();
    assert_eq!(refused.1.kind(), Kind::Full, "{}", refused.1);
    assert_eq!(records.read(|r| r.get::<Cargo>(&refused.0.to_string())).unwrap(), None);
    assert_eq!(records.read(|r| r.holder("cargo", &format!("name-{}", refused.0))).unwrap(), None);
    // Far more log than was reserved; and the next process is no worse off.
    for round in 0..10 {
        for id in (round..400).step_by(10) {
            let id = id.to_string();
            for _ in 0..10 {
                records.write(|t| t.put(&id, &Cargo { goods: "small".into() })).unwrap();
            }
            records
                .write(|t| {
                    t.release_all("cargo", &id)?;
                    t.remove::<Cargo>(&id)
                })
                .unwrap();
        }
        drop(records);
        records = disk.0.open();
        assert!(records.read(|r| r.get::<Cargo>(&round.to_string())).unwrap().is_none());
    }
    let left = records.read(|r| r.list::<Cargo>()).unwrap();
    assert!(left.iter().all(|(id, _)| id.parse::<usize>().unwrap() >= 1000));
    // What was freed can be used again.
    for id in 0..300 {
        add(&records, id, 1000).unwrap();
    }
    drop(records);
}

#[test]
fn one_who_does_not_fit_takes_nobody_along() {
    let disk = SmallDisk::mount();
    let records = disk.0.open();
    records.write(|t| t.put("kept", &Boat { sails: 1 })).unwrap();
    disk.fill();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let records = &records;
            scope.spawn(move || {
                for n in 0..20 {
                    let id = format!("{thread}-{n}");
                    if thread % 2 == 0 {
                        let large = Cargo { goods: "x".repeat(400_000) };
                        let refused = records.write(|t| t.put(&id, &large)).unwrap_err();
                        assert_eq!(refused.kind(), Kind::Full, "{refused}");
                    } else {
                        records.write(|t| t.put("kept", &Boat { sails: n })).unwrap();
                    }
                }
            });
        }
    });
    assert!(records.read(|r| r.list::<Cargo>()).unwrap().is_empty());
    assert_eq!(get(&records, "kept").unwrap(), Some(Boat { sails: 19 }));
}
