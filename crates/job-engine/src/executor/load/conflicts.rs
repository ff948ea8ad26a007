//! [`doubles`]: two files that offer one action. Which of them is meant nobody can tell, so neither is run.

use std::collections::BTreeMap;
use std::path::Path;

use slipstream_cimi::overview::executors::loaded::FailedToLoad;

/// Most other files that a reason names.
const MOST_NAMED: usize = 3;

/// A file that offers an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::executor) struct Claim<'a> {
    /// The action.
    pub(in crate::executor) name: &'a str,
    /// Who offers it.
    pub(in crate::executor) file: &'a Path,
    /// Where in the file.
    pub(in crate::executor) line: Option<usize>,
}

/// The claims on actions that others claim, too: by index, with what to say of it.
pub(in crate::executor) fn doubles(claims: &[Claim<'_>]) -> BTreeMap<usize, FailedToLoad> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, claim) in claims.iter().enumerate() {
        by_name.entry(claim.name).or_default().push(index);
    }
    let shared = by_name.into_values().filter(|indices| indices.len() > 1);
    shared
        .flat_map(|indices| {
            let failed = indices.iter().map(|index| {
                let others = indices.iter().filter(|other| *other != index).map(|other| place(&claims[*other]));
                let others: Vec<String> = others.take(MOST_NAMED).collect();
                let Claim { name, file, line } = claims[*index];
                let reason = format!("the action `{name}` is also in {}: rename or remove one", others.join(" and "));
                (*index, FailedToLoad { file: file.to_owned(), line, reason })
            });
            failed.collect::<Vec<_>>()
        })
        .collect()
}

fn place(claim: &Claim<'_>) -> String {
    match claim.line {
        Some(line) => format!("{}:{line}", claim.file.display()),
        None => claim.file.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_two_names_the_other() {
        let claim = |name, file, line| Claim { name, file: Path::new(file), line };
        let claims = [claim("a", "/x/a.sh", None), claim("b", "/x/b.sh", None), claim("a", "/y/m.toml", Some(3))];
        let failed = |file: &str, line, other: &str| FailedToLoad {
            file: file.into(),
            line,
            reason: format!("the action `a` is also in {other}: rename or remove one"),
        };
        let expected = [(0, failed("/x/a.sh", None, "/y/m.toml:3")), (2, failed("/y/m.toml", Some(3), "/x/a.sh"))];
        assert_eq!(doubles(&claims), BTreeMap::from(expected));
        assert!(doubles(&claims[..2]).is_empty());
    }
}
