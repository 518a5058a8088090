//! Key sequences that detach: `ctrl-p,ctrl-q`.

/// What detaches when nobody says otherwise.
pub(crate) const DEFAULT: &str = "ctrl-p,ctrl-q";

/// The bytes that a sequence stands for.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    text.split(',')
        .map(|key| {
            byte(key).ok_or_else(|| format!("invalid detach keys (\"{text}\"): unknown character: '{key}'"))
        })
        .collect()
}

fn byte(key: &str) -> Option<u8> {
    if key == "DEL" {
        return Some(127);
    }
    if let Some(key) = key.strip_prefix("ctrl-") {
        let [letter] = key.as_bytes() else { return None };
        return match letter {
            b'a'..=b'z' => Some(letter - b'a' + 1),
            b'@' => Some(0),
            b'[' => Some(27),
            b'\\' => Some(28),
            b']' => Some(29),
            b'^' => Some(30),
            b'_' => Some(31),
            _ => None,
        };
    }
    match key.as_bytes() {
        [letter] => Some(*letter),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_letters_or_control() {
        assert_eq!(parse(DEFAULT).unwrap(), [16, 17]);
        assert_eq!(parse("a,ctrl-@,ctrl-[,DEL").unwrap(), [97, 0, 27, 127]);
        assert!(parse("ctrl-A").is_err() && parse("ab").is_err() && parse("").is_err());
    }
}
