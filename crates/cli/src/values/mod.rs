//! The small languages inside of flag values.
//!
//! Parsers take text and return values or the sentence that says what is wrong; they open no file
//! and ask no engine. The few that need a file are two functions: one reads, one parses.

pub(crate) mod device;
pub(crate) mod env;
pub(crate) mod filter;
pub(crate) mod gpus;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod reference;
pub(crate) mod security;

/// Fields of a value in CSV form, with Go's quoting: `"a,b"` is one field, `""` within is a quote.
pub(crate) fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        let mut field = String::new();
        if letters.peek() == Some(&'"') {
            letters.next();
            loop {
                match letters.next() {
                    Some('"') if letters.peek() == Some(&'"') => {
                        letters.next();
                        field.push('"');
                    }
                    Some('"') => break,
                    Some(letter) => field.push(letter),
                    None => return Err("a quoted field does not end".to_owned()),
                }
            }
            if !matches!(letters.peek(), None | Some(',')) {
                return Err("text follows a quoted field".to_owned());
            }
        } else {
            while let Some(letter) = letters.next_if(|letter| *letter != ',') {
                if letter == '"' {
                    return Err("a quote stands within a field without quotes".to_owned());
                }
                field.push(letter);
            }
        }
        fields.push(field);
        if letters.next().is_none() {
            return Ok(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fields_may_be_quoted() {
        assert_eq!(super::csv(r#"a=b,"c=d,e""f",g"#).unwrap(), ["a=b", "c=d,e\"f", "g"]);
        assert_eq!(super::csv("").unwrap(), [""]);
        assert!(super::csv("\"a").is_err() && super::csv("\"a\"b").is_err() && super::csv("a\"b").is_err());
    }
}
