//! Go templates for `--format`.
//!
//! The engine of gtmpl does the work; this file gives it Docker's functions, turns JSON into its
//! values, and closes two gaps. A method with an argument (`{{.Label "key"}}`) is rewritten to a
//! function call. `{{json .Path}}` alone is answered from the text that the engine sent, which
//! keeps the order of members that a map of gtmpl forgets.
//!
//! Limits: a `null` renders as `<no value>` where Go, which knows the type, may print `[]` or
//! `map[]`; `{{json …}}` within a larger template sorts members by name.

use std::collections::HashMap;

use gtmpl_ng::{Context, FuncError, Template, Value};

use crate::failure::Failure;
use crate::json;

/// Where a row keeps its labels; a name that no template can spell as a field.
pub(crate) const LABELS: &str = "·labels";

/// A template that was understood.
pub(crate) struct Prepared(Template);

impl Prepared {
    pub(crate) fn parse(text: &str) -> Result<Prepared, Failure> {
        let mut template = Template::default();
        template.add_funcs(FUNCTIONS);
        template.parse(rewrite_methods(text)).map_err(|error| {
            Failure::new(format!("template parsing error: {}", brief(&error.to_string())))
        })?;
        Ok(Prepared(template))
    }

    pub(crate) fn render(&self, value: Value) -> Result<String, Failure> {
        self.0
            .render(&Context::from(value))
            .map_err(|error| Failure::new(format!("template parsing error: {}", brief(&error.to_string()))))
    }
}

/// The first line of an error, without the value that it may quote in full.
fn brief(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(240).collect()
}

/// Backslash escapes that a shell leaves as they are, so that `\t` can be typed.
pub(crate) fn unescape(text: &str) -> String {
    text.replace(r"\t", "\t").replace(r"\n", "\n")
}

/// Renders a template over the engine's own document.
pub(crate) fn render_document(template: &str, prepared: &Prepared, raw: &str) -> Result<String, Failure> {
    if let Some(path) = lone_json(template)
        && let Some(part) = json::lookup(raw, &path)
    {
        return Ok(compact(part));
    }
    let document: serde_json::Value = serde_json::from_str(raw)
        .map_err(|error| Failure::new(format!("the engine's answer cannot be understood: {error}")))?;
    prepared.render(value(&document, false))
}

/// The path in a template that is nothing but `{{json .Some.Path}}`.
fn lone_json(template: &str) -> Option<Vec<&str>> {
    let inside = template.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let path = inside.strip_prefix("json ")?.trim().strip_prefix('.')?;
    let names: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('.').collect() };
    let plain = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    names.iter().all(plain).then_some(names)
}

fn compact(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let (mut quoted, mut escaped) = (false, false);
    for letter in raw.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' | '\r' | '\n' if !quoted => continue,
            _ => {}
        }
        text.push(letter);
    }
    text
}

/// Members that hold free names: asking one for a name it does not have is no error.
const MAPS: &[&str] = &[
    "Annotations",
    "Attributes",
    "AuxiliaryAddresses",
    "Config",
    "Containers",
    "Data",
    "DriverOpts",
    "EndpointsConfig",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Runtimes",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// JSON as a template sees it.
pub(crate) fn value(json: &serde_json::Value, free: bool) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(on) => Value::Bool(*on),
        serde_json::Value::String(text) => Value::String(text.clone()),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Value::from(number),
            (_, Some(number), _) => Value::from(number),
            (_, _, Some(number)) => Value::from(number),
            _ => Value::Nil,
        },
        serde_json::Value::Array(values) => {
            Value::Array(values.iter().map(|item| value(item, false)).collect())
        }
        serde_json::Value::Object(members) => {
            // `Config` is both the container's configuration and a logging driver's free options.
            let typed = |name: &str| name == "Config" && members.contains_key("Image");
            let members = members
                .iter()
                .map(|(name, item)| {
                    (name.clone(), value(item, MAPS.contains(&name.as_str()) && !typed(name)))
                })
                .collect();
            if free { Value::Map(members) } else { Value::Object(members) }
        }
    }
}

/// `.Label "key"` and `$.Label "key"` become calls of a function that is given the row.
fn rewrite_methods(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(".Label ") {
        let (before, after) = rest.split_at(at);
        let argument = after[".Label ".len()..].trim_start();
        if argument.starts_with(['"', '`']) {
            let (before, receiver) = match before.strip_suffix('$') {
                Some(before) => (before, "$"),
                None => (before, "."),
            };
            result.push_str(before);
            result.push_str("label ");
            result.push_str(receiver);
            result.push(' ');
        } else {
            result.push_str(before);
            result.push_str(".Label ");
        }
        rest = argument;
    }
    result.push_str(rest);
    result
}

const FUNCTIONS: &[(&str, gtmpl_ng::Func)] = &[
    ("json", to_json),
    ("join", join),
    ("split", split),
    ("title", title),
    ("lower", lower),
    ("upper", upper),
    ("pad", pad),
    ("truncate", truncate),
    ("label", label),
];

fn bad(function: &str, usage: &str) -> FuncError {
    FuncError::Generic(format!("wrong arguments for {function}: it is used as {usage}"))
}

fn to_json(arguments: &[Value]) -> Result<Value, FuncError> {
    let [value] = arguments else { return Err(bad("json", "json VALUE")) };
    Ok(Value::String(plain(value).to_string()))
}

fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(on) => (*on).into(),
        Value::String(text) => text.clone().into(),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(members) | Value::Map(members) => members
            .iter()
            .filter(|(name, _)| *name != LABELS)
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => number.into(),
            (_, Some(number), _) => number.into(),
            (_, _, Some(number)) => number.into(),
            _ => serde_json::Value::Null,
        },
        Value::Nil | Value::NoValue | Value::Function(_) => serde_json::Value::Null,
    }
}

fn join(arguments: &[Value]) -> Result<Value, FuncError> {
    match arguments {
        [Value::Array(values), Value::String(separator)] => {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            Ok(Value::String(texts.join(separator)))
        }
        [Value::Nil | Value::NoValue, Value::String(_)] => Ok(Value::String(String::new())),
        _ => Err(bad("join", "join LIST SEPARATOR")),
    }
}

fn split(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::String(text), Value::String(separator)] = arguments else {
        return Err(bad("split", "split TEXT SEPARATOR"));
    };
    Ok(Value::Array(text.split(separator.as_str()).map(|part| Value::String(part.to_owned())).collect()))
}

fn one_text<'a>(function: &str, arguments: &'a [Value]) -> Result<&'a str, FuncError> {
    match arguments {
        [Value::String(text)] => Ok(text),
        _ => Err(bad(function, &format!("{function} TEXT"))),
    }
}

fn lower(arguments: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::String(one_text("lower", arguments)?.to_lowercase()))
}

fn upper(arguments: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::String(one_text("upper", arguments)?.to_uppercase()))
}

fn title(arguments: &[Value]) -> Result<Value, FuncError> {
    let text = one_text("title", arguments)?;
    let mut result = String::with_capacity(text.len());
    let mut begins = true;
    for letter in text.chars() {
        if begins {
            result.extend(letter.to_uppercase());
        } else {
            result.push(letter);
        }
        begins = letter.is_whitespace();
    }
    Ok(Value::String(result))
}

/// A count of characters; what a template asks for beyond this is a mistake.
fn count(value: &Value) -> Option<usize> {
    match value {
        Value::Number(number) => {
            number.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= 10_000)
        }
        _ => None,
    }
}

fn pad(arguments: &[Value]) -> Result<Value, FuncError> {
    let usage = || bad("pad", "pad TEXT BEFORE AFTER");
    let [Value::String(text), before, after] = arguments else { return Err(usage()) };
    let (before, after) = (count(before).ok_or_else(usage)?, count(after).ok_or_else(usage)?);
    if text.is_empty() {
        return Ok(Value::String(String::new()));
    }
    Ok(Value::String(format!("{:before$}{text}{:after$}", "", "")))
}

fn truncate(arguments: &[Value]) -> Result<Value, FuncError> {
    let usage = || bad("truncate", "truncate TEXT COUNT");
    let [Value::String(text), limit] = arguments else { return Err(usage()) };
    Ok(Value::String(text.chars().take(count(limit).ok_or_else(usage)?).collect()))
}

fn label(arguments: &[Value]) -> Result<Value, FuncError> {
    let [Value::Object(row) | Value::Map(row), Value::String(key)] = arguments else {
        return Err(bad("Label", ".Label \"KEY\""));
    };
    match row.get(LABELS) {
        Some(Value::Map(labels)) => {
            Ok(labels.get(key).cloned().unwrap_or_else(|| Value::String(String::new())))
        }
        // The row of headers: the last part of the key, as a header.
        Some(Value::Nil) => {
            let word = key.rsplit('.').next().unwrap_or(key);
            Ok(Value::String(word.replace(['-', '_'], " ")))
        }
        _ => Err(FuncError::Generic("can't evaluate field Label: there are no labels here".to_owned())),
    }
}

/// A row of texts with its labels.
pub(crate) fn row(
    fields: HashMap<String, Value>,
    labels: Option<&std::collections::BTreeMap<String, String>>,
) -> Value {
    let mut fields = fields;
    if let Some(labels) = labels {
        let labels = labels.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
        fields.insert(LABELS.to_owned(), Value::Map(labels));
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str, raw: &str) -> String {
        let prepared = match Prepared::parse(template) {
            Ok(prepared) => prepared,
            Err(failure) => return failure.message,
        };
        render_document(template, &prepared, raw).unwrap_or_else(|failure| failure.message)
    }

    const DOCUMENT: &str = r#"{"Name":"/x","State":{"Running":true,"ExitCode":137,"Health":null},
        "Config":{"Image":"i","Env":["A=1","B=2"],"Labels":{"com.x":"y"}},
        "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}}}"#;

    #[test]
    fn documents_are_walked_like_docker_does() {
        assert_eq!(rendered("{{.State.Running}} {{.State.ExitCode}}", DOCUMENT), "true 137");
        assert_eq!(rendered("{{range .Config.Env}}{{.}};{{end}}", DOCUMENT), "A=1;B=2;");
        assert_eq!(rendered("{{index .Config.Labels \"com.x\"}}", DOCUMENT), "y");
        assert_eq!(
            rendered("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", DOCUMENT),
            "8080"
        );
        assert_eq!(rendered("{{join .Config.Env \",\"}}", DOCUMENT), "A=1,B=2");
        assert_eq!(rendered("{{.Config.Labels.none}}", DOCUMENT), "<no value>");
        assert_eq!(rendered("{{with .State}}{{if .Running}}up{{end}}{{end}}", DOCUMENT), "up");
        assert_eq!(rendered("{{.Config.Env}}", DOCUMENT), "[A=1 B=2]");
        assert_eq!(rendered("{{printf \"%.3s\" .Name}}", DOCUMENT), "/x");
    }

    #[test]
    fn json_keeps_the_order_of_the_engine() {
        assert_eq!(rendered("{{json .State}}", DOCUMENT), r#"{"Running":true,"ExitCode":137,"Health":null}"#);
        assert_eq!(rendered("{{ json .Config.Env }}", DOCUMENT), r#"["A=1","B=2"]"#);
        assert_eq!(rendered("x{{json .Config.Labels}}", DOCUMENT), r#"x{"com.x":"y"}"#);
    }

    #[test]
    fn unknown_members_are_errors() {
        assert!(rendered("{{.State.Nothing}}", DOCUMENT).contains("Nothing"));
        assert!(rendered("{{.State", DOCUMENT).starts_with("template parsing error"));
        assert!(rendered("{{nofunction .}}", DOCUMENT).contains("nofunction"));
    }

    #[test]
    fn functions_do_what_they_say() {
        let shown = |template: &str| rendered(template, DOCUMENT);
        assert_eq!(shown("{{upper \"a\"}}{{lower \"B\"}}{{title \"a b\"}}"), "AbA B");
        assert_eq!(shown("{{pad \"a\" 1 2}}|{{pad \"\" 1 1}}|"), " a  ||");
        assert_eq!(shown("{{truncate \"abcdef\" 3}}"), "abc");
        assert_eq!(shown("{{index (split \"a:b\" \":\") 1}}"), "b");
    }

    #[test]
    fn a_label_can_be_asked_for() {
        let labels = std::collections::BTreeMap::from([("a.b".to_owned(), "c".to_owned())]);
        let render = |template: &str| {
            Prepared::parse(template).unwrap().render(row(HashMap::new(), Some(&labels))).unwrap()
        };
        assert_eq!(render("{{.Label \"a.b\"}}"), "c");
        assert_eq!(
            render("[{{.Label \"none\"}}] {{range (split \"x\" \",\")}}{{$.Label \"a.b\"}}{{end}}"),
            "[] c"
        );
    }
}
