//! What is written is read back unchanged, for any system that passes the checks.

use microkit_sdf::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn comment() -> impl Strategy<Value = Option<String>> {
    option::of("[a-zA-Z0-9 <&>\"'.é]{0,20}[a-z](\n[a-z][a-z ]{0,10}[a-z])?")
        .prop_map(|text| text.map(|text| text.trim().to_string()))
}

fn symbol() -> impl Strategy<Value = bool> {
    any::<bool>()
}

fn region(index: usize) -> impl Strategy<Value = MemoryRegion> {
    let page = option::of(prop_oneof![Just(PageSize::Small), Just(PageSize::Large)]);
    (comment(), page, 1..5u64, any::<bool>()).prop_map(move |(comment, page_size, pages, fixed)| {
        MemoryRegion {
            comment,
            name: format!("r<{index}>&"),
            size: pages * page_size.unwrap_or(PageSize::Small).bytes(),
            page_size,
            phys_addr: fixed.then_some(0x1000_0000 * (index as u64 + 1)),
            prefill: None,
        }
    })
}

fn interrupt(vector: u8) -> impl Strategy<Value = Interrupt> {
    let trigger = prop_oneof![Just(Trigger::Level), Just(Trigger::Edge)];
    let polarity = prop_oneof![Just(Polarity::High), Just(Polarity::Low)];
    prop_oneof![
        (0..3u32, 0..24u32, trigger, polarity).prop_map(move |(ioapic, pin, trigger, polarity)| {
            Interrupt::IoApic {
                ioapic,
                pin,
                trigger,
                polarity,
                vector,
            }
        }),
        (any::<u8>(), 0..32u8, 0..8u8, 0..1000u32).prop_map(
            move |(bus, device, function, handle)| Interrupt::Msi {
                device: PciAddress {
                    bus,
                    device,
                    function,
                },
                handle,
                vector,
            }
        ),
    ]
}

fn domain(index: usize, regions: usize) -> impl Strategy<Value = ProtectionDomain> {
    let maps = vec((0..regions.max(1), any::<(bool, bool, bool)>()), 0..4);
    let numbers = (
        0..=MAX_PRIORITY,
        1..40u64,
        option::of(1..500u64),
        any::<(bool, bool)>(),
    );
    let irq = option::of(interrupt(index as u8));
    (comment(), numbers, maps, irq, symbol()).prop_map(
        move |(comment, (priority, stack, budget, (passive, fpu)), maps, irq, named)| {
            let mut domain = ProtectionDomain::new(format!("pd \"{index}\""), "a/b.elf");
            domain.comment = comment;
            domain.priority = priority;
            domain.stack_size = stack * 0x1000;
            domain.budget = budget;
            domain.period = budget.map(|budget| budget + 1);
            (domain.passive, domain.fpu) = (passive, fpu);
            for (place, (region, (write, cached, setvar))) in maps.into_iter().enumerate() {
                if regions == 0 {
                    break;
                }
                domain.maps.push(Map {
                    region: format!("r<{region}>&"),
                    vaddr: 0x4000_0000 * (place as u64 + 1),
                    permissions: Permissions {
                        write,
                        ..Permissions::READ
                    },
                    cached,
                    setvar_vaddr: setvar.then(|| format!("address_{place}")),
                    setvar_size: setvar.then(|| format!("size_{place}")),
                    setvar_prefill_size: None,
                });
            }
            if let Some(source) = irq {
                domain.irqs.push(Irq {
                    id: 61,
                    source,
                    setvar_id: named.then(|| "irq".into()),
                });
                domain.io_ports.push(IoPort {
                    id: 3,
                    address: 0x100 * index as u16,
                    size: 8,
                    setvar_id: None,
                    setvar_addr: named.then(|| "port".into()),
                });
            }
            domain
        },
    )
}

/// Turns every domain behind the first into a child of the first or of the one before it.
fn nest(mut domains: Vec<ProtectionDomain>, deep: bool) -> Vec<ProtectionDomain> {
    let mut children: Vec<ProtectionDomain> = Vec::new();
    while domains.len() > 1 {
        let mut child = domains.remove(domains.len() - 1);
        child.child = Some(Child {
            id: domains.len() as u8,
            setvar_id: None,
        });
        if deep {
            child.children = std::mem::take(&mut children);
        }
        children.insert(0, child);
    }
    domains[0].children = children;
    domains
}

fn system() -> impl Strategy<Value = System> {
    let domains = |regions| {
        (1..5usize).prop_flat_map(move |n| (0..n).map(|i| domain(i, regions)).collect::<Vec<_>>())
    };
    let parts = (0..4usize).prop_flat_map(move |regions| {
        (
            (0..regions).map(region).collect::<Vec<_>>(),
            domains(regions),
        )
    });
    let channels = vec(
        (any::<(usize, usize)>(), comment(), any::<(bool, bool)>()),
        0..6,
    );
    (parts, channels, option::of(any::<bool>()), comment()).prop_map(
        |((memory_regions, domains), links, nesting, comment)| {
            let mut channels = Vec::new();
            for (id, ((a, b), comment, (notify, call))) in links.into_iter().enumerate() {
                let (a, b) = (&domains[a % domains.len()], &domains[b % domains.len()]);
                if a.name == b.name {
                    continue;
                }
                let end = |domain: &ProtectionDomain, call, notify| End {
                    domain: domain.name.clone(),
                    id: id as u8,
                    call,
                    notify,
                    setvar_id: call.then(|| format!("channel_{id}")),
                };
                let call = call && a.priority < b.priority;
                let ends = [end(a, call, notify), end(b, false, true)];
                channels.push(Channel { comment, ends });
            }
            System {
                comment,
                memory_regions,
                protection_domains: match nesting {
                    Some(deep) => nest(domains, deep),
                    None => domains,
                },
                channels,
                io_address_spaces: Vec::new(),
            }
        },
    )
}

proptest! {
    #[test]
    fn written_systems_are_read_back_unchanged(system in system()) {
        prop_assert_eq!(system.check(&Target::X86_64), Ok(()));
        let text = system.to_xml();
        let read = parse(&text, &Target::X86_64, &[]);
        prop_assert_eq!(read.as_ref(), Ok(&system), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(<[a-z_]{1,8}( [a-z]{1,4}=\"[^<&\"]{0,4}\")?/?>|[^<]){0,8}") {
        let _ = parse(&text, &Target::X86_64, &[]);
        let inside = format!("<system>{text}</system>");
        let _ = parse(&inside, &Target::X86_64, &[]);
    }
}
