//! Which files are mapped where.

use std::ops::Range;

/// Code that is mapped into the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub range: Range<u64>,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file, or a name in brackets. The file of this name may be another one by now.
    pub name: String,
}

/// What is executable and has a name, in `proc_pid_maps(5)`.
pub fn code(maps: &str) -> impl Iterator<Item = Mapping> {
    maps.lines().filter_map(mapping)
}

fn mapping(line: &str) -> Option<Mapping> {
    // range, permissions, offset, device, inode, name
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let offset = fields.next()?;
    let name = fields.nth(2)?.trim_start();
    let number = |text| u64::from_str_radix(text, 16).ok();
    (permissions.as_bytes().get(2) == Some(&b'x') && !name.is_empty()).then_some(Mapping {
        range: number(start)?..number(end)?,
        offset: number(offset)?,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_with_a_name_is_of_interest() {
        let maps = "\
55d0e0000000-55d0e0010000 r--p 00000000 fe:01 77 /usr/bin/slipstream-job
55d0e0010000-55d0e0090000 r-xp 00010000 fe:01 77                         /usr/bin/slipstream-job
7f0000000000-7f0000001000 r-xp 00000000 00:00 0 
7f0000002000-7f0000003000 r-xp 00002000 fe:01 9                          /opt/two words/x.so (deleted)
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]
";
        let code: Vec<Mapping> = code(maps).collect();
        let mapping = |range, offset, name: &str| Mapping { range, offset, name: name.to_owned() };
        assert_eq!(
            code,
            [
                mapping(0x55d0_e001_0000..0x55d0_e009_0000, 0x10000, "/usr/bin/slipstream-job"),
                mapping(0x7f00_0000_2000..0x7f00_0000_3000, 0x2000, "/opt/two words/x.so (deleted)"),
                mapping(0x7ffd_0000_0000..0x7ffd_0000_2000, 0, "[vdso]"),
            ]
        );
    }

    #[test]
    fn other_lines_are_passed_over() {
        for maps in
            ["", "x", "1-2", "1-2 r-xp", "1-2 r-xp 0 0", "1-2 r-xp z 0 0 /x", "12 r-xp 0 0 0 /x", "1-2 r 0 0 0 /x"]
        {
            assert_eq!(code(maps).count(), 0, "{maps:?}");
        }
    }
}
