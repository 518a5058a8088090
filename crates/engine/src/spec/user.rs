//! Who a process runs as: `user`, `uid`, `user:group`, `uid:gid`, read against the container's own `passwd` and
//! `group`. The files are foreign bytes: lines that make no sense are skipped.
//!
//! What looks like a number is one, whatever the files say: an image that brings a login `1000` with the id 0, or
//! one named by more digits than an id can have, does not turn a demand for some user into root.

use crate::error::{Error, Result};

/// Lines behind this many bytes of either file are not read: a user database of that size is an attack.
pub(crate) const MAX_DATABASE: usize = 4 << 20;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The group itself first, as Docker lists it, then the supplementary ones.
    pub(crate) groups: Vec<u32>,
}

/// Resolves `user` and the names or numbers of `extra` groups (`--group-add`).
pub(crate) fn resolve(user: &str, extra: &[String], passwd: &str, group: &str) -> Result<Identity> {
    let (name, group_name) = match user.split_once(':') {
        Some((name, group_name)) => (name, Some(group_name).filter(|text| !text.is_empty())),
        None => (user, None),
    };
    let found = find_user(name, passwd)?;
    let mut gid = found.gid;
    let mut supplementary = Vec::new();
    match group_name {
        Some(text) => gid = find_group(text, group)?,
        // Groups of a user come from the database only when no group was asked for, and only by name.
        None => {
            if let Some(login) = &found.login {
                supplementary = memberships(login, group);
            }
        }
    }
    let mut all = vec![gid];
    for text in extra {
        supplementary.push(find_group(text, group)?);
    }
    for id in supplementary {
        if !all.contains(&id) {
            all.push(id);
        }
    }
    Ok(Identity { uid: found.uid, gid, groups: all })
}

struct Found {
    uid: u32,
    gid: u32,
    login: Option<String>,
}

fn find_user(name: &str, passwd: &str) -> Result<Found> {
    // An empty name is root, whatever the file says.
    let wanted_uid = if name.is_empty() { Some(0) } else { number(name)? };
    for line in lines(passwd) {
        let fields: Vec<&str> = line.split(':').collect();
        let [login, _, uid, gid, ..] = fields[..] else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
        if wanted_uid.map_or(login == name, |wanted| wanted == uid) {
            return Ok(Found { uid, gid, login: Some(login.to_owned()) });
        }
    }
    match wanted_uid {
        Some(uid) => Ok(Found { uid, gid: 0, login: None }),
        None => Err(Error::system(format!("unable to find user {name}: no matching entries in passwd file"))),
    }
}

fn find_group(name: &str, group: &str) -> Result<u32> {
    if let Some(gid) = number(name)? {
        return Ok(gid);
    }
    for line in lines(group) {
        let fields: Vec<&str> = line.split(':').collect();
        let [known, _, gid, ..] = fields[..] else { continue };
        let Ok(gid) = gid.parse() else { continue };
        if known == name {
            return Ok(gid);
        }
    }
    Err(Error::system(format!("unable to find group {name}: no matching entries in group file")))
}

/// The name of a user id.
pub(crate) fn name(uid: u32, passwd: &str) -> Option<String> {
    lines(passwd).find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [login, _, id, ..] = fields[..] else { return None };
        (id.parse() == Ok(uid)).then(|| login.to_owned())
    })
}

/// The home directory of a user id; the root directory for those who have none.
pub(crate) fn home(uid: u32, passwd: &str) -> &str {
    let mut homes = lines(passwd).filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, id, _, _, home, ..] = fields[..] else { return None };
        (id.parse() == Ok(uid)).then_some(home)
    });
    homes.next().filter(|home| !home.is_empty()).unwrap_or("/")
}

/// The groups that list a user as a member.
fn memberships(login: &str, group: &str) -> Vec<u32> {
    lines(group)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, gid, members, ..] = fields[..] else { return None };
            members.split(',').any(|member| member == login).then(|| gid.parse().ok())?
        })
        .collect()
}

/// A user or group id, if the text is a number at all. Ids fit 31 bits; a number that does not is an error, never a
/// name.
fn number(text: &str) -> Result<Option<u32>> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<i32>() {
        Ok(id) if id >= 0 => Ok(Some(id as u32)),
        _ => Err(Error::system("uids and gids must be in range 0-2147483647".to_owned())),
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment\nbroken\nbob:x:1000:1001::/home/bob:/bin/sh\n7:x:70:71::/:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,bob\nbob:x:1001:\naudio:x:29:bob\n";

    fn resolved(user: &str) -> Identity {
        resolve(user, &[], PASSWD, GROUP).unwrap()
    }

    #[test]
    fn homes() {
        let of = |uid| home(uid, "a:x:5:5:::/bin/sh\nroot:x:0:0:root:/root:/bin/sh\nb:x:7\n");
        assert_eq!((of(0), of(5), of(7), of(8)), ("/root", "/", "/", "/"));
    }

    #[test]
    fn nobody_asked_for_is_root_with_its_groups() {
        assert_eq!(resolved(""), Identity { uid: 0, gid: 0, groups: vec![0, 10] });
    }

    #[test]
    fn a_name_brings_its_groups() {
        assert_eq!(resolved("bob"), Identity { uid: 1000, gid: 1001, groups: vec![1001, 10, 29] });
        assert_eq!(resolved("1000"), resolved("bob"));
    }

    #[test]
    fn an_explicit_group_replaces_them() {
        assert_eq!(resolved("bob:audio"), Identity { uid: 1000, gid: 29, groups: vec![29] });
        assert_eq!(resolved("bob:77").gid, 77);
    }

    #[test]
    fn an_unknown_number_has_group_zero() {
        assert_eq!(resolved("4242"), Identity { uid: 4242, gid: 0, groups: vec![0] });
    }

    /// The login `7` is somebody else, who is never meant.
    #[test]
    fn cve_2016_3697_a_login_that_looks_like_a_number_is_not_looked_at() {
        assert_eq!(resolved("7"), Identity { uid: 7, gid: 0, groups: vec![0] });
        assert_eq!(resolved("+7"), resolved("07"));
        assert_eq!(resolve("bob:10", &[], PASSWD, "10:x:0:\n").unwrap().gid, 10);
    }

    #[test]
    fn cve_2026_46680_a_number_that_is_no_id_is_never_a_name() {
        let passwd = "99999999999:x:0:0::/:\n4294967296:x:0:0::/:\n-1:x:0:0::/:\n";
        for user in ["99999999999", "4294967296", "2147483648", "4294967295", "-1", "99999999999999999999999"]
        {
            for whole in [user.to_owned(), format!("0:{user}")] {
                let error = resolve(&whole, &[], passwd, passwd).unwrap_err();
                assert_eq!(error.message(), "uids and gids must be in range 0-2147483647", "{whole}");
            }
        }
    }

    #[test]
    fn unknown_names_are_errors() {
        let message = |user| resolve(user, &[], PASSWD, GROUP).unwrap_err().message().to_owned();
        assert_eq!(message("eve"), "unable to find user eve: no matching entries in passwd file");
        assert_eq!(message("bob:eve"), "unable to find group eve: no matching entries in group file");
        assert!(message("0x7").starts_with("unable to find user"));
    }

    #[test]
    fn added_groups_come_last_and_once() {
        let extra = ["audio".to_owned(), "99".to_owned(), "10".to_owned()];
        assert_eq!(resolve("bob", &extra, PASSWD, GROUP).unwrap().groups, [1001, 10, 29, 99]);
    }
}
