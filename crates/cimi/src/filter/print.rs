//! Filters as text.

use std::fmt::{self, Write as _};

use super::{Attribute, Comparison, Filter, Literal, parse};

/// Prints a filter that parses to the same one, provided that it is one that a text can say: lists of two or more,
/// legal attribute names, operators with what they go with, dates where dates belong, and not nested too deep.
impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::Compare(attribute, comparison, literal) => {
                return write!(formatter, "{attribute}{comparison}{literal}");
            }
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
        };
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                formatter.write_str(word)?;
            }
            let needs_parentheses = match part {
                Self::Compare(..) => false,
                Self::All(_) => matches!(self, Self::All(_)),
                Self::Any(_) => true,
            };
            if needs_parentheses { write!(formatter, "({part})")? } else { write!(formatter, "{part}")? }
        }
        Ok(())
    }
}

/// A property whose key is no legal name prints as `property['key']`.
impl fmt::Display for Attribute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.strip_prefix(parse::PROPERTIES) {
            Some(key) if !parse::is_path(&self.0) => {
                formatter.write_str("property[")?;
                quote(formatter, key)?;
                formatter.write_char(']')
            }
            _ => formatter.write_str(&self.0),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::StartsWith => "^=",
            Self::Words => "==",
        })
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Boolean(truth) => write!(formatter, "{truth}"),
            Self::Null => formatter.write_str("null"),
            Self::Text(text) => quote(formatter, text),
            Self::List(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    write!(formatter, "{}{element}", if index == 0 { '[' } else { ',' })?;
                }
                formatter.write_str(if elements.is_empty() { "[]" } else { "]" })
            }
        }
    }
}

fn quote(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    formatter.write_char('\'')?;
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            formatter.write_char('\\')?;
        }
        formatter.write_char(character)?;
    }
    formatter.write_char('\'')
}
