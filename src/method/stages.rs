//! Stages: a search in several parts, from one to the next of which each edge keeps its best candidates and the supernet
//! becomes deeper (P-DARTS: Chen, Xie, Wu, Tian, ICCV 2019).

/// What follows on a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// So many candidates each edge keeps.
    pub keep: usize,
    /// So many cells the next stage has more than the first one.
    pub cells: usize,
}

/// The transitions that a text names, such as `keep 5 +6, keep 3 +12`; none for `none`.
///
/// # Errors
/// The text names none; the sentence says what is expected.
pub fn transitions(text: &str) -> Result<Vec<Transition>, String> {
    let one = |text: &str| {
        let (keep, cells) = text.trim().strip_prefix("keep ")?.split_once(" +")?;
        Some(Transition { keep: keep.parse().ok().filter(|&keep| keep >= 2)?, cells: cells.parse().ok()? })
    };
    let all = match text {
        "none" => Some(Vec::new()),
        text => text.split(',').map(one).collect::<Option<Vec<_>>>(),
    };
    let falling = |all: &Vec<Transition>| all.windows(2).all(|two| two[1].keep < two[0].keep);
    all.filter(falling).ok_or_else(|| {
        "none, or what each stage leaves to the next, such as \"keep 5 +6, keep 3 +12\": the candidates of an edge, at \
         least 2 and ever fewer, and how many cells more than the first stage has"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_transitions() {
        assert_eq!(transitions("none"), Ok(Vec::new()));
        let two = vec![Transition { keep: 5, cells: 6 }, Transition { keep: 3, cells: 12 }];
        assert_eq!(transitions("keep 5 +6, keep 3 +12"), Ok(two));
        for text in ["", "keep 5", "keep 1 +2", "keep 3 +1, keep 3 +2", "keep 3 +1,", "5 +6", "keep 5 + 6"] {
            assert!(transitions(text).unwrap_err().starts_with("none, or what each stage"), "{text}");
        }
    }
}
