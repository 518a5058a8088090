use std::process::{Command, Stdio};

use super::*;

struct Scratch(scratch::Directory);

impl Scratch {
    fn new() -> Self {
        Self(scratch::Directory::new("blobs"))
    }

    fn open(&self) -> Blobs {
        Blobs::open(&self.0).unwrap()
    }

    fn partials(&self) -> usize {
        fs::read_dir(self.0.join("ingest")).unwrap().count()
    }
}

#[test]
fn a_blob_appears_only_when_all_of_it_is_right() {
    let scratch = Scratch::new();
    let blobs = scratch.open();
    let digest = Digest::sha256_of(b"hello world");
    let mut ingest = blobs.ingest(&digest, 11).unwrap();
    ingest.write(b"hello ").unwrap();
    assert!(!blobs.contains(&digest));
    ingest.write(b"world").unwrap();
    ingest.commit().unwrap();
    assert_eq!(blobs.read(&digest).unwrap(), b"hello world");
    assert_eq!(scratch.partials(), 0);
}

#[test]
fn an_interrupted_ingest_goes_on_where_it_was() {
    let scratch = Scratch::new();
    let digest = Digest::sha256_of(b"hello world");
    let mut ingest = scratch.open().ingest(&digest, 11).unwrap();
    ingest.write(b"hello ").unwrap();
    let short = ingest.commit().unwrap_err();
    assert_eq!(short.kind(), Kind::Mismatch);

    let blobs = scratch.open();
    let mut ingest = blobs.ingest(&digest, 11).unwrap();
    assert_eq!(ingest.offset(), 6);
    ingest.write(b"world").unwrap();
    ingest.commit().unwrap();
    assert!(blobs.contains(&digest));
}

#[test]
fn wrong_or_excessive_content_is_deleted() {
    let scratch = Scratch::new();
    let blobs = scratch.open();
    let digest = Digest::sha256_of(b"hello world");
    let mut ingest = blobs.ingest(&digest, 11).unwrap();
    ingest.write(b"jello world").unwrap();
    let wrong = ingest.commit().unwrap_err();
    assert_eq!(wrong.kind(), Kind::Mismatch);
    assert!(wrong.to_string().contains(Digest::sha256_of(b"jello world").as_str()), "{wrong}");
    assert_eq!(scratch.partials(), 0);

    let mut ingest = blobs.ingest(&digest, 11).unwrap();
    assert_eq!(ingest.write(b"hello world!").unwrap_err().kind(), Kind::Mismatch);
    assert_eq!(ingest.offset(), 0);
    // What another size left behind is not trusted either.
    ingest.write(b"hello world").unwrap();
    drop(ingest);
    assert_eq!(blobs.ingest(&digest, 5).unwrap().offset(), 0);
}

#[test]
fn one_digest_has_one_writer() {
    let scratch = Scratch::new();
    let blobs = scratch.open();
    let digest = Digest::sha256_of(b"x");
    let mut first = blobs.ingest(&digest, 1).unwrap();
    assert_eq!(blobs.ingest(&digest, 1).err().unwrap().kind(), Kind::Busy);
    blobs.expire_ingests(Duration::ZERO).unwrap();
    first.write(b"x").unwrap();
    first.commit().unwrap();
    // The name is free again, and the published inode is not what the next writer gets.
    let mut again = blobs.ingest(&digest, 1).unwrap();
    assert_eq!(again.offset(), 0);
    again.write(b"x").unwrap();
    again.commit().unwrap();
    assert_eq!(blobs.read(&digest).unwrap(), b"x");
}

#[test]
fn damage_on_disk_is_noticed() {
    let scratch = Scratch::new();
    let blobs = scratch.open();
    let digest = blobs.put(b"{}").unwrap();
    fs::write(blobs.path(&digest), b"[]").unwrap();
    assert_eq!(blobs.read(&digest).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(blobs.put(b"{}").unwrap(), digest);
    assert_eq!(blobs.read(&digest).unwrap(), b"{}");
    assert_eq!(blobs.read(&Digest::sha256_of(b"?")).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn detached_blobs_vanish_at_once_and_from_disk_later() {
    let scratch = Scratch::new();
    let blobs = scratch.open();
    let digest = blobs.put(b"data").unwrap();
    let detached = blobs.detach(&digest).unwrap().unwrap();
    assert_eq!(detached.size(), 4);
    assert!(!blobs.contains(&digest));
    assert_eq!(scratch.partials(), 1);
    drop(detached);
    assert_eq!(scratch.partials(), 0);
    assert!(blobs.detach(&digest).unwrap().is_none());
}

#[test]
fn forgotten_partials_expire() {
    let scratch = Scratch::new();
    let blobs = scratch.open();
    let mut ingest = blobs.ingest(&Digest::sha256_of(b"never"), 5).unwrap();
    ingest.write(b"ne").unwrap();
    drop(ingest);
    blobs.expire_ingests(Duration::from_secs(3600)).unwrap();
    assert_eq!(scratch.partials(), 1);
    blobs.expire_ingests(Duration::ZERO).unwrap();
    assert_eq!(scratch.partials(), 0);
}

/// The child half of the test below: writes until it is killed.
#[test]
fn endless_writer() {
    let Ok(root) = std::env::var("WHARF_TEST_ENDLESS_WRITER") else { return };
    let blobs = Blobs::open(Path::new(&root)).unwrap();
    let content = numbers();
    let mut ingest = blobs.ingest(&Digest::sha256_of(&content), content.len() as u64).unwrap();
    for chunk in content.chunks(4096) {
        ingest.write(chunk).unwrap();
        // Slow enough that it never comes to its end, whoever is late to kill it.
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn numbers() -> Vec<u8> {
    (0..1_000_000u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_killed_writer_leaves_bytes_that_the_next_one_uses() {
    let scratch = Scratch::new();
    let content = numbers();
    let digest = Digest::sha256_of(&content);
    let partial = scratch.0.join("ingest").join(format!("sha256-{}", digest.hex()));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "blobs::tests::endless_writer"])
        .env("WHARF_TEST_ENDLESS_WRITER", &scratch.0)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while fs::metadata(&partial).map_or(0, |m| m.len()) < 20_000 {
        assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let blobs = scratch.open();
    assert!(!blobs.contains(&digest));
    let mut ingest = blobs.ingest(&digest, content.len() as u64).unwrap();
    let offset = usize::try_from(ingest.offset()).unwrap();
    assert!(offset >= 20_000 && offset < content.len());
    ingest.write(&content[offset..]).unwrap();
    ingest.commit().unwrap();
    assert_eq!(blobs.size(&digest), Some(content.len() as u64));
}
