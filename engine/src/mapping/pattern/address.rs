//! IP addresses and ranges of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address of either kind; two spellings of one address are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// IPv4.
    V4(u32),
    /// IPv6.
    V6(u128),
}

/// The longest spelling that is looked at: eight groups of four.
const ADDRESS_CHARS_MAX: usize = 39;

impl Address {
    /// Reads an address: four decimal numbers, or hexadecimal groups with colons. An IPv4 address
    /// mapped into IPv6 is the IPv4 address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > ADDRESS_CHARS_MAX {
            return None;
        }
        if text.contains(':') {
            // A dotted tail is not read, as event-ruler does not.
            let address: Ipv6Addr = if text.contains('.') { None } else { text.parse().ok() }?;
            return Some(match address.to_canonical() {
                IpAddr::V4(mapped) => Self::V4(mapped.to_bits()),
                IpAddr::V6(address) => Self::V6(address.to_bits()),
            });
        }
        // Zeros may lead, which the standard library refuses as ambiguous; the JVM reads decimal.
        let mut octets = [0_u8; 4];
        let mut parts = text.split('.');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))?;
            *octet = part.parse().ok()?;
        }
        parts.next().is_none().then(|| Self::V4(Ipv4Addr::from(octets).to_bits()))
    }
}

/// Addresses of one kind, from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: Address,
    last: Address,
}

impl AddressRange {
    /// One address.
    #[must_use]
    pub fn only(address: Address) -> Self {
        Self { first: address, last: address }
    }

    /// The range that `text` (`10.0.0.0/8`) names; `None` if it is none. At least one bit is free.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let bits: u32 = bits.parse().ok()?;
        Some(match Address::parse(address)? {
            Address::V4(address) => {
                let free = u32::MAX.checked_shr(bits).filter(|free| *free > 0)?;
                Self { first: Address::V4(address & !free), last: Address::V4(address | free) }
            }
            Address::V6(address) => {
                let free = u128::MAX.checked_shr(bits).filter(|free| *free > 0)?;
                Self { first: Address::V6(address & !free), last: Address::V6(address | free) }
            }
        })
    }

    /// The first and the last address.
    #[must_use]
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        let address = |address| match address {
            Address::V4(bits) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            Address::V6(bits) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        (address(self.first), address(self.last))
    }

    /// Whether `text` is an address in the range.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        match (Address::parse(text), self.first, self.last) {
            (Some(Address::V4(address)), Address::V4(first), Address::V4(last)) => {
                (first..=last).contains(&address)
            }
            (Some(Address::V6(address)), Address::V6(first), Address::V6(last)) => {
                (first..=last).contains(&address)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_its_addresses_however_they_are_spelt() {
        let range = AddressRange::parse("10.0.0.0/24").expect("a range");
        assert!(["10.0.0.0", "10.0.0.255", "10.00.000.33", "::ffff:a00:7"].iter().all(|a| range.contains(a)));
        let outside =
            ["10.0.1.0", "9.255.255.255", "10.0.0", "10.0.0.256", "10.0.0.1 ", "::1", "", "a.b.c.d"];
        assert!(!outside.iter().any(|a| range.contains(a)));
        let range = AddressRange::parse("2001:db8::/32").expect("a range");
        assert!(range.contains("2001:0DB8:ffff::1") && !range.contains("2001:db9::"));
        assert!(AddressRange::parse("0.0.0.0/0").expect("everything").contains("255.255.255.255"));
        let only = AddressRange::only(Address::parse("::1").expect("an address"));
        assert!(only.contains("0:0:0:0:0:0:0:1") && !only.contains("::2"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["10.0.0.0", "10.0.0.0/32", "::/128", "10.0.0.0/-1", "10.0.0/8", "x/8", "10.0.0.0/8/8", ""]
        {
            assert_eq!(AddressRange::parse(text), None, "{text}");
        }
    }
}
