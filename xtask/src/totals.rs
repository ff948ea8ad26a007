//! Adds up what test binaries say of themselves.

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Those that passed.
    pub passed: u64,
    /// Those that failed.
    pub failed: u64,
}

impl Totals {
    /// Takes in one line of output; only the closing line of a test binary counts.
    pub fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<u64>().ok());
            match (number, words.next(), words.next()) {
                (Some(number), Some("passed"), None) => self.passed += number,
                (Some(number), Some("failed"), None) => self.failed += number,
                _ => {}
            }
        }
    }

    /// The totals of a whole run, from its lines and from whether cargo was content.
    ///
    /// A build that broke, or a test binary that crashed, says nothing of itself: it counts as one failure.
    pub fn close(mut self, content: bool) -> Self {
        if !content && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

impl Totals {
    /// The closing line, below one that says what counts as passed and was not tried.
    pub fn with_remark(self, unbooted: Option<&str>) -> String {
        match unbooted {
            None => self.to_string(),
            Some(reason) => {
                format!("not tried: units under a real systemd, as systemd-nspawn is refused: {reason}\n{self}")
            }
        }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    fn of(text: &str) -> Totals {
        let mut totals = Totals::default();
        text.lines().for_each(|line| totals.add(line));
        totals
    }

    #[test]
    fn binaries_are_added_up() {
        let text = "\
running 3 tests
test a ... ok
test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s
test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s
   Doc-tests slipstream_cimi
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(of(text), Totals { passed: 8, failed: 2 });
    }

    #[test]
    fn only_closing_lines_count() {
        assert_eq!(of("9 passed; 9 failed\nI said: test result: ok. 9 passed; 9 failed"), Totals::default());
    }

    #[test]
    fn what_broke_without_a_word_is_a_failure() {
        assert_eq!(Totals { passed: 5, failed: 0 }.close(false), Totals { passed: 5, failed: 1 });
        assert_eq!(Totals { passed: 5, failed: 2 }.close(false), Totals { passed: 5, failed: 2 });
        assert_eq!(Totals { passed: 5, failed: 0 }.close(true), Totals { passed: 5, failed: 0 });
    }

    #[test]
    fn the_closing_line_has_one_form() {
        let totals = Totals { passed: 12, failed: 0 };
        assert_eq!(totals.with_remark(None), "12 passed, 0 failed");
        assert_eq!(
            totals.with_remark(Some("Permission denied")),
            "not tried: units under a real systemd, as systemd-nspawn is refused: Permission denied\n12 passed, 0 failed"
        );
    }
}
