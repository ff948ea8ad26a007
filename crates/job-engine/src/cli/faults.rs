//! Several things that are wrong at once, told together.

use std::fmt;

/// All of them, a line each.
#[derive(Debug, thiserror::Error)]
pub struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} faults", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(formatter, "\n  {fault}"))
    }
}

/// Both, or all that is wrong with either.
pub fn both<A, B>(one: anyhow::Result<A>, other: anyhow::Result<B>) -> anyhow::Result<(A, B)> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        (Err(one), Err(other)) => Err(Faults([listed(&one), listed(&other)].concat()).into()),
    }
}

/// What is wrong, one by one.
pub fn listed(error: &anyhow::Error) -> Vec<String> {
    if let Some(Faults(faults)) = error.downcast_ref() {
        return faults.clone();
    }
    match error.downcast_ref::<crate::config::Faults>() {
        Some(crate::config::Faults(faults)) => faults.iter().map(ToString::to_string).collect(),
        None => vec![format!("{error:#}")],
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_together() {
        let wrong = |text: &str| -> anyhow::Result<()> { Err(anyhow!("why").context(text.to_owned())) };
        assert!(both(Ok(1), Ok(2)).is_ok_and(|found| found == (1, 2)));
        assert_eq!(format!("{:#}", both(wrong("a"), Ok(2)).unwrap_err()), "a: why");
        let three = both(both(wrong("a"), wrong("b")), wrong("c")).unwrap_err();
        assert_eq!(three.to_string(), "3 faults\n  a: why\n  b: why\n  c: why");
    }
}
