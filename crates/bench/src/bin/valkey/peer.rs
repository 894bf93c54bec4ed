//! What Valkey takes of the same script calls when `valkey-benchmark` makes them.

use std::{
    env,
    fmt::{self, Display},
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{error::Result, variant::Variant};

const APPEND: &str = include_str!("../../../../store/src/valkey/scripts/append.lua");
/// Connections and calls under way on each: a flush is about eight calls, and a few are under way.
const DEPTH: [&str; 4] = ["-c", "4", "-P", "8"];

/// How many calls of the append script there were, and of batches in them.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Calls {
    scripts: usize,
    partitions: usize,
    batches: usize,
}

/// A call of the append script, on average.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    partitions: usize,
    /// Of each partition.
    sensors: usize,
    /// Of each sensor.
    readings: usize,
}

impl Calls {
    /// Those since [`Variant::empty`].
    pub(crate) fn made(variant: &Variant) -> Result<Self> {
        let calls = |command| variant.calls(command);
        // The append script asks for the time once, and for a partition's statistics once; other scripts do neither.
        Ok(Self { scripts: calls("time")?, partitions: calls("hmget")?, batches: calls("xadd")? })
    }

    /// Of those after the earlier ones, which stored so many readings.
    pub(crate) fn since(&self, before: &Self, readings: usize) -> Size {
        let (scripts, partitions) = (self.scripts - before.scripts, self.partitions - before.partitions);
        let batches = self.batches - before.batches;
        let mean = |all: usize, parts: usize| (all + parts / 2).checked_div(parts).unwrap_or(0).max(1);
        Size {
            partitions: mean(partitions, scripts),
            sensors: mean(batches, partitions),
            readings: mean(readings, batches),
        }
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partitions, sensors, readings } = self;
        write!(f, "{partitions} × {sensors} × {readings} readings per call")
    }
}

/// Readings a second of the same calls; `None` if the program is not there.
pub(crate) fn rate(variant: &Variant, size: Size, seconds: usize) -> Result<Option<f64>> {
    let Some(program) = find() else { return Ok(None) };
    let digest: String =
        variant.runtime.block_on(variant.server.query(&["SCRIPT", "LOAD", APPEND])).map_err(Box::new)?;
    let Size { partitions, sensors, readings } = size;
    let batches = partitions * sensors;
    let address = variant.address();
    let (host, port) = address.rsplit_once(':').expect("host:port");
    let mut command = Command::new(program);
    command.args(["-h", host, "-p", port, "--csv", "-x"]).args(DEPTH);
    if let Some(ca) = variant.ca() {
        command.arg("--tls").arg("--cacert").arg(ca);
    }
    // About two million readings or half a million batches a second.
    let requests = 2_000_000 * seconds / (batches * readings.max(4));
    command.args(["-n", &requests.to_string(), "-r", &1000_usize.div_ceil(batches).to_string()]);
    // A thousand sensors, none of them twice in a call; the program puts numbers for __rand_int__.
    let mut keys = Vec::new();
    for partition in 0..partitions {
        let key = |name: &str| format!("bench:{{bench}}{partition}:{name}");
        keys.extend(["s", "i", "n"].map(key));
        keys.extend((0..sensors).map(|sensor| key(&format!("d:{sensor}-__rand_int__"))));
    }
    command.args(["EVALSHA", &digest, &keys.len().to_string()]).args(&keys);
    // The script does not look into readings, so that text will do; arguments have no zero bytes.
    command.args(vec!["0123456789abcdef".repeat(readings); batches]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().expect("it is a pipe").write_all(&packed(partitions, sensors))?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Behind the command come the rate, the mean, and five percentiles.
    let fields: Vec<_> = text.trim().rsplitn(8, "\",\"").collect();
    let calls: f64 = fields.get(6).ok_or_else(|| format!("valkey-benchmark says: {text}"))?.parse()?;
    let (stored, expected) = (variant.calls("xadd")?, requests * batches);
    if stored < expected {
        return Err(format!("valkey-benchmark stored {stored} batches, not {expected}").into());
    }
    Ok(Some(calls * (batches * readings) as f64))
}

/// Bounds out of reach and a summary for each sensor. Its numbers have no zero byte either, after which the program
/// would put no more numbers.
fn packed(partitions: usize, sensors: usize) -> Vec<u8> {
    let number = |about: f64| {
        let near = (1_u64..).map(|step| f64::from_bits(about.to_bits() + step * 0x0001_0101_0101));
        near.map(f64::to_le_bytes).find(|bytes| !bytes.contains(&0)).expect("some have none")
    };
    let mut packed: Vec<u8> = [1e9, 1e9, 1e12, 86_400_000.0].into_iter().flat_map(number).collect();
    let summary: Vec<u8> = [20.5, 1.5, 20.1, 20.9].into_iter().flat_map(number).collect();
    for _ in 0..partitions {
        packed.push(u8::try_from(sensors).expect("as many as Kelvin puts into a call"));
        packed.extend(summary.repeat(sensors));
    }
    packed
}

fn find() -> Option<PathBuf> {
    let paths = env::var_os("PATH")?;
    env::split_paths(&paths).map(|folder| folder.join("valkey-benchmark")).find(|file| file.is_file())
}
