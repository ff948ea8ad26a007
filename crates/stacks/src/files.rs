//! [`Image`]: what a program's or a library's file says of its code.

use std::fs;
use std::ops::Range;
use std::sync::Arc;

use framehop::{ExplicitModuleSectionInfo, Module};
use object::read::elf::{ElfFile64, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind, elf};

use crate::maps::Mapping;

/// Larger files are not read.
const LARGEST: u64 = 1 << 30;

/// What is kept of a file. Addresses are those in the file, unless said otherwise.
pub struct Image {
    segments: Vec<Segment>,
    text: Option<Range<u64>>,
    got: Option<Range<u64>>,
    /// `.eh_frame`
    frames: Option<Section>,
    /// `.eh_frame_hdr`
    index: Option<Section>,
    symbols: Symbols,
}

/// What is mapped to be executed.
struct Segment {
    /// In the file.
    offset: Range<u64>,
    address: u64,
}

struct Section {
    range: Range<u64>,
    bytes: Arc<[u8]>,
}

impl Image {
    /// None if it is no file of ours to read.
    pub fn read(path: &str) -> Option<Self> {
        let is_readable = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= LARGEST);
        if is_readable { Self::parse(&fs::read(path).ok()?) } else { None }
    }

    /// None if this is no ELF file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let file = ElfFile64::<Endianness>::parse(bytes).ok()?;
        let endian = file.endian();
        let executable = file
            .elf_program_headers()
            .iter()
            .filter(|header| header.p_type(endian) == elf::PT_LOAD && header.p_flags(endian).contains(elf::PF_X));
        let segments = executable.map(|header| {
            let begin = header.p_offset(endian);
            Segment { offset: begin..begin.saturating_add(header.p_filesz(endian)), address: header.p_vaddr(endian) }
        });
        let range = |name| {
            let section = file.section_by_name(name)?;
            Some(section.address()..section.address().saturating_add(section.size()))
        };
        let section = |name| {
            let bytes = file.section_by_name(name)?.data().ok()?;
            Some(Section { range: range(name)?, bytes: bytes.into() })
        };
        Some(Self {
            segments: segments.collect(),
            text: range(".text"),
            got: range(".got"),
            frames: section(".eh_frame"),
            index: section(".eh_frame_hdr"),
            symbols: Symbols::of(&file),
        })
    }

    /// What must be added to an address in the file to have that in the process.
    pub fn bias(&self, mapping: &Mapping) -> Option<u64> {
        let begins_in = |segment: &&Segment| {
            let page = segment.offset.start & !0xfff;
            (page..segment.offset.end).contains(&mapping.offset)
        };
        let segment = self.segments.iter().find(begins_in)?;
        let address = segment.address.wrapping_add(mapping.offset).wrapping_sub(segment.offset.start);
        Some(mapping.range.start.wrapping_sub(address))
    }

    pub fn module(&self, mapping: &Mapping, bias: u64) -> Module<Arc<[u8]>> {
        let range = |section: &Option<Section>| section.as_ref().map(|section| section.range.clone());
        let bytes = |section: &Option<Section>| section.as_ref().map(|section| section.bytes.clone());
        let sections = ExplicitModuleSectionInfo {
            text_svma: self.text.clone(),
            got_svma: self.got.clone(),
            eh_frame_svma: range(&self.frames),
            eh_frame: bytes(&self.frames),
            eh_frame_hdr_svma: range(&self.index),
            eh_frame_hdr: bytes(&self.index),
            ..ExplicitModuleSectionInfo::default()
        };
        Module::new(mapping.name.clone(), mapping.range.clone(), bias, sections)
    }

    /// The function at this address, as people read it.
    pub fn function(&self, address: u64) -> Option<String> {
        let name = self.symbols.name(address)?;
        Some(format!("{:#}", rustc_demangle::demangle(name)))
    }
}

/// The functions of a file, in the order of their addresses.
#[derive(Default)]
struct Symbols {
    /// Address, size, and where its name ends in `names`; it begins where that of the one before it ends.
    functions: Vec<(u64, u64, usize)>,
    names: String,
}

impl Symbols {
    fn of(file: &ElfFile64<'_, Endianness>) -> Self {
        let all = file.symbols().chain(file.dynamic_symbols());
        let functions = all.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition());
        let mut found: Vec<(u64, u64, &str)> =
            functions.filter_map(|symbol| Some((symbol.address(), symbol.size(), symbol.name().ok()?))).collect();
        // of several names the first one, which `.symtab` has
        found.sort_by_key(|(address, ..)| *address);
        found.dedup_by_key(|(address, ..)| *address);
        let mut symbols = Self::default();
        for (address, size, name) in found {
            symbols.names.push_str(name);
            symbols.functions.push((address, size, symbols.names.len()));
        }
        symbols.functions.shrink_to_fit();
        symbols.names.shrink_to_fit();
        symbols
    }

    fn name(&self, address: u64) -> Option<&str> {
        let index = self.functions.partition_point(|(begin, ..)| *begin <= address).checked_sub(1)?;
        let (begin, size, end) = self.functions[index];
        let name = index.checked_sub(1).map_or(0, |before| self.functions[before].2);
        (address - begin < size).then(|| &self.names[name..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_as_far_as_its_function() {
        let symbols = Symbols { functions: vec![(0x10, 4, 1), (0x14, 8, 3), (0x30, 0, 4)], names: "abbc".to_owned() };
        let names = [(0xf, None), (0x10, Some("a")), (0x13, Some("a")), (0x14, Some("bb")), (0x1b, Some("bb"))];
        for (address, name) in names.into_iter().chain([(0x1c, None), (0x30, None), (u64::MAX, None)]) {
            assert_eq!(symbols.name(address), name, "{address:#x}");
        }
    }

    #[test]
    fn the_bias_is_that_of_the_segment() {
        let segment = Segment { offset: 0x1_2340..0x2_0000, address: 0x1_3340 };
        let image = Image {
            segments: vec![segment],
            text: None,
            got: None,
            frames: None,
            index: None,
            symbols: Symbols::default(),
        };
        let mapping = |offset| Mapping { range: 0x50_0000..0x60_0000, offset, name: "x".to_owned() };
        assert_eq!(image.bias(&mapping(0x1_2000)), Some(0x50_0000 - 0x1_3000));
        assert_eq!(image.bias(&mapping(0x1_4000)), Some(0x50_0000 - 0x1_5000));
        assert_eq!(image.bias(&mapping(0x2_0000)), None);
    }

    #[test]
    fn the_own_program_can_be_read_and_other_files_are_none() {
        let own = Image::read("/proc/self/exe").unwrap();
        assert!(own.frames.is_some() && own.index.is_some() && !own.symbols.functions.is_empty());
        assert!(Image::read("/proc/self/maps").is_none());
        assert!(Image::read("/dev/zero").is_none());
        assert!(Image::read("/").is_none());
    }
}
