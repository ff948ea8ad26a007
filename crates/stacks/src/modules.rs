//! [`Modules`]: the code of the process, with which a thread's copy becomes the names of its functions.

use std::collections::HashMap;
use std::fs;
use std::iter;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use framehop::{CacheNative, MayAllocateDuringUnwind, Unwinder as _, UnwinderNative};

use crate::files::Image;
use crate::maps::{self, Mapping};
use crate::signal::{self, Sample};

const OWN_PROGRAM: &str = "/proc/self/exe";
/// Code that the kernel puts into each process, and that is in no file.
const OF_THE_KERNEL: &str = "[vdso]";
/// Stacks that are deeper are cut off.
const MOST_FRAMES: usize = 256;
/// Stands where a stack goes on.
const CUT: &str = "…";

/// What is mapped at present. It reads files, and the memory of nothing but the kernel's code.
pub struct Modules {
    /// What the rest was made for.
    mapped: Vec<Mapping>,
    /// By name; none where there is nothing to read.
    images: HashMap<String, Option<Arc<Image>>>,
    /// In the order of their addresses.
    placed: Vec<Placed>,
    unwinder: UnwinderNative<Arc<[u8]>, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    /// How often it was looked at what is mapped.
    #[cfg(test)]
    pub looks: usize,
}

/// A file's code where it is mapped.
struct Placed {
    range: Range<u64>,
    /// What an address is higher than in the file.
    bias: u64,
    name: String,
    image: Option<Arc<Image>>,
}

impl Modules {
    pub fn new() -> Self {
        Self {
            mapped: Vec::new(),
            images: HashMap::new(),
            placed: Vec::new(),
            unwinder: UnwinderNative::new(),
            cache: CacheNative::new(),
            #[cfg(test)]
            looks: 0,
        }
    }

    /// The functions that a thread is in, innermost first, by what was mapped at the last [`update`](Self::update).
    pub fn frames(&mut self, sample: &Sample) -> Vec<String> {
        let (addresses, is_cut) = self.addresses(sample);
        let names = addresses.into_iter().map(|address| self.name(address));
        names.chain(is_cut.then(|| CUT.to_owned())).collect()
    }

    /// Addresses in the functions, and whether there are more.
    fn addresses(&mut self, sample: &Sample) -> (Vec<u64>, bool) {
        let registers = sample.registers;
        let mut is_beyond = false;
        let mut read = |address| {
            let word = sample.word(address);
            is_beyond = word.is_none();
            word.ok_or(())
        };
        let mut frames =
            self.unwinder.iter_frames(registers.instruction(), registers.for_unwinding(), &mut self.cache, &mut read);
        // an error is an end, too: it comes wherever there is no more to know
        let addresses: Vec<u64> = iter::from_fn(|| frames.next().ok().flatten())
            .map(framehop::FrameAddress::address_for_lookup)
            .take(MOST_FRAMES)
            .collect();
        let is_cut = addresses.len() == MOST_FRAMES || (is_beyond && sample.is_cut());
        (addresses, is_cut)
    }

    fn name(&self, address: u64) -> String {
        let index = self.placed.partition_point(|placed| placed.range.start <= address);
        let placed = index.checked_sub(1).map(|index| &self.placed[index]);
        let Some(placed) = placed.filter(|placed| placed.range.contains(&address)) else {
            return format!("{address:#x}");
        };
        let in_file = address.wrapping_sub(placed.bias);
        placed.image.as_ref().and_then(|image| image.function(in_file)).unwrap_or_else(|| {
            let file = placed.name.rsplit('/').next().unwrap_or(&placed.name);
            format!("{file}+{in_file:#x}")
        })
    }

    /// Follows what was mapped or unmapped since the last time; reads the files of what is new.
    pub fn update(&mut self) {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let Ok(maps) = fs::read(OF_PROCESS) else { return };
        let mapped: Vec<Mapping> = maps::code(&String::from_utf8_lossy(&maps)).collect();
        if mapped == self.mapped {
            return;
        }
        // if this goes wrong halfway, nothing of it counts the next time
        self.mapped.clear();
        let own = fs::read_link(OWN_PROGRAM).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        self.unwinder = UnwinderNative::new();
        self.cache = CacheNative::new();
        self.placed.clear();
        let mut images = std::mem::take(&mut self.images);
        for mapping in &mapped {
            let known = self.images.get(&mapping.name).cloned();
            let image = known.or_else(|| images.remove(&mapping.name)).unwrap_or_else(|| image(mapping, &own));
            self.images.insert(mapping.name.clone(), image.clone());
            self.place(mapping, image);
        }
        self.mapped = mapped;
    }

    fn place(&mut self, mapping: &Mapping, image: Option<Arc<Image>>) {
        let bias = image.as_ref().and_then(|image| image.bias(mapping));
        if let (Some(image), Some(bias)) = (&image, bias) {
            self.unwinder.add_module(image.module(mapping, bias));
        }
        self.placed.push(Placed {
            range: mapping.range.clone(),
            bias: bias.unwrap_or_else(|| mapping.range.start.wrapping_sub(mapping.offset)),
            name: mapping.name.clone(),
            image,
        });
    }
}

const OF_PROCESS: &str = "/proc/self/maps";

fn image(mapping: &Mapping, own: &str) -> Option<Arc<Image>> {
    let image = match &*mapping.name {
        OF_THE_KERNEL => Image::parse(&memory(&mapping.range)),
        // right also when the program's file was replaced
        name if name == own => Image::read(OWN_PROGRAM),
        name if name.starts_with('/') => Image::read(name),
        _ => None,
    };
    image.map(Arc::new)
}

fn memory(range: &Range<u64>) -> Vec<u8> {
    let words = usize::try_from((range.end - range.start) / 8).unwrap_or(0);
    let copy: Vec<AtomicU64> = iter::repeat_with(AtomicU64::default).take(words).collect();
    let size = signal::read_memory(range.start, &copy);
    let mut bytes: Vec<u8> = copy.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
    bytes.truncate(size);
    bytes
}
