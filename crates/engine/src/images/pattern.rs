//! Go's `path.Match`, by which the `reference` filter compares names.
//!
//! `*` and `?` stop at a slash, `[a-z]` and `[^a-z]` are classes, a backslash takes the next character as it is.

/// `None` when the pattern is malformed.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // A malformed pattern is an error even where the text would not reach the bad part.
    let mut at = 0;
    while at < pattern.len() {
        at += token(&pattern[at..])?.1;
    }
    run(&pattern, &text)
}

enum Token {
    Star,
    Any,
    Literal(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// The first token of a pattern and its length.
fn token(pattern: &[char]) -> Option<(Token, usize)> {
    match pattern {
        ['*', ..] => Some((Token::Star, 1)),
        ['?', ..] => Some((Token::Any, 1)),
        ['\\', literal, ..] => Some((Token::Literal(*literal), 2)),
        ['\\'] => None,
        ['[', ..] => class(pattern),
        [literal, ..] => Some((Token::Literal(*literal), 1)),
        [] => None,
    }
}

fn class(pattern: &[char]) -> Option<(Token, usize)> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = if negated { 2 } else { 1 };
    let mut ranges = Vec::new();
    loop {
        if pattern.get(at) == Some(&']') && !ranges.is_empty() {
            return Some((Token::Class { negated, ranges }, at + 1));
        }
        let low = bound(pattern, &mut at)?;
        let high = if pattern.get(at) == Some(&'-') {
            at += 1;
            bound(pattern, &mut at)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

fn bound(pattern: &[char], at: &mut usize) -> Option<char> {
    if pattern.get(*at) == Some(&'\\') {
        *at += 1;
    } else if matches!(pattern.get(*at), Some('-' | ']')) {
        return None;
    }
    let character = *pattern.get(*at)?;
    *at += 1;
    Some(character)
}

/// Greedy with one point to come back to: the last star. Linear for every name that exists.
fn run(pattern: &[char], text: &[char]) -> Option<bool> {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let fits = match (p < pattern.len()).then(|| token(&pattern[p..])).flatten() {
            None if t == text.len() => return Some(true),
            None => false,
            Some((Token::Star, length)) => {
                p += length;
                star = Some((p, t));
                continue;
            }
            Some((wanted, length)) => {
                let fits = text.get(t).is_some_and(|c| accepts(&wanted, *c));
                if fits {
                    p += length;
                    t += 1;
                }
                fits
            }
        };
        if fits {
            continue;
        }
        // Let the last star take one more character, if it may.
        match &mut star {
            Some((after, taken)) if text.get(*taken).is_some_and(|c| *c != '/') => {
                *taken += 1;
                (p, t) = (*after, *taken);
            }
            _ => return Some(false),
        }
    }
}

fn accepts(token: &Token, character: char) -> bool {
    match token {
        Token::Star => true,
        Token::Any => character != '/',
        Token::Literal(literal) => *literal == character,
        Token::Class { negated, ranges } => {
            ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expected) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "abc", Some(true)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("*", "a/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[^c]", "abc", Some(false)),
            ("a\\*b", "a*b", Some(true)),
            ("[\\]a]", "]", Some(true)),
            ("a?b", "a/b", Some(false)),
            ("alpine:*", "alpine:3.20", Some(true)),
            ("", "", Some(true)),
            ("", "a", Some(false)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[a", "b", None),
            ("a[", "b", None),
            ("\\", "a", None),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
