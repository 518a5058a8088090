//! A tree and a value become text.

use std::collections::HashMap;
use std::rc::Rc;

use super::document::is_only_json;
use super::functions;
use super::parser::{Base, Branch, Command, Node, Operand, Pipeline, Tree};
use super::value::{Kind, Labels, Value};

/// Templates that call each other; Go's limit is far above its own need, too.
const CALLS: usize = 200;

/// Whether the rest of a list is still to be done.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// What is rendered.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Over {
    /// Values of known types.
    Typed,
    /// JSON, where a key that is not there is a mistake.
    Raw,
    /// The names of columns, which are shown as they are, whatever function a column goes through.
    Headers,
}

type Result<T> = std::result::Result<T, String>;

pub(super) struct Run<'t> {
    source: &'t str,
    defined: &'t HashMap<String, Vec<Node>>,
    over: Over,
    out: String,
    variables: Vec<(String, Value)>,
    calls: usize,
}

/// Renders a template; the error is told as Go tells it.
pub(super) fn run(tree: &Tree, source: &str, value: &Value, over: Over) -> Result<String> {
    let mut run = Run {
        source,
        defined: &tree.defined,
        over,
        out: String::new(),
        variables: vec![("$".to_owned(), value.clone())],
        calls: 0,
    };
    run.list(&tree.root, value)?;
    Ok(run.out)
}

impl Run<'_> {
    /// A failure at a place of the source.
    fn wrong<T>(&self, blame: usize, at: usize, end: usize, why: impl AsRef<str>) -> Result<T> {
        let before = &self.source[..blame];
        let line = before.matches('\n').count() + 1;
        let column = blame - before.rfind('\n').map_or(0, |newline| newline + 1);
        let node = self.source[at..end].trim();
        Err(format!("template: :{line}:{column}: executing \"\" at <{node}>: {}", why.as_ref()))
    }

    fn list(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Show(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.out.push_str(&value.to_string());
                }
            }
            Node::If(branch) => return self.scoped(|run| run.branch(branch, dot, false)),
            Node::With(branch) => return self.scoped(|run| run.branch(branch, dot, true)),
            Node::Range(branch) => return self.scoped(|run| run.range(branch, dot)),
            Node::Template { name, argument } => self.call(name, argument.as_ref(), dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    /// What is declared within ends with it.
    fn scoped<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let known = self.variables.len();
        let result = act(self);
        self.variables.truncate(known);
        result
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, rebinds: bool) -> Result<Flow> {
        let value = self.pipeline(&branch.condition, dot)?;
        if !value.truth() {
            return self.list(&branch.otherwise, dot);
        }
        self.list(&branch.then, if rebinds { &value } else { dot })
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow> {
        let value = self.pipeline_value(&branch.condition, dot)?;
        let items: Vec<(Value, Value)> = match &value {
            Value::List(values) => {
                values.iter().enumerate().map(|(at, item)| (Value::Int(at as i64), item.clone())).collect()
            }
            Value::Map(members) => {
                members.iter().map(|(key, item)| (Value::text(key.as_str()), item.clone())).collect()
            }
            Value::Int(count) => (0..*count).map(|at| (Value::Int(at), Value::Int(at))).collect(),
            Value::Null(Kind::List | Kind::Map { .. }) | Value::Absent => Vec::new(),
            other => {
                let [first, ..] = &branch.condition.commands[..] else { return Ok(Flow::On) };
                let end = branch.condition.commands.last().map_or(first.end, |last| last.end);
                return self.wrong(first.at, first.at, end, format!("range can't iterate over {other}"));
            }
        };
        if items.is_empty() {
            return self.list(&branch.otherwise, dot);
        }
        let variables = &branch.condition.variables;
        for (key, item) in items {
            // Of JSON there are no types that nothing could be of.
            let item = match item {
                Value::Null(_) if self.over == Over::Raw => Value::Absent,
                item => item,
            };
            let flow = self.scoped(|run| {
                match &variables[..] {
                    [only] => run.set(only, item.clone(), branch.condition.assigns),
                    [first, second] => {
                        run.set(first, key, branch.condition.assigns);
                        run.set(second, item.clone(), branch.condition.assigns);
                    }
                    _ => {}
                }
                run.list(&branch.then, &item)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn call(&mut self, name: &str, argument: Option<&Pipeline>, dot: &Value) -> Result<()> {
        let value = match argument {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Null(Kind::Pointer),
        };
        let Some(nodes) = self.defined.get(name) else {
            return Err(format!("template: : template {name:?} not defined"));
        };
        if self.calls == CALLS {
            return Err(format!("template: : exceeded maximum template depth ({CALLS})"));
        }
        self.calls += 1;
        let outside = std::mem::replace(&mut self.variables, vec![("$".to_owned(), value.clone())]);
        self.list(nodes, &value)?;
        self.variables = outside;
        self.calls -= 1;
        Ok(())
    }

    fn set(&mut self, name: &str, value: Value, assigns: bool) {
        if assigns && let Some(known) = self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            known.1 = value;
            return;
        }
        self.variables.push((name.to_owned(), value));
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let value = self.pipeline_value(pipeline, dot)?;
        if let [name] = &pipeline.variables[..] {
            self.set(name, value.clone(), pipeline.assigns);
        }
        Ok(value)
    }

    fn pipeline_value(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Absent))
    }

    /// `last` is what the command before it in the pipeline gave.
    fn command(&mut self, command: &Command, dot: &Value, last: Option<Value>) -> Result<Value> {
        let [first, rest @ ..] = &command.operands[..] else { return Ok(Value::Absent) };
        if let (Base::Function(name), true) = (&first.base, first.fields.is_empty()) {
            return self.function(name, command, rest, dot, last);
        }
        if rest.is_empty() && last.is_none() {
            if matches!(first.base, Base::Nil) {
                return self.wrong(first.at, first.at, first.end, "nil is not a command");
            }
            return self.operand(first, dot);
        }
        let Some((method, receiver)) = first.fields.split_last() else {
            let node = self.source[first.at..first.end].to_owned();
            let why = format!("can't give argument to non-function {node}");
            return self.wrong(first.at, first.at, first.end, why);
        };
        let receiver = self.fields(self.base(&first.base, first, dot)?, receiver, first)?;
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        self.method(&receiver, method, &arguments, first)
    }

    fn function(
        &mut self,
        name: &str,
        command: &Command,
        operands: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value> {
        // These two stop at the first value that decides.
        if matches!(name, "and" | "or") {
            let mut value = Value::Absent;
            for operand in operands {
                value = self.operand(operand, dot)?;
                if value.truth() == (name == "or") {
                    return Ok(value);
                }
            }
            return Ok(last.unwrap_or(value));
        }
        let mut arguments = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(last);
        functions::call(name, &arguments, self.over == Over::Headers)
            .or_else(|why| self.wrong(command.at, command.at, command.end, why))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value> {
        let base = match &operand.base {
            Base::Group(pipeline) => self.pipeline(pipeline, dot)?,
            Base::Function(name) => functions::call(name, &[], self.over == Over::Headers)
                .or_else(|why| self.wrong(operand.at, operand.at, operand.end, why))?,
            base => self.base(base, operand, dot)?,
        };
        self.fields(base, &operand.fields, operand)
    }

    fn base(&self, base: &Base, operand: &Operand, dot: &Value) -> Result<Value> {
        Ok(match base {
            Base::Dot => dot.clone(),
            Base::Constant(value) => value.clone(),
            Base::Nil => Value::Null(Kind::Pointer),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map_or(Value::Absent, |(_, value)| value.clone())
            }
            Base::Group(_) | Base::Function(_) => {
                let node = self.source[operand.at..operand.end].to_owned();
                let why = format!("can't give argument to non-function {node}");
                return self.wrong(operand.at, operand.at, operand.end, why);
            }
        })
    }

    fn fields(&self, mut value: Value, names: &[String], operand: &Operand) -> Result<Value> {
        let mut parent: Option<&String> = None;
        for (at, name) in names.iter().enumerate() {
            let last = at + 1 == names.len();
            value = match &value {
                Value::Struct(object) => match object.get(name) {
                    // The engine's documents are read into types that call some members otherwise.
                    Some(_) if object.kind.is_empty() && is_only_json(name) => {
                        return self.blame(operand, format!("map has no entry for key {name:?}"));
                    }
                    Some(value) => value.clone(),
                    None if object.labels != Labels::None && name == "Label" => {
                        return self.blame(operand, "wrong number of args for Label: want 1 got 0");
                    }
                    None if !object.kind.is_empty() => {
                        let kind = object.kind;
                        return self.blame(operand, format!("can't evaluate field {name} in type {kind}"));
                    }
                    None => return self.blame(operand, format!("map has no entry for key {name:?}")),
                },
                Value::Map(members) => match members.get(name) {
                    Some(Value::Null(Kind::Pointer)) if self.over == Over::Raw && last => Value::Absent,
                    Some(value) => value.clone(),
                    None if self.over == Over::Raw => {
                        return self.blame(operand, format!("map has no entry for key {name:?}"));
                    }
                    None => Value::Absent,
                },
                Value::Null(Kind::Map { .. }) | Value::Absent => Value::Absent,
                Value::Null(_) if self.over == Over::Raw => {
                    return self.blame(operand, format!("nil pointer evaluating interface {{}}.{name}"));
                }
                // An object that was left out: it is the one that is missing.
                Value::Null(_) if parent.is_some() => {
                    let parent = parent.map_or("", String::as_str);
                    return self.blame(operand, format!("map has no entry for key {parent:?}"));
                }
                Value::Null(_) => {
                    return self.blame(operand, format!("nil data; no entry for key {name:?}"));
                }
                other => {
                    let kind = if self.over == Over::Raw { "interface {}" } else { other.type_name() };
                    return self.blame(operand, format!("can't evaluate field {name} in type {kind}"));
                }
            };
            parent = Some(name);
        }
        Ok(value)
    }

    fn blame<T>(&self, operand: &Operand, why: impl AsRef<str>) -> Result<T> {
        self.wrong(operand.blame, operand.at, operand.end, why)
    }

    /// The one method there is: `.Label "key"`.
    fn method(&self, receiver: &Value, name: &str, arguments: &[Value], operand: &Operand) -> Result<Value> {
        let labels = match receiver {
            Value::Struct(object) if name == "Label" => &object.labels,
            _ => &Labels::None,
        };
        if matches!(labels, Labels::None) {
            self.fields(receiver.clone(), &[name.to_owned()], operand)?;
            return self.blame(operand, format!("{name} is not a method but has arguments"));
        }
        let [Value::Text(key)] = arguments else {
            let count = arguments.len();
            return self.blame(operand, format!("wrong number of args for Label: want 1 got {count}"));
        };
        let text: Rc<str> = match labels {
            Labels::Of(labels) => labels.get(&**key).map_or("", String::as_str).into(),
            _ => key.rsplit('.').next().unwrap_or(key).replace(['-', '_'], " ").into(),
        };
        Ok(Value::Text(text))
    }
}
