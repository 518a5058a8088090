//! Random bytes from the kernel (getrandom(2)).

use rustix::rand::{GetRandomFlags, getrandom};

/// Fresh random bytes. Before the kernel has gathered entropy, early at boot, it waits.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[cfg(debug_assertions)]
    if crate::ambient::simulated::with(|one| one.random(&mut bytes)).is_some() {
        return bytes;
    }
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // Every kernel that this crate runs on has the call, and it knows no other failure for valid memory.
            Err(error) => panic!("getrandom({}): {error}", N - filled),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn twice_is_not_the_same() {
        assert_ne!(super::bytes::<32>(), super::bytes::<32>());
    }
}
