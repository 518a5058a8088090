use super::*;

struct Scratch(scratch::Directory);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let directory = scratch::Directory::new(name);
        std::fs::create_dir_all(directory.join("data/volumes")).unwrap();
        Scratch(directory)
    }

    fn open(&self) -> Volumes {
        let paths = Paths::new(self.0.join("data"), self.0.join("exec"));
        let records = Records::open(&paths.database()).unwrap();
        Volumes::below(&paths, &records).unwrap()
    }
}

fn named(name: &str) -> Wanted {
    Wanted { name: Some(name.into()), ..Wanted::default() }
}

fn with(options: &[(&str, &str)]) -> Wanted {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Wanted { options, ..named("mounted") }
}

#[test]
fn a_volume_is_made_once_and_outlives_the_engine() {
    let scratch = Scratch::new("once");
    let volumes = scratch.open();
    let first = volumes.ensure(&named("data"), None).unwrap();
    assert!(first.created && first.mountpoint.ends_with("volumes/data/_data"));
    std::fs::write(first.mountpoint.join("file"), "kept").unwrap();
    assert!(!volumes.ensure(&named("data"), None).unwrap().created);
    drop(volumes);
    let volumes = scratch.open();
    assert!(!volumes.ensure(&named("data"), None).unwrap().created);
    assert_eq!(std::fs::read_to_string(first.mountpoint.join("file")).unwrap(), "kept");
    let anonymous = volumes.ensure(&Wanted::default(), None).unwrap();
    assert_eq!(anonymous.name.len(), 64);
    assert!(volumes.get(&anonymous.name).unwrap().labels.contains_key(ANONYMOUS));
}

#[test]
fn what_cannot_be_is_refused_in_dockers_words() {
    let scratch = Scratch::new("refused");
    let volumes = scratch.open();
    let message = |wanted: &Wanted| volumes.ensure(wanted, None).unwrap_err().to_string();
    let other = Wanted { driver: "fancy".into(), ..named("data") };
    assert_eq!(
        message(&other),
        "create data: error looking up volume plugin fancy: plugin \"fancy\" not found"
    );
    assert!(message(&named("x")).contains("volume name is too short"));
    assert!(message(&named("../x")).contains("includes invalid characters"));
    assert_eq!(message(&with(&[("color", "red")])), "create mounted: invalid option: \"color\"");
    assert_eq!(message(&with(&[("type", "tmpfs")])), "create mounted: missing required option: \"device\"");
    assert!(message(&with(&[("size", "1g")])).contains("quota size requested but no quota support"));
    assert!(volumes.list().is_empty());
}

#[test]
fn a_removal_takes_the_files_and_survives_a_crash() {
    let scratch = Scratch::new("removal");
    let volumes = scratch.open();
    for name in ["gone", "half", "back"] {
        let volume = volumes.ensure(&named(name), None).unwrap();
        std::fs::write(volume.mountpoint.join("file"), name).unwrap();
    }
    volumes.remove("gone").unwrap();
    let directory = volumes.paths.volumes();
    assert!(!directory.join("gone").exists() && volumes.get("gone").is_none());
    assert_eq!(volumes.remove("gone").unwrap_err().message(), "get gone: no such volume");
    // Killed before and after the record went.
    std::fs::rename(directory.join("back"), directory.join(".gone-back")).unwrap();
    std::fs::rename(directory.join("half"), directory.join(".gone-half")).unwrap();
    volumes.records.write(|transaction| transaction.remove::<Stored>("half")).unwrap();
    drop(volumes);
    let volumes = scratch.open();
    assert_eq!(std::fs::read_to_string(directory.join("back/_data/file")).unwrap(), "back");
    assert!(!directory.join(".gone-half").exists() && volumes.get("half").is_none());
}

#[test]
fn a_name_of_any_length_can_go() {
    let scratch = Scratch::new("long");
    let volumes = scratch.open();
    let (back, gone) = ("b".repeat(255), "g".repeat(250));
    for name in [&back, &gone] {
        volumes.ensure(&named(name), None).unwrap();
    }
    let directory = volumes.paths.volumes();
    volumes.remove(&gone).unwrap();
    assert!(!directory.join(&gone).exists());
    // Killed before the record went.
    std::fs::rename(directory.join(&back), directory.join(super::gone(&back))).unwrap();
    drop(volumes);
    let volumes = scratch.open();
    assert!(directory.join(&back).exists());
    volumes.remove(&back).unwrap();
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);
}

#[test]
fn options_mount_while_somebody_uses_the_volume() {
    let scratch = Scratch::new("mount");
    let source = scratch.0.join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "bound").unwrap();
    let volumes = scratch.open();
    let bind = with(&[("type", "none"), ("o", "bind,ro"), ("device", source.to_str().unwrap())]);
    volumes.ensure(&bind, None).unwrap();
    let (one, two) = (ContainerId::random(), ContainerId::random());
    let path = volumes.acquire("mounted", &one).unwrap();
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "bound");
    assert!(std::fs::write(path.join("new"), "").is_err(), "it is read-only");
    volumes.acquire("mounted", &two).unwrap();
    volumes.release("mounted", &one).unwrap();
    assert!(path.join("file").exists(), "the other still has it");
    volumes.release("mounted", &two).unwrap();
    assert!(!path.join("file").exists());

    let tmpfs = Wanted {
        name: Some("scratch".into()),
        ..with(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,mode=700,noexec")])
    };
    volumes.ensure(&tmpfs, None).unwrap();
    let path = volumes.acquire("scratch", &one).unwrap();
    let info = linux::mount::list().unwrap().into_iter().find(|mount| mount.target == path).unwrap();
    assert!(info.options.contains("noexec") && info.super_options.contains("size=1024k"), "{info:?}");
    // An engine that comes back does not mount it twice.
    drop(volumes);
    let volumes = scratch.open();
    volumes.acquire("scratch", &two).unwrap();
    assert_eq!(linux::mount::list().unwrap().iter().filter(|mount| mount.target == path).count(), 1);
    volumes.remove("scratch").unwrap();
    assert!(!path.exists() && linux::mount::list().unwrap().iter().all(|mount| mount.target != path));

    let bad = Wanted {
        name: Some("broken".into()),
        ..with(&[("type", "none"), ("o", "bind"), ("device", "/does/not/exist")])
    };
    volumes.ensure(&bad, None).unwrap();
    let error = volumes.acquire("broken", &one).unwrap_err().to_string();
    assert!(error.starts_with("error while mounting volume '"), "{error}");
    let target = volumes.paths.volume_data("broken");
    let words =
        format!("mount /does/not/exist:{}, flags: 0x1000: no such file or directory", target.display());
    assert!(error.ends_with(&format!("failed to mount local volume: {words}")), "{error}");
}

#[test]
fn a_filling_that_fails_leaves_nothing() {
    let scratch = Scratch::new("filling");
    let volumes = scratch.open();
    let one = ContainerId::random();
    let path = volumes.ensure(&named("data"), None).unwrap().mountpoint;
    let half = |target: &Path| {
        std::fs::create_dir(target.join("directory")).unwrap();
        std::fs::write(target.join("directory/file"), "half").unwrap();
        Err(Error::system("no space"))
    };
    let files = || std::fs::read_dir(&path).unwrap().count();
    assert_eq!(volumes.fill("data", &one, true, half).unwrap_err().message(), "no space");
    assert_eq!(files(), 0);
    // Killed in the middle: the mark is still there.
    half(&path).unwrap_err();
    std::fs::write(scratch.0.join("data/volumes/data/filling"), "").unwrap();
    drop(volumes);
    let volumes = scratch.open();
    assert!(volumes.may_be_empty("data"));
    let whole = |target: &Path| {
        std::fs::write(target.join("file"), "whole").unwrap();
        Ok(())
    };
    volumes.fill("data", &one, true, whole).unwrap();
    assert_eq!((files(), std::fs::read_to_string(path.join("file")).unwrap()), (1, "whole".into()));
    assert!(!volumes.may_be_empty("data"));
    // What has files keeps them.
    volumes.fill("data", &one, true, |_| panic!("it is not empty")).unwrap();
}

#[test]
fn others_who_come_while_it_is_filled_keep_their_files() {
    let scratch = Scratch::new("shared");
    let volumes = scratch.open();
    let (one, two) = (ContainerId::random(), ContainerId::random());
    let path = volumes.ensure(&named("data"), None).unwrap().mountpoint;
    let interrupted = |_: &Path| {
        let seen = volumes.acquire("data", &two).unwrap();
        std::fs::write(seen.join("theirs"), "").unwrap();
        Err(Error::system("no space"))
    };
    volumes.fill("data", &one, true, interrupted).unwrap_err();
    assert!(path.join("theirs").exists());
}

#[test]
fn what_is_mounted_is_looked_at_when_it_is_mounted() {
    let scratch = Scratch::new("elsewhere");
    let source = scratch.0.join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "mine").unwrap();
    let volumes = scratch.open();
    let bind = with(&[("type", "none"), ("o", "bind"), ("device", source.to_str().unwrap())]);
    volumes.ensure(&bind, None).unwrap();
    volumes.fill("mounted", &ContainerId::random(), true, |_| panic!("it is not empty")).unwrap();
}

#[test]
fn what_is_mounted_is_never_emptied() {
    let scratch = Scratch::new("theirs");
    let source = scratch.0.join("source");
    std::fs::create_dir(&source).unwrap();
    let volumes = scratch.open();
    let bind = with(&[("type", "none"), ("o", "bind"), ("device", source.to_str().unwrap())]);
    volumes.ensure(&bind, None).unwrap();
    let one = ContainerId::random();
    let half = |_: &Path| {
        // Of the host's, meanwhile.
        std::fs::write(source.join("theirs"), "").unwrap();
        Err(Error::system("no space"))
    };
    volumes.fill("mounted", &one, true, half).unwrap_err();
    assert!(source.join("theirs").exists());
    std::fs::write(scratch.0.join("data/volumes/mounted/filling"), "").unwrap();
    let path = volumes.acquire("mounted", &one).unwrap();
    assert!(path.join("theirs").exists());
    volumes.release("mounted", &one).unwrap();

    // What cannot be used is not kept mounted.
    std::fs::create_dir(scratch.0.join("data/volumes/mounted/filling")).unwrap();
    volumes.acquire("mounted", &one).unwrap_err();
    assert!(linux::mount::list().unwrap().iter().all(|mount| mount.target != path));
    assert!(volumes.users().is_empty());
}
