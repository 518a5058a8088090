//! `--userns-remap`: whose subordinate ids (subuid(5), subgid(5)) containers run under.
//!
//! The value names a user and perhaps a group, each by name or number; `default` is the user `dockremap`, who is made
//! with ids of his own where there is none, by useradd(8) and usermod(8). The files are read as they are: users of a
//! directory service, who rarely have subordinate ids there, need their lines in them.

use std::fs;
use std::process::{Command, Stdio};

use engine::Remap;
use linux::namespace::{IdMaps, IdRange};

/// What `default` stands for.
const DEFAULT: &str = "dockremap";

/// How many ids a user is given who has none.
const COUNT: u32 = 65_536;

/// Where given ids begin; below may be ordinary users.
const FIRST: u32 = 100_000;

/// The kernel takes no more lines in a map.
const MAX_RANGES: usize = 340;

/// Larger files are not read: these are lists of users.
const MAX_FILE: u64 = 16 << 20;

/// The ids that the option's value stands for; none for root's own.
pub(crate) fn resolve(wanted: &str) -> Result<Option<Remap>, String> {
    let mut files = Files::read()?;
    let user = match choose(wanted, &files)? {
        Choice::Root => {
            tracing::warn!("root cannot be remapped with itself; user namespaces are off");
            return Ok(None);
        }
        Choice::User(user) => user,
        Choice::New => {
            make_default(&files)
                .map_err(|error| format!("Error during {DEFAULT:?} user creation: {error}"))?;
            files = Files::read()?;
            User { name: DEFAULT.to_owned(), id: id_of(&files.users, DEFAULT).unwrap_or(u32::MAX) }
        }
    };
    let maps = maps(&user, &files).map_err(|error| format!("Can't create ID mappings: {error}"))?;
    tracing::info!(user = user.name, "containers run under subordinate ids");
    Ok(Some(Remap { user: user.name, maps }))
}

/// The files that say who there is and who has which ids.
struct Files {
    users: String,
    groups: String,
    subordinate_users: String,
    subordinate_groups: String,
}

impl Files {
    fn read() -> Result<Files, String> {
        Ok(Files {
            users: read("/etc/passwd")?,
            groups: read("/etc/group")?,
            subordinate_users: read("/etc/subuid")?,
            subordinate_groups: read("/etc/subgid")?,
        })
    }
}

/// A file that does not exist lists nobody.
fn read(path: &str) -> Result<String, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Ok(found) if found.len() > MAX_FILE => return Err(format!("{path} is larger than {MAX_FILE} bytes")),
        _ => {}
    }
    let bytes = fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    id: u32,
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    User(User),
    /// The default user, who does not exist yet.
    New,
    Root,
}

/// Who is meant, with dockerd's words for who is not there.
fn choose(wanted: &str, files: &Files) -> Result<Choice, String> {
    let (name, group) = match wanted.split(':').collect::<Vec<_>>()[..] {
        [name] => (name, None),
        [name, group] => (name, Some(group)),
        _ => return Err(format!("Invalid user/group specification in --userns-remap: {wanted:?}")),
    };
    let missing =
        |entry: &str, database: &str| format!("getent unable to find entry {entry:?} in {database} database");
    let user = if let Ok(number) = name.parse::<i32>() {
        let found = u32::try_from(number).ok().and_then(|id| Some((name_of(&files.users, id)?, id)));
        let (found, id) = found.ok_or_else(|| {
            format!("Uid {number} has no entry in /etc/passwd: {}", missing(name, "passwd"))
        })?;
        if group.is_none() && name_of(&files.groups, id).is_none() {
            return Err(format!("Gid {number} has no entry in /etc/group: {}", missing(name, "group")));
        }
        User { name: found.to_owned(), id }
    } else {
        let looked_up = if name == "default" { DEFAULT } else { name };
        let Some(id) = id_of(&files.users, looked_up) else {
            if name == "default" {
                return Ok(Choice::New);
            }
            return Err(format!("Error during uid lookup for {name:?}: {}", missing(name, "passwd")));
        };
        if group.is_none() && id_of(&files.groups, looked_up).is_none() {
            return Err(format!(
                "Error during gid lookup for {looked_up:?}: {}",
                missing(looked_up, "group")
            ));
        }
        User { name: looked_up.to_owned(), id }
    };
    match group {
        None => {}
        Some(group) => match group.parse::<i32>() {
            Ok(number) if u32::try_from(number).ok().and_then(|id| name_of(&files.groups, id)).is_none() => {
                return Err(format!("Gid {number} has no entry in /etc/passwd: {}", missing(group, "group")));
            }
            Err(_) if id_of(&files.groups, group).is_none() => {
                return Err(format!(
                    "Error during groupname lookup for {group:?}: {}",
                    missing(group, "group")
                ));
            }
            _ => {}
        },
    }
    Ok(if user.name == "root" { Choice::Root } else { Choice::User(user) })
}

/// `name:password:id:…`, the form of passwd(5) and group(5).
fn entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        Some((name, id.parse().ok()?))
    })
}

fn id_of(text: &str, name: &str) -> Option<u32> {
    entries(text).find(|(known, _)| !known.is_empty() && *known == name).map(|(_, id)| id)
}

fn name_of(text: &str, id: u32) -> Option<&str> {
    entries(text).find(|(_, known)| *known == id).map(|(name, _)| name)
}

fn maps(user: &User, files: &Files) -> Result<IdMaps, String> {
    let missing = |kind: &str| format!("no {kind} ranges found for user {:?}", user.name);
    let users = ranges(&files.subordinate_users, user);
    let groups = ranges(&files.subordinate_groups, user);
    if users.is_empty() {
        return Err(missing("subuid"));
    }
    if groups.is_empty() {
        return Err(missing("subgid"));
    }
    if users.len().max(groups.len()) > MAX_RANGES {
        return Err(format!("user {:?} has more than {MAX_RANGES} ranges of subordinate ids", user.name));
    }
    Ok(IdMaps { users, groups })
}

/// A user's ranges, lowest first, one behind the other inside. A line may name the user or give the number.
fn ranges(text: &str, user: &User) -> Vec<IdRange> {
    let number = user.id.to_string();
    let mut found: Vec<(u32, u32)> = subordinate(text)
        .filter(|(owner, _, count)| (*owner == user.name || *owner == number) && *count > 0)
        .map(|(_, first, count)| (first, count))
        .collect();
    found.sort_unstable();
    let mut inside = 0u32;
    let mut ranges = Vec::with_capacity(found.len());
    for (outside, count) in found {
        let room = count.min(u32::MAX - inside).min(u32::MAX - outside);
        if room > 0 {
            ranges.push(IdRange { inside, outside, count: room });
            inside += room;
        }
    }
    ranges
}

/// `owner:first:count`, the form of subuid(5).
fn subordinate(text: &str) -> impl Iterator<Item = (&str, u32, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some((owner, first.parse().ok()?, count.parse().ok()?))
    })
}

/// The user that `default` means, and his ids, in both files behind all that are given to others.
fn make_default(files: &Files) -> Result<(), String> {
    let mut words = vec!["--system", "--no-create-home", "--shell", "/bin/false"];
    // A group of that name that is there already is his.
    words.push(if id_of(&files.groups, DEFAULT).is_some() { "--gid" } else { "--user-group" });
    if id_of(&files.groups, DEFAULT).is_some() {
        words.push(DEFAULT);
    }
    words.push(DEFAULT);
    run("useradd", &words)?;
    let now = Files::read()?;
    let user = User { name: DEFAULT.to_owned(), id: id_of(&now.users, DEFAULT).unwrap_or(u32::MAX) };
    let lists = [(&now.subordinate_users, "--add-subuids"), (&now.subordinate_groups, "--add-subgids")];
    for (text, flag) in lists {
        if ranges(text, &user).is_empty() {
            let first = free(text).ok_or("all subordinate ids are given to others")?;
            run("usermod", &[flag, &format!("{first}-{}", first + COUNT - 1), DEFAULT])?;
        }
    }
    Ok(())
}

/// The first id behind all that somebody has, with room for [`COUNT`].
fn free(text: &str) -> Option<u32> {
    let behind = subordinate(text).map(|(_, first, count)| first.saturating_add(count)).max();
    let first = behind.unwrap_or(FIRST).max(FIRST);
    first.checked_add(COUNT).map(|_| first)
}

fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let advice = "make the user and its lines in /etc/subuid and /etc/subgid by hand";
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}; {advice}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}; {advice}", words.join(" "), said.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        Files {
            users: "root:x:0:0::/root:/bin/sh\nman:x:6:12:man::\ndaemon:x:1:1:::\nlonely:x:77:77:::\n".into(),
            groups: "root:x:0:\nman:x:12:\ndaemon:x:1:\n".into(),
            subordinate_users: "daemon:300000:10\nother:100000:65536\n1:200000:5\n".into(),
            subordinate_groups: "daemon:300000:10\n".into(),
        }
    }

    fn error(wanted: &str) -> String {
        choose(wanted, &files()).unwrap_err()
    }

    #[test]
    fn who_is_not_there_is_refused_in_dockerds_words() {
        assert_eq!(
            error("nosuch"),
            "Error during uid lookup for \"nosuch\": getent unable to find entry \"nosuch\" in passwd database"
        );
        assert_eq!(
            error("99999"),
            "Uid 99999 has no entry in /etc/passwd: getent unable to find entry \"99999\" in passwd database"
        );
        assert_eq!(
            error("0:99999"),
            "Gid 99999 has no entry in /etc/passwd: getent unable to find entry \"99999\" in group database"
        );
        assert_eq!(
            error("daemon:nosuch"),
            "Error during groupname lookup for \"nosuch\": getent unable to find entry \"nosuch\" in group database"
        );
        assert_eq!(error("a:b:c"), "Invalid user/group specification in --userns-remap: \"a:b:c\"");
        assert_eq!(
            error(":daemon"),
            "Error during uid lookup for \"\": getent unable to find entry \"\" in passwd database"
        );
        assert!(error("77").starts_with("Gid 77 has no entry in /etc/group: "));
        assert!(error("lonely").starts_with("Error during gid lookup for \"lonely\": "));
        assert!(error("-1").starts_with("Uid -1 has no entry in /etc/passwd: "));
        assert!(error("4294967296").starts_with("Error during uid lookup for \"4294967296\": "));
    }

    #[test]
    fn users_by_name_and_number() {
        let daemon = Choice::User(User { name: "daemon".into(), id: 1 });
        for wanted in ["daemon", "1", "daemon:12", "1:man"] {
            assert_eq!(choose(wanted, &files()).unwrap(), daemon, "{wanted}");
        }
        for wanted in ["root", "0", "0:0"] {
            assert_eq!(choose(wanted, &files()).unwrap(), Choice::Root);
        }
        assert_eq!(choose("default", &files()).unwrap(), Choice::New);
        let mut files = files();
        files.users.push_str("dockremap:x:995:994::/:/bin/false\n");
        files.groups.push_str("dockremap:x:994:\n");
        let found = choose("default", &files).unwrap();
        assert_eq!(found, Choice::User(User { name: "dockremap".into(), id: 995 }));
    }

    #[test]
    fn ranges_lie_behind_each_other_inside() {
        let daemon = User { name: "daemon".into(), id: 1 };
        let maps = maps(&daemon, &files()).unwrap();
        let expected = [
            IdRange { inside: 0, outside: 200_000, count: 5 },
            IdRange { inside: 5, outside: 300_000, count: 10 },
        ];
        assert_eq!(maps.users, expected);
        assert_eq!(maps.groups, [IdRange { inside: 0, outside: 300_000, count: 10 }]);
        let man = User { name: "man".into(), id: 6 };
        assert_eq!(super::maps(&man, &files()).unwrap_err(), "no subuid ranges found for user \"man\"");
    }

    #[test]
    fn new_ids_are_nobody_elses() {
        assert_eq!(free(""), Some(100_000));
        assert_eq!(free("a:100000:65536\nb:500000:1\n"), Some(500_001));
        assert_eq!(free("a:4294900000:60000\n"), None);
    }
}
