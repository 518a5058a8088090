//! What a log driver says of the container: chosen labels and variables, and the tag.

use std::collections::{BTreeMap, HashMap};

use gtmpl_ng::{Context, FuncError, Function, Template, Value};

use super::Host;
use super::functions::{FUNCTIONS, ZONE};
use super::options::{Options, Read, text};
use crate::container::record::Record;

/// Docker's tag where the user wants no other.
pub(super) const DEFAULT_TAG: &str = "{{.ID}}";

/// Docker's `ExtraAttributes` is a method that wants a function, for which a template can only say `nil`. The template
/// engine knows no methods with arguments, so the two words become the name of one field.
const WITH_NIL: &str = ".ExtraAttributes nil";
const AS_FIELD: &str = ".ExtraAttributes_nil";

fn without_nil(_: &[Value]) -> Result<Value, FuncError> {
    Err(FuncError::Generic("wrong number of args for ExtraAttributes: want 1 got 0".into()))
}

/// The container that is logged.
pub(super) struct Subject<'a> {
    pub(super) record: &'a Record,
    pub(super) host: Host<'a>,
    pub(super) log_path: String,
    pub(super) options: &'a Options,
}

impl Subject<'_> {
    pub(super) fn id(&self) -> &str {
        self.record.id.as_str()
    }

    pub(super) fn short_id(&self) -> &str {
        self.id().get(..12).unwrap_or(self.id())
    }

    pub(super) fn command(&self) -> String {
        let words = std::iter::once(&self.record.path).chain(&self.record.args);
        words.map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// What `labels`, `labels-regex`, `env` and `env-regex` choose, under names that the driver makes of theirs.
    pub(super) fn attributes(&self, name: impl Fn(&str) -> String) -> Read<BTreeMap<String, String>> {
        let none = BTreeMap::new();
        let labels = self.record.config.labels.as_ref().unwrap_or(&none);
        let labels: BTreeMap<&str, &str> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let env = self.record.config.env.iter().flatten();
        let env: BTreeMap<&str, &str> = env.filter_map(|entry| entry.split_once('=')).collect();
        let mut chosen = BTreeMap::new();
        for (from, list, pattern) in [(labels, "labels", "labels-regex"), (env, "env", "env-regex")] {
            for key in text(self.options, list).unwrap_or_default().split(',') {
                if let Some(value) = from.get(key) {
                    chosen.insert(name(key), (*value).to_owned());
                }
            }
            if let Some(pattern) = text(self.options, pattern) {
                let pattern = expression(pattern)?;
                let matching = from.iter().filter(|(key, _)| pattern.is_match(key));
                chosen.extend(matching.map(|(key, value)| (name(key), (*value).to_owned())));
            }
        }
        Ok(chosen)
    }

    /// The `tag` option, a Go template; `default` where it is not given.
    pub(super) fn tag(&self, default: &str) -> Read<String> {
        let text = text(self.options, "tag").unwrap_or(default);
        let mut template = Template::default();
        template.add_funcs(FUNCTIONS);
        let fault = |error: &dyn std::fmt::Display| told(text, &error.to_string());
        let mut fields = self.fields();
        if text.contains(WITH_NIL) {
            let attributes = self.attributes(str::to_owned)?.into_iter();
            let attributes = attributes.map(|(key, value)| (key, Value::String(value))).collect();
            fields.insert(AS_FIELD[1..].to_owned(), Value::Map(attributes));
        }
        template.parse(text.replace(WITH_NIL, AS_FIELD)).map_err(|error| fault(&error))?;
        let tag = template.render(&Context::from(Value::Object(fields))).map_err(|error| fault(&error))?;
        // Where it was no call, it comes out as it went in.
        Ok(tag.replace(AS_FIELD, WITH_NIL))
    }

    /// What a template can ask for.
    fn fields(&self) -> HashMap<String, Value> {
        let record = self.record;
        let string = |text: &str| Value::String(text.to_owned());
        let list = |items: &[String]| Value::Array(items.iter().map(|item| string(item)).collect());
        let map = |items: &BTreeMap<String, String>| {
            Value::Map(items.iter().map(|(key, value)| (key.clone(), string(value))).collect())
        };
        let name = format!("/{}", record.name);
        let fields = [
            ("ID", string(self.short_id())),
            ("FullID", string(self.id())),
            ("Name", string(&record.name)),
            // Docker cuts the digest with its algorithm.
            ("ImageID", string(record.image.get(..12).unwrap_or(&record.image))),
            ("ImageFullID", string(&record.image)),
            ("ImageName", string(&record.config.image)),
            ("DaemonName", string("docker")),
            ("Hostname", string(self.host.name)),
            ("Command", string(&self.command())),
            ("ContainerID", string(self.id())),
            ("ContainerName", string(&name)),
            ("ContainerEntrypoint", string(&record.path)),
            ("ContainerArgs", list(&record.args)),
            ("ContainerImageID", string(&record.image)),
            ("ContainerImageName", string(&record.config.image)),
            ("ContainerCreated", string(&created(&record.created))),
            ("ContainerEnv", list(record.config.env.as_deref().unwrap_or_default())),
            ("ContainerLabels", map(&record.config.labels.clone().unwrap_or_default())),
            ("Config", map(self.options)),
            ("LogPath", string(&self.log_path)),
            ("ExtraAttributes", Value::Function(Function { f: without_nil })),
        ];
        fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
    }
}

/// Go's way to print a time.
fn created(rfc3339: &str) -> String {
    rfc3339.replace('T', " ").replace('Z', ZONE)
}

fn expression(pattern: &str) -> Read<regex_lite::Regex> {
    regex_lite::Regex::new(pattern).map_err(|error| format!("error parsing regexp: {error}: `{pattern}`"))
}

/// The template engine's complaint, in Go's words.
fn told(text: &str, message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    // `template: NAME:LINE:COLUMN:LENGTH:WORDS`
    let parts: Vec<&str> = first.strip_prefix("template: ").unwrap_or(first).splitn(5, ':').collect();
    let [_, line, column, length, words] = parts[..] else { return format!("template: log-tag: {first}") };
    let what = match words.strip_prefix("no field `").and_then(|rest| rest.split('`').next()) {
        Some(member) => format!("can't evaluate field {member} in type *logger.Info"),
        None if words.trim().starts_with("wrong number of args for ") => words.trim().to_owned(),
        None => {
            let words = words.trim().trim_start_matches("unexpected ").trim_end_matches(" in command");
            return format!("template: log-tag:{line}: {words}");
        }
    };
    let number = |text: &str| text.parse::<usize>().unwrap_or(1);
    let from = number(column).saturating_sub(1);
    let node = text.get(from..from + number(length)).unwrap_or_default();
    format!("template: log-tag:{line}:{from}: executing \"log-tag\" at <{node}>: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::record::tests::record;

    fn with<T>(options: &[(&str, &str)], look: impl FnOnce(&Subject<'_>) -> T) -> T {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut record = record("web");
        record.config.labels = Some(BTreeMap::from([("a".into(), "1".into()), ("ab".into(), "2".into())]));
        record.config.env = Some(vec!["E=x".into(), "F=y=z".into()]);
        record.image = "sha256:0123456789".into();
        let host = Host { name: "box", tls: std::path::Path::new("/wharf-tls") };
        look(&Subject { record: &record, host, log_path: "/log".into(), options: &options })
    }

    fn tag(template: &str) -> Read<String> {
        with(&[("tag", template)], |subject| subject.tag(""))
    }

    #[test]
    fn tags_are_templates() {
        assert_eq!(tag("{{.Name}}/{{.Hostname}}-{{.DaemonName}}").unwrap(), "web/box-docker");
        assert_eq!(tag("{{.ImageID}}").unwrap(), "sha256:01234");
        assert_eq!(tag("{{upper .Name}}{{if .Config}}!{{end}}").unwrap(), "WEB!");
        assert_eq!(tag("{{index .ContainerLabels \"ab\"}}").unwrap(), "2");
        assert_eq!(
            tag("{{json .ContainerLabels}}|{{pad .Name 1 2}}|").unwrap(),
            r#"{"a":"1","ab":"2"}| web  |"#
        );
        let all = tag("{{json .}}").unwrap();
        assert!(all.starts_with(r#"{"Config":{"tag":"{{json .}}"},"ContainerID":""#), "{all}");
        assert!(all.ends_with(r#""LogPath":"/log","DaemonName":"docker"}"#), "{all}");
        assert!(serde_json::from_str::<serde_json::Value>(&all).is_ok(), "{all}");
        assert_eq!(with(&[], |subject| subject.tag(DEFAULT_TAG)).unwrap().len(), 12);
    }

    #[test]
    fn a_tag_may_have_the_attributes() {
        let tag = |template| {
            with(&[("labels", "a"), ("env", "E"), ("tag", template)], |subject| subject.tag("").unwrap())
        };
        assert_eq!(tag("{{.ExtraAttributes nil}}"), "map[E:x a:1]");
        assert_eq!(
            tag("{{json (.ExtraAttributes nil)}} {{(.ExtraAttributes nil).a}}"),
            r#"{"E":"x","a":"1"} 1"#
        );
        assert_eq!(tag("{{.Name}}.ExtraAttributes nil"), "web.ExtraAttributes nil");
    }

    #[test]
    fn a_bad_tag_is_told_as_go_tells_it() {
        assert_eq!(
            tag("{{.Foo}}").unwrap_err(),
            "template: log-tag:1:2: executing \"log-tag\" at <.Foo>: can't evaluate field Foo in type *logger.Info"
        );
        assert_eq!(tag("{{").unwrap_err(), "template: log-tag:1: unclosed action");
        let refused = tag("{{.ExtraAttributes}}").unwrap_err();
        assert!(refused.ends_with("wrong number of args for ExtraAttributes: want 1 got 0"), "{refused}");
        assert_eq!(
            tag("{{json}}").unwrap_err(),
            "template: log-tag:1:2: executing \"log-tag\" at <json>: wrong number of args for json: want 1 got 0"
        );
    }

    #[test]
    fn attributes_are_chosen_by_name_and_by_pattern() {
        let chosen = |options: &[(&str, &str)]| with(options, |subject| subject.attributes(str::to_owned));
        let shown =
            |options| chosen(options).unwrap().into_iter().map(|(k, v)| k + "=" + &v).collect::<Vec<_>>();
        assert_eq!(shown(&[("labels", "a,none"), ("env", "F")]), ["F=y=z", "a=1"]);
        assert_eq!(shown(&[("labels-regex", "^a"), ("env-regex", "E")]), ["E=x", "a=1", "ab=2"]);
        assert!(chosen(&[("env-regex", "(")]).unwrap_err().starts_with("error parsing regexp: "));
    }
}
