//! Go templates for `--format`.
//!
//! The engine of gtmpl does the work; this file gives it Docker's functions, turns JSON into its
//! values, and closes two gaps. A method with an argument (`{{.Label "key"}}`) is rewritten to a
//! function call. `{{json .Path}}` alone is answered from the text that the engine sent, which
//! keeps the order of members that a map of gtmpl forgets.
//!
//! Limits: an absent pointer renders as `<no value>` where Go prints `<nil>`; `{{json …}}` within a
//! larger template sorts members by name, and shows an absent list as empty.

use std::collections::HashMap;

use gtmpl_ng::{Context, FuncError, Template, Value};

use crate::failure::Failure;
use crate::json;

/// Where a row keeps its labels; a name that no template can spell as a field.
pub(crate) const LABELS: &str = "·labels";

/// A template that was understood.
pub(crate) struct Prepared(Template);

impl Prepared {
    pub(crate) fn parse(text: &str) -> Result<Prepared, Fault> {
        let mut template = Template::default();
        template.add_funcs(FUNCTIONS);
        match template.parse(rewrite_methods(text)) {
            Ok(()) => Ok(Prepared(template)),
            Err(error) => Err(Fault { text: text.to_owned(), message: error.to_string() }),
        }
    }

    pub(crate) fn render(&self, text: &str, value: Value) -> Result<String, Fault> {
        let rendered = self.0.render(&Context::from(value));
        rendered.map_err(|error| Fault { text: text.to_owned(), message: error.to_string() })
    }
}

/// What is wrong with a template, told the way Go tells it.
#[derive(Debug)]
pub(crate) struct Fault {
    text: String,
    message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.message.lines().next().unwrap_or_default();
        // `template: NAME:LINE:COLUMN:LENGTH:WORDS`
        let parts: Vec<&str> = first.strip_prefix("template: ").unwrap_or(first).splitn(5, ':').collect();
        let [_, line, column, length, words] = parts[..] else { return f.write_str(first) };
        let Some(member) = words.strip_prefix("no field `").and_then(|rest| rest.split('`').next()) else {
            return write!(f, "template: :{line}: {}", words.trim().chars().take(200).collect::<String>());
        };
        let number = |text: &str| text.parse::<usize>().unwrap_or(1);
        let from = number(column).saturating_sub(1);
        let node = self.text.get(from..from + number(length)).unwrap_or_default();
        let at = from + node.rfind('.').unwrap_or(0);
        write!(f, "template: :{line}:{at}: executing \"\" at <{node}>: map has no entry for key {member:?}")
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::new(format!("template parsing error: {fault}"))
    }
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
    Ok(prepared.render(template, value(&document, false))?)
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

/// Members that hold lists: an absent list is an empty one to a template, and counts zero.
const LISTS: &[&str] = &[
    "Aliases",
    "Binds",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "MaskedPaths",
    "Mounts",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
];

/// Members that the engine leaves out when they say nothing, by a member that tells which object it
/// is. A template may ask for them all the same: `{{if .State.Health}}`.
const OMITTED: &[(&str, &[&str])] = &[
    ("OOMKilled", &["Health"]),
    ("OpenStdin", &["Healthcheck", "ExposedPorts", "StopSignal", "StopTimeout", "Shell"]),
    ("PortBindings", &["Annotations", "Init", "Mounts", "Runtime", "StorageOpt", "Sysctls", "Tmpfs"]),
    ("HostConfig", &["SizeRw", "SizeRootFs", "ImageManifestDescriptor"]),
];

/// What stands for a member that says nothing.
fn nothing(name: &str) -> Value {
    match name {
        _ if LISTS.contains(&name) => Value::Array(Vec::new()),
        _ if MAPS.contains(&name) => Value::Map(HashMap::new()),
        "Runtime" | "StopSignal" => Value::String(String::new()),
        _ => Value::Nil,
    }
}

/// JSON as a template sees it. `free` says that the members have free names.
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
            let is_map = |name: &str, item: &serde_json::Value| {
                MAPS.contains(&name) && !(name == "Config" && item.get("Image").is_some())
            };
            let mut values: HashMap<String, Value> = HashMap::with_capacity(members.len());
            for (name, item) in members {
                let item = match item {
                    serde_json::Value::Null if free && name.contains('/') => Value::Array(Vec::new()),
                    serde_json::Value::Null => nothing(name),
                    item => value(item, is_map(name, item)),
                };
                values.insert(name.clone(), item);
            }
            if free {
                return Value::Map(values);
            }
            for (mark, omitted) in OMITTED {
                if members.contains_key(*mark) {
                    for name in *omitted {
                        values.entry((*name).to_owned()).or_insert_with(|| nothing(name));
                    }
                }
            }
            Value::Object(values)
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
            Err(fault) => return fault.to_string(),
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
    fn what_the_engine_leaves_out_can_be_asked_for() {
        let raw = r#"{"State":{"OOMKilled":false},"Config":{"Image":"i","OpenStdin":false,"Cmd":null},"HostConfig":{"PortBindings":{},"Binds":null},
            "NetworkSettings":{"Ports":{"99/udp":null}}}"#;
        assert_eq!(rendered("{{if .State.Health}}sick{{else}}none{{end}}", raw), "none");
        assert_eq!(
            rendered("{{.HostConfig.Binds}} {{len .Config.Cmd}} {{.HostConfig.Tmpfs}}", raw),
            "[] 0 map[]"
        );
        assert_eq!(
            rendered("{{range $p, $c := .NetworkSettings.Ports}}{{$p}} {{len $c}}{{end}}", raw),
            "99/udp 0"
        );
    }

    #[test]
    fn json_keeps_the_order_of_the_engine() {
        assert_eq!(rendered("{{json .State}}", DOCUMENT), r#"{"Running":true,"ExitCode":137,"Health":null}"#);
        assert_eq!(rendered("{{ json .Config.Env }}", DOCUMENT), r#"["A=1","B=2"]"#);
        assert_eq!(rendered("x{{json .Config.Labels}}", DOCUMENT), r#"x{"com.x":"y"}"#);
    }

    #[test]
    fn unknown_members_are_errors() {
        assert_eq!(
            rendered("{{.State.Nothing}}", DOCUMENT),
            "template parsing error: template: :1:8: executing \"\" at <.State.Nothing>: map has no entry for key \"Nothing\""
        );
        assert_eq!(rendered("{{.State", DOCUMENT), "template: :1: unclosed action");
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
            Prepared::parse(template).unwrap().render(template, row(HashMap::new(), Some(&labels))).unwrap()
        };
        assert_eq!(render("{{.Label \"a.b\"}}"), "c");
        assert_eq!(
            render("[{{.Label \"none\"}}] {{range (split \"x\" \",\")}}{{$.Label \"a.b\"}}{{end}}"),
            "[] c"
        );
    }
}
