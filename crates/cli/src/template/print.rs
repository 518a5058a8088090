//! `print`, `println` and `printf` as Go's templates have them.

use super::value::Value;

/// Widths and precisions beyond this are mistakes.
const WIDTH_LIMIT: usize = 10_000;

/// All values, with a space between two of which neither is a text.
pub(super) fn print(values: &[Value]) -> String {
    let mut text = String::new();
    for (at, value) in values.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        if at > 0 && !is_text(value) && !is_text(&values[at - 1]) {
            text.push(' ');
        }
        text.push_str(&shown(value));
    }
    text
}

/// All values with a space between, and an end of line.
pub(super) fn println(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(shown).collect();
    format!("{}\n", texts.join(" "))
}

/// What is not there is `<nil>` to these functions.
fn shown(value: &Value) -> String {
    if *value == Value::Absent { "<nil>".to_owned() } else { value.to_string() }
}

/// What stands between `%` and the letter.
#[derive(Default)]
struct Directive {
    left: bool,
    plus: bool,
    space: bool,
    sharp: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

pub(super) fn printf(format: &str, values: &[Value]) -> String {
    let mut text = String::new();
    let mut values_left = values.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let (directive, after) = directive(&rest[at + 1..]);
        let mut letters = after.chars();
        match letters.next() {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(verb) => match values_left.next() {
                Some(value) => text.push_str(&directive.show(verb, value)),
                None => text.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
        rest = letters.as_str();
    }
    text.push_str(rest);
    let extra: Vec<String> =
        values_left.map(|value| format!("{}={}", value.type_name(), shown(value))).collect();
    if !extra.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    text
}

fn directive(text: &str) -> (Directive, &str) {
    let mut directive = Directive::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next() {
        match flag {
            '-' => directive.left = true,
            '+' => directive.plus = true,
            ' ' => directive.space = true,
            '#' => directive.sharp = true,
            '0' => directive.zero = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let number = |text: &mut &str| {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let number = text[..end].parse::<usize>().unwrap_or(0).min(WIDTH_LIMIT);
        *text = &text[end..];
        number
    };
    directive.width = number(&mut rest);
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        directive.precision = Some(number(&mut rest));
    }
    (directive, rest)
}

impl Directive {
    fn show(&self, verb: char, value: &Value) -> String {
        let bad = || format!("%!{verb}({}={})", value.type_name(), shown(value));
        let cut = |text: &str| match self.precision {
            Some(limit) => text.chars().take(limit).collect(),
            None => text.to_owned(),
        };
        let text = match (verb, value) {
            ('v', Value::Float(number)) if self.precision.is_some() => self.float('g', *number),
            ('v', Value::Text(text)) if self.sharp => quote(text),
            ('v', Value::Text(text)) | ('s', Value::Text(text)) => cut(text),
            ('v', value) => shown(value),
            ('s', Value::List(_) | Value::Map(_) | Value::Struct(_)) => shown(value),
            ('q', Value::Text(text)) => quote(&cut(text)),
            ('q', Value::Int(number)) => match u32::try_from(*number).ok().and_then(char::from_u32) {
                Some(letter) => format!("'{letter}'"),
                None => bad(),
            },
            ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('X', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            ('t', Value::Bool(on)) => on.to_string(),
            ('d' | 'b' | 'o' | 'x' | 'X', Value::Int(number)) => self.integer(verb, *number),
            ('c', Value::Int(number)) => match u32::try_from(*number).ok().and_then(char::from_u32) {
                Some(letter) => letter.to_string(),
                None => "\u{fffd}".to_owned(),
            },
            ('U', Value::Int(number)) => format!("U+{number:04X}"),
            ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Float(number)) => self.float(verb, *number),
            ('T', value) => value.type_name().to_owned(),
            _ => bad(),
        };
        self.pad(text, matches!(value, Value::Int(_) | Value::Float(_)))
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (.., true) => " ",
            _ => "",
        }
    }

    fn integer(&self, verb: char, number: i64) -> String {
        let magnitude = number.unsigned_abs();
        let digits = match verb {
            'b' => format!("{magnitude:b}"),
            'o' => format!("{magnitude:o}"),
            'x' => format!("{magnitude:x}"),
            'X' => format!("{magnitude:X}"),
            _ => magnitude.to_string(),
        };
        let prefix = match verb {
            'x' | 'X' if self.sharp => "0x",
            'o' if self.sharp => "0",
            'b' if self.sharp => "0b",
            _ => "",
        };
        let least = self.precision.unwrap_or(0);
        format!("{}{prefix}{digits:0>least$}", self.sign(number < 0))
    }

    fn float(&self, verb: char, number: f64) -> String {
        let magnitude = number.abs();
        let text = match verb {
            'f' | 'F' => format!("{magnitude:.*}", self.precision.unwrap_or(6)),
            'e' | 'E' => exponent(&format!("{magnitude:.*e}", self.precision.unwrap_or(6))),
            _ => match self.precision {
                Some(digits) => significant(magnitude, digits.max(1)),
                None => float(magnitude),
            },
        };
        format!("{}{text}", self.sign(number.is_sign_negative()))
    }

    fn pad(&self, text: String, number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if missing == 0 {
            return text;
        }
        match (self.left, self.zero) {
            (true, _) => format!("{text}{:missing$}", ""),
            (_, true) if number && text.starts_with(['-', '+', ' ']) => {
                format!("{}{}{}", &text[..1], "0".repeat(missing), &text[1..])
            }
            (_, true) => format!("{}{text}", "0".repeat(missing)),
            _ => format!("{:missing$}{text}", ""),
        }
    }
}

/// The shortest text that reads back as the number, as Go's `%v` has it.
pub(super) fn float(number: f64) -> String {
    let scientific = format!("{number:e}");
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    if (-4..21).contains(&power) { number.to_string() } else { exponent(&scientific) }
}

/// `%g` with a number of significant digits.
fn significant(number: f64, digits: usize) -> String {
    let scientific = format!("{number:.*e}", digits - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..digits as i32).contains(&power) {
        let decimals = usize::try_from(digits as i32 - 1 - power).unwrap_or(0);
        return trim(&format!("{number:.decimals$}"));
    }
    match scientific.split_once('e') {
        Some((mantissa, power)) => exponent(&format!("{}e{power}", trim(mantissa))),
        None => scientific,
    }
}

/// An exponent has a sign and two digits at least.
fn exponent(text: &str) -> String {
    let Some((mantissa, power)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = match power.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', power),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// A text in double quotes with Go's escapes.
fn quote(text: &str) -> String {
    let mut result = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => result.push_str("\\\""),
            '\\' => result.push_str("\\\\"),
            '\n' => result.push_str("\\n"),
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            letter if letter.is_control() => result.push_str(&format!("\\x{:02x}", u32::from(letter))),
            letter => result.push(letter),
        }
    }
    result.push('"');
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_followed() {
        let text = |text: &str| Value::text(text);
        assert_eq!(printf("%-5s|%5s|%.2s", &[text("a"), text("b"), text("cde")]), "a    |    b|cd");
        assert_eq!(printf("%d %05d %x %+d", &[7, 42, 255, 1].map(Value::Int)), "7 00042 ff +1");
        assert_eq!(printf("%.2f %e %v", &[1.005, 1234.5, 1e21].map(Value::Float)), "1.00 1.234500e+03 1e+21");
        assert_eq!(printf("%q %v %%", &[text("a\"\n"), Value::Bool(true)]), "\"a\\\"\\n\" true %");
        assert_eq!(printf("%d", &[text("x")]), "%!d(string=x)");
        assert_eq!(printf("%s", &[]), "%!s(MISSING)");
        assert_eq!(printf("", &[Value::Int(1)]), "%!(EXTRA int=1)");
    }

    #[test]
    fn spaces_stand_between_what_is_no_text() {
        let values = [Value::Int(1), Value::Int(2), Value::text("a"), Value::Int(3)];
        assert_eq!(print(&values), "1 2a3");
        assert_eq!(println(&values), "1 2 a 3\n");
        assert_eq!(float(0.1), "0.1");
        assert_eq!(float(1e-7), "1e-07");
    }
}
