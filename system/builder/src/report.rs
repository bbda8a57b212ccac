//! What a system consists of, for people and tools: `report.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use microkit_sdf::System;
use serde::Serialize;

use crate::compile::image::{self, Image};
use crate::plan::Plan;

/// What a system consists of; sizes are in bytes, hashes are SHA-256 in hexadecimal.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The system's name.
    pub system: String,
    /// The board that it is for.
    pub board: String,
    /// Memory that regions, stacks and programs take.
    pub memory: u64,
    /// The protection domains.
    pub protection_domains: Vec<DomainReport>,
    /// The memory regions.
    pub regions: Vec<RegionReport>,
    /// The channels.
    pub channels: Vec<ChannelReport>,
    /// The files.
    pub files: Vec<FileReport>,
}

/// A protection domain.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct DomainReport {
    pub name: String,
    pub program: String,
    pub priority: u8,
    pub parent: Option<String>,
    pub image: u64,
    pub stack: u64,
    pub heap: u64,
    pub device: Option<String>,
    /// Each region that it maps, with its permissions.
    pub maps: BTreeMap<String, String>,
}

/// A memory region.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct RegionReport {
    pub name: String,
    pub size: u64,
    pub page_size: u64,
    pub physical: Option<u64>,
}

/// A channel between two protection domains, each with its identifier.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct ChannelReport {
    pub ends: [(String, u8); 2],
    /// The end that makes protected calls.
    pub caller: Option<String>,
}

/// A file of the output folder.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct FileReport {
    pub path: PathBuf,
    pub size: u64,
    pub sha256: String,
}

impl Report {
    pub(crate) fn new(
        plan: &Plan,
        system: &System,
        images: &BTreeMap<String, Image>,
        prefills: &[(PathBuf, Vec<u8>)],
    ) -> Self {
        let domains = domains(plan, system, images);
        let regions: Vec<RegionReport> = system
            .memory_regions
            .iter()
            .map(|region| RegionReport {
                name: region.name.clone(),
                size: region.size,
                page_size: system.page_size(region).bytes(),
                physical: region.phys_addr,
            })
            .collect();
        let allocated = regions.iter().filter(|region| region.physical.is_none());
        let own = domains.iter().map(|domain| domain.image + domain.stack);
        Self {
            system: plan.name.clone(),
            board: plan.board.name.clone(),
            memory: own.chain(allocated.map(|region| region.size)).sum::<u64>()
                + plan.transfer_memory(),
            protection_domains: domains,
            regions,
            channels: channels(system),
            files: files(plan, system, images, prefills),
        }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.expect("a report has only keys that are text") + "\n"
    }
}

fn domains(plan: &Plan, system: &System, images: &BTreeMap<String, Image>) -> Vec<DomainReport> {
    let all = system.domains();
    let domains = all.iter().filter_map(|(domain, parent)| {
        let mut protections = plan.protections.iter();
        let protection = protections.find(|protection| protection.name == domain.name)?;
        let image = images.get(&protection.program.name);
        let maps = domain.maps.iter();
        Some(DomainReport {
            name: domain.name.clone(),
            program: protection.program.name.clone(),
            priority: domain.priority,
            parent: parent.map(|parent| all[parent].0.name.clone()),
            image: image.map_or(0, |image| image.memory),
            stack: domain.stack_size,
            heap: protection.memory,
            device: protection.device.as_ref().map(|device| device.name.clone()),
            maps: maps
                .map(|map| (map.region.clone(), map.permissions.to_string()))
                .collect(),
        })
    });
    domains.collect()
}

fn channels(system: &System) -> Vec<ChannelReport> {
    let channels = system.channels.iter();
    channels
        .map(|channel| {
            let mut ends = channel.ends.iter();
            ChannelReport {
                caller: ends.find(|end| end.call).map(|end| end.domain.clone()),
                ends: channel
                    .ends
                    .each_ref()
                    .map(|end| (end.domain.clone(), end.id)),
            }
        })
        .collect()
}

fn files(
    plan: &Plan,
    system: &System,
    images: &BTreeMap<String, Image>,
    prefills: &[(PathBuf, Vec<u8>)],
) -> Vec<FileReport> {
    let file = |path: PathBuf, bytes: &[u8]| FileReport {
        path,
        size: bytes.len() as u64,
        sha256: image::sha256(bytes),
    };
    let programs = images.iter().map(|(program, image)| FileReport {
        path: image::path(program),
        size: image.size,
        sha256: image.sha256.clone(),
    });
    let prefills = prefills
        .iter()
        .map(|(path, bytes)| file(path.clone(), bytes));
    let description = PathBuf::from(format!("{}.system", plan.name));
    std::iter::once(file(description, system.to_xml().as_bytes()))
        .chain(programs)
        .chain(prefills)
        .collect()
}
