//! What goes out comes back the same: the writer against the reader, and against GNU tar.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use image::archive::{
    Extract, Limits, Ownership, Reader, Replace, Writer, archive_path, archive_tree, extract_into,
};
use linux::path::Root;
use scratch::Directory;

fn tree(root: &Path) {
    std::fs::create_dir_all(root.join("dir/sub")).unwrap();
    std::fs::write(root.join("dir/file"), "content").unwrap();
    std::fs::write(root.join("dir/empty"), "").unwrap();
    std::fs::hard_link(root.join("dir/file"), root.join("dir/sub/again")).unwrap();
    symlink("/somewhere/else", root.join("dir/link")).unwrap();
    let long = root.join("d".repeat(200)).join("e".repeat(200));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("é"), "long").unwrap();
    symlink("t".repeat(300), root.join("longlink")).unwrap();
    let file = Root::open(root).unwrap().resolve(Path::new("dir/file")).unwrap();
    linux::entry::set_owner(&file, 3_000_000, 12).unwrap();
    linux::entry::set_mode(&file, 0o6751).unwrap();
    linux::xattr::set(&file, "user.note".as_ref(), b"a=b\nc").unwrap();
    linux::entry::set_modified(&file, linux::entry::Time { seconds: -100, nanoseconds: 0 }).unwrap();
}

#[test]
fn a_tree_survives_the_journey() {
    let scratch = Directory::new("journey");
    let (from, to) = (scratch.join("from"), scratch.join("to"));
    std::fs::create_dir_all(&from).unwrap();
    std::fs::create_dir_all(&to).unwrap();
    tree(&from);
    let mut writer = Writer::new(Vec::new());
    archive_tree(Root::open(&from).unwrap(), &mut writer).unwrap();
    let archive = writer.finish().unwrap();
    let how = Extract {
        base: Path::new(""),
        layer: false,
        ownership: Ownership::Archive,
        replace: Replace::Anything,
    };
    extract_into(&mut Reader::new(&archive[..], Limits::default()), &Root::open(&to).unwrap(), how).unwrap();
    let file = std::fs::metadata(to.join("dir/file")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (3_000_000, 12, 0o6751));
    assert_eq!((file.mtime(), file.nlink()), (-100, 2));
    let note = linux::xattr::get(
        Root::open(&to).unwrap().resolve(Path::new("dir/file")).unwrap(),
        "user.note".as_ref(),
    );
    assert_eq!(note.unwrap().unwrap(), b"a=b\nc");
    assert_eq!(std::fs::read_link(to.join("longlink")).unwrap(), Path::new(&"t".repeat(300)));
    let again = {
        let mut writer = Writer::new(Vec::new());
        archive_tree(Root::open(&to).unwrap(), &mut writer).unwrap();
        writer.finish().unwrap()
    };
    assert!(again == archive, "the archive of the copy differs");
}

#[test]
fn names_beyond_ascii_say_in_what_characters_they_are_written() {
    let scratch = Directory::new("umlauts");
    std::fs::write(scratch.join("é"), "").unwrap();
    symlink("ü", scratch.join("link")).unwrap();
    let mut writer = Writer::new(Vec::new());
    archive_tree(Root::open(&scratch).unwrap(), &mut writer).unwrap();
    let archive = writer.finish().unwrap();
    for record in ["11 path=é\n", "15 linkpath=ü\n"] {
        assert!(archive.windows(record.len()).any(|bytes| bytes == record.as_bytes()), "{record}");
    }
}

#[test]
fn gnu_tar_reads_what_we_write_and_we_read_what_it_writes() {
    let scratch = Directory::new("gnutar");
    let (from, ours, theirs) = (scratch.join("from"), scratch.join("ours"), scratch.join("theirs"));
    for directory in [&from, &ours, &theirs] {
        std::fs::create_dir_all(directory).unwrap();
    }
    tree(&from);
    let mut writer = Writer::new(Vec::new());
    archive_tree(Root::open(&from).unwrap(), &mut writer).unwrap();
    std::fs::write(scratch.join("a.tar"), writer.finish().unwrap()).unwrap();
    let tar = |arguments: &[&str]| {
        let done = Command::new("tar").args(arguments).current_dir(&scratch).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    tar(&["-xf", "a.tar", "-C", "ours", "--xattrs"]);
    let file = std::fs::metadata(ours.join("dir/file")).unwrap();
    assert_eq!((file.uid(), file.mode() & 0o7777, file.mtime(), file.nlink()), (3_000_000, 0o6751, -100, 2));
    for format in ["gnu", "pax", "ustar"] {
        let mut arguments = vec!["-cf", "-", "--format", format, "-C", "from"];
        // ustar has no room for them.
        if format == "ustar" {
            arguments.extend(["--exclude=dddd*", "--exclude=longlink", "--exclude=dir/file"]);
        }
        arguments.push(".");
        let archive = if format == "ustar" {
            let mut plain = arguments.clone();
            plain.extend(["--owner=0", "--mtime=@5"]);
            tar(&plain)
        } else {
            tar(&arguments)
        };
        let to = theirs.join(format);
        std::fs::create_dir_all(&to).unwrap();
        let how = Extract {
            base: Path::new(""),
            layer: false,
            ownership: Ownership::Archive,
            replace: Replace::Anything,
        };
        extract_into(&mut Reader::new(&archive[..], Limits::default()), &Root::open(&to).unwrap(), how)
            .unwrap();
        assert_eq!(
            std::fs::read_link(to.join("dir/link")).unwrap(),
            Path::new("/somewhere/else"),
            "{format}"
        );
        if format != "ustar" {
            let file = std::fs::metadata(to.join("dir/file")).unwrap();
            assert_eq!((file.uid(), file.mtime(), file.nlink()), (3_000_000, -100, 2), "{format}");
            assert!(to.join("d".repeat(200)).join("e".repeat(200)).join("é").exists(), "{format}");
        }
    }
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(archive, Limits::default());
    let mut names = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        names.push(entry.name());
    }
    names
}

#[test]
fn a_path_is_archived_under_the_name_that_was_asked_for() {
    let scratch = Directory::new("paths");
    std::fs::create_dir_all(scratch.join("etc/conf.d")).unwrap();
    std::fs::write(scratch.join("etc/conf.d/a"), "a").unwrap();
    symlink("/etc/conf.d", scratch.join("current")).unwrap();
    let root = Root::open(&scratch).unwrap();
    let archive = |path: &str, name: &str| {
        let mut writer = Writer::new(Vec::new());
        archive_path(&root, Path::new(path), name.as_ref(), &mut writer).unwrap();
        names(&writer.finish().unwrap())
    };
    assert_eq!(archive("/etc/conf.d", "conf.d"), ["conf.d/", "conf.d/a"]);
    assert_eq!(archive("/etc/conf.d/.", "."), ["./", "./a"]);
    assert_eq!(archive("/current", "current"), ["current"], "a link is not followed");
    assert_eq!(archive("/current/.", "."), ["./", "./a"], "unless asked");
    assert_eq!(archive("/current/a", "a"), ["a"], "but links on the way are");
}
