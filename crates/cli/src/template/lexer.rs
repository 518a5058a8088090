//! The words of a template: text outside of `{{ }}`, and what stands within.

/// One word, where it begins, and whether space stands before it: `.A.B` is one thing, `.A .B` two.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Outside of actions.
    Text(String),
    Open,
    Close,
    /// `.name`
    Field(String),
    /// `$name` or `$`
    Variable(String),
    Word(String),
    Number(String),
    Quoted(String),
    Letter(char),
    Dot,
    Pipe,
    LeftParen,
    RightParen,
    Declare,
    Assign,
    Comma,
}

/// What is wrong, and where.
pub(super) type Wrong = (usize, String);

/// Takes a template apart.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, Wrong> {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new() };
    let mut trim = false;
    while let Some(open) = lexer.rest().find("{{") {
        let start = lexer.at + open;
        let inside = &source[start + 2..];
        let trims = inside.starts_with('-') && inside[1..].starts_with(char::is_whitespace);
        lexer.text(start, trim, trims);
        lexer.at = start + 2 + usize::from(trims);
        trim = match lexer.comment(start)? {
            Some(trim) => trim,
            None => lexer.action(start)?,
        };
    }
    lexer.text(source.len(), trim, false);
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn push(&mut self, kind: Kind, at: usize, end: usize, spaced: bool) {
        self.tokens.push(Token { kind, at, end, spaced });
        self.at = end;
    }

    fn text(&mut self, end: usize, trim_start: bool, trim_end: bool) {
        let mut text = &self.source[self.at..end];
        if trim_start {
            text = text.trim_start();
        }
        if trim_end {
            text = text.trim_end();
        }
        if !text.is_empty() {
            self.push(Kind::Text(text.to_owned()), self.at, end, false);
        }
        self.at = end;
    }

    /// A comment is no action: `{{/* … */}}`. Gives whether it trims what follows.
    fn comment(&mut self, start: usize) -> Result<Option<bool>, Wrong> {
        let Some(inside) = self.rest().trim_start().strip_prefix("/*") else { return Ok(None) };
        let Some(close) = inside.find("*/") else { return Err((start, "unclosed comment".to_owned())) };
        let after = &inside[close + 2..];
        let trims = after.trim_start().strip_prefix("-}}").filter(|_| after.starts_with(char::is_whitespace));
        let rest = match (trims, after.strip_prefix("}}")) {
            (Some(rest), _) | (None, Some(rest)) => rest,
            _ => return Err((start, "comment ends before closing delimiter".to_owned())),
        };
        self.at = self.source.len() - rest.len();
        Ok(Some(trims.is_some()))
    }

    /// The words up to `}}`. Gives whether the text after it is trimmed.
    fn action(&mut self, start: usize) -> Result<bool, Wrong> {
        self.tokens.push(Token { kind: Kind::Open, at: start, end: self.at, spaced: false });
        loop {
            let before = self.at;
            self.at = self.source.len() - self.rest().trim_start().len();
            let spaced = self.at > before;
            let at = self.at;
            let rest = self.rest();
            if spaced && rest.starts_with("-}}") {
                self.push(Kind::Close, at, at + 3, spaced);
                return Ok(true);
            }
            if rest.starts_with("}}") {
                self.push(Kind::Close, at, at + 2, spaced);
                return Ok(false);
            }
            let Some(letter) = rest.chars().next() else {
                return Err((start, "unclosed action".to_owned()));
            };
            let (kind, length) = self.word(letter, rest)?;
            self.push(kind, at, at + length, spaced);
        }
    }

    fn word(&self, letter: char, rest: &str) -> Result<(Kind, usize), Wrong> {
        let name = |text: &str| text.find(|letter: char| !is_name(letter)).unwrap_or(text.len());
        let wrong = |text: String| Err((self.at, text));
        Ok(match letter {
            '|' => (Kind::Pipe, 1),
            '(' => (Kind::LeftParen, 1),
            ')' => (Kind::RightParen, 1),
            ',' => (Kind::Comma, 1),
            '=' => (Kind::Assign, 1),
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            ':' => return wrong("expected :=".to_owned()),
            '"' => quoted(rest).map_err(|text| (self.at, text))?,
            '`' => match rest[1..].find('`') {
                Some(end) => (Kind::Quoted(rest[1..=end].to_owned()), end + 2),
                None => return wrong("unterminated raw quoted string".to_owned()),
            },
            '\'' => letter_constant(rest).ok_or((self.at, "unterminated character constant".to_owned()))?,
            '$' => {
                let length = 1 + name(&rest[1..]);
                (Kind::Variable(rest[..length].to_owned()), length)
            }
            '.' if rest.len() == 1 => return wrong("illegal number syntax: \".\"".to_owned()),
            '.' if !rest[1..].starts_with(|next: char| next.is_ascii_digit()) => match 1 + name(&rest[1..]) {
                1 => (Kind::Dot, 1),
                length => (Kind::Field(rest[1..length].to_owned()), length),
            },
            '+' | '-' | '.' | '0'..='9' => {
                let body = rest[1..].find(|next: char| !is_name(next) && !matches!(next, '.'));
                let mut length = body.map_or(rest.len(), |length| length + 1);
                // The sign of an exponent belongs to the number: 1e-3.
                let exponent = rest[..length].ends_with(['e', 'E']) && !rest.starts_with("0x");
                if exponent && rest[length..].starts_with(['+', '-']) {
                    let more = rest[length + 1..].find(|next: char| !next.is_ascii_digit());
                    length = more.map_or(rest.len(), |more| length + 1 + more);
                }
                (Kind::Number(rest[..length].to_owned()), length)
            }
            letter if is_name(letter) => {
                let length = name(rest);
                (Kind::Word(rest[..length].to_owned()), length)
            }
            letter => {
                return wrong(format!(
                    "unexpected bad character U+{:04X} '{letter}' in command",
                    letter as u32
                ));
            }
        })
    }
}

fn is_name(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

fn quoted(rest: &str) -> Result<(Kind, usize), String> {
    let unterminated = || "unterminated quoted string".to_owned();
    let mut text = String::new();
    let mut at = 1;
    loop {
        let letter = rest[at..].chars().next().filter(|letter| *letter != '\n').ok_or_else(unterminated)?;
        match letter {
            '"' => return Ok((Kind::Quoted(text), at + 1)),
            '\\' => {
                let (letter, used) = escape(&rest[at..]).ok_or("invalid syntax")?;
                text.push(letter);
                at += used;
            }
            letter => {
                text.push(letter);
                at += letter.len_utf8();
            }
        }
    }
}

/// One of Go's escapes, with the backslash: the letter, and how long it is spelled.
fn escape(text: &str) -> Option<(char, usize)> {
    let code = |from: usize, length: usize, radix: u32| {
        let digits = text.get(from..from + length)?;
        let letter = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
        Some((letter, from + length))
    };
    let letter = match text[1..].chars().next()? {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        'x' => return code(2, 2, 16),
        'u' => return code(2, 4, 16),
        'U' => return code(2, 8, 16),
        '0'..='7' => return code(1, 3, 8),
        letter @ ('\\' | '"' | '\'') => letter,
        _ => return None,
    };
    Some((letter, 2))
}

fn letter_constant(rest: &str) -> Option<(Kind, usize)> {
    let (letter, used) = match rest[1..].chars().next()? {
        '\\' => escape(&rest[1..])?,
        letter => (letter, letter.len_utf8()),
    };
    rest[1 + used..].starts_with('\'').then_some((Kind::Letter(letter), used + 2))
}
