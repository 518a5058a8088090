//! Which devices a container may use.

use linux::cgroup::{DeviceAccess, DeviceKind, DeviceRule};
use oci::runtime::Resources;

use crate::{Error, Result};

/// Nothing; then the configuration's rules, then what every container can use: `null` and its kin, terminals, making
/// nodes. A list of what is allowed is just that, also where it does not begin by denying everything.
pub(crate) fn device_rules(resources: &Resources) -> Result<Vec<DeviceRule>> {
    let (kind, access) = (DeviceKind::All, DeviceAccess::ALL);
    let mut rules = vec![DeviceRule { allow: false, kind, major: None, minor: None, access }];
    for rule in &resources.devices {
        let invalid =
            |what: &str| Error::invalid(format_args!("linux.resources.devices: invalid {what} in {rule:?}"));
        let kind = match rule.kind.as_str() {
            "" | "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            "c" | "u" => DeviceKind::Character,
            _ => return Err(invalid("type")),
        };
        // -1 has always meant any.
        let number = |number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number).map(Some).map_err(|_| invalid("number")),
        };
        let (major, minor) = (number(rule.major)?, number(rule.minor)?);
        let letters = if rule.access.is_empty() { "rwm" } else { &rule.access };
        let access = DeviceAccess::parse(letters).ok_or_else(|| invalid("access"))?;
        let everything = kind == DeviceKind::All;
        if everything {
            // Nothing before it matters.
            rules.clear();
        }
        rules.push(DeviceRule { allow: rule.allow, kind, major, minor, access });
    }
    let open = rules.first().is_some_and(|first| first.kind == DeviceKind::All && first.allow)
        && rules.iter().all(|rule| rule.allow);
    if open {
        rules.truncate(1);
    } else {
        rules.extend(always_allowed());
    }
    Ok(rules)
}

fn always_allowed() -> impl Iterator<Item = DeviceRule> {
    let all = DeviceAccess::ALL;
    let make = DeviceAccess { read: false, write: false, make: true };
    #[rustfmt::skip]
    let table: [(DeviceKind, Option<u32>, Option<u32>, DeviceAccess); 11] = [
        (DeviceKind::Character, None, None, make), (DeviceKind::Block, None, None, make),
        (DeviceKind::Character, Some(1), Some(3), all), (DeviceKind::Character, Some(1), Some(5), all),
        (DeviceKind::Character, Some(1), Some(7), all), (DeviceKind::Character, Some(1), Some(8), all),
        (DeviceKind::Character, Some(1), Some(9), all), (DeviceKind::Character, Some(5), Some(0), all),
        (DeviceKind::Character, Some(5), Some(2), all), (DeviceKind::Character, Some(136), None, all),
        (DeviceKind::Character, Some(10), Some(200), all),
    ];
    table.into_iter().map(|(kind, major, minor, access)| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::tests::parse;

    #[test]
    fn a_rule_about_everything_ends_what_was_before() {
        let rules = device_rules(&parse(
            r#"{"devices":[{"allow":true,"type":"b","major":8},{"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":10,"minor":-1,"access":"r"}]}"#,
        ))
        .unwrap();
        assert_eq!((rules[0].kind, rules[0].allow), (DeviceKind::All, false));
        assert_eq!((rules[1].major, rules[1].minor), (Some(10), None));
        assert_eq!(rules.len(), 13);
        let console = |rule: &DeviceRule| (rule.major, rule.minor) == (Some(5), Some(1));
        assert!(!rules.iter().any(console), "the console is the host's");
        for nothing_denied in ["{}", r#"{"devices":[{"allow":true,"type":"c","major":4,"minor":0}]}"#] {
            let rules = device_rules(&parse(nothing_denied)).unwrap();
            assert_eq!((rules[0].kind, rules[0].allow), (DeviceKind::All, false), "{nothing_denied}");
        }
        let open = device_rules(&parse(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#)).unwrap();
        assert_eq!(open.len(), 1, "everything is open: nothing to add");
    }
}
