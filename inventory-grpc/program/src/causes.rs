//! An error with its causes, as one line of text.

use std::error::Error;

/// The error and its causes, separated by colons. A cause that its error has told already is not told again.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = line(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = line(error);
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

/// What an error says, in one line. Postgres's library ends its texts with a line break, and has a line for each host.
fn line(error: &dyn Error) -> String {
    error.to_string().trim_end().replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// An error and its cause.
    #[derive(Debug)]
    struct Told(&'static str, Option<Box<Told>>);

    impl fmt::Display for Told {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Told {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_ref().map(|cause| -> &(dyn Error + 'static) { cause.as_ref() })
        }
    }

    #[test]
    fn causes_are_told_once_and_in_one_line() {
        let rows: [(&[&str], &str); 4] = [
            (&["it failed"], "it failed"),
            (&["it failed", "the disk is full", "os error 28"], "it failed: the disk is full: os error 28"),
            (&["it failed: the disk is full", "the disk is full"], "it failed: the disk is full"),
            (&["no host answers", "a: refused\nb: refused\n"], "no host answers: a: refused; b: refused"),
        ];
        for (texts, expected) in rows {
            let chain = texts.iter().rev().fold(None, |cause, text| Some(Box::new(Told(text, cause))));
            assert_eq!(with_causes(&chain.expect("each row has an error")), expected);
        }
    }
}
