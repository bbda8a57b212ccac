//! What each board gives and does not give: said at every start, so that nobody takes an evaluation board for
//! more than it is.

/// What `run` says about a board before it boots.
pub(super) fn lines(board: &str) -> &'static [&'static str] {
    match board {
        "pc99" => &[
            "gives: a real seL4 kernel that keeps the protection domains' address spaces apart",
            "lacks: this is seL4 5.0.0 of 2017, not verified for x86_64, without a no-execute bit and without \
             defences against Spectre and Meltdown: for evaluation, not for deployment",
            "trusts: no IOMMU confines the network card here, so its driver, which writes the card's \
             descriptors, could reach all memory",
        ],
        _ => &[],
    }
}
