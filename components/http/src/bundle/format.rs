//! Numbers of the bundle's binary form.

/// The mark and the format's version, 2.
pub(super) const MAGIC: [u8; 8] = *b"selkie\x00\x02";

/// Bytes before the index.
pub(super) const HEADER: usize = 32;

/// Bytes of a file in the index.
pub(super) const ENTRY: usize = 88;

/// Bytes of a rule.
pub(super) const RULE: usize = 20;

/// Places in the header.
pub(super) mod header {
    pub(in super::super) const COUNT: usize = 8;
    pub(in super::super) const LENGTH: usize = 12;
    pub(in super::super) const RULES: usize = 16;
    pub(in super::super) const NOT_FOUND: usize = 20;
    pub(in super::super) const FALLBACK: usize = 24;
}

/// Places in an entry of the index.
pub(super) mod entry {
    pub(in super::super) const PATH: usize = 0;
    pub(in super::super) const MEDIA_TYPE: usize = 8;
    pub(in super::super) const CONTENT: usize = 16;
    pub(in super::super) const CACHE: usize = 24;
    pub(in super::super) const FIELDS: usize = 32;
    pub(in super::super) const TAG: usize = 40;
    pub(in super::super) const VARIANTS: usize = 72;
    pub(in super::super) const FLAGS: usize = 84;
}

/// A flag of a file: its fields have a `Content-Security-Policy`.
pub(super) const OWN_POLICY: u32 = 1;

/// A flag of a file: its fields have an `X-Content-Type-Options`.
pub(super) const OWN_SNIFFING: u32 = 2;
