//! What the lines of a shell use: commands with their flags, and requests.
//!
//! Not a shell, but enough of one to find the words `docker` and `ask` wherever a line has them: behind operators, in
//! substitutions, in loops, and in a quoted word that is a line itself.

/// The words of each command in a line, in order.
pub(super) fn commands(line: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                let quoted: String = letters.by_ref().take_while(|letter| *letter != '\'').collect();
                word.get_or_insert_default().push_str(&quoted);
            }
            '"' => {
                let open = word.get_or_insert_default();
                while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
                    open.push(if letter == '\\' { letters.next().unwrap_or('\\') } else { letter });
                }
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            ' ' => words.extend(word.take()),
            // `>` and `<` end no command, but what they name is none of its words' business.
            ';' | '|' | '&' | '(' | ')' | '\n' | '`' => {
                words.extend(word.take());
                all.push(std::mem::take(&mut words));
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    all.push(words);
    all.retain(|words| !words.is_empty());
    let inner: Vec<_> = all
        .iter()
        .flatten()
        .filter(|word| word.contains("docker ") || word.contains("ask "))
        .flat_map(|word| commands(word))
        .collect();
    all.extend(inner);
    all
}

/// The words behind this one, in every command that has it.
pub(super) fn behind<'a>(commands: &'a [Vec<String>], name: &str) -> Vec<&'a [String]> {
    let find = |words: &'a Vec<String>| {
        let at = words.iter().position(|word| word == name)?;
        Some(&words[at + 1..])
    };
    commands.iter().filter_map(find).collect()
}

/// `ask [VERSION,...] METHOD PATH`, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// None is the newest.
    pub(super) versions: Vec<Option<String>>,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Vec<String>,
}

/// The requests of a line.
pub(super) fn requests(line: &str) -> Vec<Request> {
    let commands = commands(line);
    let asked = ["ask", "shape"].map(|name| behind(&commands, name)).concat();
    // `for version in 1.24 1.51; do ask $version …`
    let in_turn = behind(&commands, "for")
        .into_iter()
        .find_map(|words| words.strip_prefix(&["version".into(), "in".into()]));
    let asked = asked.into_iter().map(<[String]>::to_vec);
    // `websocket VERSION PATH` names no method.
    let upgraded = behind(&commands, "websocket").into_iter().filter_map(|words| match words {
        [version, path] => Some(vec![version.clone(), "GET".to_owned(), path.clone()]),
        _ => None,
    });
    asked.chain(upgraded).filter_map(|words| request(&words, in_turn.unwrap_or_default())).collect()
}

fn request(words: &[String], in_turn: &[String]) -> Option<Request> {
    let (versions, rest) = match words {
        [first, rest @ ..] if first == "$version" => (in_turn.iter().cloned().map(Some).collect(), rest),
        [first, rest @ ..] if first.starts_with(|letter: char| letter.is_ascii_digit()) => {
            (first.split(',').map(|version| Some(version.to_owned())).collect(), rest)
        }
        all => (vec![None], all),
    };
    let [method, target, ..] = rest else { return None };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(name).collect();
    Some(Request { versions, method: method.clone(), path: path.to_owned(), query })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_wherever_they_are() {
        let line =
            r#"id=$(docker create -e 'a b' busybox) && script -qec "docker attach $id" /dev/null | cat"#;
        let found = commands(line);
        let docker: Vec<String> = behind(&found, "docker").iter().map(|words| words.join(" ")).collect();
        assert_eq!(docker, ["create -e a b busybox", "attach $id"]);
    }

    #[test]
    fn requests_have_versions_and_parameters() {
        let found = requests("ask 1.24,1.51 GET '/containers/json?all=1&size' | jq .; ask HEAD /_ping");
        assert_eq!(found[0].versions, [Some("1.24".to_owned()), Some("1.51".to_owned())]);
        assert_eq!(
            (found[0].path.as_str(), found[0].query.join(" ")),
            ("/containers/json", "all size".into())
        );
        assert_eq!((found[1].method.as_str(), &found[1].versions), ("HEAD", &vec![None]));
        let looped = requests("for version in 1.24 1.51; do ask $version GET /info | jq .; done");
        assert_eq!(looped[0].versions, found[0].versions);
    }
}
