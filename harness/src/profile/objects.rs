//! What is mapped into this process and can hold code: the binary, its libraries, the kernel's
//! `vdso`.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use object::{
    Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, SegmentFlags, SymbolKind,
};

/// A file, or the `vdso`, with code in this process.
#[derive(Clone, Debug)]
pub struct CodeObject {
    /// Where it can be read; `None` for the `vdso`.
    pub path: Option<PathBuf>,
    /// For people.
    pub name: String,
    /// Where its code is mapped.
    pub range: Range<u64>,
    /// What was added to the addresses in the file.
    pub bias: u64,
    /// What an unwinder needs of it.
    pub sections: Sections,
}

/// Sections, as far as they are there.
#[derive(Clone, Debug, Default)]
pub struct Sections {
    /// `.text`, by its addresses in the file.
    pub text: Option<(Range<u64>, Vec<u8>)>,
    /// `.eh_frame`.
    pub eh_frame: Option<(Range<u64>, Vec<u8>)>,
    /// `.eh_frame_hdr`.
    pub eh_frame_hdr: Option<(Range<u64>, Vec<u8>)>,
    /// `.got`, its addresses only.
    pub got: Option<Range<u64>>,
    /// Functions that are offered to others (`.dynsym`), by address: all that a stripped library
    /// tells.
    pub exports: Vec<(Range<u64>, String)>,
}

/// One line of `/proc/self/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    range: Range<u64>,
    is_code: bool,
    file_offset: u64,
    name: String,
}

impl Sections {
    /// The exported function at `address`, as the file counts.
    #[must_use]
    pub fn export_at(&self, address: u64) -> Option<&str> {
        let after = self.exports.partition_point(|(range, _)| range.start <= address);
        let (range, name) = self.exports.get(after.checked_sub(1)?)?;
        range.contains(&address).then_some(name)
    }
}

/// The binary itself, whatever has become of its file.
const SELF: &str = "/proc/self/exe";

/// Everything with code in this process.
///
/// # Errors
/// If the kernel does not say what is mapped. A library that cannot be read is left out.
pub fn of_this_process() -> anyhow::Result<Vec<CodeObject>> {
    let maps = fs::read_to_string("/proc/self/maps").context("reading /proc/self/maps")?;
    let exe = fs::read_link(SELF).unwrap_or_default();
    let mut objects: Vec<CodeObject> = Vec::new();
    for mapping in maps.lines().filter_map(parse).filter(|mapping| mapping.is_code) {
        if let Some(known) =
            objects.iter_mut().find(|object| object.name == mapping.name && object.path.is_some())
        {
            known.range.end = known.range.end.max(mapping.range.end);
            continue;
        }
        let (path, bytes) = if mapping.name == "[vdso]" {
            (None, own_memory(&mapping.range))
        } else if mapping.name.starts_with('/') {
            // The file may have been replaced by a new build meanwhile; this link still leads to
            // the one that runs.
            let path = if Path::new(mapping.name.trim_end_matches(" (deleted)")) == exe {
                PathBuf::from(SELF)
            } else {
                PathBuf::from(&mapping.name)
            };
            let bytes = fs::read(&path);
            (Some(path), bytes)
        } else {
            continue;
        };
        let Ok(bytes) = bytes else { continue };
        let Some((bias, sections)) = read(&bytes, &mapping, path.is_some()) else { continue };
        objects.push(CodeObject { path, name: mapping.name, range: mapping.range, bias, sections });
    }
    Ok(objects)
}

/// Reads `start-end rwxp offset device inode name`; `None` for what has another form.
fn parse(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let rights = fields.next()?;
    let file_offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let name = fields.nth(2).unwrap_or_default().trim_start();
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    Some(Mapping {
        range: start..end,
        is_code: rights.contains('x') && start < end,
        file_offset,
        name: name.to_owned(),
    })
}

/// Bytes of this process, read like a file: the `vdso` has none of its own.
fn own_memory(range: &Range<u64>) -> io::Result<Vec<u8>> {
    let mut memory = File::open("/proc/self/mem")?;
    memory.seek(SeekFrom::Start(range.start))?;
    let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
    memory.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read(bytes: &[u8], mapping: &Mapping, is_file: bool) -> Option<(u64, Sections)> {
    let file = object::File::parse(bytes).ok()?;
    let in_file = if is_file {
        address_of(&file, mapping.file_offset)?
    } else {
        // The `vdso` is mapped as a whole, from its first byte on.
        0
    };
    let section = |name: &str| {
        let section = file.section_by_name(name)?;
        let data = section.uncompressed_data().ok()?.into_owned();
        Some((section.address()..section.address() + section.size(), data))
    };
    let mut exports: Vec<_> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .filter_map(|symbol| {
            Some((symbol.address()..symbol.address() + symbol.size(), symbol.name().ok()?.to_owned()))
        })
        .collect();
    // Of several names for the same code the one without underscores comes last, and is found.
    exports
        .sort_by_key(|(range, name)| (range.start, Reverse(name.len() - name.trim_start_matches('_').len())));
    let sections = Sections {
        text: section(".text"),
        eh_frame: section(".eh_frame"),
        eh_frame_hdr: section(".eh_frame_hdr"),
        got: file
            .section_by_name(".got")
            .map(|section| section.address()..section.address() + section.size()),
        exports,
    };
    Some((mapping.range.start.wrapping_sub(in_file), sections))
}

/// The address, as the file counts, of code that is mapped from `file_offset` on. Mappings begin
/// with a page, segments in the middle of one: the page before a segment's first belongs to it too,
/// and to the segment before it, which is not code.
fn address_of(file: &object::File<'_>, file_offset: u64) -> Option<u64> {
    let segment = file.segments().find(|segment| {
        let is_code =
            matches!(segment.flags(), SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_X != 0);
        let (offset, size) = segment.file_range();
        is_code && (offset - offset % PAGE_BYTES_MAX..offset + size).contains(&file_offset)
    })?;
    Some(segment.address().wrapping_sub(segment.file_range().0).wrapping_add(file_offset))
}

/// The largest page of any machine that this runs on.
const PAGE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_map_is_read_with_spaces_in_its_name() {
        let line = "7f00-8000 r-xp 0000a000 fe:01 1234                       /opt/a b/lib c.so";
        let mapping = parse(line).unwrap();
        assert_eq!(mapping.range, 0x7f00..0x8000);
        assert!(mapping.is_code);
        assert_eq!((mapping.file_offset, mapping.name.as_str()), (0xa000, "/opt/a b/lib c.so"));
        assert!(!parse("10-20 rw-p 00000000 00:00 0").unwrap().is_code);
        for wrong in ["", "10", "10-zz r-xp 0 0 0", "20-10", "-"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_running_binary_is_found_with_its_code() {
        let objects = of_this_process().unwrap();
        let here = the_running_binary_is_found_with_its_code as *const () as u64;
        let own = objects.iter().find(|object| object.range.contains(&here)).expect("this code lies in one");
        assert_eq!(own.path.as_deref(), Some(Path::new(SELF)));
        let (text, _) = own.sections.text.as_ref().unwrap();
        assert!(text.contains(&(here - own.bias)), "the bias leads into .text");
        assert!(own.sections.eh_frame.is_some());
        let libc = libc::recv as *const () as u64;
        let object = objects.iter().find(|object| object.range.contains(&libc)).expect("libc lies in one");
        assert_eq!(object.sections.export_at(libc - object.bias), Some("recv"));
    }
}
