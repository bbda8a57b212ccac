//! Constants of the bundle's binary format.

/// The magic number and the format version, 2.
pub(super) const MAGIC: [u8; 8] = *b"selkie\x00\x02";

/// Length of the header in bytes; the index follows it.
pub(super) const HEADER: usize = 32;

/// Length of an index entry in bytes.
pub(super) const ENTRY: usize = 88;

/// Length of a rule in bytes.
pub(super) const RULE: usize = 20;

/// Offsets in the header.
pub(super) mod header {
    pub(in super::super) const COUNT: usize = 8;
    pub(in super::super) const LENGTH: usize = 12;
    pub(in super::super) const RULES: usize = 16;
    pub(in super::super) const NOT_FOUND: usize = 20;
    pub(in super::super) const FALLBACK: usize = 24;
}

/// Offsets in an entry of the index.
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

/// Flag of a file whose fields include a `Content-Security-Policy`.
pub(super) const OWN_POLICY: u32 = 1;

/// Flag of a file whose fields include an `X-Content-Type-Options`.
pub(super) const OWN_SNIFFING: u32 = 2;
