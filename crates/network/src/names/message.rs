//! DNS messages, as little of them as the resolver needs: one question in, an answer out (RFC 1035, 3596, 6891).
//!
//! Questions come from the container and are hostile: everything is bounds-checked, names have at most 255 bytes, and
//! nothing is allocated by a count that the message claims.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const A: u16 = 1;
pub(super) const PTR: u16 = 12;
pub(super) const MX: u16 = 15;
pub(super) const AAAA: u16 = 28;
const OPT: u16 = 41;
const IN: u16 = 1;

pub(super) const HEADER: usize = 12;
/// What every resolver takes over UDP.
const PLAIN_UDP: usize = 512;
/// What we say that we take over UDP.
const OUR_UDP: u16 = 4096;
const MAX_NAME: usize = 255;
/// Seconds that an answer may be remembered.
const TTL: u32 = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    Refused = 5,
}

/// The code of an answer.
pub(super) fn code(message: &[u8]) -> u8 {
    message.get(3).map_or(0, |flags| flags & 0x0f)
}

/// A question that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// Lower case, no dot at the end. Bytes that are no part of names that we know become `?`.
    pub(super) name: String,
    pub(super) kind: u16,
    pub(super) internet: bool,
    /// How large an answer may be over UDP.
    pub(super) udp_limit: usize,
    /// Where the question ends in its message.
    end: usize,
    extended: bool,
}

/// What a message from a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parsed {
    Question(Question),
    /// It has the head of a question, and the rest makes no sense.
    Malformed,
    /// No question at all: not to be answered.
    Noise,
}

pub(super) fn parse(message: &[u8]) -> Parsed {
    const IS_ANSWER: u8 = 0x80;
    const OPERATION: u8 = 0x78;
    if message.len() < HEADER || message[2] & IS_ANSWER != 0 {
        return Parsed::Noise;
    }
    let one_question = message[4..6] == [0, 1];
    if message[2] & OPERATION != 0 || !one_question {
        return Parsed::Malformed;
    }
    match question(message) {
        Some(question) => Parsed::Question(question),
        None => Parsed::Malformed,
    }
}

fn question(message: &[u8]) -> Option<Question> {
    let (name, after) = name(message, HEADER)?;
    let kind = number(message, after)?;
    let class = number(message, after + 2)?;
    let end = after + 4;
    let size = extended_size(message, end);
    Some(Question {
        name,
        kind,
        internet: class == IN,
        udp_limit: size.map_or(PLAIN_UDP, |size| usize::from(size).max(PLAIN_UDP)),
        end,
        extended: size.is_some(),
    })
}

/// A name and where it ends. A question's name is the first of its message: pointers would point at nothing.
fn name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            return Some((text, at));
        }
        if length > 63 || at + length - start > MAX_NAME {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        let plain =
            |byte: u8| if byte.is_ascii_graphic() && byte != b'.' { byte.to_ascii_lowercase() } else { b'?' };
        text.extend(message.get(at..at + length)?.iter().map(|byte| char::from(plain(*byte))));
        at += length;
    }
}

/// The size in a question's OPT record, which stands alone behind the question in all that clients send.
fn extended_size(message: &[u8], end: usize) -> Option<u16> {
    let only_additional = message[6..10] == [0; 4] && number(message, 10)? > 0;
    let root = *message.get(end)? == 0;
    (only_additional && root && number(message, end + 1)? == OPT).then(|| number(message, end + 3)).flatten()
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

/// One record of an answer, about the name that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Address(IpAddr),
    Pointer(String),
}

impl Record {
    fn write(&self, out: &mut Vec<u8>) {
        let (kind, data) = match self {
            Record::Address(IpAddr::V4(address)) => (A, address.octets().to_vec()),
            Record::Address(IpAddr::V6(address)) => (AAAA, address.octets().to_vec()),
            Record::Pointer(name) => (PTR, labels(name)),
        };
        // The name: a pointer to the question's.
        out.extend_from_slice(&[0xc0, HEADER as u8]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&IN.to_be_bytes());
        out.extend_from_slice(&TTL.to_be_bytes());
        out.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&data);
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty() && label.len() <= 63) {
        if out.len() + label.len() + 2 > MAX_NAME {
            break;
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// An answer to a question that was understood. What does not fit within `limit` is left out, and the answer says so:
/// the client asks again over TCP.
pub(super) fn answer(
    message: &[u8],
    question: &Question,
    code: Code,
    records: &[Record],
    limit: usize,
) -> Vec<u8> {
    let mut out = message[..question.end].to_vec();
    set_head(&mut out, code);
    let reserve = if question.extended { 11 } else { 0 };
    let mut count: u16 = 0;
    for record in records {
        let before = out.len();
        record.write(&mut out);
        if out.len() + reserve > limit {
            const TRUNCATED: u8 = 0x02;
            out.truncate(before);
            out[2] |= TRUNCATED;
            break;
        }
        count += 1;
    }
    out[6..8].copy_from_slice(&count.to_be_bytes());
    if question.extended {
        out.push(0);
        out.extend_from_slice(&OPT.to_be_bytes());
        out.extend_from_slice(&OUR_UDP.to_be_bytes());
        out.extend_from_slice(&[0; 6]);
        out[11] = 1;
    }
    out
}

/// An answer that only says what is wrong. `message` has at least a head.
pub(super) fn refusal(message: &[u8], code: Code) -> Vec<u8> {
    match parse(message) {
        Parsed::Question(question) => answer(message, &question, code, &[], PLAIN_UDP),
        _ => {
            let mut out = message[..HEADER].to_vec();
            out[4..6].fill(0);
            set_head(&mut out, code);
            out
        }
    }
}

fn set_head(out: &mut [u8], code: Code) {
    const IS_ANSWER: u8 = 0x80;
    const KEPT: u8 = 0x79; // operation, recursion desired
    const RECURSION_AVAILABLE: u8 = 0x80;
    out[2] = IS_ANSWER | out[2] & KEPT;
    out[3] = RECURSION_AVAILABLE | code as u8;
    out[6..12].fill(0);
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` asks about.
pub(super) fn reverse_address(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut parts = digits.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = parts.next()?.parse().ok()?;
        }
        return parts.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let mut address: u128 = 0;
    let mut count = 0;
    for digit in digits.split('.').rev() {
        let digit = u8::from_str_radix(digit, 16).ok().filter(|_| digit.len() == 1)?;
        address = address << 4 | u128::from(digit);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from(address).into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A question as clients send it.
    pub(in super::super) fn ask(name: &str, kind: u16, extended: Option<u16>) -> Vec<u8> {
        let mut message = vec![0xab, 0xcd, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&labels(name));
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&IN.to_be_bytes());
        if let Some(size) = extended {
            message[11] = 1;
            message.extend_from_slice(&[0, 0, 41]);
            message.extend_from_slice(&size.to_be_bytes());
            message.extend_from_slice(&[0; 6]);
        }
        message
    }

    fn parsed(message: &[u8]) -> Question {
        match parse(message) {
            Parsed::Question(question) => question,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn questions_are_read_in_lower_case() {
        let question = parsed(&ask("Web.Backend", A, None));
        assert_eq!((question.name.as_str(), question.kind, question.udp_limit), ("web.backend", A, 512));
        assert_eq!(parsed(&ask("web", AAAA, Some(1232))).udp_limit, 1232);
        assert_eq!(parsed(&ask("web", AAAA, Some(100))).udp_limit, 512);
    }

    #[test]
    fn whatever_is_cut_off_is_malformed_or_noise() {
        let whole = ask("web.backend", A, Some(4096));
        for length in 0..whole.len() - 11 {
            assert!(!matches!(parse(&whole[..length]), Parsed::Question(_)), "{length}");
        }
        let mut pointer = ask("web", A, None);
        pointer[HEADER] = 0xc0;
        assert_eq!(parse(&pointer), Parsed::Malformed);
        let mut answer = ask("web", A, None);
        answer[2] |= 0x80;
        assert_eq!(parse(&answer), Parsed::Noise);
    }

    #[test]
    fn answers_carry_what_fits() {
        let message = ask("web", A, None);
        let question = parsed(&message);
        let records: Vec<Record> =
            (0..100).map(|i| Record::Address(Ipv4Addr::new(10, 0, 0, i).into())).collect();
        let cut = answer(&message, &question, Code::NoError, &records, 512);
        assert!(cut.len() <= 512);
        assert_eq!(cut[2] & 0x02, 0x02);
        assert_eq!(usize::from(number(&cut, 6).unwrap()), (512 - message.len()) / 16);
        let whole = answer(&message, &question, Code::NoError, &records, 65535);
        assert_eq!((whole[2] & 0x02, number(&whole, 6)), (0, Some(100)));
        assert_eq!(whole[..2], message[..2]);
    }

    #[test]
    fn names_that_ask_about_addresses() {
        assert_eq!(reverse_address("2.0.18.172.in-addr.arpa"), Some("172.18.0.2".parse().unwrap()));
        let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(reverse_address(six), Some("fd00::2".parse().unwrap()));
        for wrong in
            ["1.2.3.in-addr.arpa", "1.2.3.4.5.in-addr.arpa", "300.1.1.1.in-addr.arpa", "web", "1.ip6.arpa"]
        {
            assert_eq!(reverse_address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn refusals_keep_the_question() {
        let message = ask("web", A, Some(1232));
        let refused = refusal(&message, Code::Refused);
        assert_eq!((code(&refused), number(&refused, 4)), (5, Some(1)));
        let refused = refusal(&message[..HEADER], Code::FormatError);
        assert_eq!((code(&refused), number(&refused, 4), refused.len()), (1, Some(0), HEADER));
    }
}
