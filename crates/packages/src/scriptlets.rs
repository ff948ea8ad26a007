//! What package managers run. Functions are in `packaging/scriptlets/common.sh`, which is put in front of each.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Of an RPM: before its files are there, after, before they are removed, after, and at the end of the transaction, when the
/// files of an older package are gone, too.
pub const BEFORE: &str = "note_original";
pub const AFTER: &str = "set_up; reload";
pub const BEFORE_REMOVAL: &str = "if [ \"$1\" = 0 ]; then stop_all; fi";
pub const AFTER_REMOVAL: &str = "reload";
pub const AT_THE_END: &str = "set_up; keep_threads; restart_running; warn_after_original";

/// Of a DEB: `postinst`, `prerm` and `postrm`.
pub const POSTINST: &str = "\
if [ \"$1\" = configure ]; then
    set_up
    if [ -n \"$2\" ]; then restart_running; else reload; fi
fi";
pub const PRERM: &str = "if [ \"$1\" = remove ]; then stop_all; fi";
/// The documents and the user stay.
pub const POSTRM: &str = "\
reload
if [ \"$1\" = purge ]; then
    rm -rf /var/log/slipstream
    rmdir /etc/slipstream/job-engine.d /etc/slipstream 2>/dev/null || :
fi";

/// A script for `/bin/sh`. It never fails: a package manager would leave the package half installed.
pub fn script(root: &Path, body: &str) -> anyhow::Result<String> {
    let file = root.join("packaging/scriptlets/common.sh");
    let common = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(format!("{common}\n{body}\n:\n"))
}
