//! What a container has of the cache and of the memory's bandwidth, and how much there is.
//!
//! ```text
//!   info/L3  info/MB                      what the machine can share out
//!   schemata  <class>/schemata            what everybody has, and what the container
//!   …/mon_data/mon_L3_<domain>/           what it has used: an amount of the cache now, bytes of memory so far
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Group;

/// In the shape of runc's events. What the machine does not have is left out.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mbm_stats: Vec<Bandwidth>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cmt_stats: Vec<Occupancy>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct CacheInfo {
    cbm_mask: String,
    min_cbm_bits: u64,
    num_closids: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct BandwidthInfo {
    bandwidth_gran: u64,
    delay_linear: u64,
    min_bandwidth: u64,
    num_closids: u64,
}

/// In bytes, since the group was made; of one domain.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Bandwidth {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

/// In bytes, now; of one domain.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Occupancy {
    llc_occupancy: u64,
}

impl Group {
    pub(crate) fn stats(&self) -> Stats {
        let info = |resource: &str| Some(self.root.join("info").join(resource)).filter(|path| path.is_dir());
        let schema = |directory: &Path, resource| line(&directory.join("schemata"), resource);
        let counted = self.monitor.as_deref().unwrap_or(&self.directory);
        let domains = domains(&counted.join("mon_data"));
        Stats {
            l3_cache_info: info("L3").map(|path| CacheInfo {
                cbm_mask: text(&path.join("cbm_mask")),
                min_cbm_bits: number(&path.join("min_cbm_bits")).unwrap_or(0),
                num_closids: number(&path.join("num_closids")).unwrap_or(0),
            }),
            l3_cache_schema_root: schema(&self.root, "L3"),
            l3_cache_schema: schema(&self.directory, "L3"),
            mem_bw_info: info("MB").map(|path| BandwidthInfo {
                bandwidth_gran: number(&path.join("bandwidth_gran")).unwrap_or(0),
                delay_linear: number(&path.join("delay_linear")).unwrap_or(0),
                min_bandwidth: number(&path.join("min_bandwidth")).unwrap_or(0),
                num_closids: number(&path.join("num_closids")).unwrap_or(0),
            }),
            mem_bw_schema_root: schema(&self.root, "MB"),
            mem_bw_schema: schema(&self.directory, "MB"),
            mbm_stats: domains.iter().filter_map(|path| bandwidth(path)).collect(),
            cmt_stats: domains.iter().filter_map(|path| occupancy(path)).collect(),
        }
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// None also where the kernel has no number just now ("Unavailable").
fn number(path: &Path) -> Option<u64> {
    text(path).parse().ok()
}

fn line(schemata: &Path, resource: &str) -> String {
    let schemata = text(schemata);
    let mut lines = schemata.lines().map(str::trim);
    lines.find(|line| line.starts_with(resource)).unwrap_or_default().to_owned()
}

fn domains(data: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(data).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    all.sort();
    all
}

fn bandwidth(domain: &Path) -> Option<Bandwidth> {
    let (total, local) = (domain.join("mbm_total_bytes"), domain.join("mbm_local_bytes"));
    let is_counted = total.exists() || local.exists();
    is_counted.then(|| Bandwidth {
        mbm_total_bytes: number(&total).unwrap_or(0),
        mbm_local_bytes: number(&local).unwrap_or(0),
    })
}

fn occupancy(domain: &Path) -> Option<Occupancy> {
    let path = domain.join("llc_occupancy");
    path.exists().then(|| Occupancy { llc_occupancy: number(&path).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fake, class};
    use super::*;

    #[test]
    fn a_machine_that_has_it_all_and_one_that_has_nothing() {
        let fake = Fake::new("stats");
        let group = class(r#"{"enableMonitoring":true}"#).group(&fake.0, "box");
        let own = fake.class("box");
        fs::write(own.join("schemata"), "    L3:0=000f;1=000f\n    MB:0= 20;1= 20\n").unwrap();
        let write = |path: &str, text: &str| {
            let path = fake.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for (path, text) in [
            ("info/L3/cbm_mask", "fff\n"),
            ("info/L3/min_cbm_bits", "2\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/delay_linear", "1\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/MB/num_closids", "8\n"),
            ("box/mon_groups/box/mon_data/mon_L3_00/llc_occupancy", "4096\n"),
            ("box/mon_groups/box/mon_data/mon_L3_00/mbm_total_bytes", "700\n"),
            ("box/mon_groups/box/mon_data/mon_L3_00/mbm_local_bytes", "Unavailable\n"),
            ("box/mon_groups/box/mon_data/mon_L3_01/llc_occupancy", "1\n"),
        ] {
            write(path, text);
        }
        assert_eq!(
            serde_json::to_value(group.stats()).unwrap(),
            serde_json::json!({
                "l3_cache_info": { "cbm_mask": "fff", "min_cbm_bits": 2, "num_closids": 16 },
                "l3_cache_schema_root": "L3:0=00ff;1=000f", "l3_cache_schema": "L3:0=000f;1=000f",
                "mem_bw_info": { "bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8 },
                "mem_bw_schema_root": "MB:0=100;1= 50", "mem_bw_schema": "MB:0= 20;1= 20",
                "mbm_stats": [{ "mbm_total_bytes": 700, "mbm_local_bytes": 0 }],
                "cmt_stats": [{ "llc_occupancy": 4096 }, { "llc_occupancy": 1 }],
            })
        );
        let nothing = class("{}").group(Path::new("/does/not/exist"), "box").stats();
        assert_eq!(serde_json::to_string(&nothing).unwrap(), "{}");
    }
}
