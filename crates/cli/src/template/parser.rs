//! Words become a tree.
//!
//! ```text
//! list     = { text | action }
//! action   = pipeline | if | with | range | template | define | block | break | continue
//! pipeline = [ $v [ , $w ] ( := | = ) ] command { | command }
//! command  = operand { operand }
//! operand  = ( . | .field | $v | function | constant | ( pipeline ) ) { .field }
//! ```

use std::collections::HashMap;

use super::functions;
use super::lexer::{Kind, Token, Wrong};
use super::value::{self, Value};

/// Parentheses and blocks within each other; more than this is a mistake.
const DEPTH: usize = 100;

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Show(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { name: String, argument: Option<Pipeline> },
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct Branch {
    pub(super) condition: Pipeline,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Vec<String>,
    /// Whether the variables exist already.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
    /// Its place in the source, for messages.
    pub(super) at: usize,
    pub(super) end: usize,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
    pub(super) at: usize,
    pub(super) end: usize,
    /// Where a message about it points.
    pub(super) blame: usize,
}

#[derive(Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Function(String),
    Constant(Value),
    Nil,
    Group(Box<Pipeline>),
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) root: Vec<Node>,
    pub(super) defined: HashMap<String, Vec<Node>>,
}

pub(super) fn parse(tokens: Vec<Token>, length: usize) -> Result<Tree, Wrong> {
    let scope = vec!["$".to_owned()];
    let mut parser = Parser { tokens, at: 0, length, scope, loops: 0, depth: 0, defined: HashMap::new() };
    let (root, end) = parser.list()?;
    match end {
        Stop::Source => Ok(Tree { root, defined: parser.defined }),
        Stop::Close => parser.wrong("unexpected {{end}}"),
        Stop::Else => parser.wrong("unexpected {{else}}"),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    length: usize,
    /// The variables that are known here.
    scope: Vec<String>,
    loops: usize,
    depth: usize,
    defined: HashMap<String, Vec<Node>>,
}

/// What a list of nodes ended with.
enum Stop {
    Source,
    Close,
    Else,
}

impl Parser {
    fn wrong<T>(&self, why: impl Into<String>) -> Result<T, Wrong> {
        let token = self.tokens.get(self.at.saturating_sub(1));
        Err((token.map_or(self.length, |token| token.at), why.into()))
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn accept(&mut self, kind: &Kind) -> bool {
        let found = self.peek() == Some(kind);
        self.at += usize::from(found);
        found
    }

    fn close(&mut self, context: &str) -> Result<(), Wrong> {
        match self.next() {
            Some(token) if token.kind == Kind::Close => Ok(()),
            Some(token) => self.wrong(format!("unexpected {} in {context}", shown(&token.kind))),
            None => self.wrong("unexpected EOF"),
        }
    }

    fn list(&mut self) -> Result<(Vec<Node>, Stop), Wrong> {
        let mut nodes = Vec::new();
        loop {
            let Some(token) = self.next() else { return Ok((nodes, Stop::Source)) };
            match token.kind {
                Kind::Text(text) => nodes.push(Node::Text(text)),
                _ => match self.peek() {
                    Some(Kind::Word(word)) if word == "end" => {
                        self.at += 1;
                        self.close("end")?;
                        return Ok((nodes, Stop::Close));
                    }
                    Some(Kind::Word(word)) if word == "else" => {
                        self.at += 1;
                        return Ok((nodes, Stop::Else));
                    }
                    _ => nodes.extend(self.action()?),
                },
            }
        }
    }

    fn action(&mut self) -> Result<Option<Node>, Wrong> {
        let word = match self.peek() {
            Some(Kind::Word(word)) => word.clone(),
            _ => String::new(),
        };
        let keyword = matches!(
            word.as_str(),
            "if" | "with" | "range" | "template" | "define" | "block" | "break" | "continue"
        );
        if !keyword {
            let known = self.scope.len();
            let pipeline = self.pipeline("command", &Kind::Close)?;
            // What an action declares is known until its block ends.
            debug_assert!(self.scope.len() >= known);
            return Ok(Some(Node::Show(pipeline)));
        }
        self.at += 1;
        Ok(Some(match word.as_str() {
            "if" => Node::If(self.branch("if")?),
            "with" => Node::With(self.branch("with")?),
            "range" => {
                self.loops += 1;
                let branch = self.branch("range");
                self.loops -= 1;
                Node::Range(branch?)
            }
            "template" => {
                let name = self.name("template")?;
                let argument = match self.accept(&Kind::Close) {
                    true => None,
                    false => Some(self.pipeline("template", &Kind::Close)?),
                };
                Node::Template { name, argument }
            }
            "block" => {
                let name = self.name("block")?;
                let argument = Some(self.pipeline("block", &Kind::Close)?);
                self.definition(name.clone())?;
                Node::Template { name, argument }
            }
            "define" => {
                let name = self.name("define")?;
                self.close("define")?;
                self.definition(name)?;
                return Ok(None);
            }
            _ if self.loops == 0 => return self.wrong(format!("{{{{{word}}}}} outside {{{{range}}}}")),
            word => {
                self.close(word)?;
                if word == "break" { Node::Break } else { Node::Continue }
            }
        }))
    }

    fn name(&mut self, context: &str) -> Result<String, Wrong> {
        match self.next() {
            Some(Token { kind: Kind::Quoted(name), .. }) => Ok(name),
            Some(token) => self.wrong(format!("unexpected {} in {context} clause", shown(&token.kind))),
            None => self.wrong("unexpected EOF"),
        }
    }

    fn definition(&mut self, name: String) -> Result<(), Wrong> {
        let scope = std::mem::replace(&mut self.scope, vec!["$".to_owned()]);
        let (nodes, end) = self.nested(Parser::list)?;
        self.scope = scope;
        match end {
            Stop::Close => {
                self.defined.insert(name, nodes);
                Ok(())
            }
            Stop::Else => self.wrong("unexpected {{else}} in define clause"),
            Stop::Source => self.wrong("unexpected EOF"),
        }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Parser) -> Result<T, Wrong>) -> Result<T, Wrong> {
        if self.depth == DEPTH {
            return self.wrong(format!("more than {DEPTH} blocks within each other"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// What follows `if`, `with` or `range`, up to its `end`.
    fn branch(&mut self, word: &'static str) -> Result<Branch, Wrong> {
        let known = self.scope.len();
        let condition = self.pipeline(word, &Kind::Close)?;
        if word != "range" && condition.variables.len() > 1 {
            return self.wrong(format!("too many declarations in {word}"));
        }
        let (then, end) = self.nested(Parser::list)?;
        let otherwise = match end {
            Stop::Close => Vec::new(),
            Stop::Source => return self.wrong("unexpected EOF"),
            Stop::Else => self.otherwise(word)?,
        };
        self.scope.truncate(known);
        Ok(Branch { condition, then, otherwise })
    }

    fn otherwise(&mut self, word: &'static str) -> Result<Vec<Node>, Wrong> {
        // `{{else if X}}` is `{{else}}{{if X}}` that shares its end.
        if word != "range" && self.accept(&Kind::Word(word.to_owned())) {
            let branch = self.nested(|parser| parser.branch(word))?;
            return Ok(vec![if word == "if" { Node::If(branch) } else { Node::With(branch) }]);
        }
        self.close("else")?;
        match self.nested(Parser::list)? {
            (nodes, Stop::Close) => Ok(nodes),
            (_, Stop::Else) => self.wrong("expected end; found {{else}}"),
            (_, Stop::Source) => self.wrong("unexpected EOF"),
        }
    }

    fn pipeline(&mut self, context: &str, end: &Kind) -> Result<Pipeline, Wrong> {
        let (variables, assigns) = self.declaration(context)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(context)?;
            if command.operands.is_empty() {
                return self.wrong(format!("missing value for {context}"));
            }
            if !commands.is_empty()
                && !matches!(command.operands[0].base, Base::Function(_))
                && command.operands[0].fields.is_empty()
                && matches!(command.operands[0].base, Base::Constant(_) | Base::Nil)
            {
                return self.wrong("non executable command in pipeline stage 2");
            }
            commands.push(command);
            match self.next() {
                Some(token) if token.kind == Kind::Pipe => {}
                Some(token) if token.kind == *end => break,
                Some(token) if token.kind == Kind::Close => return self.wrong("unclosed left paren"),
                Some(token) => return self.wrong(format!("unexpected {} in {context}", shown(&token.kind))),
                None => return self.wrong("unexpected EOF"),
            }
        }
        if !assigns {
            self.scope.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, assigns, commands })
    }

    /// `$v :=`, `$v =`, `$k, $v :=`, or nothing of the kind.
    fn declaration(&mut self, context: &str) -> Result<(Vec<String>, bool), Wrong> {
        let kind = |at: usize| self.tokens.get(self.at + at).map(|token| &token.kind);
        let (names, sign) = match (kind(0), kind(1), kind(2), kind(3)) {
            (Some(Kind::Variable(first)), Some(sign @ (Kind::Declare | Kind::Assign)), ..) => {
                (vec![first.clone()], sign.clone())
            }
            (
                Some(Kind::Variable(first)),
                Some(Kind::Comma),
                Some(Kind::Variable(second)),
                Some(sign @ (Kind::Declare | Kind::Assign)),
            ) => {
                if context != "range" {
                    return self.wrong(format!("too many declarations in {context}"));
                }
                (vec![first.clone(), second.clone()], sign.clone())
            }
            _ => return Ok((Vec::new(), false)),
        };
        self.at += names.len() * 2;
        let assigns = sign == Kind::Assign;
        if assigns && let Some(name) = names.iter().find(|name| !self.scope.contains(name)) {
            return self.wrong(format!("undefined variable {name:?}"));
        }
        Ok((names, assigns))
    }

    fn command(&mut self, context: &str) -> Result<Command, Wrong> {
        let start = self.tokens.get(self.at).map_or(self.length, |token| token.at);
        let mut operands: Vec<Operand> = Vec::new();
        while let Some(operand) = self.operand(context)? {
            operands.push(operand);
        }
        let end = operands.last().map_or(start, |operand| operand.end);
        Ok(Command { operands, at: start, end })
    }

    fn operand(&mut self, context: &str) -> Result<Option<Operand>, Wrong> {
        let Some(token) = self.tokens.get(self.at).cloned() else { return Ok(None) };
        let mut fields = Vec::new();
        let base = match token.kind {
            Kind::Pipe | Kind::RightParen | Kind::Close => return Ok(None),
            Kind::Dot => Base::Dot,
            Kind::Field(name) => {
                fields.push(name);
                Base::Dot
            }
            Kind::Variable(name) if self.scope.contains(&name) => Base::Variable(name),
            Kind::Variable(name) => {
                self.at += 1;
                return self.wrong(format!("undefined variable {name:?}"));
            }
            Kind::Word(word) => match word.as_str() {
                "true" => Base::Constant(Value::Bool(true)),
                "false" => Base::Constant(Value::Bool(false)),
                "nil" => Base::Nil,
                name if functions::exists(name) => Base::Function(word),
                name => {
                    self.at += 1;
                    return self.wrong(format!("function {name:?} not defined"));
                }
            },
            Kind::Number(text) => match number(&text) {
                Some(value) => Base::Constant(value),
                None => {
                    self.at += 1;
                    return self.wrong(format!("bad number syntax: {text:?}"));
                }
            },
            Kind::Quoted(text) => Base::Constant(Value::text(text)),
            Kind::Letter(letter) => Base::Constant(Value::Int(i64::from(u32::from(letter)))),
            Kind::LeftParen => {
                self.at += 1;
                let group =
                    self.nested(|parser| parser.pipeline("parenthesized pipeline", &Kind::RightParen))?;
                self.at -= 1;
                Base::Group(Box::new(group))
            }
            kind => {
                self.at += 1;
                return self.wrong(format!("unexpected {} in {context}", shown(&kind)));
            }
        };
        self.at += 1;
        let mut operand = Operand { base, fields, at: token.at, end: self.end(), blame: token.at };
        self.chain(&mut operand)?;
        Ok(Some(operand))
    }

    /// The fields that are asked of an operand: `.A.B`, `$v.A`, `(index …).A`.
    fn chain(&mut self, operand: &mut Operand) -> Result<(), Wrong> {
        let mut first = true;
        while let Some(Token { kind: Kind::Field(name), at, end, spaced: false }) = self.tokens.get(self.at) {
            if matches!(operand.base, Base::Constant(_) | Base::Nil) {
                return Err((*at, format!("unexpected . after term {:?}", name)));
            }
            if first {
                operand.blame = *at;
                first = false;
            }
            operand.fields.push(name.clone());
            operand.end = *end;
            self.at += 1;
        }
        match self.tokens.get(self.at) {
            Some(Token { kind: Kind::Dot, at, spaced: false, .. }) => {
                Err((*at, "unexpected <.> in operand".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn end(&self) -> usize {
        self.tokens.get(self.at.saturating_sub(1)).map_or(self.length, |token| token.end)
    }
}

fn number(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    let (negative, body) = match digits.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let radix = [("0x", 16), ("0X", 16), ("0b", 2), ("0o", 8)]
        .into_iter()
        .find_map(|(prefix, radix)| body.strip_prefix(prefix).map(|rest| i64::from_str_radix(rest, radix)));
    let magnitude = match radix {
        Some(number) => number.ok()?,
        None => match body.parse::<i64>() {
            Ok(number) => number,
            Err(_) => {
                let number: f64 = body.parse().ok()?;
                return Some(value::Value::Float(if negative { -number } else { number }));
            }
        },
    };
    Some(Value::Int(if negative { -magnitude } else { magnitude }))
}

fn shown(kind: &Kind) -> String {
    match kind {
        Kind::Text(text) => format!("{text:?}"),
        Kind::Open => "\"{{\"".to_owned(),
        Kind::Close => "\"}}\"".to_owned(),
        Kind::Field(name) => format!("<.{name}>"),
        Kind::Variable(name) | Kind::Word(name) => format!("<{name}>"),
        Kind::Number(text) => format!("{text:?}"),
        Kind::Quoted(text) => format!("{:?}", format!("\"{text}\"")),
        Kind::Letter(letter) => format!("\"'{letter}'\""),
        Kind::Dot => "<.>".to_owned(),
        Kind::Pipe => "\"|\"".to_owned(),
        Kind::LeftParen => "\"(\"".to_owned(),
        Kind::RightParen => "\")\"".to_owned(),
        Kind::Declare => "\":=\"".to_owned(),
        Kind::Assign => "\"=\"".to_owned(),
        Kind::Comma => "\",\"".to_owned(),
    }
}
