//! The compiler: rules to ranges, ranges to a binary search, all of it written backwards.
//!
//! ```text
//!   load arch ─▶ per architecture: load number ─▶ search tree ─▶ return action
//!                                                       └──────▶ conditions ─▶ return action
//! ```
//!
//! Jumps of classic BPF only go forward, and conditional ones at most 255 instructions. So code is emitted from
//! its end: when a jump is written, its targets are there and their distance is known. A target too far away is
//! reached through an unconditional jump that is put in between; a `return` too far away is simply repeated.

use std::collections::HashMap;

use super::architecture::{Architecture, X32_BIT, calls};
use super::{Action, Compare, Condition, Filter, Instruction, MAX_INSTRUCTIONS, Program};
use crate::{Errno, Error, Result};

pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_GREATER: u16 = 0x25;
pub(super) const IF_AT_LEAST: u16 = 0x35;
pub(super) const RETURN: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What to do with one call number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Always(Action),
    /// The first alternative whose conditions all hold; else the last field.
    Conditional(Vec<(Vec<Condition>, Action)>, Action),
}

/// From this number up to the next range's, this body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: u32,
    body: Body,
}

pub(super) fn program(filter: &Filter<'_>) -> Result<Program> {
    // Calls of a foreign machine cannot be made here, so no instruction is spent on them.
    let mut architectures: Vec<_> = filter.architectures.iter().copied().filter(|a| a.runs_here()).collect();
    architectures.push(Architecture::NATIVE);
    architectures.sort_unstable();
    architectures.dedup();

    let bodies = bodies(filter);
    let mut code = Backwards::default();
    // The last test of the chain comes first here; what matches none is killed.
    let mut next = code.return_of(Action::KillThread);
    for family in families(&architectures).into_iter().rev() {
        let entry = code.family(filter.default, &bodies, &family);
        next = code.branch(IF_EQUAL, family[0].audit(), entry, next);
    }
    code.load(ARCHITECTURE);
    code.finish()
}

/// Architectures that the kernel reports alike, together.
fn families(architectures: &[Architecture]) -> Vec<Vec<Architecture>> {
    let mut families: Vec<Vec<Architecture>> = Vec::new();
    for architecture in architectures {
        match families.iter_mut().find(|family| family[0].audit() == architecture.audit()) {
            Some(family) => family.push(*architecture),
            None => families.push(vec![*architecture]),
        }
    }
    // The machine's own first: nearly all calls come from it.
    families.sort_by_key(|family| !family.contains(&Architecture::NATIVE));
    families
}

/// The ranges of a family, from 0 up, neighbours different.
fn ranges(default: Action, bodies: &Bodies<'_>, family: &[Architecture]) -> Vec<Range> {
    let mut ranges = Vec::new();
    let has = |architecture| family.contains(&architecture);
    let is_x86_64 = has(Architecture::X86_64) || has(Architecture::X32);
    for (architecture, first) in [(Architecture::X86_64, 0), (Architecture::X32, X32_BIT)] {
        if is_x86_64 && has(architecture) {
            ranges.extend(ranges_of(default, bodies, architecture, first));
        } else if is_x86_64 {
            ranges.push(Range { first, body: Body::Always(Action::KillThread) });
        }
    }
    if !is_x86_64 {
        ranges.extend(ranges_of(default, bodies, family[0], 0));
    }
    ranges.dedup_by(|later, earlier| later.body == earlier.body);
    ranges
}

fn ranges_of(default: Action, bodies: &Bodies<'_>, architecture: Architecture, first: u32) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |first: u32, body: Body| {
        if ranges.last().is_none_or(|last| last.body != body) {
            ranges.push(Range { first, body });
        }
    };
    let mut end = first;
    for (name, number) in calls(architecture) {
        let Some(body) = bodies.get(name) else { continue };
        if number > end {
            add(end, Body::Always(default));
        }
        add(number, body.clone());
        end = number + 1;
    }
    let newer =
        if end > first && !default.lets_through() { Action::Errno(libc::ENOSYS as u16) } else { default };
    add(end, Body::Always(newer));
    ranges
}

/// What the rules on each call add up to. Rules go by name, so this is the same for every architecture.
type Bodies<'a> = HashMap<&'a str, Body>;

fn bodies<'a>(filter: &Filter<'a>) -> Bodies<'a> {
    let names = filter.rules.iter().map(|rule| rule.calls.len()).sum();
    let mut bodies: Bodies<'a> = HashMap::with_capacity(names);
    for rule in
        filter.rules.iter().filter(|rule| rule.action != filter.default || !rule.conditions.is_empty())
    {
        for name in &rule.calls {
            let alternative = || (rule.conditions.clone(), rule.action);
            match bodies.get_mut(name) {
                Some(Body::Always(_)) => {}
                Some(body) if rule.conditions.is_empty() => *body = Body::Always(rule.action),
                Some(Body::Conditional(alternatives, _)) => alternatives.push(alternative()),
                None if rule.conditions.is_empty() => {
                    bodies.insert(name, Body::Always(rule.action));
                }
                None => {
                    bodies.insert(name, Body::Conditional(vec![alternative()], filter.default));
                }
            }
        }
    }
    bodies
}

/// A place in the code, counted from its end.
type Label = usize;

/// The program, last instruction first.
#[derive(Default)]
struct Backwards {
    code: Vec<Instruction>,
    returns: HashMap<Action, Label>,
}

impl Backwards {
    fn finish(mut self) -> Result<Program> {
        if self.code.len() > MAX_INSTRUCTIONS {
            let length = self.code.len();
            return Err(Error::new(
                "seccomp",
                format_args!("a filter of {length} instructions"),
                Errno::TOOBIG,
            ));
        }
        self.code.reverse();
        Ok(Program { instructions: self.code })
    }

    fn emit(&mut self, code: u16, jump_true: u8, jump_false: u8, value: u32) -> Label {
        self.code.push(Instruction { code, jump_true, jump_false, value });
        self.code.len() - 1
    }

    fn load(&mut self, offset: u32) -> Label {
        self.emit(LOAD, 0, 0, offset)
    }

    /// How far a jump written next would go. One more instruction may still come in between.
    fn distance(&self, label: Label) -> usize {
        self.code.len() - label - 1
    }

    fn return_of(&mut self, action: Action) -> Label {
        // Leaves room for the trampoline of the other branch.
        match self.returns.get(&action) {
            Some(label) if self.distance(*label) < 250 => *label,
            _ => {
                let label = self.emit(RETURN, 0, 0, action.code());
                self.returns.insert(action, label);
                label
            }
        }
    }

    fn branch(&mut self, test: u16, value: u32, on_true: Label, on_false: Label) -> Label {
        let (mut on_true, mut on_false) = (on_true, on_false);
        if self.distance(on_true) >= 255 {
            on_true = self.emit(JUMP, 0, 0, self.distance(on_true) as u32);
        }
        if self.distance(on_false) >= 255 {
            on_false = self.emit(JUMP, 0, 0, self.distance(on_false) as u32);
        }
        let (yes, no) = (self.distance(on_true) as u8, self.distance(on_false) as u8);
        self.emit(test, yes, no, value)
    }

    fn family(&mut self, default: Action, bodies: &Bodies<'_>, family: &[Architecture]) -> Label {
        let ranges = ranges(default, bodies, family);
        let tree = self.tree(&ranges);
        debug_assert_eq!(tree, self.code.len() - 1);
        self.load(NUMBER)
    }

    /// Searches the ranges by halves. The entry is the instruction emitted last.
    fn tree(&mut self, ranges: &[Range]) -> Label {
        let label = self.subtree(ranges);
        if label == self.code.len() - 1 { label } else { self.emit(JUMP, 0, 0, self.distance(label) as u32) }
    }

    fn subtree(&mut self, ranges: &[Range]) -> Label {
        if let [range] = ranges {
            return self.body(&range.body);
        }
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        let upper_label = self.subtree(upper);
        let lower_label = self.subtree(lower);
        self.branch(IF_AT_LEAST, upper[0].first, upper_label, lower_label)
    }

    fn body(&mut self, body: &Body) -> Label {
        match body {
            Body::Always(action) => self.return_of(*action),
            Body::Conditional(alternatives, otherwise) => {
                let mut next = self.return_of(*otherwise);
                for (conditions, action) in alternatives.iter().rev() {
                    let matched = self.return_of(*action);
                    next = self.all(conditions, matched, next);
                }
                next
            }
        }
    }

    fn all(&mut self, conditions: &[Condition], matched: Label, failed: Label) -> Label {
        conditions.iter().rev().fold(matched, |matched, condition| self.condition(condition, matched, failed))
    }

    /// Compares the upper half, then if that does not decide the lower one.
    fn condition(&mut self, condition: &Condition, matched: Label, failed: Label) -> Label {
        let halves = |value: u64| ((value >> 32) as u32, value as u32);
        let low = ARGUMENTS + 8 * u32::from(condition.argument);
        let (m, f) = (matched, failed);
        match condition.compare {
            Compare::Equal(value) => self.equal(low, (u32::MAX, u32::MAX), halves(value), m, f),
            Compare::NotEqual(value) => self.equal(low, (u32::MAX, u32::MAX), halves(value), f, m),
            Compare::Masked { mask, value } => self.equal(low, halves(mask), halves(value), m, f),
            Compare::Greater(value) => self.above(low, IF_GREATER, halves(value), m, f),
            Compare::LessOrEqual(value) => self.above(low, IF_GREATER, halves(value), f, m),
            Compare::GreaterOrEqual(value) => self.above(low, IF_AT_LEAST, halves(value), m, f),
            Compare::Less(value) => self.above(low, IF_AT_LEAST, halves(value), f, m),
        }
    }

    fn equal(&mut self, low: u32, mask: (u32, u32), value: (u32, u32), same: Label, other: Label) -> Label {
        self.branch(IF_EQUAL, value.1, same, other);
        if mask.1 != u32::MAX {
            self.emit(AND, 0, 0, mask.1);
        }
        let lower = self.load(low);
        self.branch(IF_EQUAL, value.0, lower, other);
        if mask.0 != u32::MAX {
            self.emit(AND, 0, 0, mask.0);
        }
        self.load(low + 4)
    }

    /// `test` decides on the lower half where the upper ones are equal.
    fn above(&mut self, low: u32, test: u16, value: (u32, u32), above: Label, below: Label) -> Label {
        self.branch(test, value.1, above, below);
        let lower = self.load(low);
        let same = self.branch(IF_EQUAL, value.0, lower, below);
        self.branch(IF_GREATER, value.0, above, same);
        self.load(low + 4)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rule;
    use super::*;

    const NATIVE: u32 = 0xc000_003e;

    fn rule<'a>(calls: &[&'a str], action: Action, conditions: &[Condition]) -> Rule<'a> {
        Rule { calls: calls.to_vec(), action, conditions: conditions.to_vec() }
    }

    fn condition(compare: Compare) -> Condition {
        Condition { argument: 1, compare }
    }

    #[test]
    fn every_operator_against_plain_arithmetic() {
        let values = [0, 1, 5, u32::MAX as u64, 1 << 32, (1 << 32) + 5, u64::MAX - 1, u64::MAX];
        for value in values {
            let mask = 0xff00_0000_00ff;
            let all: [(Compare, &dyn Fn(u64) -> bool); 7] = [
                (Compare::Equal(value), &|a| a == value),
                (Compare::NotEqual(value), &|a| a != value),
                (Compare::Less(value), &|a| a < value),
                (Compare::LessOrEqual(value), &|a| a <= value),
                (Compare::Greater(value), &|a| a > value),
                (Compare::GreaterOrEqual(value), &|a| a >= value),
                (Compare::Masked { mask, value }, &|a| a & mask == value),
            ];
            for (compare, holds) in all {
                let filter = Filter {
                    default: Action::Errno(1),
                    architectures: vec![],
                    rules: vec![rule(&["openat"], Action::Allow, &[condition(compare)])],
                };
                let program = filter.compile().unwrap();
                for argument in values.iter().flat_map(|v| [*v, v ^ 1, v & 0xff]) {
                    let expected = if holds(argument) { Action::Allow } else { Action::Errno(1) };
                    let got = program.evaluate(NATIVE, 257, [0, argument, 0, 0, 0, 0]);
                    assert_eq!(got, expected.code(), "{compare:?} of {argument:#x}");
                }
            }
        }
    }

    #[test]
    fn a_large_filter_answers_as_its_rules_say() {
        // Every third call, with an action of its own kind: more ranges than one jump can cross.
        let numbers: HashMap<&str, u32> = super::calls(Architecture::X86_64).into_iter().collect();
        let calls: Vec<&str> =
            (0..=460).filter_map(syscalls::x86_64::Sysno::new).map(|call| call.name()).step_by(3).collect();
        let action = |index: usize| Action::Errno(index as u16 + 10);
        let rules = calls.iter().enumerate().map(|(index, call)| {
            let conditions: &[Condition] =
                if index % 2 == 0 { &[] } else { &[Condition { argument: 1, compare: Compare::Greater(7) }] };
            rule(&[call], action(index), conditions)
        });
        let filter = Filter {
            default: Action::Trap,
            architectures: vec![Architecture::X86, Architecture::X32],
            rules: rules.collect(),
        };
        let program = filter.compile().unwrap();
        for (index, call) in calls.iter().enumerate() {
            let number = numbers[call];
            let with = |argument| program.evaluate(NATIVE, number, [0, argument, 0, 0, 0, 0]);
            assert_eq!(with(8), action(index).code(), "{call}");
            let otherwise = if index % 2 == 0 { action(index) } else { Action::Trap };
            assert_eq!(with(7), otherwise.code(), "{call}");
        }
        assert_eq!(program.evaluate(NATIVE, 1, [0; 6]), Action::Trap.code());
        assert_eq!(program.evaluate(NATIVE, 9000, [0; 6]), Action::Errno(libc::ENOSYS as u16).code());
    }

    #[test]
    fn architectures_are_kept_apart() {
        let rules = vec![rule(&["execve"], Action::Errno(7), &[])];
        let filter = |architectures| {
            Filter { default: Action::Allow, architectures, rules: rules.clone() }.compile().unwrap()
        };
        let own = filter(vec![]);
        assert_eq!(own.evaluate(NATIVE, 59, [0; 6]), Action::Errno(7).code());
        assert_eq!(own.evaluate(NATIVE, X32_BIT | 1, [0; 6]), Action::KillThread.code());
        assert_eq!(own.evaluate(Architecture::X86.audit(), 11, [0; 6]), Action::KillThread.code());
        let all = filter(vec![Architecture::X86, Architecture::X32]);
        assert_eq!(all.evaluate(NATIVE, X32_BIT | 520, [0; 6]), Action::Errno(7).code());
        assert_eq!(all.evaluate(NATIVE, X32_BIT | 59, [0; 6]), Action::Allow.code());
        assert_eq!(all.evaluate(Architecture::X86.audit(), 11, [0; 6]), Action::Errno(7).code());
        assert_eq!(all.evaluate(0x1234, 11, [0; 6]), Action::KillThread.code());
    }

    #[test]
    fn unconditional_rules_win_and_then_the_first() {
        let over = [Condition { argument: 1, compare: Compare::Greater(5) }];
        let filter = Filter {
            default: Action::Errno(1),
            architectures: vec![],
            rules: vec![
                rule(&["socket"], Action::Errno(2), &over),
                rule(&["socket"], Action::Errno(3), &[]),
                rule(&["socket"], Action::Errno(4), &[]),
                rule(&["openat"], Action::Errno(5), &over),
                rule(&["openat"], Action::Errno(6), &over),
            ],
        };
        let program = filter.compile().unwrap();
        assert_eq!(program.evaluate(NATIVE, 41, [0, 9, 0, 0, 0, 0]), Action::Errno(3).code());
        assert_eq!(program.evaluate(NATIVE, 257, [0, 9, 0, 0, 0, 0]), Action::Errno(5).code());
    }

    #[test]
    fn a_usual_filter_is_compact() {
        // As many calls as the usual profile allows, in three architectures.
        let calls: Vec<&str> = (0..=460)
            .filter_map(syscalls::x86_64::Sysno::new)
            .map(|call| call.name())
            .filter(|name| !name.starts_with("kexec") && name.len() % 5 != 0)
            .collect();
        let filter = Filter {
            default: Action::Errno(1),
            architectures: vec![Architecture::X86, Architecture::X32],
            rules: vec![rule(&calls, Action::Allow, &[])],
        };
        let length = filter.compile().unwrap().length();
        assert!(length < 600, "{length} instructions");
    }
}
