//! `WWW-Authenticate`: what a registry wants to see before it answers.
//!
//! A header holds one or several challenges, each a scheme and parameters: `Bearer realm="https://…",service="x"`.
//! Commas separate parameters and challenges alike; a word that no `=` follows begins the next challenge.

/// One way to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Lower case.
    pub(super) scheme: String,
    parameters: Vec<(String, String)>,
}

/// More of either in one header is not read: no registry sends more than two.
const MAX_CHALLENGES: usize = 8;
const MAX_PARAMETERS: usize = 16;

impl Challenge {
    /// All challenges of a header; what does not follow the grammar ends the reading.
    pub(super) fn parse(header: &str) -> Vec<Self> {
        let mut rest = header;
        let mut challenges: Vec<Self> = Vec::new();
        while challenges.len() <= MAX_CHALLENGES {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let Some((word, behind)) = token(rest) else { break };
            rest = behind.trim_start_matches([' ', '\t']);
            let Some(value) = rest.strip_prefix('=') else {
                challenges.push(Self { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
                continue;
            };
            let Some((value, behind)) = parameter_value(value.trim_start_matches([' ', '\t'])) else { break };
            rest = behind;
            let Some(challenge) = challenges.last_mut() else { break };
            if challenge.parameters.len() < MAX_PARAMETERS {
                challenge.parameters.push((word.to_ascii_lowercase(), value));
            }
        }
        challenges
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token, or a quoted string with backslash escapes.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, rest)| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_own_words() {
        let found = Challenge::parse(
            r#"Bearer realm="https://auth.example/token",service="reg", scope="repository:a/b:pull,push""#,
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].scheme, "bearer");
        assert_eq!(found[0].parameter("realm"), Some("https://auth.example/token"));
        assert_eq!(found[0].parameter("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(found[0].parameter("error"), None);
    }

    #[test]
    fn several_in_one_header() {
        let found = Challenge::parse(r#"Negotiate, Basic realm="a \"b\"", BEARER realm=x"#);
        let schemes: Vec<&str> = found.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(found[1].parameter("realm"), Some("a \"b\""));
        assert_eq!(found[2].parameter("realm"), Some("x"));
    }

    #[test]
    fn nonsense_ends_the_reading() {
        assert!(Challenge::parse("").is_empty());
        assert!(Challenge::parse("=x").is_empty());
        assert!(Challenge::parse("a=b").is_empty());
        assert_eq!(Challenge::parse("Basic realm=\"open")[0].parameter("realm"), None);
        assert!(Challenge::parse(&"a,".repeat(1000)).len() <= MAX_CHALLENGES + 1);
    }
}
