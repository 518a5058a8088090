//! Names for containers that were given none: a quality and somebody who made computing or its ground what it is.

/// Qualities that nobody minds being listed under.
const ADJECTIVES: &[&str] = &[
    "able", "airy", "alert", "amber", "ample", "apt", "avid", "balmy", "bold", "brave", "breezy", "bright", "brisk",
    "busy", "calm", "candid", "careful", "cheerful", "civil", "clear", "clever", "cosy", "crisp", "curious", "daring",
    "deft", "dapper", "eager", "earnest", "easy", "exact", "fair", "fast", "fine", "fleet", "fluent", "fond", "frank",
    "free", "fresh", "gentle", "glad", "golden", "grand", "handy", "happy", "hardy", "hearty", "honest", "humble",
    "jolly", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mild", "modest", "neat",
    "nimble", "noble", "open", "patient", "placid", "plucky", "polite", "prompt", "proud", "quick", "quiet", "ready",
    "robust", "rosy", "serene", "sharp", "silent", "smart", "snug", "sober", "solid", "spry", "stable", "steady",
    "sturdy", "subtle", "sunny", "supple", "sure", "swift", "tender", "tidy", "tranquil", "trusty", "upbeat", "vivid",
    "warm", "wise", "witty", "worthy", "young", "zealous", "zesty",
];

/// Surnames, lower case and without accents.
const SURNAMES: &[&str] = &[
    "abel", "adams", "aho", "aiken", "allen", "amdahl", "ampere", "archimedes", "aristotle", "avogadro", "babbage",
    "bachmann", "backus", "banach", "bardeen", "bartik", "bell", "berners", "bernoulli", "bessel", "bohr", "boltzmann",
    "boole", "borg", "bose", "boyle", "brahe", "brooks", "burnell", "bush", "cantor", "carson", "cauchy", "cayley",
    "cerf", "chandra", "church", "clarke", "codd", "cohen", "colmerauer", "conway", "cook", "copernicus", "cori",
    "coulomb", "cray", "curie", "dahl", "dalton", "darwin", "davies", "descartes", "diffie", "dijkstra", "dirac",
    "dudeney", "easley", "eckert", "edwards", "einstein", "elion", "engelbart", "erdos", "euclid", "euler", "faraday",
    "feinler", "fermat", "fermi", "feynman", "fibonacci", "floyd", "fourier", "franklin", "fuller", "galileo",
    "galois", "gauss", "germain", "gibbs", "godel", "goldberg", "goldwasser", "goodall", "gray", "hamilton", "hamming",
    "hardy", "haskell", "hawking", "heisenberg", "hellman", "hermite", "herschel", "hertz", "hilbert", "hoare",
    "hodgkin", "holberton", "hooke", "hopper", "hubble", "huffman", "hutton", "huygens", "hypatia", "iverson",
    "jacobi", "jacquard", "jennings", "johnson", "joliot", "joule", "kahan", "kahn", "kalman", "kay", "keller",
    "kelvin", "kepler", "kernighan", "khayyam", "khwarizmi", "kildall", "kleene", "kleinrock", "knuth", "kolmogorov",
    "kovalevskaya", "lagrange", "lamarr", "lamport", "lampson", "laplace", "lavoisier", "leavitt", "legendre",
    "leibniz", "licklider", "liskov", "lorentz", "lovelace", "lowe", "mandelbrot", "margulis", "markov", "maxwell",
    "mayer", "mccarthy", "mcclintock", "mcilroy", "meitner", "mendel", "mendeleev", "milner", "minsky", "mirzakhani",
    "moore", "morse", "nash", "neumann", "newell", "newton", "nightingale", "nobel", "noether", "noyce", "nygaard",
    "ohm", "oppenheimer", "ostrom", "pascal", "pasteur", "pauli", "pauling", "payne", "peano", "perlis", "perlman",
    "planck", "poincare", "poisson", "postel", "ptolemy", "pythagoras", "rabin", "raman", "ramanujan", "rejewski",
    "riemann", "ride", "ritchie", "rivest", "roentgen", "rubin", "russell", "rutherford", "sammet", "schrodinger",
    "scott", "shamir", "shannon", "shaw", "shockley", "simon", "sinoussi", "spence", "stallings", "stokes", "strachey",
    "sutherland", "swartz", "tarjan", "tesla", "thompson", "torvalds", "turing", "ullman", "vaughan", "venn", "volta",
    "wallace", "watt", "weil", "wescoff", "wheeler", "wiener", "wiles", "wilkes", "wilkinson", "wing", "wirth",
    "wright", "wu", "yalow", "yonath", "zuse",
];

/// How often a taken name is tried again with a digit behind it before the id has to do.
pub(crate) const RETRIES: u32 = 5;

/// A name for the `attempt`th try, chosen by two random numbers.
pub(crate) fn name(adjective: u32, surname: u32, attempt: u32) -> String {
    let quality = ADJECTIVES[adjective as usize % ADJECTIVES.len()];
    let person = SURNAMES[surname as usize % SURNAMES.len()];
    if attempt == 0 { format!("{quality}_{person}") } else { format!("{quality}_{person}{}", (adjective ^ surname) % 10) }
}

/// [`name`] from the kernel's random source.
pub(crate) fn random(attempt: u32) -> String {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes once it has booted");
    let [a, b, c, d, e, f, g, h] = bytes;
    name(u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]), attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_makes_a_valid_name() {
        for word in ADJECTIVES.iter().chain(SURNAMES) {
            assert!(word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
        }
    }

    #[test]
    fn words_are_listed_once() {
        for list in [ADJECTIVES, SURNAMES] {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.len());
        }
    }

    #[test]
    fn a_digit_follows_from_the_second_attempt_on() {
        assert_eq!(name(0, 0, 0), "able_abel");
        assert_eq!(name(0, 3, 1), "able_aiken3");
    }
}
